//! The API as programs meet it: plain HTTP on the socket and on TCP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;

use serde_json::{Value, json};

use crate::fixture::{Place, Ran, Server, offshoot, said, start, wait_until};

/// A user without any rights.
const NOBODY: u32 = 65_534;

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// It is a problem document of this kind.
    #[track_caller]
    fn problem(&self, status: u16, kind: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.head.contains("application/problem+json"), "{}", self.head);
        let document = self.json();
        assert_eq!((&document["kind"], &document["status"]), (&json!(kind), &json!(status)), "{document}");
        assert!(
            document["type"].is_string() && document["title"].is_string() && document["detail"].is_string()
        );
    }
}

fn exchange(mut stream: impl Read + Write, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    let mut bytes = Vec::new();
    // A server that refuses a body early reads no more of it, and cuts the connection after its answer.
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    Answer { status, head: head.to_owned(), body }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

impl Server {
    fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        exchange(UnixStream::connect(self.socket()).unwrap(), method, target, "", body)
    }
}

#[test]
fn requests_are_read_strictly() {
    let server = Server::up();
    server.write("a", "x");
    let made = server.ask("POST", "/api/v1/clone", r#"{"source":"/a","destination":"/b"}"#);
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(made.json()["attributes"]["size_bytes"], 1);
    let ask = |body: &str| server.ask("POST", "/api/v1/clone", body);
    ask(r#"{"source":"/a","destination":"/b"}"#).problem(409, "exists");
    ask(r#"{"source":"/a","destination":"/c","readonly":true}"#).problem(400, "bad_request");
    ask(r#"{"source":"/a"}"#).problem(400, "bad_request");
    ask(r#"{"source":"a","destination":"/c"}"#).problem(400, "bad_request");
    ask("{").problem(400, "bad_request");
    ask(r#"{"source":"/no","destination":"/c"}"#).problem(404, "not_found");
    ask(&format!("{{\"source\":\"{}\"}}", "x".repeat(2 << 20))).problem(413, "body_too_large");
    server.ask("GET", "/api/v1/info?path=/a&depth=1", "").problem(400, "bad_request");
    server.ask("GET", "/api/v1/info", "").problem(400, "bad_request");
    server.ask("GET", "/api/v1/nothing", "").problem(404, "no_such_endpoint");
    server.ask("PUT", "/api/v1/clone", "").problem(405, "method_not_allowed");
    server.ask("GET", "/api/v1/status", "{}").problem(400, "bad_request");
    server.ask("GET", "/api/v1/jobs/99", "").problem(404, "not_found");
    assert_eq!(server.ask("GET", "/api/v1/status", "").status, 200, "it is still well");
}

#[test]
fn the_server_tells_about_itself() {
    let server = Server::up();
    server.write("a", "x");
    assert_eq!(server.ask("GET", "/health", "").body, "ok\n");
    assert_eq!(server.ask("GET", "/ready", "").status, 200);
    let metrics = server.ask("GET", "/metrics", "");
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{}", metrics.head);
    for name in
        ["offshoot_mutations_total", "offshoot_up 1", "offshoot_memory_bytes", "# TYPE offshoot_files gauge"]
    {
        assert!(metrics.body.contains(name), "{name} is missing in {}", metrics.body);
    }
    let document = server.ask("GET", "/api/openapi.json", "").json();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // A documented endpoint exists: it may refuse the question, but not because there is none.
            let target = path.replace("{id}", "1");
            let answer = server.ask(&method.to_uppercase(), &target, "");
            let kind = if answer.status == 200 { Value::Null } else { answer.json()["kind"].clone() };
            assert!(
                kind != "no_such_endpoint" && kind != "method_not_allowed",
                "{method} {path}: {operation}"
            );
        }
    }
}

#[test]
fn jobs_have_ids_progress_and_results() {
    let server = Server::up();
    server.write("data/a", "x");
    let job = server.ask("POST", "/api/v1/jobs", r#"{"kind":"check"}"#);
    assert_eq!(job.status, 202, "{}", job.body);
    let id = job.json()["id"].as_u64().unwrap();
    let progress = server.ask("GET", &format!("/api/v1/jobs/{id}/progress"), "");
    let last: Value = serde_json::from_str(progress.body.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["state"], &last["result"]["report"]["sound"]),
        (&json!("done"), &json!(true)),
        "{last}"
    );
    let usage = server.ask("POST", "/api/v1/jobs", r#"{"kind":"usage","path":"/data"}"#).json()["id"]
        .as_u64()
        .unwrap();
    let done = wait_until("the job ends", || {
        let job = server.ask("GET", &format!("/api/v1/jobs/{usage}"), "").json();
        (job["state"] != "running").then_some(job)
    });
    assert_eq!(done["result"]["usage"]["files"], 1);
    let list = server.ask("GET", "/api/v1/jobs", "").json();
    assert_eq!(list["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(
        server.ask("DELETE", &format!("/api/v1/jobs/{id}"), "").json()["state"],
        "done",
        "too late to cancel"
    );
    server.ask("POST", "/api/v1/jobs", r#"{"kind":"usage"}"#).problem(400, "bad_request");
    server.ask("POST", "/api/v1/jobs", r#"{"kind":"check","path":"/"}"#).problem(400, "bad_request");
    server.ask("POST", "/api/v1/jobs", r#"{"kind":"dance"}"#).problem(400, "bad_request");
}

#[test]
fn a_scrub_knows_how_much_it_has_to_read() {
    let server = Server::up();
    server.write("data/a", vec![7; 100_000]);
    let job = server.ask("POST", "/api/v1/jobs", r#"{"kind":"scrub"}"#).json();
    let total = job["progress"]["total"].as_u64();
    assert!(total.is_some_and(|total| total > 0), "{job}");
    let job = server.ask("POST", "/api/v1/jobs", r#"{"kind":"check"}"#).json();
    assert!(job["progress"]["total"].is_null(), "a check reads nodes alone, which nothing counts: {job}");
}

#[test]
fn head_is_known_wherever_get_is() {
    let server = Server::up();
    server.write("a", "x");
    for target in ["/health", "/ready", "/api/openapi.json", "/api/v1/info?path=/a", "/api/v1/nothing"] {
        let (got, head) = (server.ask("GET", target, ""), server.ask("HEAD", target, ""));
        assert_eq!((head.status, head.body.as_str()), (got.status, ""), "{target}");
        let fields = |answer: &Answer| -> Vec<String> {
            answer.head.lines().skip(1).filter(|line| !line.starts_with("date:")).map(str::to_owned).collect()
        };
        assert_eq!(fields(&head), fields(&got), "{target}");
    }
    let head = server.ask("HEAD", "/api/v1/content?path=/a", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    server.ask("POST", "/health", "").problem(405, "method_not_allowed");
    assert_eq!(server.ask("HEAD", "/api/v1/clone", "").status, 405);
    let allowed = |target: &str| {
        let answer = server.ask("PUT", target, "");
        answer.problem(405, "method_not_allowed");
        let line = answer.head.lines().find_map(|line| line.strip_prefix("allow: ").map(str::to_owned));
        line.unwrap_or_else(|| panic!("no Allow: {}", answer.head))
    };
    assert_eq!(allowed("/api/v1/clone"), "POST");
    assert_eq!(allowed("/health"), "GET, HEAD");
    assert_eq!(allowed("/api/v1/snapshots"), "GET, HEAD, POST, DELETE");
}

#[test]
fn diff_is_told_line_by_line() {
    let server = Server::up();
    server.write("one/a", "x");
    server.write("two/b", "x");
    let answer = server.ask("GET", "/api/v1/diff?first=/one&second=/two", "");
    assert!(answer.head.contains("application/x-ndjson"), "{}", answer.head);
    let lines: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["end"]["differences"], lines.len() as u64 - 1);
    let paths: Vec<_> = lines.iter().filter_map(|line| line["difference"]["path"].as_str()).collect();
    assert!(paths.contains(&"a") && paths.contains(&"b"), "{paths:?}");
}

#[test]
fn on_tcp_only_the_token_opens() {
    let place = Place::new();
    let token = "a-token-of-more-than-24-characters";
    std::fs::write(place.join("token"), format!("{token}\n")).unwrap();
    // Find a free port; nobody else on this machine's loopback is likely to take it at once.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!(
        "[storage]\nurl = \"memory:\"\n[control]\nsocket = \"{0}/x.sock\"\naddresses = [\"127.0.0.1:{port}\"]\ntoken_file = \"{0}/token\"\n",
        place.path().display()
    );
    std::fs::write(place.join("x.toml"), text).unwrap();
    let _server = start(&place, &["run", "-c", "x.toml"]);
    wait_until("it serves", || said(&place).contains("Serving").then_some(()));
    let ask = |target: &str, header: &str| {
        exchange(TcpStream::connect(("127.0.0.1", port)).unwrap(), "GET", target, header, "")
    };
    ask("/api/v1/status", "").problem(401, "unauthorized");
    ask("/api/v1/status", "authorization: Bearer wrong\r\n").problem(401, "unauthorized");
    ask("/api/v1/nothing", "").problem(401, "unauthorized");
    ask("/metrics", "").problem(401, "unauthorized");
    assert_eq!(ask("/health", "").status, 200);
    assert_eq!(ask("/api/v1/status", &format!("authorization: Bearer {token}\r\n")).status, 200);

    let address = format!("http://127.0.0.1:{port}");
    Ran::of(offshoot().args(["--server", &address, "status"])).failed(1, &["--token-file"]);
    Ran::of(offshoot().args(["--server", &address, "--token-file"]).arg(place.join("token")).arg("gc"))
        .done();
}

#[test]
fn a_short_token_is_refused_at_start() {
    let place = Place::new();
    std::fs::write(place.join("token"), "short").unwrap();
    let text = format!(
        "[storage]\nurl = \"memory:\"\n[control]\nsocket = \"{0}/x.sock\"\naddresses = [\"127.0.0.1:0\"]\ntoken_file = \"{0}/token\"\n",
        place.path().display()
    );
    std::fs::write(place.join("x.toml"), text).unwrap();
    let ran = Ran::of(offshoot().current_dir(place.path()).args(["run", "-c", "x.toml"]));
    ran.failed(2, &["token", "at least 24"]);
}

#[test]
fn on_the_socket_the_user_decides() {
    assert!(rustix::process::geteuid().is_root(), "this test acts as another user, which needs root");
    let server = Server::up();
    server.write("secret/file", "x");
    server.write("public/file", "x");
    let pool = server.pool();
    use std::os::unix::fs::{PermissionsExt, chown};
    std::fs::set_permissions(pool.join("secret"), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::create_dir(pool.join("theirs")).unwrap();
    chown(pool.join("theirs"), Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(server.place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = format!("unix:{}", server.socket().display());
    // The program itself may lie where this user cannot go.
    let program = server.place.join("offshoot");
    std::fs::copy(env!("CARGO_BIN_EXE_offshoot"), &program).unwrap();
    let nobody = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command
            .env_clear()
            .args(["--server", &socket])
            .args(arguments)
            .uid(NOBODY)
            .gid(NOBODY)
            .current_dir("/");
        Ran::of(&mut command)
    };
    nobody(&["status"]).done();
    nobody(&["ls", "/public"]).done();
    std::fs::write(pool.join("theirs/file"), "x").unwrap();
    chown(pool.join("theirs/file"), Some(NOBODY), Some(NOBODY)).unwrap();
    nobody(&["clone", "/theirs/file", "/theirs/copy"]).done();
    assert_eq!(server.read("theirs/copy"), "x");
    nobody(&["clone", "/public/file", "/theirs/not"]).failed(1, &["only its owner"]);
    nobody(&["clone", "/theirs/file", "/public/not"]).failed(1, &["cannot clone"]);
    nobody(&["rm", "/theirs/copy"]).done();
    nobody(&["ls", "/secret"]).failed(1, &["cannot list /secret"]);
    nobody(&["info", "/secret/file"]).failed(1, &["permission denied"]);
    nobody(&["du", "/secret"]).failed(1, &["permission denied"]);
    nobody(&["diff", "/secret", "/public"]).failed(1, &["permission denied"]);
    nobody(&["clone", "/public", "/copy"]).failed(1, &["cannot clone /public to /copy"]);
    nobody(&["rm", "-r", "/public"]).failed(1, &["cannot remove /public"]);
    nobody(&["snapshot", "/public"]).failed(1, &["only root or the server's own user"]);
    nobody(&["gc"]).failed(1, &["root or the server's own user"]);
    nobody(&["mount", "/tmp"]).failed(
        1,
        &["only root or the server's own user may do this: mount the pool on the server's machine"],
    );
    // Comparing trees that both can be read tells nothing of what is closed inside them.
    server.write("outer/closed/name", "x");
    server.write("outer/open/name", "x");
    std::fs::create_dir(pool.join("empty")).unwrap();
    std::fs::set_permissions(pool.join("outer/closed"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let ran = nobody(&["diff", "/empty", "/outer"]).done();
    assert!(ran.out.contains("closed/") && !ran.out.contains("closed/name"), "{ran:?}");
}
