//! Clones: one entry, one more reference to a root.

use std::sync::Arc;

use super::change::{Change, Outcome};
use super::descend::{attributes, visible_ino};
use super::{Interrupt, Operation, Place, Where, check_name};
use crate::record::{Content, Identity, RealmRoot, Scope};
use crate::report::Origin;
use crate::simulation::mutant::{self, Mutant};
use crate::{Error, ErrorKind};

impl Change<'_> {
    /// Executes an [`Operation::Clone`].
    pub(super) fn clone_inode(&mut self, operation: &Operation) -> Result<Outcome, Interrupt> {
        let Operation::Clone { source, parent, name, read_only, replace, source_path, links } = operation
        else {
            unreachable!("called with clones only")
        };
        let (source, parent, read_only, replace) = (*source, *parent, *read_only, *replace);
        check_name(name)?;
        let (from, to) = (self.trail(source)?, self.directory_trail(parent)?);
        Self::refuse_removed(&to)?;
        let key = self.hasher.key(name);
        let (mut inode, place) = self.found(&from)?;
        let target = self.look(&to, &key)?;
        if let Some(target) = &target {
            if !replace {
                return Err(ErrorKind::Exists.into());
            }
            let target_ino = visible_ino(&target.inode, target.place);
            if self.locations.is_within(source, target_ino) {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "the source lies in the destination that would be replaced",
                )
                .into());
            }
        }
        let to_place = self.pull_entry(&to, &key)?;
        let realm_root = inode.is_realm_root();
        let is_directory = inode.directory().is_some();
        let realm = if is_directory { self.new_realm()? } else { to_place.realm };
        if is_directory {
            let source = if realm_root {
                inode.directory().and_then(|d| d.realm.clone())
            } else {
                let root = self.realm_root_trail(&from)?;
                self.view().inode(&root)?.0.directory().and_then(|d| d.realm.clone())
            };
            let is_whole = realm_root && source.as_ref().is_some_and(|realm| realm.scope == Scope::Whole);
            let scope = if is_whole { Scope::Whole } else { Scope::Part };
            let side =
                source.and_then(|realm| realm.side).filter(|_| !mutant::is_on(Mutant::CloneForgetsSide));
            let Content::Directory(directory) = &mut inode.content else { unreachable!("it is a directory") };
            directory.realm = Some(Box::new(RealmRoot { side, read_only, scope }));
            inode.identity = Some(Box::new(Identity { realm, home: to_place.realm.uid }));
        } else {
            inode.number = self.new_number()?;
            inode.identity = None;
            inode.read_only = read_only;
        }
        inode.nlink = 1;
        inode.ctime = self.time;
        inode.btime = self.time;
        inode.origin = Some(Arc::new(Origin { ino: source, path: source_path.clone(), time: self.time }));
        if let Some(target) = target {
            self.remove_tree_at(&to, &key, target, links)?;
        }
        let below = Place { outer: to_place.realm, realm, read_only: to_place.read_only || read_only };
        let after = attributes(&inode, below);
        debug_assert!(place.realm.uid < realm.uid || !is_directory);
        self.insert_entry(&to, &key, inode.into())?;
        if is_directory {
            self.realm_made(realm)?;
        } else {
            self.state.next_number += 1;
        }
        self.locations.remember(after.ino, parent, Where::Name(key), is_directory);
        Ok(Outcome::Attributes(Box::new(after)))
    }
}
