//! Does this bucket keep what a pool needs? Tried on the bucket itself, with objects that go again.
//!
//! The one thing that everything hangs on is that a put under a taken name is refused, also when several come at one time: it is
//! what keeps two writers from destroying a pool. Some servers ignore the condition, and some look first and write then.

use std::time::Duration;

use bytes::Bytes;
use futures::future;
use offshoot_engine::object::ObjectStore;
use offshoot_engine::{Error, ErrorKind, Result};
use tokio::time::Instant;

use crate::BucketStore;

/// Where the objects are that a probe makes.
const PREFIX: &str = "probe";
/// Writers that race for a name.
const WRITERS: usize = 8;
/// Requests of which the time is taken.
const TIMED: usize = 10;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Five requests: conditions and ranges.
    Brief,
    /// Everything, with races for a few names. For a new pool.
    Whole,
    /// Everything, with races for many names, and times.
    Thorough,
}

/// What was found about one thing that a pool needs.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was tried, in a word or two.
    pub what: &'static str,
    /// A pool can live with it.
    pub good: bool,
    /// What was seen.
    pub found: String,
}

/// What was found about a bucket.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order of trying.
    pub findings: Vec<Finding>,
    /// Medians of a put and a read of 4 KiB.
    pub latency: Option<(Duration, Duration)>,
}

impl Report {
    /// What a pool cannot live with, in one line.
    pub fn unfit(&self) -> Option<String> {
        let bad: Vec<_> = self.findings.iter().filter(|finding| !finding.good).collect();
        let words = |finding: &&Finding| format!("{}: {}", finding.what, finding.found);
        (!bad.is_empty()).then(|| bad.iter().map(words).collect::<Vec<_>>().join("; "))
    }

    fn tell(&mut self, what: &'static str, wrong: Option<String>, good: impl Into<String>) {
        let finding = match wrong {
            None => Finding { what, good: true, found: good.into() },
            Some(found) => Finding { what, good: false, found },
        };
        self.findings.push(finding);
    }
}

impl BucketStore {
    /// Tries what a pool needs, below the prefix of its url. What it makes is deleted again.
    ///
    /// # Errors
    /// `Store` if the bucket cannot be reached or refuses; what it does wrongly is no error but a finding.
    pub async fn probe(&self, depth: Depth) -> Result<Report> {
        let place = format!("{PREFIX}/{:016x}", crate::store::random());
        let probed = self.probe_in(&place, depth).await;
        // Also what is left of a probe that failed. One that is killed leaves what it has: nobody else can tell it from one at work.
        let left = self.list(&format!("{place}/")).await.unwrap_or_default();
        let deleted = future::join_all(left.iter().map(|object| self.delete(&object.name))).await;
        let probed = probed?;
        deleted.into_iter().collect::<Result<()>>()?;
        Ok(probed)
    }

    async fn probe_in(&self, place: &str, depth: Depth) -> Result<Report> {
        let mut report = Report::default();
        let name = format!("{place}/a");
        self.put(&name, vec![Bytes::from_static(b"0123456789")]).await?;
        report.tell("a put of a taken name", self.put_again(&name).await?, "is refused and changes nothing");
        report.tell("ranges", self.ranges(&name).await?, "are read as asked for, also past the end");
        if depth != Depth::Brief {
            let rounds = if depth == Depth::Thorough { 25 } else { 5 };
            let good = format!("{WRITERS} for one name, {rounds} times: each time one put was carried out");
            report.tell("racing puts", self.races(place, rounds).await?, good);
            report.tell(
                "listings",
                self.listings(place).await?,
                "show what was put and not what was deleted",
            );
            report.tell("deletes", self.deletes(&name).await?, "free the name; of nothing they are no error");
        }
        if depth == Depth::Thorough {
            report.latency = Some(self.latency(place).await?);
        }
        Ok(report)
    }

    async fn put_again(&self, name: &str) -> Result<Option<String>> {
        let again = self.put(name, vec![Bytes::from_static(b"another")]).await;
        let there = self.get(name, 0, 100).await?;
        Ok(match (again, &there[..]) {
            (Err(error), b"0123456789") if error.kind() == ErrorKind::Exists => None,
            (Ok(()), b"0123456789") => Some("is answered as if it had been carried out".into()),
            (_, b"0123456789") => Some("is not refused as it should be".into()),
            _ => Some("overwrites what is there: the server ignores If-None-Match".into()),
        })
    }

    async fn ranges(&self, name: &str) -> Result<Option<String>> {
        for (offset, length, expected) in
            [(2, 3, "234"), (0, 1, "0"), (7, 100, "789"), (10, 5, ""), (50, 1, "")]
        {
            let got = match self.get(name, offset, length).await {
                Ok(got) => got,
                Err(error) => return Ok(Some(error.to_string())),
            };
            if got != expected.as_bytes() {
                return Ok(Some(format!("{length} bytes at {offset} of 10 gave {} others", got.len())));
            }
        }
        let size = self.size(name).await?;
        Ok((size != 10).then(|| format!("an object of 10 bytes has {size}")))
    }

    /// Several writers put different bytes under one name at one time.
    async fn races(&self, place: &str, rounds: usize) -> Result<Option<String>> {
        for round in 0..rounds {
            let name = format!("{place}/race-{round}");
            let body = |writer: usize| Bytes::from(vec![writer as u8; 1000]);
            let puts = (0..WRITERS).map(|writer| self.put(&name, vec![body(writer)]));
            let answers = future::join_all(puts).await;
            let winners: Vec<_> = (0..WRITERS).filter(|writer| answers[*writer].is_ok()).collect();
            if let Some(error) =
                answers.into_iter().filter_map(Result::err).find(|e| e.kind() != ErrorKind::Exists)
            {
                return Err(error);
            }
            let there = self.get(&name, 0, 2000).await?;
            match winners[..] {
                [winner] if there == body(winner) => {}
                [_] => {
                    return Ok(Some(format!(
                        "in round {round} the bytes of a writer are there that was refused"
                    )));
                }
                [] => return Ok(Some(format!("in round {round} all {WRITERS} writers were refused"))),
                _ => {
                    let words = format!(
                        "in round {round} the puts of {} of {WRITERS} writers were answered as carried out: the server \
                         looks first and writes then",
                        winners.len()
                    );
                    return Ok(Some(words));
                }
            }
        }
        Ok(None)
    }

    async fn listings(&self, place: &str) -> Result<Option<String>> {
        let directory = format!("{place}/list/");
        let names: Vec<_> =
            ["a", "b.0", "b/c", "bc"].iter().map(|name| format!("{directory}{name}")).collect();
        for (done, name) in names.iter().enumerate() {
            self.put(name, vec![Bytes::from_static(b"x")]).await?;
            let found = self.list(&directory).await?;
            if found.len() != done + 1 || found.iter().any(|object| object.size != 1) {
                return Ok(Some(format!("after {} puts {} objects are listed", done + 1, found.len())));
            }
        }
        let found: Vec<_> = self.list(&directory).await?.into_iter().map(|object| object.name).collect();
        if found != names {
            return Ok(Some("names are not listed as they were given".into()));
        }
        for (done, name) in names.iter().enumerate() {
            self.delete(name).await?;
            let left = self.list(&directory).await?.len();
            if left != names.len() - done - 1 {
                return Ok(Some(format!(
                    "{left} objects are listed when {} are left",
                    names.len() - done - 1
                )));
            }
        }
        Ok(None)
    }

    async fn deletes(&self, name: &str) -> Result<Option<String>> {
        self.delete(name).await?;
        match self.get(name, 0, 1).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Ok(_) => return Ok(Some("a deleted object can still be read".into())),
            Err(error) => return Err(error),
        }
        if let Err(error) = self.delete(name).await {
            return Ok(Some(format!("of nothing they fail: {error}")));
        }
        match self.put(name, vec![Bytes::from_static(b"anew")]).await {
            Err(error) if error.kind() == ErrorKind::Exists => {
                Ok(Some("the name of a deleted object stays taken".into()))
            }
            put => put.map(|()| None),
        }
    }

    async fn latency(&self, place: &str) -> Result<(Duration, Duration)> {
        let (mut puts, mut gets) = (Vec::new(), Vec::new());
        for number in 0..TIMED {
            let name = format!("{place}/timed-{number}");
            let began = Instant::now();
            self.put(&name, vec![Bytes::from(vec![0x5a; 4096])]).await?;
            puts.push(began.elapsed());
            let began = Instant::now();
            self.get(&name, 0, 4096).await?;
            gets.push(began.elapsed());
        }
        puts.sort_unstable();
        gets.sort_unstable();
        Ok((puts[TIMED / 2], gets[TIMED / 2]))
    }
}

/// The error of a bucket in which a pool would come to harm.
pub(crate) fn unfit(store: &BucketStore, words: &str) -> Error {
    let url = store.url();
    Error::new(
        ErrorKind::Invalid,
        format!(
            "the bucket of {url} does not keep what a pool needs, and data would be lost: {words}. `offshoot doctor --url {url}` \
             tells more; use another server, or set storage.accept_unfit_bucket if nothing of it matters to you"
        ),
    )
}

impl BucketStore {
    /// Refuses a bucket in which a pool would come to harm.
    ///
    /// # Errors
    /// `Invalid` with what is wrong; `Store` if the bucket cannot be reached or refuses.
    pub async fn require_fit(&self, depth: Depth) -> Result<()> {
        match self.probe(depth).await?.unfit() {
            None => Ok(()),
            Some(words) => Err(unfit(self, &words)),
        }
    }
}
