//! One function per feature of the contenders: try, take back, answer. An answer that was not
//! expected is an error of the probe, not "missing".

mod netlink;
pub(super) mod process;
pub(super) mod tracing;

use allgone::host::probe::{SECCOMP, answer, missing};
