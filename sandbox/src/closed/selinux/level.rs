//! A level that no other run has at the same time: two categories of the caller's.
//!
//! A pair is taken by binding an abstract socket with its name, which the kernel gives to one
//! holder at a time and any user may have. Launcher and init have it open, so it is taken until all
//! of the run is over, whoever of them is killed. (Fedora's `sandbox` binds such a socket, too, and
//! closes it at once.) Its reach is the network namespace; another program that binds all names
//! can only refuse. Source: unix(7).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::context::{categories, sensitivity};

/// A level, and what keeps it.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) text: String,
    pub(super) held: OwnedFd,
}

/// Takes a pair of the range's categories. `Ok(None)`: there are not two. Errors: none is free.
pub(super) fn own(range: &str) -> Result<Option<Level>, String> {
    let categories = categories(range);
    let count = categories.len();
    if count < 2 {
        return Ok(None);
    }
    let pairs = count * (count - 1) / 2;
    let begin = usize::try_from(RandomState::new().build_hasher().finish() >> 1).unwrap_or(0);
    for offset in 0..pairs {
        let (low, high) = pair((begin % pairs + offset) % pairs, count);
        let (low, high) = (categories[low], categories[high]);
        let text = format!("{}:c{low},c{high}", sensitivity(range));
        match hold(&text) {
            Ok(held) => return Ok(Some(Level { text, held })),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(format!("could not take the level {text}: {e}")),
        }
    }
    Err(format!(
        "each pair of the categories of {range} is taken by a run; --selinux-level names a level"
    ))
}

/// The pair of this number, the smaller first.
fn pair(number: usize, count: usize) -> (usize, usize) {
    let mut left = number;
    for low in 0..count {
        let row = count - low - 1;
        if left < row {
            return (low, low + 1 + left);
        }
        left -= row;
    }
    (0, 1)
}

fn hold(level: &str) -> std::io::Result<OwnedFd> {
    let name = SocketAddr::from_abstract_name(format!("allgone-selinux/{level}"))?;
    UnixDatagram::bind_addr(&name).map(OwnedFd::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_has_one_number() {
        let mut all: Vec<_> = (0..10).map(|number| pair(number, 5)).collect();
        assert!(all.iter().all(|(low, high)| low < high && *high < 5));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10);
    }

    #[test]
    fn a_pair_is_taken_once_and_free_again() {
        // Numbers that no other test and no run has.
        let first = 2_000 + u16::try_from(std::process::id() % 30_000).unwrap();
        let range = format!("s0-s0:c{first}.c{}", first + 2);
        let mut held: Vec<_> = (0..3).map(|_| own(&range).unwrap().unwrap()).collect();
        let mut texts: Vec<_> = held.iter().map(|level| level.text.clone()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 3);
        assert!(own(&range).unwrap_err().contains("is taken"));
        let freed = held.pop().unwrap().text;
        assert_eq!(own(&range).unwrap().unwrap().text, freed);
        assert!(own("s0").unwrap().is_none());
        assert!(own("s0-s0:c5").unwrap().is_none());
    }
}
