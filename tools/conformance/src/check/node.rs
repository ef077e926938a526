//! Fifos, device nodes and sockets.

use std::os::unix::net::{UnixListener, UnixStream};

use libc::{EACCES, EADDRINUSE, EEXIST, ENOENT, ENXIO, EPERM, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY};
use libc::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFREG, S_IFSOCK};

use crate::expect::{equal, equal_bytes, fail, holds, refused, refused_with};
use crate::place::{ALICE, as_user, in_thread, read_all};
use crate::sys::{self, mknod, open, stat};

checks! { "node";
    /// mkfifo makes a fifo with the mode asked for
    fn fifo(t) {
        as_user(ALICE, || sys::mkfifo(t.at("p"), 0o620))??;
        let p = stat(t.at("p"))?;
        equal((p.kind(), p.mode(), p.uid(), p.size()), (S_IFIFO, 0o620, ALICE.uid, 0))?;
    }

    /// bytes written to a fifo come out of it
    fn fifo_carries_bytes(t) {
        sys::mkfifo(t.at("p"), 0o600)?;
        let path = t.at("p");
        let got = std::thread::scope(|scope| {
            let reader = scope.spawn(|| read_all(&path));
            open(&path, O_WRONLY, 0)?.write(b"through the pipe")?;
            reader.join().unwrap_or_else(|_| Ok(Vec::new()))
        })?;
        equal_bytes(&got, b"through the pipe")?;
    }

    /// a fifo without a reader cannot be opened for writing without waiting: ENXIO
    fn fifo_without_reader(t) {
        sys::mkfifo(t.at("p"), 0o600)?;
        refused(open(t.at("p"), O_WRONLY | O_NONBLOCK, 0), ENXIO)?;
        open(t.at("p"), O_RDONLY | O_NONBLOCK, 0)?;
    }

    /// two names of a fifo lead to the same pipe
    fn fifo_with_two_names(t) {
        sys::mkfifo(t.at("p"), 0o600)?;
        sys::link(t.at("p"), t.at("q"))?;
        let reader = open(t.at("p"), O_RDWR, 0)?;
        open(t.at("q"), O_WRONLY | O_NONBLOCK, 0)?.write(b"x")?;
        equal_bytes(&reader.read(1)?, b"x")?;
    }

    /// device nodes keep type and both halves of their number
    fn device_numbers(t) {
        for (i, (major, minor)) in
            [(1, 3), (7, 0), (8, 255), (259, 70_000), (4_095, 1_048_575)].into_iter().enumerate()
        {
            for (letter, kind) in [("c", S_IFCHR), ("b", S_IFBLK)] {
                let path = t.at(&format!("{letter}{i}"));
                mknod(&path, kind | 0o640, libc::makedev(major, minor))?;
                let node = stat(&path)?;
                equal((node.kind(), node.mode()), (kind, 0o640))?;
                equal((libc::major(node.rdev()), libc::minor(node.rdev())), (major, minor))?;
            }
        }
    }

    /// device nodes are for root: EPERM
    fn devices_need_privilege(t) {
        let number = libc::makedev(1, 3);
        refused(as_user(ALICE, || mknod(t.at("c"), S_IFCHR | 0o600, number))?, EPERM)?;
        refused(as_user(ALICE, || mknod(t.at("b"), S_IFBLK | 0o600, number))?, EPERM)?;
        refused(sys::lstat(t.at("c")), ENOENT)?;
    }

    /// a node of the null device works as one, or is refused by a nodev mount: EACCES
    fn null_device(t) {
        mknod(t.at("null"), S_IFCHR | 0o666, libc::makedev(1, 3))?;
        match open(t.at("null"), O_RDWR, 0) {
            Ok(null) => {
                equal(null.write(b"gone")?, 4)?;
                equal(null.read(4)?.len(), 0)?;
            }
            Err(error) => equal(error.errno, EACCES)?,
        }
    }

    /// mknod makes regular files and sockets too
    fn other_types(t) {
        as_user(ALICE, || mknod(t.at("f"), S_IFREG | 0o644, 0))??;
        as_user(ALICE, || mknod(t.at("s"), S_IFSOCK | 0o600, 0))??;
        equal(stat(t.at("f"))?.kind(), S_IFREG)?;
        equal(stat(t.at("s"))?.kind(), S_IFSOCK)?;
        equal(stat(t.at("f"))?.uid(), ALICE.uid)?;
    }

    /// mknod makes no directories
    fn no_directories(t) {
        refused_with(mknod(t.at("d"), S_IFDIR | 0o755, 0), &[EPERM, libc::EINVAL])?;
    }

    /// the name must be free: EEXIST, in a directory that exists: ENOENT
    fn names(t) {
        t.file("f", b"")?;
        sys::symlink("nowhere", t.at("l"))?;
        refused(mknod(t.at("f"), S_IFIFO | 0o600, 0), EEXIST)?;
        refused(mknod(t.at("l"), S_IFIFO | 0o600, 0), EEXIST)?;
        refused(mknod(t.at("d/p"), S_IFIFO | 0o600, 0), ENOENT)?;
    }

    /// the umask is taken off the mode
    fn umask(t) {
        in_thread(|| {
            sys::own_file_context()?;
            sys::umask(0o022);
            mknod(t.at("p"), S_IFIFO | 0o666, 0)
        })?;
        equal(stat(t.at("p"))?.mode(), 0o644)?;
    }

    /// programs can listen at a socket and reach it by name
    fn socket(t) {
        in_thread(|| {
            // The name of a socket may have 108 bytes only, so it is given relative to the directory.
            sys::own_file_context()?;
            sys::chdir(t.root())?;
            let result = (|| -> std::io::Result<()> {
                let listener = UnixListener::bind("s")?;
                let _client = UnixStream::connect("s")?;
                listener.accept()?;
                Ok(())
            })();
            Ok(result.map_err(|error| error.to_string()))
        })?
        .or_else(|error| fail(&error))?;
        equal(stat(t.at("s"))?.kind(), S_IFSOCK)?;
        refused(open(t.at("s"), O_RDONLY, 0), ENXIO)?;
    }

    /// a socket's name can be bound once only
    fn socket_name_is_taken(t) {
        let again = in_thread(|| {
            sys::own_file_context()?;
            sys::chdir(t.root())?;
            Ok(UnixListener::bind("s").and_then(|_| UnixListener::bind("s")).map(drop))
        })?;
        holds(
            again.is_err_and(|e| e.raw_os_error() == Some(EADDRINUSE)),
            "the second bind gives EADDRINUSE",
        )?;
    }
}
