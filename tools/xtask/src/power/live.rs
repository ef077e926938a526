//! Disks that fail under a running server: at once and for ever, for a few writes or flushes, or by not answering.
//!
//! Whatever is acknowledged then, also to programs that try again after an error, must be on the disk: after the failure
//! everything that was not flushed is taken away, and the pool must come back with all of it. A server whose disk fails
//! for good must say so.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;

use super::disk::{self, Disk, Fault};
use super::recording::{Cut, Medium};
use super::{DISK_BYTES, Kept, Outcome, restart};
use crate::place::Place;
use crate::promise::{Round, World};
use crate::server::Server;

/// Exit code of a server that has stopped because its pool did.
const STOPPED: i32 = 11;
/// How soon it must tell that its disk is gone.
const TELLS_WITHIN: Duration = Duration::from_secs(20);
/// How long programs go on after the failure.
const AFTER: Duration = Duration::from_millis(900);
/// Cuts after the failure.
const CUTS: u64 = 3;

/// What `number` of the series has happen to the disk.
fn choose(number: u64, random: &mut Rng) -> Fault {
    match number % 4 {
        0 => Fault::Dead,
        1 => Fault::Writes(random.u32(1..8)),
        2 => Fault::Flushes(random.u32(1..4)),
        _ => Fault::Hang,
    }
}

/// Lets the disk fail once, in a way that `number` chooses, and tells what came of it.
pub(super) fn fail(binary: &Path, seed: u64, number: u64, kind: &str) -> Result<(String, Outcome)> {
    let place = Place::new("fail")?;
    let mut random = Rng::with_seed(seed.wrapping_add(number << 32));
    let fault = choose(number, &mut random);
    let disk = Disk::mount(disk::format(kind, DISK_BYTES, place.path())?, kind, place.path())?;
    let watch = disk.watch();
    let now = || watch.events();
    let mut server = Server::start_on(binary, place.path(), &disk.point().join("data"))?;
    let mut round = Round::new(0, random.u64(..));
    let before = Duration::from_millis(400 + random.u64(..900));
    let failed_at = {
        let world = World { server: &server, now: &now };
        round.run(&world, || {
            std::thread::sleep(before);
            let failed_at = watch.events();
            watch.set_fault(fault);
            std::thread::sleep(AFTER);
            if fault == Fault::Hang {
                let during = watch.events();
                ensure!(during <= failed_at + 1, "a disk that hangs was told {} things", during - failed_at);
                watch.set_fault(Fault::None);
                std::thread::sleep(AFTER);
            }
            Ok(failed_at)
        })?
    };
    let told = told(&mut server, fault).with_context(|| format!("{fault:?} after event {failed_at}"))?;
    // Before anything else is written: what a program was told until now must be there.
    let recording = disk.recording();
    if server.ended()?.is_none() {
        server.kill_now()?;
    }
    drop(server.bury()?);
    drop(disk);
    let kept = Kept { recording, rounds: vec![round], seed };
    let mut outcome = Outcome::default();
    let cuts = (0..CUTS).map(|cut| match cut {
        0 => Cut::worst_end(&kept.recording),
        _ => Cut::choose(&kept.recording, failed_at as usize, seed, number * CUTS + cut),
    });
    for cut in cuts {
        let said = || format!("{fault:?} after event {failed_at} ({told}), then the power is cut {cut}");
        let (image, at_stake) = Medium::new(&kept.recording).after(&kept.recording, &cut);
        let moment = cut.at as u64;
        let restarted = restart(binary, &kept, image, moment, &place).with_context(said);
        outcome.tally += restarted.or_else(|error| kept.keep(error))?.0;
        outcome.cuts += 1;
        outcome.at_stake += at_stake as u64;
    }
    Ok((format!("{fault:?} after event {failed_at}: {told}"), outcome))
}

/// What the server says about its disk. One that is dead for good must not be passed over in silence.
fn told(server: &mut Server, fault: Fault) -> Result<String> {
    let start = Instant::now();
    loop {
        if let Some(status) = server.ended()? {
            ensure!(status.code() == Some(STOPPED), "the server ended with {status}: {}", server.said());
            ensure!(server.said().contains("log"), "the server does not say why it ended: {}", server.said());
            return Ok(format!(
                "the server stopped and said so within {:.1} s",
                start.elapsed().as_secs_f64()
            ));
        }
        if fault != Fault::Dead {
            // It may go on, as long as what it says is true.
            return Ok("the server goes on".into());
        }
        ensure!(
            start.elapsed() < TELLS_WITHIN,
            "the disk is dead, and the server says nothing: {}",
            server.said()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
