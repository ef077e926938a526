//! What can be asked: differences, space, entries, facts, state.

use serde_json::json;

use crate::fixture::Server;

#[test]
fn diff_tells_what_differs() {
    let server = Server::up();
    server.write("data/same", "same");
    server.write("data/gone", "x");
    server.write("data/grown", "x");
    server.write("data/deep/one", "x");
    server.run(["clone", "/data", "/copy"]).done();
    let ran = server.run(["diff", "/data", "/copy"]).done();
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", "0 added, 0 removed, 0 modified\n"));

    std::fs::remove_file(server.pool().join("copy/gone")).unwrap();
    server.write("copy/grown", "xyz");
    server.write("copy/deep/two", "new");
    let out = server.run(["diff", "/data", "pool/copy"]).done().out;
    let lines: Vec<_> = out.lines().collect();
    assert!(lines.contains(&"- gone"), "{out}");
    assert!(lines.contains(&"M grown  (1 B -> 3 B)"), "{out}");
    assert!(lines.contains(&"+ deep/two"), "{out}");
    assert!(!out.contains("same"), "{out}");
    let paths: Vec<_> = lines.iter().map(|line| line[2..].split("  ").next().unwrap()).collect();
    assert!(paths.is_sorted(), "{out}");

    let all = server.run(["diff", "--json", "/data", "/copy"]).done().json();
    assert_eq!((&all["counts"]["added"], &all["counts"]["removed"]), (&json!(1), &json!(1)));
    let gone = all["differences"].as_array().unwrap().iter().find(|one| one["path"] == "gone").unwrap();
    assert_eq!(
        (&gone["change"], &gone["before"]["size_bytes"], &gone["after"]),
        (&json!("removed"), &json!(1), &json!(null))
    );
    let ran = server.run(["diff", "--count", "/data", "/copy"]).done();
    assert!(ran.out.contains("1 added, 1 removed"), "{ran:?}");
    server.run(["diff", "/data", "/missing"]).failed(1, &["/missing does not exist"]);
}

#[test]
fn du_tells_shared_from_exclusive() {
    let server = Server::up();
    let noise: Vec<u8> =
        (0..1_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    server.write("data/big", &noise);
    let alone = server.run(["du", "/data", "--json"]).done().json();
    let alone = &alone["usages"][0];
    assert_eq!((&alone["logical_bytes"], &alone["shared_bytes"]), (&json!(4_000_000), &json!(0)));
    assert_eq!(alone["total_bytes"], alone["exclusive_bytes"]);

    server.run(["clone", "/data", "/copy"]).done();
    server.write("copy/more", &noise[..500_000]);
    let both = server.run(["du", "/data", "/copy", "--json"]).done().json();
    let (data, copy) = (&both["usages"][0], &both["usages"][1]);
    assert!(data["exclusive_bytes"].as_u64().unwrap() < 10_000, "{data}");
    assert!(data["shared_bytes"].as_u64().unwrap() >= 1_000_000, "{data}");
    let exclusive = copy["exclusive_bytes"].as_u64().unwrap();
    assert!((100_000..1_000_000).contains(&exclusive), "{copy}");
    let ran = server.run(["du", "/copy"]).done();
    assert!(ran.out.contains("EXCLUSIVE") && ran.out.contains("/copy"), "{ran:?}");
}

#[test]
fn info_tells_attributes_space_and_lineage() {
    let server = Server::up();
    server.write("data/a", "hello");
    server.run(["clone", "/data", "/child"]).done();
    server.run(["clone", "/child", "/grandchild"]).done();
    let info = server.run(["info", "/grandchild", "--json"]).done().json();
    assert_eq!(
        (&info["path"], &info["files"], &info["logical_bytes"]),
        (&json!("/grandchild"), &json!(1), &json!(5))
    );
    assert_eq!((&info["origin"]["path"], &info["lineage"][0]["path"]), (&json!("/child"), &json!("/data")));
    assert_eq!(
        (&info["attributes"]["kind"], &info["attributes"]["clone_root"]),
        (&json!("directory"), &json!(true))
    );
    assert!(info["attributes"]["ino"].is_u64() && info["usage"]["total_bytes"].is_u64(), "{info}");
    let time = info["origin"]["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    let ran = server.run(["info", "pool/grandchild"]).done();
    assert!(ran.out.contains("Cloned from") && ran.out.contains("/data at "), "{ran:?}");
    server.run(["info", "/missing"]).failed(1, &["/missing does not exist"]);
    server.run(["info", "/data/a/b"]).failed(1, &["/data/a is not a directory"]);
}

#[test]
fn ls_lists_directories_of_any_size() {
    let server = Server::up();
    for number in 0..2500 {
        server.write(&format!("many/{number:04}"), "");
    }
    let out = server.run(["ls", "/many"]).done().out;
    assert_eq!(out.lines().count(), 2500);
    assert!(out.lines().is_sorted());
    std::os::unix::fs::symlink("target", server.pool().join("link")).unwrap();
    let ran = server.run(["ls", "-l", "/"]).done();
    assert!(ran.out.contains("link -> target") && ran.out.contains("drwxr-xr-x"), "{ran:?}");
    assert_eq!(server.run(["ls", "-d", "/many"]).done().out, "many\n");
    assert_eq!(server.run(["ls", "/many/0007"]).done().out, "0007\n");
    server.run(["ls", "/missing"]).failed(1, &["cannot list /missing", "does not exist"]);
}

#[test]
fn status_and_top_tell_the_state() {
    let server = Server::up();
    server.write("data/a", "hello");
    server.run(["clone", "/data", "/copy"]).done();
    let status = server.run(["status", "--json"]).done().json();
    assert_eq!(status["server"]["pid"], server.process.0.id());
    assert_eq!((&status["pool"]["clones"], &status["pool"]["stopped"]), (&json!(1), &json!(null)));
    assert_eq!(status["pool"]["id"].as_str().unwrap().len(), 32);
    for field in
        ["files", "logical_bytes", "memory_bytes", "memory_bytes_max", "unsynced_bytes", "free_bytes"]
    {
        assert!(status["pool"][field].is_u64(), "{field}");
    }
    assert!(status["counters"]["clones"].as_u64().unwrap() >= 1);
    let ran = server.run(["status"]).done();
    assert!(ran.out.contains("Durability") && ran.out.contains("Mount"), "{ran:?}");
    let ran = server.run(["top", "--count", "2", "--interval", "0.1"]).done();
    assert!(ran.out.contains("A SECOND"), "{ran:?}");
}

#[test]
fn a_sound_pool_is_found_sound_and_garbage_is_collected() {
    let server = Server::up();
    server.write("data/a", vec![7; 300_000]);
    server.run(["clone", "/data", "/copy"]).done();
    server.run(["rm", "-r", "/data"]).done();
    for command in ["check", "scrub"] {
        let report = server.run([command, "--json"]).done().json();
        assert_eq!((&report["sound"], &report["findings"]), (&json!(true), &json!([])), "{command}");
    }
    assert!(server.run(["check"]).done().out.contains(" inodes, "));
    assert!(!server.run(["scrub"]).done().out.contains("inodes"), "a scrub counts none");
    let report = server.run(["gc", "--json"]).done().json();
    assert!(report["freed_bytes"].is_u64() && report["rewritten_bytes"].is_u64(), "{report}");
    let ran = server.run(["gc"]).done();
    assert!(ran.err.contains("fragmented"), "what it did is told: {ran:?}");
    assert_eq!(server.read("copy/a").len(), 300_000);
}

#[test]
fn a_damaged_pool_is_found_damaged_and_repaired() {
    use std::io::{Read, Seek, Write};
    let server = Server::up();
    let noise: Vec<u8> = (0..100_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    server.write("data/victim", &noise);
    server.run(["gc"]).done();
    let place = server.stop();
    let mut largest = (0, std::path::PathBuf::new());
    let mut waiting = vec![place.join("offshoot-data/pool")];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else {
                largest = largest.max((metadata.len(), entry.path()));
            }
        }
    }
    assert!(largest.0 > 100_000, "{largest:?}");
    let mut file = std::fs::File::options().read(true).write(true).open(&largest.1).unwrap();
    let mut byte = [0];
    file.seek(std::io::SeekFrom::Start(largest.0 / 2)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(std::io::SeekFrom::Start(largest.0 / 2)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
    drop(file);

    let server = Server::up_in(place);
    let ran = server.run(["scrub"]);
    assert!(ran.out.contains("/data/victim: content is damaged, bytes "), "{ran:?}");
    ran.failed(1, &["the pool is damaged", "check --repair"]);
    let ran = server.run(["check", "--repair", "--dry-run"]);
    assert!(ran.out.contains("A repair would do this"), "{ran:?}");
    ran.failed(1, &["nothing was changed", "elsewhere"]);
    server.run(["check", "--dry-run"]).failed(2, &["--repair"]);
    let report = server.run(["check", "--repair", "--json"]).done().json();
    let lost = &report["before"]["findings"][0];
    assert_eq!(lost["path"], json!("/data/victim"), "{report}");
    let range = |key| lost["ranges"][0][key].as_u64().unwrap() as usize;
    let (start, end) = (range("start"), range("end"));
    assert!(start < end && end <= noise.len(), "{report}");
    assert_eq!((&report["sound"], &report["remaining"]), (&json!(false), &json!([])), "{report}");
    for command in [&["check"][..], &["scrub"], &["check", "--repair"]] {
        let ran = server.run(command).done();
        assert!(ran.out.contains("Sound"), "{ran:?}");
    }
    assert!(server.run(["check"]).done().out.contains("were lost before"));

    // What is lost stays so until it is overwritten, also after a start; the rest is there.
    let server = Server::up_in(server.stop());
    let victim =
        std::fs::File::options().read(true).write(true).open(server.pool().join("data/victim")).unwrap();
    let mut bytes = vec![0; noise.len()];
    let read = |at: usize, bytes: &mut [u8]| {
        use std::os::unix::fs::FileExt;
        victim.read_exact_at(bytes, at as u64)
    };
    assert_eq!(read(start, &mut bytes[start..end]).unwrap_err().raw_os_error(), Some(5));
    read(end, &mut bytes[end..]).unwrap();
    assert!(bytes[end..] == noise[end..], "what is not lost is what was written");
    std::os::unix::fs::FileExt::write_all_at(&victim, &noise[start..end], start as u64).unwrap();
    read(0, &mut bytes).unwrap();
    assert!(bytes == noise, "what is overwritten can be read again");
}
