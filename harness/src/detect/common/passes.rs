//! The watch of detectors that look through `/proc` at intervals. A pass is no snapshot, so two in
//! a row have to agree that nothing is left.

use std::fmt;
use std::time::Duration;

use allgone::ProcessSet;
use allgone::detect::{Progress, Sources, Tally, Watch};
use allgone::spawn::Child;

use crate::MonoNs;
use crate::detect::{Counters, DetectError, INTERVAL, Verdict};
use crate::error::SysError;

/// What is looked for.
pub(in crate::detect) trait Pass: fmt::Debug + Send + 'static {
    /// As [`Watch::attach`].
    fn attach(&mut self, child: &Child) -> Result<(), DetectError>;

    /// Whether one pass finds a process that lives.
    fn finds_a_live_one(&self) -> Result<bool, SysError>;
}

/// Passes at the set's [`INTERVAL`].
#[derive(Debug)]
pub(in crate::detect) struct Passes<P> {
    pass: P,
    interval: Duration,
    found_nothing: bool,
    tally: Tally,
}

impl<P: Pass> Passes<P> {
    /// None has been made.
    pub(in crate::detect) fn over(pass: P, set: &ProcessSet) -> Self {
        Self {
            pass,
            interval: Duration::from_nanos(set.param(&INTERVAL)),
            found_nothing: false,
            tally: Tally::default(),
        }
    }
}

impl<P: Pass> Watch for Passes<P> {
    fn attach(&mut self, child: &Child) -> Result<(), DetectError> {
        self.pass.attach(child)
    }

    fn sources(&self) -> Sources<'_> {
        Sources::none()
    }

    fn check(&mut self, now: MonoNs) -> Result<Progress, DetectError> {
        self.tally.check().reads += 1;
        let nothing = match self.pass.finds_a_live_one() {
            Ok(found) => !found,
            Err(e) => return Ok(Progress::done(Verdict::unknown(e))),
        };
        let agreed = nothing && self.found_nothing;
        self.found_nothing = nothing;
        Ok(Progress::of(agreed.then(|| Verdict::empty(now))).look_at(now + self.interval))
    }

    fn finish(self: Box<Self>) -> Counters {
        self.tally.counters
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Answers in turn.
    #[derive(Debug)]
    struct Answers(RefCell<Vec<Result<bool, SysError>>>);

    impl Pass for Answers {
        fn attach(&mut self, _: &Child) -> Result<(), DetectError> {
            Ok(())
        }

        fn finds_a_live_one(&self) -> Result<bool, SysError> {
            self.0.borrow_mut().remove(0)
        }
    }

    fn checks(answers: Vec<Result<bool, SysError>>) -> Vec<Option<Verdict>> {
        let count = answers.len();
        let mut passes = Passes {
            pass: Answers(RefCell::new(answers)),
            interval: Duration::from_millis(1),
            found_nothing: false,
            tally: Tally::default(),
        };
        (0..count)
            .map(|_| passes.check(MonoNs(0)).unwrap().verdict)
            .collect()
    }

    #[test]
    fn two_passes_in_a_row_have_to_agree() {
        let seen = checks(vec![Ok(false), Ok(true), Ok(false), Ok(false)]);
        assert!(seen[..3].iter().all(Option::is_none), "{seen:?}");
        assert!(matches!(seen[3], Some(Verdict::Empty { .. })), "{seen:?}");
    }

    #[test]
    fn a_pass_that_fails_is_unknown() {
        let failed = SysError::plain("read", nix::errno::Errno::EACCES);
        let seen = checks(vec![Ok(false), Err(failed)]);
        assert!(matches!(seen[1], Some(Verdict::Unknown { .. })), "{seen:?}");
    }
}
