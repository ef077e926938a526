//! Random operations, each done to the pool and to the model.

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::{
    AllocateMode, Attributes, CloneOptions, Error, ErrorKind, Ino, Kind, NewInode, RenameMode, SeekTarget,
    SetAttributes, SetTime, Timestamp, XattrMode,
};

use sim::model::{Answer, Id, Mode, Model, ROOT, SIZE_MAX, Set};

use super::{Outcome, Run};
use crate::world::Chance;

/// Nodes from which on nothing large is added.
const NODES_MAX: usize = 700;

/// What a seed does more than other things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    All,
    Names,
    Content,
}

/// A name that was chosen: its directory, the name, and what it leads to, if anything.
struct Chosen {
    directory: Id,
    ino: Ino,
    name: Vec<u8>,
    id: Option<Id>,
}

impl Run {
    /// Does one operation; an error is the power cut.
    pub fn act(&mut self) -> Outcome {
        let chosen = match self.focus {
            // Many names and few files, moving between clones.
            Focus::Names if self.random.one_in(2) => {
                *self.random.pick(&[41, 51, 51, 55, 62, 66, 66, 66, 82, 86, 88, 98])
            }
            // Content in many pieces.
            Focus::Content if self.random.one_in(2) => {
                *self.random.pick(&[16, 16, 30, 34, 34, 38, 38, 41, 96, 98, 99, 99])
            }
            _ => self.random.below(100),
        };
        match chosen {
            0..=13 => self.create(),
            14..=15 if self.focus == Focus::Names => self.create(),
            14..=15 => self.create_many(),
            16..=29 => self.write(),
            30..=33 => self.set_attributes(),
            34..=37 => self.allocate(),
            38..=40 => self.clone_range(),
            41..=50 => self.clone_node(),
            51..=54 => self.link(),
            55..=59 => self.unlink(),
            60..=61 => self.rmdir(),
            62..=65 => self.remove_tree(),
            66..=76 => self.rename(),
            77..=81 => self.xattr(),
            82..=85 => self.hold(),
            86..=87 => self.release(),
            88..=89 => self.create_unnamed(),
            90..=91 => self.forget_some(),
            92 => self.odd_look(),
            93..=95 => self.sync(),
            96 => self.checkpoint(),
            97 => self.gc(),
            99 => self.defragment(),
            _ => self.compare_handles(),
        }
    }

    // ---- choosing ----

    fn reachable(&self) -> Vec<Id> {
        self.model.below(ROOT)
    }

    /// Any inode: mostly one with a name, sometimes one that is merely known.
    fn any(&mut self) -> Outcome<(Id, Ino)> {
        if self.random.one_in(4) {
            let known: Vec<_> = self.handles.iter().map(|(id, handle)| (*id, handle.ino)).collect();
            if !known.is_empty() {
                return Ok(*self.random.pick(&known));
            }
        }
        let all = self.reachable();
        let id = *self.random.pick(&all);
        Ok((id, self.acquire(id)?))
    }

    fn any_of(&mut self, wanted: impl Fn(&Model, Id) -> bool) -> Outcome<(Id, Ino)> {
        let some: Vec<Id> = self.reachable().into_iter().filter(|id| wanted(&self.model, *id)).collect();
        if some.is_empty() || self.random.one_in(12) {
            return self.any();
        }
        let id = *self.random.pick(&some);
        Ok((id, self.acquire(id)?))
    }

    fn any_directory(&mut self) -> Outcome<(Id, Ino)> {
        self.any_of(|model, id| model.is_directory(id) && !model.is_read_only(id))
    }

    fn any_file(&mut self) -> Outcome<(Id, Ino)> {
        self.any_of(|model, id| model.node(id).kind == Kind::File && !model.is_read_only(id))
    }

    /// A name that is likely to be free, or not.
    fn new_name(&mut self) -> Vec<u8> {
        match self.random.below(40) {
            0 => vec![b'x'; 200 + self.random.below(58) as usize],
            1 => self.random.pick(&[&b""[..], b".", b"..", b"a/b", b"a\0", b"\xff\xfe"]).to_vec(),
            2..=9 => format!("n{}", self.random.below(1000)).into_bytes(),
            _ => vec![b'a' + self.random.below(8) as u8],
        }
    }

    fn free_place(&mut self) -> Outcome<Chosen> {
        let (directory, ino) = self.any_directory()?;
        let name = self.new_name();
        let id = self.model.node(directory).children.get(&name).copied();
        Ok(Chosen { directory, ino, name, id })
    }

    /// A name that exists, mostly.
    fn taken_place(&mut self) -> Outcome<Chosen> {
        let (directory, ino) =
            self.any_of(|model, id| !model.node(id).children.is_empty() && !model.is_read_only(id))?;
        let names: Vec<_> = self.model.node(directory).children.keys().cloned().collect();
        let name = if names.is_empty() || self.random.one_in(12) {
            self.new_name()
        } else {
            self.random.pick(&names).clone()
        };
        let id = self.model.node(directory).children.get(&name).copied();
        Ok(Chosen { directory, ino, name, id })
    }

    fn new_inode(&mut self) -> NewInode {
        let kind = match self.random.below(20) {
            0..=8 => Kind::File,
            9..=15 => Kind::Directory,
            16 | 17 => Kind::Symlink,
            18 => *self.random.pick(&[Kind::Fifo, Kind::Socket]),
            _ => *self.random.pick(&[Kind::CharDevice, Kind::BlockDevice]),
        };
        let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        let length = self.random.below(4095) as usize + 1;
        NewInode {
            kind,
            mode: self.random.below(0o10000) as u32,
            uid: self.random.below(5) as u32 * 1000,
            gid: self.random.below(5) as u32 * 1000,
            rdev: if device { self.random.next() as u32 } else { 0 },
            target: if kind == Kind::Symlink { self.random.bytes(length).into() } else { Bytes::new() },
            xattrs: if self.random.one_in(10) {
                vec![(b"user.z".to_vec(), b"1".to_vec()), (b"user.a".to_vec(), b"2".to_vec())]
            } else {
                Vec::new()
            },
        }
    }

    // ---- names ----

    fn create(&mut self) -> Outcome {
        let new = self.new_inode();
        let place = self.free_place()?;
        self.create_at(place, &new)
    }

    fn create_at(&mut self, Chosen { directory, ino, name, .. }: Chosen, new: &NewInode) -> Outcome {
        let got = block_on(self.pool().create(ino, &name, new.clone()));
        let want = self.model.create(directory, &name, new);
        let what = || format!("create {:?} {} in {directory}", new.kind, show(&name));
        if let Some((attributes, id)) = self.agree(what, got, want)? {
            self.learn_returned(id, &attributes);
        }
        Ok(())
    }

    /// Fills a directory, so that its tree has branches.
    fn create_many(&mut self) -> Outcome {
        let (directory, ino) = self.any_directory()?;
        if self.model.nodes.len() > NODES_MAX {
            return Ok(());
        }
        let first = self.random.below(500);
        for n in first..first + self.random.below(120) {
            let new = self.new_inode();
            self.create_at(Chosen { directory, ino, name: format!("n{n}").into_bytes(), id: None }, &new)?;
        }
        Ok(())
    }

    fn create_unnamed(&mut self) -> Outcome {
        let (directory, ino) = self.any_directory()?;
        let new = crate::world::new(Kind::File);
        let got = block_on(self.pool().create_unnamed(ino, new.clone()));
        let want = self.model.create_unnamed(directory, &new);
        if let Some((attributes, id)) = self.agree(|| format!("create unnamed in {directory}"), got, want)? {
            self.learn_returned(id, &attributes);
        }
        Ok(())
    }

    fn link(&mut self) -> Outcome {
        let (id, ino) = if self.random.one_in(3) {
            let open: Vec<_> = self.model.holds.keys().copied().collect();
            match open.is_empty() {
                true => self.any_file()?,
                false => {
                    let id = *self.random.pick(&open);
                    (id, self.handles[&id].ino)
                }
            }
        } else {
            self.any_of(|model, id| !model.is_directory(id) && !model.is_read_only(id))?
        };
        let Chosen { directory, ino: parent, name, .. } = self.free_place()?;
        let got = block_on(self.pool().link(ino, parent, &name));
        let want = self.model.link(id, directory, &name);
        if let Some((attributes, id)) =
            self.agree(|| format!("link {id} to {} in {directory}", show(&name)), got, want)?
        {
            self.learn_returned(id, &attributes);
        }
        Ok(())
    }

    fn unlink(&mut self) -> Outcome {
        let Chosen { directory, ino, name, id } = self.taken_place()?;
        let got = block_on(self.pool().unlink(ino, &name));
        let want = self.model.unlink(directory, &name);
        self.agree(|| format!("unlink {} ({id:?}) in {directory}", show(&name)), got, want).map(|_| ())
    }

    fn rmdir(&mut self) -> Outcome {
        let Chosen { directory, ino, name, id } = self.taken_place()?;
        let got = block_on(self.pool().rmdir(ino, &name));
        let want = self.model.rmdir(directory, &name);
        self.agree(|| format!("rmdir {} ({id:?}) in {directory}", show(&name)), got, want).map(|_| ())
    }

    fn remove_tree(&mut self) -> Outcome {
        let Chosen { directory, ino, name, id } = self.taken_place()?;
        let got = block_on(self.pool().remove_tree(ino, &name));
        let want = self.model.remove_tree(directory, &name);
        self.agree(|| format!("remove tree {} ({id:?}) in {directory}", show(&name)), got, want).map(|_| ())
    }

    fn rename(&mut self) -> Outcome {
        let from = self.taken_place()?;
        let to = if self.random.one_in(3) { self.taken_place()? } else { self.free_place()? };
        let mode = *self.random.pick(&[
            Mode::Replace,
            Mode::Replace,
            Mode::NoReplace,
            Mode::Exchange,
            Mode::Whiteout,
        ]);
        let rename_mode = match mode {
            Mode::Replace => RenameMode::Replace,
            Mode::NoReplace => RenameMode::NoReplace,
            Mode::Exchange => RenameMode::Exchange,
            Mode::Whiteout => RenameMode::Whiteout,
        };
        let got = block_on(self.pool().rename(from.ino, &from.name, to.ino, &to.name, rename_mode));
        let want = self.model.rename(from.directory, &from.name, to.directory, &to.name, mode);
        let what = || {
            let (a, b) = (show(&from.name), show(&to.name));
            format!(
                "rename {a} ({:?}) in {} to {b} ({:?}) in {}, {mode:?}",
                from.id, from.directory, to.id, to.directory
            )
        };
        self.agree(what, got, want).map(|_| ())
    }

    fn clone_node(&mut self) -> Outcome {
        let (id, source) = if self.random.one_in(2) {
            self.any_of(|model, id| model.is_directory(id))?
        } else {
            self.any()?
        };
        let Chosen { directory, ino, name, id: target } =
            if self.random.one_in(5) { self.taken_place()? } else { self.free_place()? };
        if self.model.below(id).len() + self.model.nodes.len() > NODES_MAX {
            return self.remove_tree();
        }
        let (read_only, replace) = (self.random.one_in(5), self.random.one_in(4));
        let options = CloneOptions { read_only, replace, source_path: format!("of {id}").into_bytes() };
        let got = block_on(self.pool().clone_inode(source, ino, &name, options));
        let want = self.model.clone_node(id, directory, &name, read_only, replace);
        let what = || {
            format!(
                "clone {id} to {} ({target:?}) in {directory}, read_only {read_only}, replace {replace}",
                show(&name)
            )
        };
        if let Some((attributes, copy)) = self.agree(what, got, want)? {
            self.learn_returned(copy, &attributes);
            let origin =
                block_on(self.pool().info(attributes.ino))?.origin.expect("a clone knows its origin");
            assert_eq!((origin.ino, origin.path), (source, format!("of {id}").into_bytes()));
        }
        Ok(())
    }

    // ---- content and attributes ----

    fn offset(&mut self, size: u64) -> u64 {
        match self.random.below(30) {
            0 => SIZE_MAX - self.random.below(100_000),
            1 => self.random.below(1 << 50),
            2..=8 => size.min(1 << 40),
            9..=14 => self.random.below(700),
            15..=20 => self.random.below(300) * 4096,
            _ => self.random.below(1_000_000),
        }
    }

    fn length(&mut self) -> u64 {
        match self.random.below(20) {
            0 if self.focus == Focus::Content => self.random.below(1 << 22),
            0 => 0,
            1..=7 => self.random.below(600),
            8..=13 => self.random.below(20_000),
            14..=16 => (self.random.below(40) + 1) * 4096,
            _ => (60 << 10) + self.random.below(200 << 10),
        }
    }

    fn write(&mut self) -> Outcome {
        let (id, ino) = self.any_file()?;
        let length = self.length();
        let data = self.random.bytes(length as usize);
        let clear = self.random.one_in(3);
        if self.random.one_in(4) {
            if self.model.node(id).size > 1 << 40 {
                return Ok(());
            }
            let got = block_on(self.pool().append(ino, data.clone().into(), clear));
            let want = self.model.write(id, None, &data, clear);
            if let Some((got, want)) = self.agree(|| format!("append {length} to {id}"), got, want)? {
                assert_eq!(got, want, "where the append went");
            }
            return Ok(());
        }
        let pieces = if self.random.one_in(6) { 12 } else { 1 };
        // Enough pieces for a tree of many nodes.
        let (pieces, spread) = match self.focus {
            Focus::Content if self.random.one_in(8) => (400, 1 << 22),
            _ => (pieces, 0),
        };
        let data = if spread > 0 { data[..data.len().min(40)].to_vec() } else { data };
        let length = data.len();
        for _ in 0..pieces {
            let offset = match spread {
                0 => self.offset(self.model.node(id).size),
                spread => self.random.below(spread),
            };
            let got = block_on(self.pool().write(ino, offset, data.clone().into(), clear));
            let want = self.model.write(id, Some(offset), &data, clear);
            let what = || format!("write {length} at {offset} of {id}, clear {clear}");
            self.agree_attributes(what, id, got, want.map(|_| ()))?;
        }
        Ok(())
    }

    fn set_attributes(&mut self) -> Outcome {
        let (id, ino) = if self.random.one_in(2) { self.any_file()? } else { self.any()? };
        let size = self.model.node(id).size;
        let time = |run: &mut Self| {
            run.random
                .one_in(4)
                .then(|| Timestamp { secs: run.random.below(1 << 33) as i64 - (1 << 32), nanos: 7 })
        };
        let set = Set {
            mode: self.random.one_in(3).then(|| self.random.below(0o10000) as u32),
            uid: self.random.one_in(5).then(|| self.random.next() as u32),
            gid: self.random.one_in(5).then(|| self.random.next() as u32),
            size: self.random.one_in(2).then(|| match self.random.below(5) {
                0 => 0,
                1 => SIZE_MAX + self.random.below(2),
                2 => self.random.below(size.max(1)),
                _ => self.offset(size),
            }),
            atime: time(self),
            mtime: time(self),
            ctime: time(self),
        };
        let given = SetAttributes {
            mode: set.mode,
            uid: set.uid,
            gid: set.gid,
            size: set.size,
            atime: set.atime.map(SetTime::At),
            mtime: set.mtime.map(SetTime::At),
            ctime: set.ctime,
        };
        let got = block_on(self.pool().set_attributes(ino, given));
        let want = self.model.set_attributes(id, &set);
        self.agree_attributes(|| format!("set {set:?} of {id}"), id, got, want)
    }

    fn allocate(&mut self) -> Outcome {
        let (id, ino) = self.any_file()?;
        let (offset, length) = (self.offset(self.model.node(id).size), self.length());
        let keep_size = self.random.one_in(2);
        let (mode, keep_content, keep_size) = match self.random.below(3) {
            0 => (AllocateMode::Allocate { keep_size }, true, keep_size),
            1 => (AllocateMode::PunchHole, false, true),
            _ => (AllocateMode::ZeroRange { keep_size }, false, keep_size),
        };
        let got = block_on(self.pool().allocate(ino, offset, length, mode));
        let want = self.model.allocate(id, offset, length, keep_content, keep_size);
        self.agree_attributes(|| format!("{mode:?} {length} at {offset} of {id}"), id, got, want)
    }

    fn clone_range(&mut self) -> Outcome {
        let ((from, from_ino), (to, to_ino)) = (self.any_file()?, self.any_file()?);
        let size = self.model.node(from).size;
        let whole = self.random.one_in(3);
        let (from_at, to_at, length) = if whole {
            (0, 0, size)
        } else {
            (self.offset(size), self.offset(self.model.node(to).size), self.length() * 3)
        };
        let got = block_on(self.pool().clone_range(from_ino, from_at, to_ino, to_at, length));
        let want = self.model.clone_range(from, from_at, to, to_at, length);
        let what = || format!("clone range {length} at {from_at} of {from} to {to_at} of {to}");
        if let Some((got, want)) = self.agree(what, got, want)? {
            assert_eq!(got, want, "length of the cloned range");
        }
        Ok(())
    }

    /// Puts files together: holes, bytes and attributes of all files stay as they are, also if the log is replayed then.
    fn defragment(&mut self) -> Outcome {
        let before = self.layout()?;
        let files: Vec<_> = before.iter().map(|(id, ..)| *id).collect();
        let count = if self.random.one_in(4) { files.len() } else { 1 + self.random.below(3) as usize };
        for _ in 0..count.min(files.len()) {
            let id = *self.random.pick(&files);
            let ino = self.acquire(id)?;
            let got = block_on(self.pool().defragment(ino));
            if let Some((report, ())) = self.agree(|| format!("defragment {id}"), got, Ok(()))? {
                self.rewritten += report.windows_rewritten;
                self.trace(format!("{report:?}"));
            }
        }
        if self.random.one_in(4) {
            let (id, ino) = self.any()?;
            let got = block_on(self.pool().defragment(ino));
            let want = self.model.alive(id).and(match self.model.node(id).kind {
                Kind::File => Ok(()),
                Kind::Directory => Err(ErrorKind::IsDirectory),
                _ => Err(ErrorKind::Invalid),
            });
            self.agree(|| format!("defragment {id}"), got, want)?;
        }
        assert!(self.layout()? == before, "the layout of a file changed");
        if self.random.one_in(3) {
            self.sync()?;
            self.reopen(false);
            assert!(self.layout()? == before, "the layout of a file changed by the replay");
        }
        Ok(())
    }

    /// Attributes of all files, and where their data begins and ends.
    fn layout(&mut self) -> Outcome<Vec<(Id, Attributes, Vec<u64>)>> {
        let mut layout = Vec::new();
        for id in self.reachable() {
            if self.model.node(id).kind != Kind::File {
                continue;
            }
            let ino = self.acquire(id)?;
            let (mut bounds, mut at) = (Vec::new(), 0);
            while let Some(data) = block_on(self.pool().seek(ino, at, SeekTarget::Data))? {
                at = block_on(self.pool().seek(ino, data, SeekTarget::Hole))?.expect("data has an end");
                bounds.extend([data, at]);
            }
            layout.push((id, block_on(self.pool().attributes(ino))?, bounds));
        }
        Ok(layout)
    }

    fn xattr(&mut self) -> Outcome {
        let (id, ino) = self.any()?;
        let name = format!("user.{}", self.random.below(4)).into_bytes();
        if self.random.one_in(3) {
            let got = block_on(self.pool().remove_xattr(ino, &name));
            let want = self.model.remove_xattr(id, &name);
            return self.agree(|| format!("remove attribute {} of {id}", show(&name)), got, want).map(|_| ());
        }
        let length = if self.random.one_in(3) { self.random.below(25_000) } else { self.random.below(60) };
        let value = self.random.bytes(length as usize);
        let mode = self.random.one_in(4).then(|| self.random.below(0o10000) as u32);
        let (how, xattr_mode) = *self.random.pick(&[
            (Mode::Replace, XattrMode::Set),
            (Mode::NoReplace, XattrMode::Create),
            (Mode::Exchange, XattrMode::Replace),
        ]);
        let got = block_on(self.pool().set_xattr(ino, &name, &value, xattr_mode, mode));
        let want = self.model.set_xattr(id, &name, &value, how, mode);
        let what = || format!("{xattr_mode:?} attribute {} of {id} to {length} bytes", show(&name));
        self.agree(what, got, want).map(|_| ())
    }

    // ---- holding and forgetting ----

    fn hold(&mut self) -> Outcome {
        let (id, ino) = self.any()?;
        if id == ROOT || self.model.alive(id).is_err() {
            return Ok(());
        }
        self.trace(format!("hold {id}"));
        self.pool().hold(ino)?;
        self.model.hold(id);
        Ok(())
    }

    fn release(&mut self) -> Outcome {
        let held: Vec<Id> = self.model.holds.keys().copied().collect();
        if held.is_empty() {
            return Ok(());
        }
        let id = *self.random.pick(&held);
        let ino = self.handles[&id].ino;
        let got = block_on(self.pool().release(ino));
        self.model.release(id);
        self.agree(|| format!("release {id}"), got, Ok(()))?;
        self.drop_handle_if_unused(id);
        Ok(())
    }

    fn forget_some(&mut self) -> Outcome {
        let known: Vec<Id> = self.handles.keys().copied().filter(|id| *id != ROOT).collect();
        for id in known {
            if self.random.one_in(2) {
                let handle = self.handles.get_mut(&id).expect("it is known");
                let count = if self.random.one_in(2) {
                    handle.references
                } else {
                    self.random.below(handle.references + 1)
                };
                handle.references -= count;
                let ino = handle.ino;
                self.trace(format!("forget {id} {count} times"));
                let last = self.handles[&id].references == 0 && count > 0;
                self.pool().forget(ino, count);
                if last {
                    self.model.forget(id);
                }
                self.drop_handle_if_unused(id);
            }
        }
        Ok(())
    }

    /// Looks that must fail as the model says.
    fn odd_look(&mut self) -> Outcome {
        let (id, ino) = self.any()?;
        let name = self.new_name();
        let child = self.model.node(id).children.get(&name);
        if child.is_some_and(|child| self.model.is_orphan(id) && self.model.node(*child).linked) {
            // A file with names elsewhere too, by a name in a tree that was removed: two states share one number.
            return Ok(());
        }
        let got = block_on(self.pool().lookup(ino, &name));
        let want = self.model.lookup(id, &name);
        if let Some((attributes, found)) =
            self.agree(|| format!("lookup {} in {id}", show(&name)), got, want)?
        {
            self.learn(found, attributes.ino);
            self.count(found, attributes.ino);
        }
        let kind = self.model.node(id).kind;
        let alive = self.model.alive(id);
        let wanted = |right: Kind, wrong: ErrorKind| -> Answer {
            alive.and(if kind == right { Ok(()) } else { Err(wrong) })
        };
        let got = block_on(self.pool().read_link(ino)).map(|_| ());
        self.agree(|| format!("read link {id}"), got, wanted(Kind::Symlink, ErrorKind::Invalid))?;
        let got = block_on(self.pool().read(ino, 0, 10, &mut Vec::new()));
        let wrong = if kind == Kind::Directory { ErrorKind::IsDirectory } else { ErrorKind::Invalid };
        self.agree(|| format!("read {id}"), got, wanted(Kind::File, wrong))?;
        let got = block_on(self.pool().read_dir(ino, 0, 1, false)).map(|_| ());
        // What is gone with a tree around it is not looked at any more, and has no names whatever it was.
        let passed_over = alive.is_err() && !self.model.node(id).gone;
        let is_directory = kind == Kind::Directory;
        let want = if is_directory || passed_over { Ok(()) } else { Err(ErrorKind::NotDirectory) };
        self.agree(|| format!("read directory {id}"), got, want).map(|_| ())
    }
}

/// An error outside of comparisons: only the power cut excuses it, and that realm ids are few.
impl From<Error> for super::Stop {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NoSpace => Self::NoRealm,
            kind => {
                assert_eq!(kind, ErrorKind::Store, "{error:?}");
                Self::PowerCut
            }
        }
    }
}

pub fn show(name: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&name[..name.len().min(20)]).into_owned();
    if name.len() > 20 { format!("{shown}...({})", name.len()) } else { shown }
}
