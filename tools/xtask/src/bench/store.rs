//! A pool in a bucket that is 30 milliseconds away, against what the same requests take that move the same bytes and nothing else.
//!
//! The server is Ceph's gateway on this machine, behind a line that delays ([`Distance`]). Every sync is one in the bucket
//! (`durability = "store"`). The other side are plain objects, put and got by the client that the pool uses.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::StreamExt;
use offshoot_bucket::{BucketSettings, BucketStore, BucketUrl};
use offshoot_engine::object::ObjectStore;
use tokio::runtime::Runtime;

use super::files::create_files;
use super::randomio::write_file;
use super::row::{Goal, Row, bytes, count, seconds, throughput};
use super::sequential::read_file;
use super::{Bench, drop_caches, median, timed};
use crate::place::Place;
use crate::program;
use crate::s3::{BUCKET, Ceph, Distance, REGION, make_bucket, write_settings};
use crate::server::Server;

/// What a request takes longer than on this machine alone.
const LATENCY: Duration = Duration::from_millis(30);
const LIMIT: Duration = Duration::from_secs(900);
/// Plain objects have this many bytes.
const OBJECT_BYTES: u64 = 8 << 20;
/// Plain requests at one time.
const PARALLEL: usize = 16;

pub(super) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new("bench-store")?;
    crate::install::packages(Ceph::PACKAGES)?;
    let ceph = Ceph::start(&place)?;
    make_bucket(ceph.address(), &Ceph::account())?;
    let line = Distance::start(ceph.address(), LATENCY)?;
    let stand = Stand { bench, place: &place, plain: Plain::new(&line)?, line: &line };
    let mut rows = vec![Row::alone("latency of the line", seconds(LATENCY), Goal::None)];
    rows.extend(stand.syncs().context("syncs")?);
    rows.extend(stand.sequential().context("one large file")?);
    rows.push(stand.walk().context("a walk")?);
    rows.extend(stand.clone().context("a clone")?);
    rows.push(stand.untar().context("small files")?);
    rows.extend(stand.churn().context("churn")?);
    Ok(rows)
}

/// The bucket without a pool.
struct Plain {
    runtime: Runtime,
    store: BucketStore,
}

impl Plain {
    fn new(line: &Distance) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let store = store_at(line, "plain", &runtime)?;
        Ok(Self { runtime, store })
    }

    /// What one put of so many bytes takes, in the middle.
    fn put_time(&self, length: usize, times: usize) -> Result<Duration> {
        let mut found = Vec::with_capacity(times);
        for number in 0..times {
            let content = vec![Bytes::from(vec![number as u8; length])];
            let name = format!("one/{length}-{number}");
            found.push(timed(|| Ok(self.runtime.block_on(self.store.put(&name, content))?))?.0);
        }
        Ok(median(found))
    }

    /// Puts so many bytes in objects, several at a time.
    fn put_all(&self, size: u64) -> Result<()> {
        let content = Bytes::from(noise(OBJECT_BYTES as usize));
        let puts = futures::stream::iter(0..size / OBJECT_BYTES).map(|number| {
            let content = vec![content.clone()];
            async move { self.store.put(&format!("many/{number}"), content).await }
        });
        let done: Vec<_> = self.runtime.block_on(puts.buffer_unordered(PARALLEL).collect());
        done.into_iter().try_for_each(|put| Ok(put?))
    }

    /// Gets what [`Plain::put_all`] put.
    fn get_all(&self, size: u64) -> Result<()> {
        let gets = futures::stream::iter(0..size / OBJECT_BYTES).map(|number| async move {
            self.store.get(&format!("many/{number}"), 0, OBJECT_BYTES).await.map(|got| got.len() as u64)
        });
        let got: Vec<_> = self.runtime.block_on(gets.buffer_unordered(PARALLEL).collect());
        let lengths: Vec<u64> = got.into_iter().collect::<Result<_, _>>()?;
        ensure!(lengths.iter().sum::<u64>() == size, "not all came back");
        Ok(())
    }
}

/// The bucket below a prefix.
fn store_at(line: &Distance, prefix: &str, runtime: &Runtime) -> Result<BucketStore> {
    let url: BucketUrl = format!("s3://{BUCKET}/{prefix}").parse()?;
    let mut settings = BucketSettings::new(url);
    let account = Ceph::account();
    let options = [
        ("endpoint", format!("http://{}", line.address())),
        ("region", REGION.to_owned()),
        ("access_key_id", account.key),
        ("secret_access_key", account.secret),
    ];
    settings.options.0 = options.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Ok(BucketStore::new(&settings, runtime.handle().clone())?)
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut content = vec![0; length];
    fastrand::Rng::with_seed(length as u64).fill(&mut content);
    content
}

struct Stand<'a> {
    bench: &'a Bench,
    place: &'a Place,
    line: &'a Distance,
    plain: Plain,
}

/// Requests that a server has made.
#[derive(Clone, Copy)]
struct Requests {
    puts: u64,
    gets: u64,
}

impl Stand<'_> {
    /// A place whose settings serve the bucket below `name`.
    fn home(&self, name: &str) -> Result<PathBuf> {
        let home = self.place.join(name);
        let endpoint = format!("http://{}", self.line.address());
        write_settings(&home, name, &endpoint, &Ceph::account(), "durability = \"store\"")?;
        Ok(home)
    }

    fn serve(&self, home: &Path) -> Result<Server> {
        Server::start(&self.bench.binary, home)
    }

    /// Stops the server and starts it again with nothing in any cache, that on the disk too.
    fn serve_cold(&self, server: Server, home: &Path) -> Result<Server> {
        server.stop()?;
        std::fs::remove_dir_all(home.join("data"))?;
        drop_caches()?;
        self.serve(home)
    }

    /// One sync after the other, and a hundred at one time.
    fn syncs(&self) -> Result<Vec<Row>> {
        let home = self.home("syncs")?;
        let server = self.serve(&home)?;
        let times = self.bench.size(60, 10);
        let one = self.plain.put_time(4096, times)?;
        let mut file = File::create(server.mount().join("one"))?;
        let content = noise(4096);
        let mut ours = Vec::with_capacity(times);
        for _ in 0..times {
            ours.push(timed(|| Ok(file.write_all(&content).and_then(|()| file.sync_all())?))?.0);
        }
        let mut together = Vec::new();
        for round in 0..5 {
            together.push(at_one_time(server.mount(), round, 100, &content)?);
        }
        server.stop()?;
        let name = "one put of 4 KiB";
        let (one, ours, together) = (seconds(one), seconds(median(ours)), seconds(median(together)));
        Ok(vec![
            Row::against("write 4 KiB and fsync, median", ours, name, one, Goal::RatioAtMost(1.2)),
            Row::against("100 of them at one time, all", together, name, one, Goal::RatioAtMost(2.0)),
        ])
    }

    /// Written with a sync at the end, and read back cold.
    fn sequential(&self) -> Result<Vec<Row>> {
        let size: u64 = self.bench.size(1 << 30, 1 << 27);
        let home = self.home("sequential")?;
        let server = self.serve(&home)?;
        let (their_write, ()) = timed(|| self.plain.put_all(size))?;
        let (our_write, ()) = timed(|| write_file(&server.mount().join("file"), size))?;
        let server = self.serve_cold(server, &home)?;
        let (their_read, ()) = timed(|| self.plain.get_all(size))?;
        let (our_read, ()) = timed(|| read_file(&server.mount().join("file"), size))?;
        server.stop()?;
        let row = |what: &str, ours, other: &str, theirs| {
            let what = format!("{what} {} MiB that do not compress", size >> 20);
            Row::against(
                what,
                throughput(size, ours),
                other,
                throughput(size, theirs),
                Goal::RatioAtLeast(0.7),
            )
        };
        Ok(vec![
            row("write and fsync", our_write, "16 puts of 8 MiB at a time", their_write),
            row("read, nothing cached,", our_read, "16 gets of 8 MiB at a time", their_read),
        ])
    }

    /// `find -ls` over a tree of which nothing is cached.
    fn walk(&self) -> Result<Row> {
        let files = self.bench.size(100_000, 10_000);
        let home = self.home("walk")?;
        let server = self.serve(&home)?;
        let tree = server.mount().join("tree");
        std::fs::create_dir(&tree)?;
        create_files(&tree, files, 100)?;
        let server = self.serve_cold(server, &home)?;
        let before = requests(&server)?;
        let mut find = Command::new("find");
        program::output(find.arg(server.mount().join("tree")).arg("-ls"), LIMIT)?;
        let gets = requests(&server)?.gets - before.gets;
        server.stop()?;
        let what = format!("gets of `find -ls` over {files} files, nothing cached");
        Ok(Row::alone(what, count(gets as f64), Goal::AtMost(300.0)))
    }

    /// A tree cloned by one command, which returns when the clone is durable.
    fn clone(&self) -> Result<Vec<Row>> {
        let files = self.bench.size(1_000_000, 10_000);
        let home = self.home("clone")?;
        let server = self.serve(&home)?;
        let tree = server.mount().join("tree");
        std::fs::create_dir(&tree)?;
        create_files(&tree, files, 0)?;
        rustix::fs::syncfs(File::open(&tree)?)?;
        let (mut times, mut puts) = (Vec::new(), Vec::new());
        for round in 0..5 {
            wait_for_quiet(&server)?;
            let before = requests(&server)?;
            times.push(timed(|| server.clone_path("/tree", &format!("/clone-{round}")))?.0);
            puts.push(requests(&server)?.puts - before.puts);
        }
        puts.sort_unstable();
        let one = seconds(self.plain.put_time(4096, 20)?);
        server.stop()?;
        let what = format!("clone of {files} files, durable");
        let ours = seconds(median(times));
        Ok(vec![
            Row::alone(format!("puts of a {what}"), count(puts[puts.len() / 2] as f64), Goal::AtMost(1.0)),
            Row::against(what, ours, "one put of 4 KiB", one, Goal::RatioAtMost(1.3)),
        ])
    }

    /// An archive of many small files, unpacked and synced once.
    fn untar(&self) -> Result<Row> {
        let files = self.bench.size(10_000, 1_000);
        let source = self.place.join("source");
        std::fs::create_dir(&source)?;
        create_files(&source, files, 2_000)?;
        let archive = self.place.join("source.tar");
        program::output(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&source).arg("."), LIMIT)?;
        let home = self.home("untar")?;
        let server = self.serve(&home)?;
        let into = server.mount().join("into");
        std::fs::create_dir(&into)?;
        let before = requests(&server)?;
        program::output(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&into), LIMIT)?;
        rustix::fs::syncfs(File::open(&into)?)?;
        let puts = requests(&server)?.puts - before.puts;
        server.stop()?;
        let what = format!("puts of untar of {files} files of 2 kB, synced");
        Ok(Row::alone(what, count(puts as f64), Goal::AtMost(60.0)))
    }

    /// Files written, overwritten and removed again and again; then what the bucket holds against what is left alive.
    fn churn(&self) -> Result<Vec<Row>> {
        let rounds: u64 = self.bench.size(10, 3);
        let home = self.home("churn")?;
        let server = self.serve(&home)?;
        for round in 0..rounds {
            for number in 0..20_u64 {
                write_file(&server.mount().join(format!("f{number}")), (1 + (number + round) % 4) << 20)?;
            }
            for number in (round % 3..20).step_by(3) {
                std::fs::remove_file(server.mount().join(format!("f{number}")))?;
            }
        }
        for _ in 0..3 {
            server.offshoot(&["gc"])?;
        }
        let status = status(&server)?;
        let figure =
            |name: &str| status[name].as_f64().with_context(|| format!("status has no {name}: {status}"));
        let (stored, live) = (figure("stored_bytes")?, figure("live_bytes")?);
        server.stop()?;
        let runtime = &self.plain.runtime;
        let listed = runtime.block_on(store_at(self.line, "churn", runtime)?.list(""))?;
        let in_bucket: u64 = listed.iter().map(|object| object.size).sum();
        let name = "its live bytes, compressed";
        Ok(vec![
            Row::against(
                "segments after churn and gc",
                bytes(stored),
                name,
                bytes(live),
                Goal::RatioAtMost(1.3),
            ),
            Row::against(
                "everything in the bucket",
                bytes(in_bucket as f64),
                name,
                bytes(live),
                Goal::RatioAtMost(1.3),
            ),
        ])
    }
}

/// How long it takes until so many threads have each written a file of their own and synced it.
fn at_one_time(mount: &Path, round: usize, threads: usize, content: &[u8]) -> Result<Duration> {
    let files: Vec<File> = (0..threads)
        .map(|number| File::create(mount.join(format!("at-{round}-{number}"))))
        .collect::<Result<_, _>>()?;
    let ready = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = files
            .iter()
            .map(|mut file| {
                let ready = &ready;
                scope.spawn(move || {
                    ready.wait();
                    file.write_all(content).and_then(|()| file.sync_all())
                })
            })
            .collect();
        ready.wait();
        let start = Instant::now();
        for thread in waiting {
            thread.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))??;
        }
        Ok(start.elapsed())
    })
}

fn status(server: &Server) -> Result<serde_json::Value> {
    Ok(serde_json::from_str(&server.offshoot(&["status", "--json"])?)?)
}

fn requests(server: &Server) -> Result<Requests> {
    let status = status(server)?;
    let figure = |name: &str| {
        let found = status["counters"][name].as_u64().or_else(|| status[name].as_u64());
        found.with_context(|| format!("status has no {name}: {status}"))
    };
    Ok(Requests { puts: figure("bucket_puts")?, gets: figure("bucket_gets")? })
}

/// Waits until the server has put nothing for a second.
fn wait_for_quiet(server: &Server) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let mut last = None;
    loop {
        let puts = requests(server)?.puts;
        if last.replace(puts) == Some(puts) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the server does not come to rest");
        std::thread::sleep(Duration::from_secs(1));
    }
}
