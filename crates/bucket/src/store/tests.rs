//! The store over a bucket in memory on which chosen requests go wrong, and over HTTP with a server that says what it is told to.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use futures::executor::block_on;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutResult,
};
use parking_lot::Mutex;

use super::*;
use crate::http::Refused;
use crate::{Depth, Options};

/// What happens to the next put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It is carried out, and its answer is lost.
    AnswerLost,
    /// Nothing is done.
    Lost,
    /// It overwrites.
    Unconditional,
}

/// A bucket in memory with trouble.
#[derive(Debug, Default)]
struct Bucket {
    memory: InMemory,
    troubles: Mutex<VecDeque<Trouble>>,
    always: Mutex<Option<Trouble>>,
    /// Gets whose answer ends too early.
    short: Mutex<usize>,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bucket with trouble")
    }
}

fn broken() -> object_store::Error {
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let source =
        object_store::client::HttpError::new(object_store::client::HttpErrorKind::Interrupted, reset);
    object_store::Error::Generic { store: "test", source: Box::new(source) }
}

/// As servers say it.
fn past_the_end() -> object_store::Error {
    let refused = Refused {
        status: 416,
        code: "InvalidRange".into(),
        message: String::new(),
        region: None,
        date: None,
    };
    let source = object_store::client::HttpError::new(object_store::client::HttpErrorKind::Unknown, refused);
    object_store::Error::Generic { store: "test", source: Box::new(source) }
}

#[async_trait]
impl Client for Bucket {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let trouble = self.troubles.lock().pop_front().or(*self.always.lock());
        match trouble {
            None => self.memory.put_opts(location, payload, options).await,
            Some(Trouble::Lost) => Err(broken()),
            Some(Trouble::AnswerLost) => {
                self.memory.put_opts(location, payload, options).await?;
                Err(broken())
            }
            Some(Trouble::Unconditional) => {
                let options = PutOptions { mode: PutMode::Overwrite, ..options };
                self.memory.put_opts(location, payload, options).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        if let Some(GetRange::Bounded(range)) = &options.range
            && range.start >= self.memory.head(location).await?.size
        {
            return Err(past_the_end());
        }
        let mut answer = self.memory.get_opts(location, options).await?;
        let mut short = self.short.lock();
        if *short > 0 {
            *short -= 1;
            answer.range.end += 1;
        }
        Ok(answer)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.memory.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.memory.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

struct World {
    bucket: Arc<Bucket>,
    store: BucketStore,
}

/// A runtime on a thread of its own, as the server has one, for as long as the tests run.
fn runtime() -> Handle {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

fn impatient(url: &str) -> BucketSettings {
    BucketSettings {
        request_timeout: Duration::from_millis(500),
        retry_timeout: Duration::from_millis(1500),
        ..BucketSettings::new(url.parse().unwrap())
    }
}

impl World {
    fn new(url: &str) -> Self {
        let bucket = Arc::new(Bucket::default());
        let client: Arc<dyn Client> = bucket.clone();
        let store = BucketStore::over(client, &impatient(url), runtime());
        Self { bucket, store }
    }

    fn put(&self, name: &str, bytes: &'static [u8]) -> Result<()> {
        block_on(self.store.put(name, vec![Bytes::from_static(bytes)]))
    }

    fn get(&self, name: &str) -> Bytes {
        block_on(self.store.get(name, 0, u64::MAX)).unwrap()
    }

    fn counter(&self, name: &str) -> u64 {
        self.store.counters().into_iter().find(|(other, ..)| *other == name).unwrap().2
    }
}

fn kind<T: fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn objects_are_kept_as_the_engine_wants_them() {
    for url in ["s3://b/a/pool", "s3://b"] {
        let world = World::new(url);
        world.put("segments/1", b"0123456789").unwrap();
        assert_eq!(kind(world.put("segments/1", b"other")), ErrorKind::Exists);
        let get = |offset, length| block_on(world.store.get("segments/1", offset, length));
        assert_eq!(get(0, u64::MAX).unwrap(), "0123456789");
        assert_eq!(get(3, u64::MAX).unwrap(), "3456789");
        assert_eq!(get(3, 2).unwrap(), "34");
        assert_eq!(get(8, 100).unwrap(), "89");
        assert_eq!(get(3, 0).unwrap(), "");
        assert_eq!(block_on(world.store.size("segments/1")).unwrap(), 10);
        assert_eq!(kind(block_on(world.store.get("segments/2", 0, 1))), ErrorKind::NotFound);
        assert_eq!(kind(block_on(world.store.get("segments/2", 0, 0))), ErrorKind::NotFound);
        world.put("segments/10", b"").unwrap();
        world.put("segments-other", b"x").unwrap();
        let names = |prefix| -> Vec<String> {
            block_on(world.store.list(prefix)).unwrap().into_iter().map(|object| object.name).collect()
        };
        assert_eq!(names("segments/"), ["segments/1", "segments/10"]);
        assert_eq!(names("segments/10"), ["segments/10"]);
        assert_eq!(names("seg"), ["segments-other", "segments/1", "segments/10"]);
        assert_eq!(names("").len(), 3);
        block_on(world.store.delete("segments/1")).unwrap();
        block_on(world.store.delete("segments/1")).unwrap();
        assert_eq!(names("segments/"), ["segments/10"]);
    }
}

/// The second attempt meets the object of the first. It was told as another writer's.
#[test]
fn a_put_whose_answer_was_lost_is_found_again() {
    let world = World::new("s3://b/p");
    world.bucket.troubles.lock().extend([Trouble::AnswerLost]);
    world.put("m/1", b"mine").unwrap();
    assert_eq!(world.get("m/1"), "mine");
    assert_eq!((world.counter("bucket_puts_found"), world.counter("bucket_retries")), (1, 1));
}

/// Two machines may begin with the very same manifest. Whose it is tells the number beside it.
#[test]
fn an_object_of_the_same_bytes_is_another_writers_all_the_same() {
    let world = World::new("s3://b/p");
    world.put("m/1", b"same").unwrap();
    world.bucket.troubles.lock().extend([Trouble::Lost, Trouble::Lost]);
    assert_eq!(kind(world.put("m/1", b"same")), ErrorKind::Exists);
    assert_eq!(world.counter("bucket_puts_found"), 0);
}

#[test]
fn what_goes_wrong_for_long_is_given_up_with_words() {
    let world = World::new("s3://b/p");
    *world.bucket.always.lock() = Some(Trouble::Lost);
    let error = world.put("m/1", b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    let words = error.to_string();
    assert!(
        words.contains("cannot put the object m/1 into s3://b/p") && words.contains("given up"),
        "{words}"
    );
    assert_eq!(world.counter("bucket_failures"), 1);
}

#[test]
fn an_answer_that_is_too_short_is_asked_for_again() {
    let world = World::new("s3://b/p");
    world.put("m/1", b"whole").unwrap();
    *world.bucket.short.lock() = 2;
    assert_eq!(world.get("m/1"), "whole");
    assert_eq!(world.counter("bucket_retries"), 2);
}

#[test]
fn a_probe_finds_a_sound_bucket_sound_and_leaves_nothing() {
    for depth in [Depth::Brief, Depth::Whole, Depth::Thorough] {
        let world = World::new("s3://b/p");
        let report = block_on(world.store.probe(depth)).unwrap();
        assert_eq!(report.unfit(), None, "{report:?}");
        assert_eq!(report.latency.is_some(), depth == Depth::Thorough);
        assert_eq!(block_on(world.store.list("")).unwrap(), []);
        block_on(world.store.require_fit(depth)).unwrap();
    }
}

#[test]
fn a_bucket_that_ignores_conditions_is_found_out() {
    for depth in [Depth::Brief, Depth::Whole] {
        let world = World::new("s3://b/p");
        *world.bucket.always.lock() = Some(Trouble::Unconditional);
        let error = block_on(world.store.require_fit(depth)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("ignores If-None-Match"), "{error}");
        assert_eq!(block_on(world.store.list("")).unwrap(), []);
    }
}

/// A server on the loopback interface that gives these answers, one after the other, and hands out what it was asked.
fn server(answers: Vec<String>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let _ = asked.send(head);
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    (address, requests)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

fn over_http(answers: Vec<String>) -> (BucketStore, mpsc::Receiver<String>) {
    let (address, requests) = server(answers);
    let options =
        [("endpoint", address.as_str()), ("access_key_id", "key"), ("secret_access_key", "hunter2")];
    let options = Options(options.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
    let settings = BucketSettings { options, ..impatient("s3://bucket/pool") };
    (BucketStore::new(&settings, runtime()).unwrap(), requests)
}

#[test]
fn a_conflict_of_two_puts_is_no_taken_name() {
    let conflict = "<Error><Code>ConditionalRequestConflict</Code><Message>m</Message></Error>";
    let (store, requests) = over_http(vec![
        answer("503 Slow Down", "", "<Error><Code>SlowDown</Code></Error>"),
        answer("409 Conflict", "", conflict),
        answer("200 OK", "etag: \"1\"\r\n", ""),
    ]);
    block_on(store.put("m/1", vec![Bytes::from_static(b"x")])).unwrap();
    let heads: Vec<String> = requests.iter().collect();
    assert_eq!(heads.len(), 3);
    assert!(heads.iter().all(|head| head.starts_with("PUT /bucket/pool/m/1 ")), "{heads:?}");
    assert!(heads.iter().all(|head| head.to_ascii_lowercase().contains("if-none-match: *")), "{heads:?}");
}

#[test]
fn a_name_that_was_taken_by_another_is_told_so() {
    let headers =
        "x-amz-meta-put: another\r\netag: \"1\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    let (store, requests) =
        over_http(vec![answer("412 Precondition Failed", "", ""), answer("200 OK", headers, "")]);
    assert_eq!(kind(block_on(store.put("m/1", vec![Bytes::from_static(b"x")]))), ErrorKind::Exists);
    assert_eq!(requests.iter().count(), 2);
}

#[test]
fn refusals_are_told_and_not_repeated() {
    for (status, code, words) in [
        ("403 Forbidden", "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("404 Not Found", "NoSuchBucket", "there is no bucket bucket"),
        ("403 Forbidden", "RequestTimeTooSkewed", "NTP"),
    ] {
        let body = format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
        let (store, requests) = over_http(vec![answer(status, "", &body)]);
        let error = block_on(store.get("m/1", 0, 10)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.to_string().contains(words) && !error.to_string().contains("hunter2"), "{error}");
        assert_eq!(requests.iter().count(), 1);
    }
}

#[test]
fn a_body_that_breaks_off_is_read_again_and_past_the_end_is_nothing() {
    let headers =
        "content-range: bytes 2-5/10\r\netag: \"1\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    let whole = answer("206 Partial Content", headers, "2345");
    let cut = whole[..whole.len() - 2].to_owned();
    let past = "<Error><Code>InvalidRange</Code></Error>";
    let (store, _requests) =
        over_http(vec![cut, whole, answer("416 Requested Range Not Satisfiable", "", past)]);
    assert_eq!(block_on(store.get("m/1", 2, 4)).unwrap(), "2345");
    assert_eq!(block_on(store.get("m/1", 20, 4)).unwrap(), "");
}
