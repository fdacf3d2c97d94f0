//! Probes on a cgroup and a process that are made for the purpose. Nothing is concluded from a
//! version, a mode or an owner, and nothing is left behind.

mod refusal;
mod subject;

use crate::cgroup::{Cgroup, CgroupError, remove_when_empty};
use crate::error::SysError;

pub use refusal::Refusal;
pub use subject::{Fate, Subject};

/// Makes the child `name` of `cgroup`, runs `trial` on it, and removes it with its members. An
/// error of the trial comes before an error of the removal.
pub fn in_child<T, E: From<CgroupError> + From<SysError>>(
    cgroup: &Cgroup,
    name: &str,
    trial: impl FnOnce(&Cgroup) -> Result<T, E>,
) -> Result<T, E> {
    let child = cgroup.create(name)?;
    let tried = trial(&child);
    if child.events().is_ok_and(|events| events.populated) {
        // Refused (Linux before 5.14): what cannot be removed then is the error.
        match child.kill() {
            Ok(()) | Err(_) => {}
        }
    }
    let removed = remove_when_empty(child);
    let value = tried?;
    removed?;
    Ok(value)
}
