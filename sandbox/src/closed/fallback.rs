//! Where namespaces are refused: what Landlock and seccomp alone can close off. It is less, so it
//! is taken with `--best-effort` alone, and the report says by what a run was closed.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use allgone::sys::landlock::{Access, Rules};
use nix::errno::Errno;
use nix::libc;

use super::options::{Closed, Kind, Net};
use super::tree::{Place, Tree};
use crate::error::RunError;

/// What of the options takes a mount or a network namespace.
pub(crate) fn check(closed: &Closed) -> Result<(), RunError> {
    let shows = |kind| closed.shown.iter().any(|(known, _)| *known == kind);
    let asked = [
        ("tmpfs", shows(Kind::Scratch)),
        ("overlay", shows(Kind::Overlay)),
        ("include", !closed.include.is_empty()),
        ("keep", !closed.keep.is_empty()),
        ("host-root", closed.host_root),
        ("space", closed.space.is_some()),
        ("net public", closed.net == Net::Public),
        // One tracer is enough.
        ("explain", closed.explain),
    ];
    match asked.into_iter().find(|(_, asked)| *asked) {
        Some((option, _)) => Err(RunError::NotByLandlock(option)),
        None => Ok(()),
    }
}

/// The same files as with namespaces, at their own places; private ones are not there at all.
/// Errors: no Landlock, or a path that is not there.
pub(crate) fn rules(tree: &Tree, net: Net) -> Result<Rules, RunError> {
    let rules = Rules::new(net == Net::None).map_err(RunError::Landlock)?;
    for (path, place) in &tree.places {
        if let Some((
            _,
            Place::Bind {
                writable: above, ..
            },
        )) = tree.nearest_above(path)
            && !adds(place, *above)
        {
            let why = "it is below what is shown with more, and Landlock cannot take that back";
            return Err(RunError::Show {
                path: path.clone(),
                why: why.to_owned(),
            });
        }
        let Place::Bind {
            source,
            writable,
            device,
        } = place
        else {
            continue;
        };
        let access = match (device, writable) {
            (true, _) => Access::Device,
            (_, true) => Access::Write,
            (_, false) => Access::Read,
        };
        allow(&rules, source, access).map_err(|errno| RunError::Show {
            path: path.clone(),
            why: errno.to_string(),
        })?;
    }
    Ok(rules)
}

/// Whether it is at least what is above it.
fn adds(place: &Place, above_is_writable: bool) -> bool {
    match place {
        Place::Bind { writable, .. } => *writable || !above_is_writable,
        Place::Symlink(_) => true,
        Place::Scratch(_) | Place::Overlay => false,
    }
}

fn allow(rules: &Rules, path: &Path, access: Access) -> Result<(), Errno> {
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path);
    let file = opened.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    rules.allow(file.as_fd(), access)
}

/// What such a run is not closed against.
pub(crate) const OUTSIDE: &[&str] = &[
    "closed by Landlock and seccomp alone, as there are no namespaces",
    "names, sizes, permissions and times of all files can be seen, and where links lead",
    "there is no /tmp, /run or home of its own: what is there it can neither read nor write",
];
