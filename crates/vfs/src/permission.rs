//! Who may do what: permission bits, access control lists, the sticky bit, ownership, and when set-id bits go.
//!
//! Everything here is a pure function of attributes and a [`Caller`]; reading the attributes is the operations' part. The
//! rules are those of `path_resolution(7)`, `chmod(2)`, `chown(2)`, `utimensat(2)`, `unlink(2)` and `inode(7)` on Linux.

use offshoot_engine::{Attributes, Kind, SetTime};

use crate::acl::{Acl, Bits};
use crate::error::{Code, Error, Result};

/// Permission to read.
pub const READ: Bits = 0o4;
/// Permission to write; in a directory, to change its entries.
pub const WRITE: Bits = 0o2;
/// Permission to execute; in a directory, to search it.
pub const EXECUTE: Bits = 0o1;

pub(crate) const SET_UID: u32 = 0o4000;
pub(crate) const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const GROUP_EXECUTE: u32 = 0o010;
pub(crate) const MODE_BITS: u32 = 0o7777;

/// On whose behalf an operation runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user; owns what is created.
    pub uid: u32,
    /// The group; what is created belongs to it unless the directory hands its own down.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// No check is made: the caller is root, or the checks were made already (by a kernel with `default_permissions`).
    pub privileged: bool,
}

impl Caller {
    /// The superuser.
    pub fn root() -> Caller {
        Caller { uid: 0, gid: 0, groups: Vec::new(), privileged: true }
    }

    /// Whether the caller is of `group`.
    pub fn is_member(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }

    /// Whether set-id bits survive its writes, and trusted attributes are visible to it. This is a matter of who it is,
    /// also where the checks were made elsewhere.
    pub fn is_superuser(&self) -> bool {
        self.uid == 0
    }
}

/// Whether the caller gets every bit of `wanted`. `acl` is the inode's access control list, if it has one.
///
/// # Errors
/// `Access`.
pub fn check(caller: &Caller, attributes: &Attributes, acl: Option<&Acl>, wanted: Bits) -> Result<()> {
    if caller.privileged {
        return Ok(());
    }
    let is_member = |group| caller.is_member(group);
    let allowed = match acl {
        Some(acl) => acl.allows(wanted, attributes.uid, attributes.gid, caller.uid, is_member),
        None => Acl::from_mode(attributes.mode).allows(
            wanted,
            attributes.uid,
            attributes.gid,
            caller.uid,
            is_member,
        ),
    };
    if allowed { Ok(()) } else { Err(Error::new(Code::Access, "permission denied")) }
}

/// Whether the caller owns the inode or is privileged.
///
/// # Errors
/// `NotPermitted`, with `doing` in the message.
pub fn check_owner(caller: &Caller, attributes: &Attributes, doing: &'static str) -> Result<()> {
    if caller.privileged || caller.uid == attributes.uid {
        Ok(())
    } else {
        Err(Error::new(Code::NotPermitted, format!("only its owner or root may {doing}")))
    }
}

/// Whether a name may be taken out of a directory in which the caller may write: in a sticky one only by the owner of the
/// entry or of the directory.
///
/// # Errors
/// `NotPermitted`.
pub fn check_sticky(caller: &Caller, directory: &Attributes, entry: &Attributes) -> Result<()> {
    let free = directory.mode & STICKY == 0 || caller.uid == entry.uid || caller.uid == directory.uid;
    if caller.privileged || free {
        Ok(())
    } else {
        Err(Error::new(Code::NotPermitted, "the directory is sticky and the entry belongs to somebody else"))
    }
}

/// Whether the caller may make a device node; fifos, sockets and files are open to all.
///
/// # Errors
/// `NotPermitted`.
pub fn check_device(caller: &Caller, kind: Kind) -> Result<()> {
    match kind {
        Kind::CharDevice | Kind::BlockDevice if !caller.privileged => {
            Err(Error::new(Code::NotPermitted, "only root may make device nodes"))
        }
        _ => Ok(()),
    }
}

/// The mode that a `chmod` to `mode` gives: somebody outside the file's group loses its set-group-id bit.
///
/// # Errors
/// `NotPermitted`.
pub fn changed_mode(caller: &Caller, attributes: &Attributes, mode: u32) -> Result<u32> {
    check_owner(caller, attributes, "change the mode")?;
    let mode = mode & MODE_BITS;
    let keeps_set_gid = caller.privileged || caller.is_member(attributes.gid);
    Ok(if keeps_set_gid { mode } else { mode & !SET_GID })
}

/// Whether a `chown` is allowed: the user can be changed by root only, the group by the owner to one of its own.
///
/// # Errors
/// `NotPermitted`.
pub fn check_chown(
    caller: &Caller,
    attributes: &Attributes,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<()> {
    if caller.privileged {
        return Ok(());
    }
    let denied = |why: &'static str| Err(Error::new(Code::NotPermitted, why));
    if caller.uid != attributes.uid && (uid.is_some() || gid.is_some()) {
        return denied("only its owner or root may change the group");
    }
    if uid.is_some_and(|uid| uid != attributes.uid) {
        return denied("only root may give a file away");
    }
    if gid.is_some_and(|gid| gid != attributes.gid && !caller.is_member(gid)) {
        return denied("an owner may only choose one of its own groups");
    }
    Ok(())
}

/// Whether times may be set: the owner may set any; who may write may set both to now.
///
/// # Errors
/// `NotPermitted`, `Access`.
pub fn check_times(
    caller: &Caller,
    attributes: &Attributes,
    acl: Option<&Acl>,
    atime: Option<SetTime>,
    mtime: Option<SetTime>,
) -> Result<()> {
    if caller.privileged || caller.uid == attributes.uid {
        return Ok(());
    }
    match (atime, mtime) {
        (None, None) => Ok(()),
        (Some(SetTime::Now), Some(SetTime::Now)) => check(caller, attributes, acl, WRITE),
        _ => Err(Error::new(Code::NotPermitted, "only its owner or root may set the times")),
    }
}

/// The mode without the bits that a change of content takes away, or `None` if it takes none: set-user-id, and set-group-id of
/// an executable (without group execute it never meant that, and stays).
pub fn without_set_id(attributes: &Attributes) -> Option<u32> {
    if attributes.kind != Kind::File {
        return None;
    }
    let mut mode = attributes.mode & !SET_UID;
    if mode & GROUP_EXECUTE != 0 {
        mode &= !SET_GID;
    }
    (mode != attributes.mode).then_some(mode)
}

/// The group and mode that a new inode gets: a set-group-id directory hands its group down, and directories hand the bit on. Somebody
/// outside that group cannot make a set-group-id executable of it.
pub fn inherited_group(caller: &Caller, directory: &Attributes, kind: Kind, mode: u32) -> (u32, u32) {
    if directory.mode & SET_GID == 0 {
        return (caller.gid, mode);
    }
    let gid = directory.gid;
    let mode = match kind {
        Kind::Directory => mode | SET_GID,
        Kind::File
            if mode & (SET_GID | GROUP_EXECUTE) == SET_GID | GROUP_EXECUTE
                && !caller.privileged
                && !caller.is_member(gid) =>
        {
            mode & !SET_GID
        }
        _ => mode,
    };
    (gid, mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use offshoot_engine::{Ino, Timestamp};

    fn user(uid: u32, groups: &[u32]) -> Caller {
        Caller { uid, gid: groups[0], groups: groups[1..].to_vec(), privileged: false }
    }

    fn inode(kind: Kind, mode: u32, uid: u32, gid: u32) -> Attributes {
        let zero = Timestamp::default();
        Attributes {
            ino: Ino(7),
            kind,
            mode,
            uid,
            gid,
            nlink: 1,
            size: 0,
            allocated: 0,
            rdev: 0,
            atime: zero,
            mtime: zero,
            ctime: zero,
            btime: zero,
            read_only: false,
            clone_root: false,
            has_xattrs: false,
        }
    }

    fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
        result.unwrap_err().code()
    }

    #[test]
    fn bits_of_the_class_decide_and_no_other() {
        let file = inode(Kind::File, 0o047, 1, 2);
        assert_eq!(code(check(&user(1, &[2]), &file, None, READ)), Code::Access);
        check(&user(3, &[9, 2]), &file, None, READ).unwrap();
        assert_eq!(code(check(&user(3, &[2]), &file, None, WRITE)), Code::Access);
        check(&user(3, &[9]), &file, None, READ | WRITE | EXECUTE).unwrap();
        check(&Caller::root(), &inode(Kind::File, 0, 1, 1), None, READ | WRITE).unwrap();
    }

    #[test]
    fn an_access_control_list_goes_before_the_bits() {
        let file = inode(Kind::File, 0o777, 1, 2);
        let list = Acl::from_mode(0o700);
        assert_eq!(code(check(&user(3, &[9]), &file, Some(&list), READ)), Code::Access);
    }

    #[test]
    fn a_sticky_directory_protects_other_peoples_entries() {
        let open = inode(Kind::Directory, 0o1777, 0, 0);
        let theirs = inode(Kind::File, 0o666, 5, 5);
        assert_eq!(code(check_sticky(&user(6, &[6]), &open, &theirs)), Code::NotPermitted);
        check_sticky(&user(5, &[5]), &open, &theirs).unwrap();
        check_sticky(&Caller::root(), &open, &theirs).unwrap();
        check_sticky(&user(6, &[6]), &inode(Kind::Directory, 0o1777, 6, 0), &theirs).unwrap();
        check_sticky(&user(6, &[6]), &inode(Kind::Directory, 0o777, 0, 0), &theirs).unwrap();
    }

    #[test]
    fn chmod_by_somebody_outside_the_group_drops_set_group_id() {
        let file = inode(Kind::File, 0o644, 5, 50);
        assert_eq!(changed_mode(&user(5, &[5]), &file, 0o2755).unwrap(), 0o755);
        assert_eq!(changed_mode(&user(5, &[5, 50]), &file, 0o2755).unwrap(), 0o2755);
        assert_eq!(changed_mode(&Caller::root(), &file, 0o106755).unwrap(), 0o6755);
        assert_eq!(code(changed_mode(&user(6, &[50]), &file, 0o644)), Code::NotPermitted);
    }

    #[test]
    fn only_root_gives_files_away() {
        let file = inode(Kind::File, 0o644, 5, 50);
        assert_eq!(code(check_chown(&user(5, &[50]), &file, Some(6), None)), Code::NotPermitted);
        check_chown(&user(5, &[50, 51]), &file, Some(5), Some(51)).unwrap();
        assert_eq!(code(check_chown(&user(5, &[50]), &file, None, Some(52))), Code::NotPermitted);
        assert_eq!(code(check_chown(&user(6, &[50]), &file, None, Some(50))), Code::NotPermitted);
        check_chown(&user(6, &[50]), &file, None, None).unwrap();
        check_chown(&Caller::root(), &file, Some(6), Some(6)).unwrap();
    }

    #[test]
    fn a_writer_may_touch_but_not_set_times() {
        let file = inode(Kind::File, 0o666, 5, 50);
        let now = Some(SetTime::Now);
        let then = Some(SetTime::At(Timestamp::default()));
        check_times(&user(6, &[6]), &file, None, now, now).unwrap();
        assert_eq!(code(check_times(&user(6, &[6]), &file, None, then, then)), Code::NotPermitted);
        assert_eq!(code(check_times(&user(6, &[6]), &file, None, now, None)), Code::NotPermitted);
        check_times(&user(5, &[5]), &file, None, then, then).unwrap();
        let shut = inode(Kind::File, 0o644, 5, 50);
        assert_eq!(code(check_times(&user(6, &[6]), &shut, None, now, now)), Code::Access);
    }

    #[test]
    fn set_group_id_without_group_execute_survives_a_write() {
        assert_eq!(without_set_id(&inode(Kind::File, 0o6755, 1, 1)), Some(0o755));
        assert_eq!(without_set_id(&inode(Kind::File, 0o2644, 1, 1)), None);
        assert_eq!(without_set_id(&inode(Kind::File, 0o4644, 1, 1)), Some(0o644));
        assert_eq!(without_set_id(&inode(Kind::File, 0o755, 1, 1)), None);
        assert_eq!(without_set_id(&inode(Kind::Directory, 0o2755, 1, 1)), None);
    }

    #[test]
    fn a_set_group_id_directory_hands_its_group_down() {
        let directory = inode(Kind::Directory, 0o2775, 0, 50);
        let outsider = user(5, &[5]);
        assert_eq!(inherited_group(&outsider, &directory, Kind::Directory, 0o755), (50, 0o2755));
        assert_eq!(inherited_group(&outsider, &directory, Kind::File, 0o644), (50, 0o644));
        assert_eq!(inherited_group(&outsider, &directory, Kind::File, 0o2755), (50, 0o755));
        assert_eq!(inherited_group(&user(5, &[5, 50]), &directory, Kind::File, 0o2755), (50, 0o2755));
        let plain = inode(Kind::Directory, 0o755, 0, 50);
        assert_eq!(inherited_group(&outsider, &plain, Kind::Directory, 0o755), (5, 0o755));
    }

    #[test]
    fn device_nodes_are_for_root() {
        assert_eq!(code(check_device(&user(5, &[5]), Kind::BlockDevice)), Code::NotPermitted);
        check_device(&user(5, &[5]), Kind::Fifo).unwrap();
        check_device(&Caller::root(), Kind::CharDevice).unwrap();
    }
}
