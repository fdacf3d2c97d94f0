//! The launcher reports how the main process ended, and nothing else.
//!
//! Level 0: exit codes 0, 7 and 255 are its own exit codes. A main process that aborts is reported
//! as the adapter says: by 128 and the number, by the same signal, or either. (It dies of
//! `SIGABRT`; as the first process of a PID namespace, which the kernel spares from that, of the
//! real `SIGSEGV` with which abort(3) ends.) So is one that is killed by its child (`SIGKILL`);
//! where the main process is the first of a PID namespace the kernel spares it, and that case is
//! skipped.
//!
//! Level 1: a child outlives the main process, which exits with 7, and exits with 0 later. The
//! launcher says 7, whether it waits for the child or ends it.

use nix::sys::signal::Signal;

use super::trees::TREES;
use super::{Judged, Plan, Promise};
use crate::adapter::{Adapter, SignalAs};
use crate::payload::{ABORT, KILLED_BY_CHILD, SPARED};
use crate::trial::{Case, Payload, Returned, Seen};

/// `status`.
#[derive(Debug)]
pub(super) struct Status;

impl Promise for Status {
    fn id(&self) -> &'static str {
        "status"
    }

    fn summary(&self) -> &'static str {
        "the launcher reports how the main process ended"
    }

    fn source(&self) -> &'static str {
        include_str!("status.rs")
    }

    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case> {
        let script = |name: &str, level, text: &str| {
            let text = Payload::Script(text.to_owned());
            Case::new(format!("status/{name}"), level, text)
        };
        let args = |name: &str, arg: &str| {
            let args = Payload::Args(vec![arg.to_owned()]);
            Case::new(format!("status/{name}"), 0, args)
        };
        let mut all = vec![
            script("0", 0, "main: ready; exit 0"),
            script("7", 0, "main: ready; exit 7"),
            script("255", 0, "main: ready; exit 255"),
            args("abort", ABORT),
            args("killed", KILLED_BY_CHILD),
        ];
        for tree in TREES.iter().filter(|tree| tree.name == "child") {
            all.push(Case::new("status/later", 1, tree.ending("live 200ms")));
        }
        let once = all.len();
        all.into_iter()
            .cycle()
            .take(once * plan.runs.div_ceil(3) as usize)
            .collect()
    }

    fn judge(&self, case: &Case, seen: &Seen, adapter: &Adapter) -> Judged {
        let Some(returned) = seen.returned else {
            return Judged::Broken(format!("it had not returned after {} ms", case.patience_ms));
        };
        let name = case.id.rsplit('/').next().unwrap_or_default();
        let (right, wanted) = match name {
            "abort" => {
                let by = |signal| signalled(signal, returned, adapter.signal);
                let fault = by(Signal::SIGSEGV);
                if fault.0 { fault } else { by(Signal::SIGABRT) }
            }
            "killed" if returned.code == Some(SPARED.into()) => {
                return Judged::Skipped(
                    "its main process is the first of a PID namespace, which a child cannot kill"
                        .to_owned(),
                );
            }
            "killed" => signalled(Signal::SIGKILL, returned, adapter.signal),
            "later" => (returned.code == Some(7), "exit code 7".to_owned()),
            code => (
                returned.code.map(|code| code.to_string()).as_deref() == Some(code),
                format!("exit code {code}"),
            ),
        };
        match right {
            true => Judged::Kept,
            false => Judged::Broken(format!("{returned} instead of {wanted}")),
        }
    }
}

fn signalled(signal: Signal, returned: Returned, how: SignalAs) -> (bool, String) {
    let number = signal as i32;
    let code = returned.code == Some(128 + number);
    let same = returned.signal == Some(number);
    let negative = returned.code == Some(256 - number);
    match how {
        SignalAs::Either => (
            code || same,
            format!("exit code {} or {signal}", 128 + number),
        ),
        SignalAs::Code => (code, format!("exit code {}", 128 + number)),
        SignalAs::Signal => (same, signal.to_string()),
        SignalAs::Negative => (negative, format!("exit code {}", 256 - number)),
    }
}
