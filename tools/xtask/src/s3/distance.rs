//! A line to a server that is as long as one to another city: whatever is sent arrives some milliseconds later, as fast as before.
//!
//! Bytes go through as they are, so connections stay open and many are used at one time. Each way takes half of the time that a
//! request and its answer take longer.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Most bytes that are read at once.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces under way on one connection in one direction, at most.
const PIECES_MAX: usize = 1024;

/// A running line; it ends when dropped.
pub(crate) struct Distance {
    address: SocketAddr,
    is_ending: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Distance {
    /// Starts one on the loopback interface. A request that the server answers at once takes `latency` through it.
    pub(crate) fn start(server: SocketAddr, latency: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for the line to the server")?;
        let address = listener.local_addr()?;
        let is_ending = Arc::new(AtomicBool::new(false));
        let accepting = std::thread::spawn({
            let is_ending = Arc::clone(&is_ending);
            move || {
                for client in listener.incoming() {
                    if is_ending.load(Ordering::SeqCst) {
                        return;
                    }
                    if let Ok(client) = client {
                        std::thread::spawn(move || drop(connect(&client, server, latency / 2)));
                    }
                }
            }
        });
        Ok(Self { address, is_ending, accepting: Some(accepting) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Distance {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

/// Serves one connection until both sides have ended it.
fn connect(client: &TcpStream, server: SocketAddr, delay: Duration) -> Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let there = carry(client.try_clone()?, server.try_clone()?, delay);
    let back = carry(server, client.try_clone()?, delay);
    for side in [there, back].into_iter().flatten() {
        drop(side.join());
    }
    Ok(())
}

/// Starts to carry what comes from one side to the other; returns the threads.
fn carry(from: TcpStream, to: TcpStream, delay: Duration) -> [JoinHandle<()>; 2] {
    let (sender, receiver) = sync_channel(PIECES_MAX);
    [
        std::thread::spawn(move || drop(take(from, &sender, delay))),
        std::thread::spawn(move || {
            // A side that ended or broke off ends the other one in its turn.
            drop(give(&to, &receiver));
            drop(to.shutdown(Shutdown::Write));
        }),
    ]
}

/// What arrives, and when it is to be handed on.
type Piece = (Instant, Vec<u8>);

fn take(mut from: TcpStream, sender: &SyncSender<Piece>, delay: Duration) -> Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => sender.send((Instant::now() + delay, buffer[..length].to_vec()))?,
        }
    }
}

fn give(mut to: &TcpStream, receiver: &Receiver<Piece>) -> Result<()> {
    while let Ok((due, bytes)) = receiver.recv() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        to.write_all(&bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_through_is_late_and_whole() {
        let latency = Duration::from_millis(40);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let line = Distance::start(listener.local_addr().expect("an address"), latency).expect("it starts");
        let sent: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut server, _) = listener.accept().expect("a connection");
                let mut got = vec![0; sent.len()];
                server.read_exact(&mut got).expect("all of it");
                server.write_all(&got).expect("there is somebody");
            });
            let start = Instant::now();
            let mut client = TcpStream::connect(line.address()).expect("it listens");
            client.write_all(&sent).expect("it is taken");
            let mut got = vec![0; sent.len()];
            client.read_exact(&mut got).expect("all comes back");
            assert!(got == sent, "it is what was sent");
            assert!(start.elapsed() >= latency, "not earlier than that");
        });
    }
}
