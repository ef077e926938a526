//! What a path on the command line means.
//!
//! A path below a mount of a pool on this machine means the path in that pool. Any other absolute path is a path in the
//! pool. `local:` and a path is a path of this machine. Nothing is guessed from names: where the other form may have been
//! meant, the message of the error says so.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use offshoot_control::PoolPath;
use offshoot_control::path::text;
use offshoot_host::mount::{self, Located, MountError};

use crate::failure::{Failure, Outcome};

const LOCAL: &[u8] = b"local:";

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Pool(InPool),
    Local(PathBuf),
}

/// A path in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InPool {
    pub(crate) path: PoolPath,
    /// The source of the mount that it was found below.
    pub(crate) source: Option<OsString>,
}

impl Location {
    /// Reads an argument.
    pub(crate) fn read(argument: &OsStr) -> Outcome<Self> {
        if let Some(local) = argument.as_bytes().strip_prefix(LOCAL) {
            if local.is_empty() {
                return Err(Failure::usage("`local:` needs a path behind it, as in local:/tmp/x"));
            }
            return Ok(Self::Local(PathBuf::from(OsStr::from_bytes(local))));
        }
        InPool::read(argument).map(Self::Pool)
    }
}

impl InPool {
    /// Reads an argument that has to be in a pool.
    pub(crate) fn read(argument: &OsStr) -> Outcome<Self> {
        let shown = text(argument.as_bytes());
        if argument.as_bytes().starts_with(LOCAL) {
            return Err(Failure::usage(format!(
                "{shown} is outside the pool, and this works inside the pool only"
            ))
            .advise("name a path in the pool, such as /data; what is outside gets in by `cp` to a mount"));
        }
        if argument.is_empty() {
            return Err(Failure::usage("an empty path names nothing"));
        }
        match mount::locate(Path::new(argument)) {
            Ok(Some(located)) => Self::below_mount(&located),
            Ok(None) if argument.as_bytes().starts_with(b"/") => {
                let path = PoolPath::parse(argument.as_bytes()).map_err(|error| {
                    Failure::usage(error.to_string()).advise("paths in the pool start at its root, as in /data/x")
                })?;
                Ok(Self { path, source: None })
            }
            Ok(None) => Err(Failure::usage(format!("{shown} is a path of this machine that lies below no mount of a pool"))
                .advise(spelling(argument))),
            Err(MountError::Dead(at)) => Err(Failure::no_pool(format!(
                "{shown} lies below the mount at {}, whose server is gone",
                at.display()
            ))
            .advise(format!("start the server again; `offshoot up --mount {0}` or `offshoot mount {0}` brings the mount back", at.display()))),
            Err(error) => Err(Failure::new(offshoot_control::problem::with_causes(&error))),
        }
    }

    fn below_mount(located: &Located) -> Outcome<Self> {
        let path = PoolPath::parse(&located.pool_path).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self { path, source: Some(located.mount.source.clone()) })
    }

    /// What to say if this path is not there: it may have been meant as a path of this machine.
    pub(crate) fn meant_locally(&self, takes_local: bool) -> Option<String> {
        let local = Path::new(OsStr::from_bytes(self.path.as_bytes()));
        if self.source.is_some() || self.path.is_root() || std::fs::symlink_metadata(local).is_err() {
            return None;
        }
        let path = local.display();
        Some(if takes_local {
            format!("{path} exists on this machine; to name that, write local:{path}")
        } else {
            format!(
                "{path} exists on this machine, outside the pool; `cp -a` to a mount of the pool brings it in"
            )
        })
    }
}

/// How a relative path may have been meant. Never the whole pool: that is nobody's idea of `.`.
fn spelling(argument: &OsStr) -> String {
    match PoolPath::root().join(argument.as_bytes()) {
        Ok(path) if !path.is_root() => format!("write {path} for a path in the pool"),
        _ => "paths in the pool start at its root, as in /data/x".into(),
    }
}

/// The one mount that all paths were found below.
///
/// # Errors
/// Usage, if they lie below mounts of different pools.
pub(crate) fn common_source(paths: &[&InPool]) -> Outcome<Option<OsString>> {
    let mut common: Option<&OsString> = None;
    for source in paths.iter().filter_map(|path| path.source.as_ref()) {
        if let Some(other) = common.filter(|other| *other != source) {
            return Err(Failure::usage(format!(
                "the paths lie in two pools, {} and {}",
                other.display(),
                source.display()
            ))
            .advise(
                "a clone shares data and cannot leave its pool; `cp -a` copies from one mount to the other",
            ));
        }
        common = Some(source);
    }
    Ok(common.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(argument: &str) -> Outcome<Location> {
        Location::read(OsStr::new(argument))
    }

    #[test]
    fn an_absolute_path_is_in_the_pool_and_local_is_not() {
        let pool = |path: &str| {
            Location::Pool(InPool { path: PoolPath::parse(path.as_bytes()).unwrap(), source: None })
        };
        assert_eq!(read("/data//x/").unwrap(), pool("/data/x"));
        assert_eq!(read("/tmp").unwrap(), pool("/tmp"), "no name is special");
        assert_eq!(read("local:/tmp/x").unwrap(), Location::Local("/tmp/x".into()));
        assert_eq!(read("local:x").unwrap(), Location::Local("x".into()));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_other_form() {
        let failure = read("./data").unwrap_err();
        assert_eq!(failure.advice.unwrap(), "write /data for a path in the pool");
        for far in [".", "./", "..", "../../etc", "a/.."] {
            let advice = read(far).unwrap_err().advice.unwrap();
            assert_eq!(advice, "paths in the pool start at its root, as in /data/x", "{far}");
        }
        assert!(read("/../x").unwrap_err().message.contains("leaves the pool"));
        assert!(read("").is_err() && read("local:").is_err());
        assert!(InPool::read(OsStr::new("local:/x")).unwrap_err().advice.unwrap().contains("in the pool"));
    }

    #[test]
    fn paths_of_two_pools_do_not_go_together() {
        let at = |source: Option<&str>| InPool { path: PoolPath::root(), source: source.map(Into::into) };
        assert_eq!(common_source(&[&at(None), &at(Some("a")), &at(Some("a"))]).unwrap(), Some("a".into()));
        assert_eq!(common_source(&[&at(None)]).unwrap(), None);
        assert!(common_source(&[&at(Some("b")), &at(Some("a"))]).is_err());
    }

    #[test]
    fn a_path_that_exists_outside_is_pointed_out() {
        let at = |path: &str| InPool { path: PoolPath::parse(path.as_bytes()).unwrap(), source: None };
        assert!(at("/proc/self").meant_locally(true).unwrap().contains("local:/proc/self"));
        assert!(at("/proc/self").meant_locally(false).unwrap().contains("cp -a"));
        assert_eq!(at("/no/such/thing").meant_locally(true), None);
    }
}
