//! A JSON line for each thing that happens: `--events FD`.

use std::fs::File;
use std::io::Write;

use allgone::SysError;
use allgone::sys::spawn::results::MainEnd;
use allgone::sys::{descriptor, time};
use nix::unistd::Pid;
use serde_json::json;

use crate::end::Ending;
use crate::error::RunError;
use crate::plan::Plan;
use crate::report::{VERSION, end_of, proof_of};

/// Where the lines go; nowhere, if they are not asked for.
#[derive(Debug)]
pub(crate) struct Events(Vec<File>);

impl Events {
    /// To the descriptor, and to the library's caller. Errors: the descriptor is not open.
    pub(crate) fn open(number: Option<i32>, host: Option<File>) -> Result<Self, RunError> {
        let mut to = Vec::from_iter(host);
        let Some(number) = number else {
            return Ok(Self(to));
        };
        let failed = |e| SysError::plain("use the descriptor of --events", e);
        let copy = descriptor::copy(number).map_err(failed)?;
        if number > 2 {
            descriptor::close_at_exec(number).map_err(failed)?;
        }
        to.push(File::from(copy));
        Ok(Self(to))
    }

    /// Whether there is a reader.
    pub(crate) fn wanted(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn started(&mut self, init: Pid, plan: &Plan) {
        self.line(|| {
            let cgroup = plan.place.as_ref().map(|place| place.path()).ok();
            json!({
                "version": VERSION, "event": "started", "tier": plan.tier.name(),
                "init": init.as_raw(), "pid": main_of(init),
                "cgroup": cgroup.map(|path| path.display().to_string()),
                "monotonic_ns": time::now().0,
            })
        });
    }

    pub(crate) fn main_ended(&mut self, end: Option<MainEnd>) {
        self.line(|| {
            json!({
                "version": VERSION, "event": "main-ended", "main": end_of(end),
                "monotonic_ns": time::now().0,
            })
        });
    }

    pub(crate) fn all_ended(&mut self, ending: &Ending) {
        self.line(|| {
            let proof = proof_of(&ending.proof);
            let main = end_of(ending.main);
            json!({
                "version": VERSION, "event": "all-ended", "main": main, "proof": proof,
                "monotonic_ns": ending.ended.0,
            })
        });
    }

    /// A reader that is gone gets nothing more; the run goes on.
    fn line(&mut self, value: impl FnOnce() -> serde_json::Value) {
        if self.wanted() {
            let line = format!("{}\n", value());
            self.0
                .retain_mut(|file| file.write_all(line.as_bytes()).is_ok());
        }
    }
}

/// The number of the main process here: init's first child.
fn main_of(init: Pid) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
