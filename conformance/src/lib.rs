//! The conformance suite: what any launcher of programs keeps of what it promises.
//!
//! An [`adapter`] says how a launcher is used; it is a file of TOML and no code. A [`promises`] is
//! what a launcher can be expected to do, with its exact test. A [`trial`] plays one case of one
//! promise, in a process and in namespaces of its own, and sees what happened. [`run`] plays many,
//! and [`score`] makes verdicts of them.
//!
//! The suite trusts no launcher. Whether anything of a payload lives is asked of the kernel, by a
//! lease on the file that only this trial's payload executes; a look that fails is *unknown*, which
//! never counts as kept. Everything that a trial starts lives in a cgroup that is killed at the end
//! of the trial, and at the end of the suite however that ends.

pub mod adapter;
pub mod command;
pub mod payload;
pub mod promises;
pub mod run;
pub mod score;
pub mod trial;
