//! That the programs' notes find what is lost, torn and out of order, and blame nothing else.

use super::*;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("offshoot-promise-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a new directory");
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("it is there");
    }
}

fn notes<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("notes")
}

#[test]
fn what_was_acknowledged_later_is_not_asked_for() {
    let marks = [Mark { moment: 5, count: 1 }, Mark { moment: 9, count: 2 }];
    assert_eq!([4, 5, 8, 9].map(|moment| acknowledged(&marks, moment)), [0, 1, 1, 2]);
}

#[test]
fn a_lost_or_damaged_record_is_found() {
    let dir = Dir::new("append");
    let notes: append::Notes = notes(r#"{"records":[{"moment":1,"count":1},{"moment":7,"count":2}]}"#);
    let record = |number: u64| {
        let mut bytes = content(number, 700);
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    std::fs::write(dir.0.join("appended"), record(0)).expect("written");
    assert_eq!(notes.verify(&dir.0, 6).expect("one was promised"), 1);
    notes.verify(&dir.0, 7).expect_err("two were promised");
    std::fs::write(dir.0.join("appended"), [record(0), record(1)[..9].to_vec()].concat()).expect("written");
    notes.verify(&dir.0, 6).expect_err("torn");
    std::fs::write(dir.0.join("appended"), [record(0), record(2)].concat()).expect("written");
    notes.verify(&dir.0, 6).expect_err("another record");
}

#[test]
fn blocks_must_be_as_they_were_once() {
    let dir = Dir::new("blocks");
    let text = r#"{"seed":3,"deeds":[{"Write":[0,2]},{"Write":[1,1]},{"Write":[0,1]}],
                   "durable":[{"moment":4,"count":1}]}"#;
    let notes: blocks::Notes = notes(text);
    let block = |number: u64, at: u64| {
        let mut bytes = content(3_u64.wrapping_add(number << 20).wrapping_add(at), 4096);
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    let verify = |blocks: [(u64, u64); 2]| {
        std::fs::write(dir.0.join("blocks"), blocks.map(|(number, at)| block(number, at)).concat())
            .expect("written");
        notes.verify(&dir.0, 4)
    };
    assert_eq!(verify([(1, 0), (1, 1)]).expect("the first"), 1);
    verify([(1, 0), (2, 1)]).expect("the second");
    verify([(3, 0), (2, 1)]).expect("the third");
    verify([(3, 0), (1, 1)]).expect_err("the third without the second");
    verify([(1, 0), (1, 0)]).expect_err("another block");
}

#[test]
fn steps_out_of_order_are_found() {
    let dir = Dir::new("trail");
    let trail = dir.0.join("trail");
    std::fs::create_dir(&trail).expect("a new directory");
    let notes: trail::Notes = notes(r#"{"durable":[{"moment":2,"count":4}]}"#);
    let verify = |before: u64, at: u64, behind: u64| {
        std::fs::write(trail.join("before"), before.to_le_bytes()).expect("written");
        std::fs::write(trail.join("behind"), behind.to_le_bytes()).expect("written");
        let name = trail.join(format!("at-{at}"));
        std::fs::write(&name, []).expect("written");
        let verified = notes.verify(&dir.0, 2);
        std::fs::remove_file(name).expect("it is there");
        verified
    };
    verify(3, 3, 3).expect("as was durable");
    verify(5, 4, 4).expect("between two steps");
    verify(5, 5, 4).expect("between two steps");
    verify(2, 2, 2).expect_err("a step is lost");
    verify(4, 5, 5).expect_err("the first of three is missing");
    verify(5, 4, 5).expect_err("the second of three is missing");
}
