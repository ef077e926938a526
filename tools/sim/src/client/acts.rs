//! What clients do.

use bytes::Bytes;
use offshoot_engine::{
    AllocateMode, CloneOptions, ErrorKind, Ino, Kind, RenameMode, SeekTarget, SetAttributes, SetTime,
    Timestamp, XattrMode,
};
use offshoot_vfs::{Access, AttributeChange, Create, Error};

use super::{CALLER, Client, Focus, Outcome, Stop};
use crate::model::{Id, Mode, Model, ROOT, SIZE_MAX, Set, walk};
use crate::random::Chance;

/// A name that was chosen.
struct Place {
    directory: Id,
    ino: Ino,
    name: Vec<u8>,
}

impl Client {
    /// Does one thing.
    pub(super) async fn act(&mut self) -> Outcome {
        let chosen = match self.focus {
            Focus::Names if self.random.one_in(2) => {
                *self.random.pick(&[38, 38, 48, 48, 52, 56, 58, 62, 62, 62, 76, 80])
            }
            Focus::Content if self.random.one_in(2) => {
                *self.random.pick(&[12, 12, 12, 26, 30, 30, 34, 34, 38, 92, 94])
            }
            Focus::Sync if self.random.one_in(3) => *self.random.pick(&[12, 88, 88]),
            Focus::Links if !self.random.one_in(4) => {
                *self.random.pick(&[0, 0, 48, 48, 48, 48, 52, 58, 58, 58, 62, 88])
            }
            Focus::Clones if !self.random.one_in(4) => {
                *self.random.pick(&[0, 38, 38, 38, 58, 58, 76, 84, 88])
            }
            _ => self.random.below(100),
        };
        self.truth
            .borrow_mut()
            .explain(|| format!("client {} of {:?} begins {chosen}", self.id, self.machine));
        match chosen {
            0..=11 => self.create().await,
            12..=25 => self.write().await,
            26..=29 => self.set_attributes().await,
            30..=33 => self.allocate().await,
            34..=37 => self.clone_range().await,
            38..=47 => self.clone_node().await,
            48..=51 => self.link().await,
            52..=55 => self.unlink().await,
            56..=57 => self.rmdir().await,
            58..=61 => self.remove_tree().await,
            62..=70 => self.rename().await,
            71..=75 => self.xattr().await,
            76..=79 => self.open().await,
            80..=81 => self.close().await,
            82..=83 => self.create_unnamed().await,
            84..=85 => self.forget_some(),
            86..=90 => self.sync().await,
            91 => self.checkpoint().await,
            92 => self.collect().await,
            93..=94 => self.defragment().await,
            95 => self.check().await,
            96 => self.list().await,
            97 => self.usage().await,
            _ => self.read().await,
        }
    }

    // ---- choosing ----

    fn choose(&mut self, wanted: impl Fn(&Model, Id) -> bool) -> Outcome<Id> {
        if self.random.one_in(4) {
            let known: Vec<Id> = self.known.keys().copied().collect();
            let truth = self.truth.borrow();
            let fit: Vec<Id> = known.into_iter().filter(|id| wanted(&truth.model, *id)).collect();
            if !fit.is_empty() {
                return Ok(*self.random.pick(&fit));
            }
        }
        let truth = self.truth.borrow();
        let all: Vec<Id> =
            truth.model.below(ROOT).into_iter().filter(|id| wanted(&truth.model, *id)).collect();
        if all.is_empty() { Err(Stop::Skip) } else { Ok(*self.random.pick(&all)) }
    }

    async fn any(&mut self) -> Outcome<(Id, Ino)> {
        let id = self.choose(|_, _| true)?;
        self.acquire(id).await
    }

    async fn directory(&mut self) -> Outcome<(Id, Ino)> {
        let odd = self.random.one_in(15);
        let id = self.choose(|model, id| odd || model.is_directory(id) && !model.is_read_only(id))?;
        self.acquire(id).await
    }

    async fn file(&mut self) -> Outcome<(Id, Ino)> {
        let odd = self.random.one_in(15);
        let id =
            self.choose(|model, id| model.node(id).kind == Kind::File && (odd || !model.is_read_only(id)))?;
        self.acquire(id).await
    }

    /// A directory that is being removed, or one below it.
    fn doomed(&mut self) -> Option<Id> {
        let truth = self.truth.borrow();
        let directories = |id: &Id| truth.model.nodes.contains_key(id) && truth.model.is_directory(*id);
        let below: Vec<Id> = truth
            .removing
            .iter()
            .filter(|id| directories(id))
            .flat_map(|id| truth.model.below(*id))
            .filter(directories)
            .collect();
        if below.is_empty() || self.random.one_in(3) { None } else { Some(*self.random.pick(&below)) }
    }

    async fn free_place(&mut self) -> Outcome<Place> {
        let (directory, ino) = match self.doomed() {
            Some(id) => self.acquire(id).await?,
            None => self.directory().await?,
        };
        let name = match self.random.below(40) {
            0 => vec![b'x'; 200 + self.random.below(58) as usize],
            1..=8 => format!("n{}", self.random.below(1000)).into_bytes(),
            _ => vec![b'a' + self.random.below(8) as u8],
        };
        Ok(Place { directory, ino, name })
    }

    /// A name that leads somewhere, or did a moment ago.
    async fn taken_place(&mut self, wanted: impl Fn(&Model, Id) -> bool) -> Outcome<Place> {
        let places: Vec<(Id, Vec<u8>)> = {
            let truth = self.truth.borrow();
            let model = &truth.model;
            model
                .below(ROOT)
                .into_iter()
                .flat_map(|id| model.node(id).children.iter().map(move |(name, child)| (id, name, *child)))
                .filter(|(_, _, child)| wanted(model, *child))
                .map(|(id, name, _)| (id, name.clone()))
                .collect()
        };
        if places.is_empty() {
            return Err(Stop::Skip);
        }
        let doomed = self.doomed();
        let beside: Vec<_> = places.iter().filter(|(id, _)| Some(*id) == doomed).collect();
        let (directory, name) = if beside.is_empty() {
            self.random.pick(&places).clone()
        } else {
            (*self.random.pick(&beside)).clone()
        };
        let (directory, ino) = self.acquire(directory).await?;
        Ok(Place { directory, ino, name })
    }

    fn is_full(&self) -> bool {
        self.truth.borrow().model.below(ROOT).len() > self.nodes_max
    }

    // ---- names ----

    async fn create(&mut self) -> Outcome {
        if self.is_full() {
            return self.remove_tree().await;
        }
        let Place { directory, ino, name } = self.free_place().await?;
        let kind =
            *self.random.pick(&[Kind::File, Kind::File, Kind::Directory, Kind::Directory, Kind::Symlink]);
        let mode = self.random.below(0o1000) as u32;
        let mut create = Create::new(kind, mode, 0);
        let mut new = crate::model::new(kind);
        new.mode = mode;
        if kind == Kind::Symlink {
            let target = vec![b't'; 1 + self.random.below(300) as usize];
            create = Create::symlink(target.clone());
            new.target = target.into();
            new.mode = 0o777;
        }
        let what = format!("create {kind:?} {} in {directory}", show(&name));
        let vfs = self.vfs.clone();
        let wanted = name.clone();
        let effect = move |model: &mut Model| {
            // The POSIX layer looks at this first.
            if wanted.len() > 255 {
                return Err(ErrorKind::NameTooLong);
            }
            model.alive(directory)?;
            if !model.is_directory(directory) {
                return Err(ErrorKind::NotDirectory);
            }
            let inherited = model.nodes.get(&directory).map(|node| (node.mode, node.gid));
            let mut new = new.clone();
            if let Some((mode, gid)) = inherited.filter(|(mode, _)| mode & 0o2000 != 0) {
                new.gid = gid;
                new.mode |= if new.kind == Kind::Directory { mode & 0o2000 } else { 0 };
            }
            model.create(directory, &wanted, &new)
        };
        let call = vfs.create(&CALLER, ino, &name, create);
        let (attributes, id) = self.change(what.clone(), effect, call).await?;
        self.returned(&what, id, &attributes);
        Ok(())
    }

    async fn create_unnamed(&mut self) -> Outcome {
        let (directory, ino) = self.directory().await?;
        let new = crate::model::new(Kind::File);
        let pool = Clone::clone(self.vfs.pool());
        let wanted = new.clone();
        let what = format!("create without a name in {directory}");
        let effect = move |model: &mut Model| model.create_unnamed(directory, &wanted);
        let call = async { pool.create_unnamed(ino, new).await.map_err(Error::from) };
        let (attributes, id) = self.change(what.clone(), effect, call).await?;
        self.returned(&what, id, &attributes);
        // Held open once; a handle takes that over.
        let handle = self.vfs.open(&CALLER, attributes.ino, Access::READ | Access::WRITE).await;
        match handle {
            Ok(handle) if !self.is_zombie() => {
                let released = pool.release(attributes.ino).await;
                if self.is_zombie() || released.is_err() {
                    return Err(Stop::Gone);
                }
                self.known.get_mut(&id).expect("it was just kept").handles.push(handle);
                Ok(())
            }
            _ => Err(Stop::Gone),
        }
    }

    async fn link(&mut self) -> Outcome {
        let (id, ino) = if self.random.one_in(8) { self.any().await? } else { self.file().await? };
        let Place { directory, ino: parent, name } = self.free_place().await?;
        let what = format!("link {id} to {} in {directory}", show(&name));
        let vfs = self.vfs.clone();
        let wanted = name.clone();
        let effect = move |model: &mut Model| model.link(id, directory, &wanted);
        let call = vfs.link(&CALLER, ino, parent, &name);
        let (attributes, linked) = self.change(what.clone(), effect, call).await?;
        self.returned(&what, linked, &attributes);
        Ok(())
    }

    async fn unlink(&mut self) -> Outcome {
        let Place { directory, ino, name } = self.taken_place(|model, id| !model.is_directory(id)).await?;
        let vfs = self.vfs.clone();
        let wanted = name.clone();
        let effect = move |model: &mut Model| model.unlink(directory, &wanted).map(|()| 0);
        let what = format!("unlink {} in {directory}", show(&name));
        self.change(what, effect, vfs.unlink(&CALLER, ino, &name)).await.map(|_| ())
    }

    async fn rmdir(&mut self) -> Outcome {
        let Place { directory, ino, name } = self.taken_place(Model::is_directory).await?;
        let vfs = self.vfs.clone();
        let wanted = name.clone();
        let effect = move |model: &mut Model| model.rmdir(directory, &wanted).map(|()| 0);
        let what = format!("rmdir {} in {directory}", show(&name));
        self.change(what, effect, vfs.rmdir(&CALLER, ino, &name)).await.map(|_| ())
    }

    async fn remove_tree(&mut self) -> Outcome {
        let only = self.focus == Focus::Links;
        let Place { directory, ino, name } =
            self.taken_place(|model, id| !only || model.is_directory(id)).await?;
        let doomed = self
            .truth
            .borrow()
            .model
            .nodes
            .get(&directory)
            .and_then(|node| node.children.get(&name).copied());
        self.truth.borrow_mut().removing.extend(doomed);
        let removed = self.remove_tree_at(Place { directory, ino, name }).await;
        self.truth.borrow_mut().removing.retain(|id| Some(*id) != doomed);
        removed
    }

    async fn remove_tree_at(&mut self, Place { directory, ino, name }: Place) -> Outcome {
        let pool = Clone::clone(self.vfs.pool());
        let wanted = name.clone();
        let effect = move |model: &mut Model| model.remove_tree(directory, &wanted).map(|()| 0);
        let what = format!("remove tree {} in {directory}", show(&name));
        let call = async { pool.remove_tree(ino, &name).await.map_err(Error::from) };
        self.change(what, effect, call).await.map(|_| ())
    }

    async fn rename(&mut self) -> Outcome {
        let from = self.taken_place(|_, _| true).await?;
        let to = if self.random.one_in(3) {
            self.taken_place(|_, _| true).await?
        } else {
            self.free_place().await?
        };
        let (how, mode) = *self.random.pick(&[
            (Mode::Replace, RenameMode::Replace),
            (Mode::Replace, RenameMode::Replace),
            (Mode::NoReplace, RenameMode::NoReplace),
            (Mode::Exchange, RenameMode::Exchange),
            (Mode::Whiteout, RenameMode::Whiteout),
        ]);
        let vfs = self.vfs.clone();
        let (name, new_name) = (from.name.clone(), to.name.clone());
        let (directory, new_directory) = (from.directory, to.directory);
        let what = format!(
            "rename {} in {directory} to {} in {new_directory}, {mode:?}",
            show(&name),
            show(&new_name)
        );
        let effect = move |model: &mut Model| {
            model.rename(directory, &name, new_directory, &new_name, how).map(|()| 0)
        };
        let call = vfs.rename(&CALLER, from.ino, &from.name, to.ino, &to.name, mode);
        self.change(what, effect, call).await.map(|_| ())
    }

    async fn clone_node(&mut self) -> Outcome {
        let directories = self.random.one_in(2);
        let id = self.choose(|model, id| !directories || model.is_directory(id))?;
        let (id, source) = self.acquire(id).await?;
        let Place { directory, ino, name } = if self.random.one_in(5) {
            self.taken_place(|_, _| true).await?
        } else {
            self.free_place().await?
        };
        let nodes = {
            let truth = self.truth.borrow();
            truth.model.below(id).len() + truth.model.below(ROOT).len()
        };
        if nodes > self.nodes_max * 2 {
            return self.remove_tree().await;
        }
        let (read_only, replace) = (self.random.one_in(5), self.random.one_in(4));
        let options = CloneOptions { read_only, replace, source_path: format!("of {id}").into_bytes() };
        let pool = Clone::clone(self.vfs.pool());
        let wanted = name.clone();
        let effect = move |model: &mut Model| model.clone_node(id, directory, &wanted, read_only, replace);
        let what =
            format!("clone {id} to {} in {directory}, read_only {read_only}, replace {replace}", show(&name));
        let call = async { pool.clone_inode(source, ino, &name, options).await.map_err(Error::from) };
        let (attributes, copy) = self.change(what.clone(), effect, call).await?;
        self.returned(&what, copy, &attributes);
        if self.random.one_in(3) {
            return self.sync().await;
        }
        Ok(())
    }

    // ---- content and attributes ----

    fn size(&self, id: Id) -> u64 {
        self.truth.borrow().model.nodes.get(&id).map_or(0, |node| node.size)
    }

    fn offset(&mut self, size: u64) -> u64 {
        match self.random.below(30) {
            0 => SIZE_MAX - self.random.below(100_000),
            1..=8 => size.min(1 << 40),
            9..=14 => self.random.below(700),
            15..=20 => self.random.below(60) * 4096,
            _ => self.random.below(300_000),
        }
    }

    fn length(&mut self) -> u64 {
        match self.random.below(20) {
            0 => 0,
            1..=9 => self.random.below(600),
            10..=15 => self.random.below(20_000),
            16..=18 => (self.random.below(20) + 1) * 4096,
            _ => (60 << 10) + self.random.below(100 << 10),
        }
    }

    async fn write(&mut self) -> Outcome {
        let (id, ino) = self.file().await?;
        let length = self.length();
        let data = self.random.bytes(length as usize);
        let clear = self.random.one_in(3);
        let pool = Clone::clone(self.vfs.pool());
        let bytes = Bytes::from(data.clone());
        if self.random.one_in(4) && self.size(id) < 1 << 40 {
            let effect = move |model: &mut Model| model.write(id, None, &data, clear);
            let what = format!("append {length} to {id}");
            let call = async { pool.append(ino, bytes, clear).await.map_err(Error::from) };
            let (at, want) = self.change(what.clone(), effect, call).await?;
            if at != want {
                self.fail(format!("{what}: went to {at} and should have gone to {want}"));
            }
            return Ok(());
        }
        let offset = self.offset(self.size(id));
        let what = format!("write {length} at {offset} of {id}, clear {clear}");
        let effect = move |model: &mut Model| model.write(id, Some(offset), &data, clear);
        let handle = self.known.get_mut(&id).and_then(|known| {
            let last = known.handles.last()?;
            if last.access().contains(Access::WRITE) { known.handles.pop() } else { None }
        });
        let Some(handle) = handle else {
            let call = async { pool.write(ino, offset, bytes, clear).await.map_err(Error::from) };
            let (attributes, _) = self.change(what.clone(), effect, call).await?;
            self.truth.borrow_mut().expect_attributes(&what, id, &attributes);
            return Ok(());
        };
        // Through a handle of the POSIX layer, which does more afterwards.
        let vfs = self.vfs.clone();
        let written = self.change(what, effect, vfs.write(&handle, offset, bytes, clear)).await;
        match self.known.get_mut(&id) {
            Some(known) => known.handles.push(handle),
            None => return Err(Stop::Gone),
        }
        written.map(|_| ())
    }

    async fn set_attributes(&mut self) -> Outcome {
        let (id, ino) = if self.random.one_in(2) { self.file().await? } else { self.any().await? };
        let size = self.size(id);
        let time = Timestamp { secs: self.random.below(1 << 33) as i64 - (1 << 32), nanos: 7 };
        let mut set = Set {
            // Who makes something in a directory looks at its set-group-id bit a moment before.
            mode: self.random.one_in(3).then(|| self.random.below(0o10000) as u32 & !0o2000),
            size: self.random.one_in(2).then(|| self.offset(size)),
            atime: self.random.one_in(4).then_some(time),
            mtime: self.random.one_in(4).then_some(time),
            ..Set::default()
        };
        let what = format!("set {set:?} of {id}");
        if self.random.one_in(2) && (set.mode.is_some() || set.size.is_some() || set.atime.is_some()) {
            let change = AttributeChange {
                mode: set.mode,
                size: set.size,
                atime: set.atime.map(SetTime::At),
                mtime: set.mtime.map(SetTime::At),
                ..AttributeChange::default()
            };
            let vfs = self.vfs.clone();
            let effect = move |model: &mut Model| {
                // The POSIX layer looks at this first, also if the file is gone and not what is around it.
                if model.node(id).gone && model.is_read_only(id) {
                    return Err(ErrorKind::ReadOnly);
                }
                model.set_attributes(id, &set).map(|()| 0)
            };
            let call = vfs.set_attributes(&CALLER, ino, None, change);
            let (attributes, _) = self.change(what.clone(), effect, call).await?;
            self.truth.borrow_mut().expect_attributes(&what, id, &attributes);
            return Ok(());
        }
        set.uid = self.random.one_in(5).then(|| self.random.next() as u32);
        set.gid = self.random.one_in(5).then(|| self.random.next() as u32);
        let given = SetAttributes {
            mode: set.mode,
            uid: set.uid,
            gid: set.gid,
            size: set.size,
            atime: set.atime.map(SetTime::At),
            mtime: set.mtime.map(SetTime::At),
            ctime: None,
        };
        let pool = Clone::clone(self.vfs.pool());
        let effect = move |model: &mut Model| model.set_attributes(id, &set).map(|()| 0);
        let call = async { pool.set_attributes(ino, given).await.map_err(Error::from) };
        let (attributes, _) = self.change(what.clone(), effect, call).await?;
        self.truth.borrow_mut().expect_attributes(&what, id, &attributes);
        Ok(())
    }

    async fn allocate(&mut self) -> Outcome {
        let (id, ino) = self.file().await?;
        let (offset, length) = (self.offset(self.size(id)), self.length());
        let keep_size = self.random.one_in(2);
        let (mode, keep_content, keep_size) = match self.random.below(3) {
            0 => (AllocateMode::Allocate { keep_size }, true, keep_size),
            1 => (AllocateMode::PunchHole, false, true),
            _ => (AllocateMode::ZeroRange { keep_size }, false, keep_size),
        };
        let pool = Clone::clone(self.vfs.pool());
        let effect =
            move |model: &mut Model| model.allocate(id, offset, length, keep_content, keep_size).map(|()| 0);
        let what = format!("{mode:?} {length} at {offset} of {id}");
        let call = async { pool.allocate(ino, offset, length, mode).await.map_err(Error::from) };
        let (attributes, _) = self.change(what.clone(), effect, call).await?;
        self.truth.borrow_mut().expect_attributes(&what, id, &attributes);
        Ok(())
    }

    async fn clone_range(&mut self) -> Outcome {
        let ((from, from_ino), (to, to_ino)) = (self.file().await?, self.file().await?);
        let size = self.size(from);
        let (from_at, to_at, length) = if self.random.one_in(3) {
            (0, 0, size)
        } else {
            (self.offset(size), self.offset(self.size(to)), self.length() * 3)
        };
        let pool = Clone::clone(self.vfs.pool());
        let effect = move |model: &mut Model| model.clone_range(from, from_at, to, to_at, length);
        let what = format!("clone range {length} at {from_at} of {from} to {to_at} of {to}");
        let call =
            async { pool.clone_range(from_ino, from_at, to_ino, to_at, length).await.map_err(Error::from) };
        let (copied, want) = self.change(what.clone(), effect, call).await?;
        if copied != want {
            self.fail(format!("{what}: copied {copied} and should have copied {want}"));
        }
        Ok(())
    }

    async fn xattr(&mut self) -> Outcome {
        let (id, ino) = self.any().await?;
        let name = format!("user.{}", self.random.below(4)).into_bytes();
        let pool = Clone::clone(self.vfs.pool());
        let wanted = name.clone();
        if self.random.one_in(3) {
            let what = format!("remove attribute {} of {id}", show(&name));
            let effect = move |model: &mut Model| model.remove_xattr(id, &wanted).map(|()| 0);
            let call = async { pool.remove_xattr(ino, &name).await.map_err(Error::from) };
            return self.change(what, effect, call).await.map(|_| ());
        }
        let length = if self.random.one_in(3) { self.random.below(25_000) } else { self.random.below(60) };
        let value = self.random.bytes(length as usize);
        let (how, mode) = *self.random.pick(&[
            (Mode::Replace, XattrMode::Set),
            (Mode::NoReplace, XattrMode::Create),
            (Mode::Exchange, XattrMode::Replace),
        ]);
        let what = format!("{mode:?} attribute {} of {id} to {length} bytes", show(&name));
        let bytes = value.clone();
        let effect = move |model: &mut Model| model.set_xattr(id, &wanted, &bytes, how, None).map(|()| 0);
        let call = async { pool.set_xattr(ino, &name, &value, mode, None).await.map_err(Error::from) };
        self.change(what, effect, call).await.map(|_| ())
    }

    // ---- handles ----

    async fn open(&mut self) -> Outcome {
        let id = self.choose(|model, id| model.node(id).kind == Kind::File && id != ROOT)?;
        let (id, ino) = self.acquire(id).await?;
        let is_writable = {
            let truth = self.truth.borrow();
            truth.model.alive(id).is_ok() && !truth.model.is_read_only(id)
        };
        let access = if is_writable { Access::READ | Access::WRITE } else { Access::READ };
        let vfs = self.vfs.clone();
        let refuses = move |model: &Model| match model.alive(id) {
            Ok(()) if model.is_read_only(id) => Some(ErrorKind::ReadOnly),
            Ok(()) if model.node(id).kind == Kind::Directory => Some(ErrorKind::IsDirectory),
            alive => alive.err(),
        };
        let what = format!("open {id}");
        let handle = self.look(&what, vfs.open(&CALLER, ino, access), |_, _| Ok(()), refuses).await?;
        self.note(&what);
        if self.truth.borrow().model.nodes.contains_key(&id) {
            self.truth.borrow_mut().model.hold(id);
        }
        match self.known.get_mut(&id) {
            Some(known) => known.handles.push(handle),
            None => return Err(Stop::Gone),
        }
        Ok(())
    }

    async fn close(&mut self) -> Outcome {
        let open: Vec<Id> =
            self.known.iter().filter(|(_, known)| !known.handles.is_empty()).map(|(id, _)| *id).collect();
        if open.is_empty() {
            return Err(Stop::Skip);
        }
        let id = *self.random.pick(&open);
        let known = self.known.get_mut(&id).expect("it was just looked at");
        let handle = known.handles.pop().expect("it has a handle");
        if known.references == 0 && known.handles.is_empty() {
            self.known.remove(&id);
        }
        self.note(format!("close {id}"));
        // The pool lets go at once; what follows is work behind the scenes.
        self.truth.borrow_mut().model.release(id);
        match self.vfs.close(&handle).await {
            Ok(()) => Ok(()),
            Err(_) if self.is_zombie() => Err(Stop::Skip),
            Err(error) => self.excuse("close", &error),
        }
    }

    fn forget_some(&mut self) -> Outcome {
        for id in self.known.keys().copied().collect::<Vec<_>>() {
            let references = self.known[&id].references;
            if self.random.one_in(2) {
                let count =
                    if self.random.one_in(2) { references } else { self.random.below(references + 1) };
                self.note(format!("forget {id} {count} times"));
                self.forget(id, count);
            }
        }
        Ok(())
    }

    // ---- durability and upkeep ----

    async fn sync(&mut self) -> Outcome {
        let executed = self.truth.borrow().sequence;
        let vfs = self.vfs.clone();
        match vfs.sync().await {
            Ok(()) => self.durable(executed, "sync"),
            Err(_) if self.is_zombie() => Err(Stop::Skip),
            Err(error) => {
                self.note(format!("sync: {error}"));
                self.excuse("sync", &error)
            }
        }
    }

    /// Everything up to an operation was acknowledged as durable.
    fn durable(&self, sequence: u64, what: &str) -> Outcome {
        if self.is_zombie() {
            return Err(Stop::Skip);
        }
        let mut truth = self.truth.borrow_mut();
        truth.durable = truth.durable.max(sequence);
        drop(truth);
        self.note(format!("{what}: {sequence} is durable"));
        Ok(())
    }

    async fn checkpoint(&mut self) -> Outcome {
        let executed = self.truth.borrow().sequence;
        let pool = Clone::clone(self.vfs.pool());
        match pool.checkpoint().await {
            Ok(()) => self.durable(executed, "checkpoint"),
            Err(_) if self.is_zombie() => Err(Stop::Skip),
            Err(error) => self.excuse("checkpoint", &error.into()),
        }
    }

    async fn collect(&mut self) -> Outcome {
        let executed = self.truth.borrow().sequence;
        let pool = Clone::clone(self.vfs.pool());
        match pool.gc().await {
            Ok(_) => self.durable(executed, "collect"),
            Err(_) if self.is_zombie() => Err(Stop::Skip),
            Err(error) => self.excuse("collect", &error.into()),
        }
    }

    async fn defragment(&mut self) -> Outcome {
        let (id, ino) = self.file().await?;
        let pool = Clone::clone(self.vfs.pool());
        self.note(format!("defragment {id}"));
        match pool.defragment(ino).await {
            Ok(_) => Ok(()),
            Err(_) if self.is_zombie() => Err(Stop::Skip),
            Err(error) if matches!(error.kind(), ErrorKind::Stale) => Ok(()),
            Err(error) => self.excuse("defragment", &error.into()),
        }
    }

    async fn check(&mut self) -> Outcome {
        let pool = Clone::clone(self.vfs.pool());
        match pool.check().await {
            _ if self.is_zombie() => Err(Stop::Skip),
            Ok(report) if report.findings.is_empty() => Ok(()),
            Ok(report) => {
                self.fail(format!("check found {:?}", report.findings));
                Err(Stop::Gone)
            }
            Err(error) => self.excuse("check", &error.into()),
        }
    }

    async fn usage(&mut self) -> Outcome {
        let (id, ino) = self.any().await?;
        let pool = Clone::clone(self.vfs.pool());
        let what = format!("usage of {id}");
        let call = async { pool.usage(ino).await.map_err(Error::from) };
        self.look(&what, call, |_, _| Ok(()), |model| model.alive(id).err()).await.map(|_| ())
    }

    // ---- looking ----

    async fn list(&mut self) -> Outcome {
        let id = self.choose(Model::is_directory)?;
        let (id, ino) = self.acquire(id).await?;
        let vfs = self.vfs.clone();
        let what = format!("list {id}");
        let fits = |model: &Model, items: &Vec<offshoot_engine::DirectoryItem>| -> Result<(), String> {
            let names: Vec<&Vec<u8>> = items
                .iter()
                .map(|item| &item.name)
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect();
            if model.alive(id).is_err() {
                return if items.is_empty() { Ok(()) } else { Err("a removed directory has names".into()) };
            }
            let children = &model.node(id).children;
            if !names.iter().copied().eq(children.keys()) {
                return Err(format!("shows {} names and should show {}", names.len(), children.len()));
            }
            items
                .iter()
                .try_for_each(|item| walk::same_attributes(model, children[&item.name], &item.attributes))
        };
        let call = vfs.read_dir(&CALLER, ino, 0, 10_000, false);
        self.look(&what, call, fits, |model| model.alive(id).err()).await.map(|_| ())
    }

    async fn read(&mut self) -> Outcome {
        let (id, ino) = self.file().await?;
        let pool = Clone::clone(self.vfs.pool());
        let refuses = move |model: &Model| -> Option<ErrorKind> { model.alive(id).err() };
        if self.random.one_in(4) {
            let what = format!("attributes of {id}");
            let call = async { pool.attributes(ino).await.map_err(Error::from) };
            let fits = |model: &Model, seen: &_| walk::same_attributes(model, id, seen);
            return self.look(&what, call, fits, refuses).await.map(|_| ());
        }
        let (offset, length) = (self.offset(self.size(id)), self.length() + 1);
        let what = format!("read {length} at {offset} of {id}");
        let call = async {
            let mut bytes = Vec::new();
            pool.read(ino, offset, length as usize, &mut bytes).await.map_err(Error::from)?;
            Ok(bytes)
        };
        let fits = |model: &Model, seen: &Vec<u8>| -> Result<(), String> {
            model.alive(id).map_err(|kind| format!("{kind:?}"))?;
            let node = model.node(id);
            let end = offset.saturating_add(length).min(node.size);
            let mut want = vec![0; end.saturating_sub(offset) as usize];
            for (at, piece) in node.content.part(offset, end) {
                let start = (at - offset) as usize;
                want[start..start + piece.len()].copy_from_slice(&piece);
            }
            if want == *seen {
                return Ok(());
            }
            let at = want.iter().zip(seen).position(|(a, b)| a != b);
            Err(format!(
                "{} bytes read, {} wanted, the first difference is at {at:?}",
                seen.len(),
                want.len()
            ))
        };
        let seen = self.look(&what, call, fits, refuses).await?;
        if !seen.is_empty() && self.random.one_in(8) {
            let pool = Clone::clone(self.vfs.pool());
            let call = async { pool.seek(ino, offset, SeekTarget::Data).await.map_err(Error::from) };
            self.look("seek", call, |_, _| Ok(()), refuses).await?;
        }
        Ok(())
    }
}

/// A name, shortened.
pub(super) fn show(name: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&name[..name.len().min(20)]).into_owned();
    if name.len() > 20 { format!("{shown}...({})", name.len()) } else { shown }
}
