//! Inputs to begin with: real encodings of every kind, from a pool that holds something of everything.

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_control::wire::{self, PathText};
use offshoot_engine::Settings;
use offshoot_engine::fuzzing::{self, Image};
use offshoot_vfs::acl::Acl;
use serde::Serialize;

use crate::TARGETS;
use crate::rich::{self, Size, noise};
use crate::world::World;

/// Inputs of one shape that are kept.
const EACH_MAX: usize = 6;

/// First inputs of a target, with names.
///
/// # Panics
/// If there is no such target.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let known = TARGETS.iter().find(|known| known.name == target).expect("the target is in the table");
    let all = match target {
        "nodes" => nodes(),
        "segments" => segments(),
        "items" => items(),
        "log" => log(),
        "manifests" => manifests(),
        "pool" => pool(),
        "operations" => {
            (0..8).map(|seed| (format!("noise-{seed}"), noise(seed, 200 + 200 * seed as usize))).collect()
        }
        "fuse" => fuse(),
        "http" => http(),
        "settings" => settings(),
        "words" => words(),
        _ => access_lists(),
    };
    all.into_iter()
        .map(|(name, mut bytes)| {
            bytes.truncate(known.length_max);
            (name, bytes)
        })
        .collect()
}

/// The pool, closed or with everything still in its log, and the world that it is in.
fn rich_pool(with_log: bool) -> (World, Image) {
    let world = World::with(Settings { compression: offshoot_engine::Compression::None, ..rich::settings() });
    let pool = world.open();
    rich::fill(&world, &pool, Size::Small);
    if with_log {
        rich::operate(&world, &pool);
        block_on(pool.sync()).expect("the medium is memory");
    }
    drop(pool);
    let image = Image::take(world.objects.inner(), &world.log).expect("a new pool is sound");
    (world, image)
}

/// Pieces of the image of one shape, the shortest first, in front of them `first`.
fn pieces(image: &Image, kind: &str, first: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> =
        image.pieces.iter().filter(|piece| piece.kind() == kind).map(|piece| &piece.bytes).collect();
    found.sort_by_key(|bytes| bytes.len());
    found.dedup();
    let step = found.len().div_ceil(EACH_MAX).max(1);
    let chosen = found.into_iter().step_by(step).enumerate();
    chosen.map(|(n, bytes)| (format!("{kind}-{n}"), [first, bytes].concat())).collect()
}

fn nodes() -> Vec<(String, Vec<u8>)> {
    let (_, image) = rich_pool(false);
    let mut all = Vec::new();
    for kind in ["directory", "file", "side", "alias", "ledger", "realm"] {
        all.extend(pieces(&image, kind, b""));
    }
    for (name, bytes) in fuzzing::sample_encodings() {
        if let Some(node) = name.strip_prefix("node ") {
            all.push((format!("sample-{}", node.replace([' ', ','], "-")), bytes));
        } else if name == "attributes in a frame" {
            all.push(("sample-attributes".into(), [b"x", &bytes[..]].concat()));
        }
    }
    all
}

fn segments() -> Vec<(String, Vec<u8>)> {
    let (world, _) = rich_pool(false);
    let mut all = Vec::new();
    for (n, name) in world.object_names("segments/").into_iter().take(EACH_MAX).enumerate() {
        let object = Bytes::from(world.object(&name));
        let (directory, list) = fuzzing::segment_parts(&object).expect("a new object is sound");
        all.push((format!("directory-{n}"), [b"\0", &directory[..]].concat()));
        all.push((format!("footer-{n}"), [b"\x01", &list[..]].concat()));
        all.push((format!("tail-{n}"), [b"\x01", &object[object.len() - 16..]].concat()));
        all.push((format!("name-{n}"), [b"\x02", name.as_bytes()].concat()));
    }
    all.push(("manifest".into(), b"\x02manifests/000000000000000a".to_vec()));
    all
}

fn items() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (n, raw) in
        [b"all work and no play ".repeat(20), vec![0; 5000], noise(1, 300)].into_iter().enumerate()
    {
        for (codec, stored) in fuzzing::compressed(&raw) {
            let mut input = vec![codec];
            input.extend_from_slice(&(raw.len() as u32).to_le_bytes());
            input.extend_from_slice(&stored);
            all.push((format!("codec-{codec}-{n}"), input));
        }
        all.push((format!("raw-{n}"), [b"c", &raw[..raw.len().min(600)]].concat()));
    }
    all
}

fn log() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (name, record) in fuzzing::sample_records() {
        all.push((format!("record-{name}"), [b"\0", &record[..]].concat()));
    }
    let batch = fuzzing::log_batch(1, 1, 0, b"payload");
    all.push(("file".into(), [b"\x01", &batch[..], &batch[..], &[0; 50]].concat()));
    all.push((
        "batches".into(),
        [&b"\x02"[..], &[1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], &[0; 8], b"\x03abc\0\x04OFSG"].concat(),
    ));
    all
}

fn manifests() -> Vec<(String, Vec<u8>)> {
    let (_, image) = rich_pool(true);
    let mut all = pieces(&image, "manifest", b"\0");
    all.push(("table".into(), [b"\x01", &fuzzing::sample_table()[..]].concat()));
    all
}

fn pool() -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("with-log".into(), vec![0, 31]), ("closed".into(), vec![1, 31])];
    all.extend((0..12).map(|seed| (format!("noise-{seed}"), noise(seed + 20, 20 + 10 * seed as usize))));
    all
}

/// What the kernel would send, one request of a kind, to the root.
fn fuse() -> Vec<(String, Vec<u8>)> {
    let words = |values: &[u32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_ne_bytes()).collect() };
    let longs = |values: &[u64]| -> Vec<u8> { values.iter().flat_map(|value| value.to_ne_bytes()).collect() };
    let list = Acl::from_mode(0o754).encode();
    let requests: Vec<(u8, Vec<u8>)> = vec![
        (9, [words(&[0o755, 0o22]), b"d\0".to_vec()].concat()),
        (35, [words(&[0o102, 0o644, 0o22, 0]), b"f\0".to_vec()].concat()),
        (1, b"f\0".to_vec()),
        (16, [longs(&[0, 4096]), words(&[4, 4]), longs(&[0]), words(&[2, 0]), b"data".to_vec()].concat()),
        (15, [longs(&[0, 0]), words(&[8192])].concat()),
        (43, [longs(&[0, 100, 300]), words(&[3])].concat()),
        (46, [longs(&[0, 0]), words(&[4])].concat()),
        (47, longs(&[0, 0, 0, 0, 9000, 4, 0])),
        (4, [words(&[0x1ff, 0]), longs(&[0, 99, 0, 5, 6, 7]), words(&[1, 2, 3, 0o700, 0, 8, 9, 0])].concat()),
        (6, b"l\0target\0".to_vec()),
        (5, Vec::new()),
        (8, [words(&[0o20644, 1, 0o22, 0]), b"n\0".to_vec()].concat()),
        (13, [longs(&[17]), b"f2\0".to_vec()].concat()),
        (45, [longs(&[1]), words(&[2, 0]), b"f\0f2\0".to_vec()].concat()),
        (21, [words(&[5, 1, 1, 0]), b"user.a\0value".to_vec()].concat()),
        (21, [words(&[list.len() as u32, 0, 1, 0]), b"system.posix_acl_default\0".to_vec(), list].concat()),
        (21, [words(&[2, 0, 0, 0]), b"user.offshoot.clone\0/c".to_vec()].concat()),
        (22, [words(&[64, 0]), b"user.a\0".to_vec()].concat()),
        (22, [words(&[0, 0]), b"user.offshoot.info\0".to_vec()].concat()),
        (23, words(&[64])),
        (24, b"user.a\0".to_vec()),
        (28, [longs(&[0, 3]), words(&[4096])].concat()),
        (44, [longs(&[0, 0]), words(&[4096])].concat()),
        (51, words(&[0x41_0002, 0o100_600, 0, 0])),
        (20, vec![0; 16]),
        (10, b"f2\0".to_vec()),
        (11, b"d\0".to_vec()),
        (18, longs(&[0, 0, 0])),
        (2, longs(&[1])),
        (42, [words(&[1, 0]), longs(&[17, 1])].concat()),
        (17, Vec::new()),
        (53, longs(&[0, 0, 0, 0, 9000, 4, 0])),
    ];
    let mut all = Vec::new();
    let mut conversation = vec![2];
    for (n, (opcode, arguments)) in requests.iter().enumerate() {
        let mut whole = vec![1];
        whole.extend(words(&[40 + arguments.len() as u32, u32::from(*opcode)]));
        whole.extend(longs(&[77, 1]));
        whole.extend(words(&[1000, 100, 42, 0]));
        whole.extend(arguments);
        all.push((format!("request-{n}-opcode-{opcode}"), whole));
        conversation.extend([0, *opcode, arguments.len() as u8]);
        conversation.extend(arguments);
    }
    all.push(("conversation".into(), conversation));
    all
}

fn http() -> Vec<(String, Vec<u8>)> {
    fn body(name: &str, value: &impl Serialize) -> (String, Vec<u8>) {
        let text = serde_json::to_vec(value).expect("requests can be written");
        (format!("body-{name}"), [b"b", &text[..]].concat())
    }
    let (path, odd) = (PathText::from("/a"), PathText::from(b"/\xff".to_vec()));
    let clone = serde_json::json!({ "source": path, "destination": odd });
    let snapshot = serde_json::json!({ "path": path, "name": "s" });
    let restore = serde_json::json!({ "snapshot": "s", "destination": path });
    let prune = serde_json::json!({ "path": path, "keep": { "daily": 7, "last": 1 } });
    let job = serde_json::json!({ "kind": wire::JobKind::Check });
    let mount = serde_json::json!({ "mount_point": "/mnt" });
    let mut conversation = vec![0, 1];
    let requests: [(u8, u8, &str, String); 10] = [
        (1, 7, "", clone.to_string()),
        (1, 16, "", snapshot.to_string()),
        (0, 16, "path=/a", String::new()),
        (1, 17, "", prune.to_string()),
        (0, 10, "path=/&usage=true", String::new()),
        (0, 12, "path=/&limit=10&after=0", String::new()),
        (0, 9, "first=/&second=/a", String::new()),
        (2, 12, "path=/a&recursive=true&sync=false", String::new()),
        (1, 18, "", job.to_string()),
        (0, 4, "", String::new()),
    ];
    for (method, path, query, body) in &requests {
        conversation.extend([*method, *path, query.len() as u8]);
        conversation.extend_from_slice(query.as_bytes());
        conversation.push(body.len() as u8);
        conversation.extend_from_slice(body.as_bytes());
    }
    vec![
        body("clone", &clone),
        body("snapshot", &snapshot),
        body("restore", &restore),
        body("prune", &prune),
        body("job", &job),
        body("mount", &mount),
        ("percent".into(), b"%/a%2Fb%FF c".to_vec()),
        (
            "raw".into(),
            b"rGET /api/v1/entries?path=/ HTTP/1.1\r\nhost: x\r\noffshoot-source: offshoot:fuzz\r\n\r\n"
                .to_vec(),
        ),
        (
            "chunked".into(),
            b"rPOST /api/v1/sync HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        ),
        ("conversation".into(), conversation),
    ]
}

fn settings() -> Vec<(String, Vec<u8>)> {
    let texts = [
        ("empty", String::new()),
        ("template", offshoot_cli::fuzzing::template().to_owned()),
        ("storage", "[storage]\nurl = \"file://${DATA}/$$x\"\ncompression = \"zstd-7\"\nflush_interval = \"250ms\"\ncapacity_gb = 1.5\n".into()),
        ("control", "[control]\naddresses = [\"127.0.0.1:7660\", \"[::1]:1\"]\ntoken_file = \"/t\"\nsocket = \"/s\"\n".into()),
        ("fuse", "[servers.fuse]\nthreads = 4\nallow_other = true\naccess_time = \"none\"\nmount_point = \"/m\"\n".into()),
        ("dotted", "storage.url = \"memory:\"\ncache.memory_size_gb = 1\n".into()),
        ("quoted", "\"storage.url\" = \"memory:\"\n[storage]\nurl = \"memory:\"\n".into()),
        ("unknown", "[storage]\nulr = \"memory:\"\n[aws]\nregion = \"x\"\n".into()),
    ];
    texts.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect()
}

fn words() -> Vec<(String, Vec<u8>)> {
    let lines: [(&str, u8, &[u8]); 16] = [
        ("up", 0, b"up\0--mount\0/m\0--accept-loss\0/data"),
        ("clone", 0, b"clone\0/a\0/b\0--read-only\0--json"),
        ("prune", 0, b"snapshot\0prune\0/a\0--keep-daily\x007\0--keep-last\x001\0--dry-run"),
        ("top", 0, b"top\0--interval\x000.5\0--count\x003"),
        ("demo", 0, b"demo\0--size\x0064"),
        ("help", 0, b"restore\0--help"),
        ("path", 1, b"/a//b/./../c\xff\\\n"),
        ("unix", 2, b"unix:///run/x.sock"),
        ("tcp", 2, b"http://[::1]:7660/"),
        ("time", 3, b"2026-01-02T03:04:05.678901234Z"),
        ("time-before-1970", 3, b"1969-12-31T23:59:58.25+01:00"),
        ("week-time", 3, b"2026-W01-2T03:04:05Z"),
        (
            "mounts",
            4,
            b"\x07/mnt/xy30 22 0:40 / /mnt/my\\040pool rw,nosuid - fuse.offshoot offshoot:/srv/a\\134b rw\n",
        ),
        (
            "bind",
            4,
            b"\x06/srv/x31 22 0:41 /inner /srv ro shared:7 master:2 - fuse.offshoot offshoot:/x rw\n",
        ),
        ("now", 5, b"\x40\x42\x0f\0\0\0\0\0\x05\0\0\0"),
        ("never", 5, b"\0\0\0\0\0\0\0\x80\xff\xff\xff\xff"),
    ];
    lines.into_iter().map(|(name, which, text)| (name.to_owned(), [&[which], text].concat())).collect()
}

fn access_lists() -> Vec<(String, Vec<u8>)> {
    let front = [0xa4, 1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
    let mut named = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in [
        (1_u16, 6_u16, u32::MAX),
        (2, 7, 10),
        (4, 4, u32::MAX),
        (8, 6, 20),
        (16, 6, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        named.extend_from_slice(&tag.to_le_bytes());
        named.extend_from_slice(&bits.to_le_bytes());
        named.extend_from_slice(&id.to_le_bytes());
    }
    vec![
        ("mode".into(), [&front[..], &Acl::from_mode(0o754).encode()].concat()),
        ("named".into(), [&front[..], &named].concat()),
        ("empty".into(), [&front[..], &2_u32.to_le_bytes()].concat()),
    ]
}
