//! The only unsafe code of the workspace.
//!
//! Each function is one system call that [`nix`] lacks, behind a safe signature with owned or
//! borrowed descriptors. Three modules are more than that: [`spawn`], the code between `clone3` and
//! `execveat`, and [`ledger`], the page that observer, oracle and actors share, because their code
//! runs where ordinary Rust code may not; and [`entry`](mod@entry), a program's `main`.
//!
//! What this crate does not do: retry, log, interpret. An `Errno` is returned as the kernel gave
//! it.
#![allow(
    unsafe_code,
    reason = "this crate exists to hold the workspace's unsafe code"
)]

#[cfg(feature = "instrument")]
pub mod actor;
#[cfg(feature = "instrument")]
pub mod alarm;
#[cfg(feature = "instrument")]
pub mod alloc;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod bare;
#[cfg(feature = "instrument")]
pub mod board;
pub mod bpf;
#[cfg(feature = "instrument")]
pub mod bpf_map;
pub mod descriptor;
pub mod entry;
#[cfg(feature = "instrument")]
pub mod exec;
#[cfg(feature = "instrument")]
pub mod fork;
#[cfg(feature = "instrument")]
pub mod futex;
pub mod guard;
#[cfg(feature = "instrument")]
pub mod interrupt;
#[cfg(feature = "instrument")]
pub mod iouring;
#[cfg(feature = "instrument")]
pub mod ipc;
pub mod landlock;
#[cfg(feature = "instrument")]
pub mod lease;
#[cfg(feature = "instrument")]
pub mod ledger;
mod mapping;
#[cfg(feature = "instrument")]
pub mod mount;
#[cfg(feature = "instrument")]
pub mod netlink;
#[cfg(feature = "instrument")]
pub mod perf;
pub mod pidfd;
pub mod privilege;
#[cfg(feature = "instrument")]
pub mod probe;
pub mod ptrace;
pub mod sched;
pub mod spawn;
pub mod time;
#[cfg(feature = "instrument")]
pub mod uffd;
pub mod wait;
pub mod xattr;

pub use time::MonoNs;

use nix::errno::Errno;

/// Turns the return value of a raw system call into a `Result`; negative means that `errno` holds
/// the reason.
fn check(ret: libc::c_long) -> Result<libc::c_long, Errno> {
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
}
