//! Objects of the kernel that a workload leaves behind on purpose: that they are there, and that
//! they are not when the trial has ended.

use std::path::Path;

use nix::errno::Errno;

use crate::error::SysError;
use crate::sys::ipc::Kind;
use crate::sys::ledger::TAGS;

/// An error unless there is one of each kind.
pub(super) fn are_there(tag: u32) -> Result<(), SysError> {
    for kind in Kind::ALL {
        match kind.exists(tag) {
            Ok(true) => {}
            Ok(false) => return Err(SysError::plain(kind.name(), Errno::ENOENT)),
            Err(errno) => return Err(SysError::plain(kind.name(), errno)),
        }
    }
    Ok(())
}

/// Removes what there is, and checks that nothing is left.
pub(super) fn remove(tag: u32) -> Result<(), SysError> {
    for kind in Kind::ALL {
        let failed = |errno| SysError::plain(kind.name(), errno);
        // A kernel that does not know the kind has none.
        match kind.remove(tag) {
            Ok(_) | Err(Errno::ENOSYS) => {}
            Err(errno) => return Err(failed(errno)),
        }
        match kind.exists(tag) {
            Ok(false) | Err(Errno::ENOSYS) => {}
            Ok(true) => return Err(failed(Errno::EEXIST)),
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

/// Removes what trials have left that could not remove it, because the harness was killed: objects
/// that `uid`, which no process has now, has made and named so.
pub(super) fn remove_abandoned(uid: u32) -> Result<(), SysError> {
    let of_trials = named(uid)?
        .into_iter()
        .filter(|key| key & 0xffff_0000 == TAGS);
    of_trials
        .collect::<Vec<u32>>()
        .into_iter()
        .try_for_each(remove)
}

/// The keys of System V objects that `uid` has made: columns of `/proc/sysvipc/*`.
fn named(uid: u32) -> Result<Vec<u32>, SysError> {
    let mut keys = Vec::new();
    for (kind, creator) in [("shm", 9), ("sem", 6), ("msg", 9)] {
        let path = format!("/proc/sysvipc/{kind}");
        if !Path::new(&path).exists() {
            continue;
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|e| SysError::io("read", crate::Target::Path(path.clone().into()), &e))?;
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let key = fields.first().and_then(|key| key.parse::<i32>().ok());
            let made_by = fields.get(creator).and_then(|uid| uid.parse::<u32>().ok());
            match (key, made_by) {
                (Some(key), Some(made_by)) if made_by == uid => keys.push(key.cast_unsigned()),
                (Some(_), Some(_)) => {}
                _ => return Err(SysError::path("understand", &path, Errno::EBADMSG)),
            }
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_abandoned_is_found_by_its_maker_and_its_name() {
        let own = nix::unistd::geteuid().as_raw();
        let other = 0x7465_0000 | (std::process::id() & 0xffff);
        let ours = TAGS | (std::process::id() & 0xffff);
        for tag in [other, ours] {
            for kind in Kind::ALL {
                kind.make(tag).unwrap();
            }
            are_there(tag).unwrap();
        }
        remove_abandoned(own).unwrap();
        assert!(are_there(ours).is_err());
        are_there(other).unwrap();
        remove(other).unwrap();
        remove(other).unwrap();
        assert!(are_there(other).is_err());
    }
}
