//! The output of a machine: the kernel's console is searched for faults, the channel for exactly
//! one verdict.

use thiserror::Error;

use crate::process;
use crate::protocol::{Ended, Message};

/// A message by which a kernel reports a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it is called in messages.
    pub kind: &'static str,
    /// The console around it.
    pub excerpt: String,
}

/// What the console prints, and what that is; the first that matches a line gives the name. Special
/// patterns come before general ones.
const FAULTS: [(&str, &str); 17] = [
    ("Kernel panic - not syncing", "panic"),
    ("KASAN: ", "KASAN report"),
    ("KFENCE: ", "KFENCE report"),
    ("UBSAN: ", "UBSAN report"),
    ("ODEBUG: ", "object debugging report"),
    ("possible circular locking dependency", "lockdep report"),
    ("possible recursive locking", "lockdep report"),
    ("inconsistent lock state", "lockdep report"),
    ("Invalid wait context", "lockdep report"),
    ("suspicious RCU usage", "RCU usage report"),
    ("detected stalls on CPUs", "RCU stall"),
    ("self-detected stall on CPU", "RCU stall"),
    (
        "sleeping function called from invalid context",
        "sleep in atomic context",
    ),
    ("blocked for more than", "hung task"),
    ("soft lockup", "soft lockup"),
    ("BUG: ", "oops"),
    ("WARNING: ", "kernel warning"),
];

/// Also an oops, but with common words: they must be at the start of a message.
const OOPS_STARTS: [&str; 3] = ["Oops:", "general protection fault", "kernel BUG at"];

/// Lines of the console shown before and after a fault.
const BEFORE: usize = 3;
const AFTER: usize = 30;

/// The message of a console line, without its time stamp `[    1.234567] `.
fn message(line: &str) -> &str {
    match line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((stamp, text))
            if stamp
                .chars()
                .all(|c| c.is_ascii_digit() || " .T:C[]".contains(c)) =>
        {
            text
        }
        _ => line,
    }
}

/// What kind of fault a line of the console reports, if any.
#[must_use]
pub fn fault_in(line: &str) -> Option<&'static str> {
    let text = message(line);
    if OOPS_STARTS.iter().any(|start| text.starts_with(start)) {
        return Some("oops");
    }
    FAULTS
        .iter()
        .find(|(words, _)| text.contains(words))
        .map(|(_, kind)| *kind)
}

/// The first fault of a console, the panic before all others, since it is why the machine ended.
#[must_use]
pub fn first_fault(console: &str) -> Option<Fault> {
    let lines: Vec<&str> = console.lines().collect();
    let found: Vec<(usize, &'static str)> = lines
        .iter()
        .enumerate()
        .filter_map(|(i, line)| Some((i, fault_in(line)?)))
        .collect();
    let (at, kind) = *found.first()?;
    let kind = found
        .iter()
        .map(|(_, kind)| *kind)
        .find(|kind| *kind == "panic")
        .unwrap_or(kind);
    let excerpt = lines[at.saturating_sub(BEFORE)..lines.len().min(at + AFTER)].join("\n");
    Some(Fault { kind, excerpt })
}

/// Everything that init said, read line by line.
#[derive(Debug, Default)]
pub struct Transcript {
    /// Release, version line and controllers, once init is up.
    pub hello: Option<(String, String, String)>,
    /// Ends of steps in order: how, and how many processes were left.
    pub steps: Vec<(Ended, usize)>,
    verdicts: Vec<Result<usize, String>>,
    garbled: Vec<String>,
}

/// What is wrong with a transcript.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TranscriptError {
    /// The machine ended and init had not said how.
    #[error("the machine ended without a verdict")]
    NoVerdict,
    /// Init started twice: something restarted, or there were two writers.
    #[error("the machine gave {0} verdicts where there is exactly one")]
    Doubled(usize),
    /// Init could not do its work.
    #[error("init gave up: {0}")]
    Init(String),
    /// The verdict contradicts the earlier messages.
    #[error("the verdict says that {said} steps failed, the steps say {seen}")]
    Contradiction {
        /// By the verdict.
        said: usize,
        /// By the steps.
        seen: usize,
    },
    /// Not every step was reported.
    #[error("{heard} of {asked} steps were reported")]
    Steps {
        /// Reported.
        heard: usize,
        /// In the job.
        asked: usize,
    },
    /// Something that is not part of the protocol came over the channel.
    #[error("the channel carried what init did not say: {0:?}")]
    Garbled(String),
}

impl Transcript {
    /// Takes one line of the channel; output, the end of a step and files are handed back.
    pub fn take(&mut self, line: &str) -> Option<Message> {
        match Message::decode(line) {
            Ok(
                message @ (Message::Out(_)
                | Message::Err(_)
                | Message::File(_)
                | Message::Piece(_)
                | Message::FileEnd { .. }),
            ) => return Some(message),
            Ok(message @ Message::Step { ended, left, .. }) => {
                self.steps.push((ended, left));
                return Some(message);
            }
            Ok(Message::Hello {
                release,
                version,
                controllers,
            }) => self.hello = Some((release, version, controllers)),
            Ok(Message::Verdict(verdict)) => self.verdicts.push(verdict),
            Err(garbled) => self.garbled.push(garbled.0),
        }
        None
    }

    /// Whether a verdict has come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.verdicts.is_empty()
    }

    /// Judges the whole of it for a job of `asked` steps.
    ///
    /// # Errors
    /// [`TranscriptError`], the gravest first.
    pub fn judge(&self, asked: usize) -> Result<(), TranscriptError> {
        let verdict = match self.verdicts.as_slice() {
            [] => return Err(TranscriptError::NoVerdict),
            [verdict] => verdict.clone(),
            more => return Err(TranscriptError::Doubled(more.len())),
        };
        let said = verdict.map_err(TranscriptError::Init)?;
        if let Some(line) = self.garbled.first() {
            return Err(TranscriptError::Garbled(line.clone()));
        }
        if self.steps.len() != asked {
            return Err(TranscriptError::Steps {
                heard: self.steps.len(),
                asked,
            });
        }
        let seen = self
            .steps
            .iter()
            .filter(|(ended, _)| !ended.is_success())
            .count();
        if said != seen {
            return Err(TranscriptError::Contradiction { said, seen });
        }
        Ok(())
    }
}

/// The end of a console, for errors without a fault.
#[must_use]
pub fn excerpt(console: &str) -> String {
    if console.trim().is_empty() {
        return "(the console is empty)".to_owned();
    }
    process::tail(console, AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        for line in lines {
            transcript.take(line);
        }
        transcript
    }

    #[test]
    fn one_verdict_is_believed() {
        let ok = transcript(&[
            "hello 6.1|#1|v2 pids",
            "o text",
            "step 0 exit 0 left 0",
            "verdict failed 0",
        ]);
        assert_eq!(ok.judge(1), Ok(()));
        assert_eq!(ok.hello.as_ref().unwrap().0, "6.1");
    }

    #[test]
    fn no_verdict_two_verdicts_and_contradictions_are_errors() {
        assert_eq!(
            transcript(&["hello 6.1|#1|v2"]).judge(0),
            Err(TranscriptError::NoVerdict)
        );
        assert_eq!(
            transcript(&["verdict failed 0", "verdict failed 0"]).judge(0),
            Err(TranscriptError::Doubled(2))
        );
        assert_eq!(
            transcript(&["step 0 exit 1 left 0", "verdict failed 0"]).judge(1),
            Err(TranscriptError::Contradiction { said: 0, seen: 1 })
        );
        assert_eq!(
            transcript(&["verdict failed 0"]).judge(2),
            Err(TranscriptError::Steps { heard: 0, asked: 2 })
        );
        assert_eq!(
            transcript(&["verdict init no cgroup v2"]).judge(1),
            Err(TranscriptError::Init("no cgroup v2".to_owned()))
        );
        assert_eq!(
            transcript(&["rubbish", "verdict failed 0"]).judge(0),
            Err(TranscriptError::Garbled("rubbish".to_owned()))
        );
    }

    #[test]
    fn a_program_cannot_forge_a_verdict() {
        // Init prefixes every line of a program's output.
        assert_eq!(
            transcript(&["o verdict failed 0"]).judge(0),
            Err(TranscriptError::NoVerdict)
        );
    }

    #[test]
    fn faults_are_found_and_named() {
        for (line, kind) in [
            (
                "[    0.912345] Kernel panic - not syncing: VFS: Unable to mount root fs",
                "panic",
            ),
            (
                "[    1.000000] BUG: kernel NULL pointer dereference, address: 0",
                "oops",
            ),
            ("[    1.000000][   T12] Oops: 0002 [#1] PREEMPT SMP", "oops"),
            (
                "[    1.000000] WARNING: possible circular locking dependency detected",
                "lockdep report",
            ),
            (
                "[    1.000000] WARNING: suspicious RCU usage",
                "RCU usage report",
            ),
            (
                "[    1.000000] BUG: KASAN: slab-use-after-free in cgroup_kill",
                "KASAN report",
            ),
            (
                "[   21.000000] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
                "RCU stall",
            ),
            (
                "[    1.000000] BUG: sleeping function called from invalid context at x.c:1",
                "sleep in atomic context",
            ),
            (
                "[  121.000000] INFO: task a:1 blocked for more than 120 seconds.",
                "hung task",
            ),
            (
                "[    1.000000] WARNING: CPU: 0 PID: 1 at kernel/x.c:1 x+0x1/0x2",
                "kernel warning",
            ),
        ] {
            assert_eq!(fault_in(line), Some(kind), "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_no_faults() {
        for line in [
            "[    0.000000] Linux version 7.3-rc7",
            "[    0.5] Spectre V2 : Mitigation",
            "[    0.6] BUG_ON is compiled in",
            "[    0.7] printk: console [ttyS0] enabled",
        ] {
            assert_eq!(fault_in(line), None, "{line}");
        }
    }

    #[test]
    fn a_panic_gives_the_name_and_the_first_fault_the_excerpt() {
        let console = "a\n\
            b\n\
            c\n\
            d\n\
            [ 1.0] BUG: kernel NULL pointer dereference\n\
            RIP: x\n\
            [ 1.1] Kernel panic - not syncing: Fatal\n";
        let fault = first_fault(console).unwrap();
        assert_eq!(fault.kind, "panic");
        assert!(
            fault.excerpt.starts_with("b\n") && fault.excerpt.contains("NULL pointer"),
            "{}",
            fault.excerpt
        );
    }
}
