//! Which user the program has when root starts it: one of a range that nothing else uses, another
//! for each launcher that lives.

use allgone::sys::spawn::Credentials;

use crate::error::RunError;

/// The first of the numbers that are nobody's: above those of containers, below those that do not
/// fit 31 bits (systemd's "Users, Groups, UIDs and GIDs").
const FIRST: u32 = 1_879_048_192;
/// For a user namespace without them, as containers are: above those of people, below those that
/// systemd gives away.
const FIRST_IN_CONTAINER: u32 = 30_000;
const IN_CONTAINER: u32 = 20_000;

/// The number for the launcher with this process id, from `uid_map` or `gid_map`; `None`: it has
/// none to give.
pub(crate) fn number(map: &str, pid: u32) -> Option<u32> {
    let far = FIRST.checked_add(pid)?;
    let near = FIRST_IN_CONTAINER + pid % IN_CONTAINER;
    [far, near].into_iter().find(|id| is_mapped(map, *id))
}

fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        id.checked_sub(first).is_some_and(|offset| offset < count)
    })
}

/// User and group of the program, if they are others than this process's: those that are asked for,
/// or such that are nobody else's. Errors: root is asked for, or there is none to become.
pub(crate) fn of(asked: Option<Credentials>) -> Result<Option<(u32, u32)>, RunError> {
    let root = nix::unistd::geteuid().is_root();
    if let Some(Credentials { uid, gid }) = asked {
        if !root {
            return Err(RunError::NotRoot("user"));
        }
        if uid == 0 || gid == 0 {
            return Err(RunError::RootInside);
        }
        return Ok(Some((uid, gid)));
    }
    if !root {
        return Ok(None);
    }
    let pid = std::process::id();
    let of = |file: &str| {
        let map = std::fs::read_to_string(file).ok()?;
        number(&map, pid)
    };
    match (of("/proc/self/uid_map"), of("/proc/self/gid_map")) {
        (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
        _ => Err(RunError::NoUser),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_one_that_the_namespace_has() {
        let all = "         0          0 4294967295\n";
        assert_eq!(number(all, 7), Some(FIRST + 7));
        let container = "0 100000 65536\n";
        assert_eq!(number(container, 7), Some(30_007));
        assert_eq!(number("0 1000 1\n", 7), None);
        assert_eq!(number("", 7), None);
        assert_ne!(number(all, 1), number(all, 4_194_304));
    }
}
