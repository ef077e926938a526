//! Texts that people and programs write: settings, command lines, paths, addresses, times, access control lists.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use offshoot_control::{Address, PoolPath, time};
use offshoot_engine::Timestamp;
use offshoot_vfs::acl::Acl;

use crate::choices::Choices;

/// A settings file.
pub(crate) fn settings(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        offshoot_cli::fuzzing::settings(text);
    }
}

/// The first byte says what the rest is.
pub(crate) fn words(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else { return };
    match which % 6 {
        0 => {
            let words: Vec<OsString> =
                rest.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
            offshoot_cli::fuzzing::arguments(&words);
        }
        1 => pool_path(rest),
        2 => address(&String::from_utf8_lossy(rest)),
        3 => time_text(&String::from_utf8_lossy(rest)),
        4 => {
            let mut choices = Choices::new(rest);
            let path = choices.piece();
            let path = OsString::from_vec(path.to_vec());
            offshoot_host::mount::fuzz_table(choices.rest(), Path::new(&path));
        }
        _ => time_number(Choices::new(rest)),
    }
}

fn pool_path(bytes: &[u8]) {
    let Ok(path) = PoolPath::parse(bytes) else { return };
    assert_eq!(PoolPath::parse(path.as_bytes()).as_ref(), Ok(&path), "a path has two spellings");
    assert!(path.components().all(|name| !matches!(name, b"" | b"." | b"..") && name.len() <= 255));
    match path.split() {
        None => assert!(path.is_root()),
        Some((parent, name)) => {
            assert_eq!(parent.join(name).as_ref(), Ok(&path));
            assert_eq!(path.below(&parent), Some(name));
        }
    }
    let escaped = path.to_string();
    assert!(!escaped.chars().any(char::is_control), "a path shows control characters");
}

fn address(text: &str) {
    if let Ok(address) = text.parse::<Address>()
        && matches!(address, Address::Tcp(_))
    {
        assert_eq!(
            address.to_string().parse(),
            Ok(address),
            "an address is written in a way that means another"
        );
    }
}

fn time_text(text: &str) {
    if let Ok(read) = time::parse(text) {
        assert!(read.nanos < 1_000_000_000);
        assert_eq!(time::parse(&time::rfc3339(read)), Ok(read), "a time is written as another");
    }
}

fn time_number(mut choices: Choices<'_>) {
    let stamp = Timestamp { secs: choices.u64() as i64, nanos: choices.u32() % 1_000_000_000 };
    let written = time::rfc3339(stamp);
    assert!(time::parse(&written).is_ok(), "{written} is no time");
    assert!(!time::for_file_name(stamp).is_empty() && !time::for_table(stamp).is_empty());
    time::Periods::of(stamp);
}

/// An access control list, and who may do what by it.
pub(crate) fn access_list(input: &[u8]) {
    let mut choices = Choices::new(input);
    let (mode, uid, gid) = (choices.u32() & 0o7777, choices.u32(), choices.u32());
    let value = choices.rest();
    let Ok(Some(list)) = Acl::decode(value) else { return };
    let encoded = list.encode();
    assert_eq!(encoded.len(), value.len(), "a list has other entries than it was decoded from");
    assert_eq!(Acl::decode(&encoded).ok().flatten().as_ref(), Some(&list));
    let (inherited, below) = list.inherit(mode);
    assert_eq!(inherited & 0o777 & !mode, 0, "what inherits a list has more than was asked for");
    assert_eq!(inherited & !0o777, mode & !0o777);
    if let Some(below) = below {
        assert_eq!(below.mode(), inherited & 0o777);
    }
    let mut changed = list.clone();
    changed.set_mode(mode);
    assert_eq!(changed.mode(), mode & 0o777, "a mode that was set is another");
    list.allows(7, uid, gid, 1, |group| group == 2);
}
