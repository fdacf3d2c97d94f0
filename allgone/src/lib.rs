//! Know when everything you started is gone, and make it go.
//!
//! [`cgroup`] is a cgroup by its directory descriptor, [`proc`] what `/proc` says about a process, [`host`] where the hierarchies are
//! mounted and what this process may do, [`error`] what a system call answered. [`sys`] holds the only unsafe code.
//!
//! Nothing in here touches the state of the process that uses it: no signal handler, no timer, no signal mask, no subreaper flag, no
//! working directory, no `waitpid(-1)`.

pub mod cgroup;
pub mod error;
pub mod host;
pub mod proc;

pub use allgone_sys as sys;
pub use allgone_sys::MonoNs;
pub use error::{SysError, Target};
