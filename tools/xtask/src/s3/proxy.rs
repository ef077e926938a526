//! A proxy between the server and its bucket, on which things go wrong as they do on networks and at providers.
//!
//! It understands as much of HTTP/1.1 as it needs: one request on each connection, its length, and where the answer ends. What
//! goes wrong is drawn from a seed for each request, in the order in which requests come.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;

/// How long a side may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// The largest request or answer that is taken.
const BYTES_MAX: usize = 256 << 20;
/// How long a stalled answer is held back; longer than the server waits in these tests.
pub(crate) const STALL: Duration = Duration::from_secs(4);

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It takes longer.
    Late,
    /// Refused with an error of the server, and not carried out.
    Failed,
    /// Carried out, and answered with an error all the same.
    FailedAfter,
    /// Refused because of too many requests.
    SlowDown,
    /// The connection is reset, and nothing is carried out.
    Reset,
    /// It is carried out, and the connection is reset before the answer.
    ResetAfter,
    /// The answer breaks off in the middle.
    Truncated,
    /// The answer does not come.
    Stalled,
    /// It is carried out twice.
    Repeated,
}

const TROUBLES: [Trouble; 9] = [
    Trouble::Late,
    Trouble::Failed,
    Trouble::FailedAfter,
    Trouble::SlowDown,
    Trouble::Reset,
    Trouble::ResetAfter,
    Trouble::Truncated,
    Trouble::Stalled,
    Trouble::Repeated,
];

/// A running proxy; it ends when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: SocketAddr,
    random: Mutex<Rng>,
    /// Of so many requests one has trouble; 0 is none.
    one_in: AtomicU64,
    /// Puts lose the condition that the name is free.
    unconditional: AtomicBool,
    /// Held while a put with a condition is carried out, for a server that looks first and writes then.
    one_put: Option<Mutex<()>>,
    stopping: AtomicBool,
    requests: AtomicU64,
    troubles: [AtomicU64; TROUBLES.len()],
}

impl Proxy {
    /// Starts one on the loopback interface, without trouble at first. Puts with a condition go to the server one at a time if it
    /// is not `atomic`.
    pub(crate) fn start(upstream: SocketAddr, seed: u64, atomic: bool) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for the proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            random: Mutex::new(Rng::with_seed(seed)),
            one_in: AtomicU64::new(0),
            unconditional: AtomicBool::new(false),
            one_put: (!atomic).then(Mutex::default),
            stopping: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            troubles: Default::default(),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for client in listener.incoming() {
                    if shared.stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(client) = client else { continue };
                    let shared = Arc::clone(&shared);
                    // Whatever goes wrong on a connection is trouble of the kind that is wanted here.
                    std::thread::spawn(move || drop(shared.serve(client)));
                }
            }
        });
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    /// The endpoint to be given to the server.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes trouble with one of so many requests; 0 ends it.
    pub(crate) fn trouble_one_in(&self, requests: u64) {
        self.shared.one_in.store(requests, Ordering::SeqCst);
    }

    /// Takes the condition off all puts, as servers do that do not know it.
    pub(crate) fn unconditional(&self, is_on: bool) {
        self.shared.unconditional.store(is_on, Ordering::SeqCst);
    }

    /// Requests so far, and those that had trouble.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let troubles = self.shared.troubles.iter().map(|count| count.load(Ordering::SeqCst)).sum();
        (self.shared.requests.load(Ordering::SeqCst), troubles)
    }

    /// How often each trouble was made.
    pub(crate) fn describe(&self) -> String {
        let counts = self.shared.troubles.iter().map(|count| count.load(Ordering::SeqCst));
        let each: Vec<_> =
            TROUBLES.iter().zip(counts).map(|(trouble, count)| format!("{count} {trouble:?}")).collect();
        each.join(", ")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl Shared {
    fn draw(&self) -> Option<(Trouble, u64)> {
        let one_in = self.one_in.load(Ordering::SeqCst);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if one_in == 0 || random.u64(..one_in) > 0 {
            return None;
        }
        let at = random.usize(..TROUBLES.len());
        self.troubles[at].fetch_add(1, Ordering::SeqCst);
        Some((TROUBLES[at], random.u64(..300)))
    }

    fn serve(&self, client: TcpStream) -> Result<()> {
        client.set_read_timeout(Some(SILENCE))?;
        let mut request = Message::read(&mut BufReader::new(&client), true, false)?;
        self.requests.fetch_add(1, Ordering::SeqCst);
        if self.unconditional.load(Ordering::SeqCst) {
            request.remove("if-none-match");
        }
        let drawn = self.draw();
        match drawn {
            Some((Trouble::Late, millis)) => std::thread::sleep(Duration::from_millis(millis)),
            Some((Trouble::Failed, _)) => {
                return refuse(&client, "500 Internal Server Error", "InternalError");
            }
            Some((Trouble::SlowDown, _)) => return refuse(&client, "503 Slow Down", "SlowDown"),
            Some((Trouble::Reset, _)) => return reset(client),
            Some((Trouble::Repeated, _)) => drop(self.forward(&request)),
            _ => {}
        }
        let mut answer = self.forward(&request)?;
        match drawn.map(|(trouble, _)| trouble) {
            Some(Trouble::FailedAfter) => {
                return refuse(&client, "500 Internal Server Error", "InternalError");
            }
            Some(Trouble::ResetAfter) => return reset(client),
            Some(Trouble::Stalled) => {
                std::thread::sleep(STALL);
                return reset(client);
            }
            Some(Trouble::Truncated) => {
                let bytes = answer.bytes();
                // At least something of the answer is missing.
                (&client).write_all(&bytes[..bytes.len() - answer.body.len().div_ceil(2).max(1)])?;
                return Ok(client.shutdown(Shutdown::Both)?);
            }
            _ => {}
        }
        answer.remove("connection");
        answer.head.push("Connection: close".into());
        (&client).write_all(&answer.bytes())?;
        Ok(client.shutdown(Shutdown::Write)?)
    }

    fn forward(&self, request: &Message) -> Result<Message> {
        let conditional = request.header("if-none-match").and(self.one_put.as_ref());
        let _alone = conditional.map(|one_put| one_put.lock().unwrap_or_else(PoisonError::into_inner));
        let server = TcpStream::connect(self.upstream)?;
        server.set_read_timeout(Some(SILENCE))?;
        let mut request = request.clone();
        request.remove("connection");
        request.head.push("Connection: close".into());
        (&server).write_all(&request.bytes())?;
        let has_no_body = request.head[0].starts_with("HEAD ");
        Message::read(&mut BufReader::new(&server), false, has_no_body)
    }
}

fn refuse(mut client: &TcpStream, status: &str, code: &str) -> Result<()> {
    let body = format!("<Error><Code>{code}</Code><Message>made up by the proxy</Message></Error>");
    let length = body.len();
    write!(client, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")?;
    Ok(client.shutdown(Shutdown::Write)?)
}

fn reset(client: TcpStream) -> Result<()> {
    // Closed with bytes under way and no time to linger, a connection is reset.
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
    Ok(())
}

/// A request or an answer.
#[derive(Clone, Debug, Default)]
struct Message {
    /// The first line and the headers.
    head: Vec<String>,
    body: Vec<u8>,
}

impl Message {
    fn read(from: &mut impl BufRead, is_request: bool, has_no_body: bool) -> Result<Self> {
        let mut message = Self::default();
        loop {
            let mut line = String::new();
            if from.take(64 << 10).read_line(&mut line)? == 0 {
                return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into());
            }
            match line.trim_end() {
                "" => break,
                // It is said at once below, and the server need not be asked.
                line => message.head.push(line.to_owned()),
            }
        }
        let status = message.head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        let has_no_body = has_no_body || (!is_request && matches!(status, "204" | "304"));
        let length = message.header("content-length").map(str::parse::<usize>).transpose()?;
        match length {
            _ if has_no_body => {}
            Some(length) => {
                ensure!(length <= BYTES_MAX, "{length} bytes are too many");
                message.body = vec![0; length];
                from.read_exact(&mut message.body)?;
            }
            None if is_request => {
                ensure!(message.header("transfer-encoding").is_none(), "a request in chunks")
            }
            None => drop(from.take(BYTES_MAX as u64).read_to_end(&mut message.body)?),
        }
        Ok(message)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let is_it =
            |line: &&String| line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
        self.head
            .iter()
            .skip(1)
            .find(is_it)
            .and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim())
    }

    fn remove(&mut self, name: &str) {
        self.head
            .retain(|line| line.split_once(':').is_none_or(|(found, _)| !found.eq_ignore_ascii_case(name)));
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.join("\r\n").into_bytes();
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were_but_for_what_is_removed() {
        let text = "PUT /b/k HTTP/1.1\r\nIf-None-Match: *\r\nContent-Length: 3\r\n\r\nabc";
        let mut message = Message::read(&mut text.as_bytes(), true, false).expect("it is whole");
        assert_eq!(message.bytes(), text.as_bytes());
        message.remove("if-none-match");
        assert_eq!(message.bytes(), text.replace("If-None-Match: *\r\n", "").as_bytes());
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(
            Message::read(&mut head.as_bytes(), false, true).expect("a head alone").bytes(),
            head.as_bytes()
        );
        assert!(Message::read(&mut "GET / HTTP/1.1\r\n".as_bytes(), true, false).is_err());
    }
}
