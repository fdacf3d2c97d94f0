//! The output of a machine: the channel is searched for exactly one verdict. What the kernel's
//! console says of faults is the matter of `faults`.

use thiserror::Error;

use crate::process;
use crate::protocol::{Ended, Message};

use super::faults::AFTER;

/// Everything that init said, read line by line.
#[derive(Debug, Default)]
pub struct Transcript {
    /// Release, version line and controllers, once init is up.
    pub hello: Option<(String, String, String)>,
    /// Ends of steps in order: how, and how many processes were left.
    pub steps: Vec<(Ended, usize)>,
    /// The kernel's own checkers that were still on when all steps had ended, in words.
    pub checkers: Option<String>,
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
            Ok(Message::Checkers(text)) => self.checkers = Some(text),
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
}
