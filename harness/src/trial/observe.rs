//! The second phase of a trial: canaries and observer are started, and watched until the observer
//! has ended.

use nix::unistd::Pid;

use super::TrialError;
use super::broken::Broken;
use super::idle::Samples;
use super::killing::Canaries;
use super::prepare::Trial;
use super::watch::Watch;
use crate::sys::wait::Change;

/// How the observer's part ended.
#[derive(Debug)]
pub(super) enum End {
    /// With a verdict, or with an error of the harness.
    Whole,
    /// It is proved that a process survives the kill.
    LivesOn,
    /// Processes of the tree were ended before the strategy acted.
    Damaged(Vec<i32>),
    /// The observer ended without its last message: which process, and how it ended.
    ObserverGone(Pid, Option<Change>),
    /// The trial says nothing about a mechanism.
    Broken(Broken),
    /// The run has to end.
    Interrupted,
}

impl End {
    /// Of several things that have happened, the one that says most: what broke the trial first,
    /// then what something else did to the tree, then what became of the observer.
    pub(super) fn of(
        broken: Option<Broken>,
        damaged: Option<Vec<i32>>,
        gone: Option<(Pid, Option<Change>)>,
        lives_on: bool,
    ) -> Self {
        match (broken, damaged, gone) {
            (Some(broken), _, _) => Self::Broken(broken),
            (None, Some(pids), _) => Self::Damaged(pids),
            (None, None, Some((pid, status))) => Self::ObserverGone(pid, status),
            (None, None, None) if lives_on => Self::LivesOn,
            (None, None, None) => Self::Whole,
        }
    }
}

/// A trial whose observer has ended.
#[derive(Debug)]
pub(super) struct Observed<'t, 'b> {
    pub(super) trial: Trial<'t, 'b>,
    pub(super) end: End,
    /// What the harness itself could not do.
    pub(super) failed: Option<TrialError>,
    pub(super) canaries: Canaries,
    pub(super) tree: Tree,
    pub(super) samples: Samples,
}

/// What was learned about the tree and is not in the record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tree {
    /// The ledger's numbers are not those of this PID namespace.
    pub(super) renumbered: bool,
    /// The main process has ended.
    pub(super) main_ended: bool,
    /// A process that was alive when the detector had said "empty".
    pub(super) witness: Option<i32>,
}

impl<'t, 'b> Trial<'t, 'b> {
    /// Starts the observer and watches until it has ended. What fails is handed on.
    pub(super) fn observe(self) -> Observed<'t, 'b> {
        let mut watch = Watch::new(self);
        let failed = watch.until_end().err();
        watch.ended(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Cause;

    #[test]
    fn what_says_most_is_the_end() {
        let broken = || Some(Broken::new(Cause::ObserverHung, "it hangs"));
        let (damaged, gone) = (Some(vec![7]), Some((Pid::from_raw(8), None)));
        assert!(matches!(
            End::of(broken(), damaged.clone(), gone, true),
            End::Broken(_)
        ));
        assert!(matches!(
            End::of(None, damaged, gone, true),
            End::Damaged(pids) if pids == [7]
        ));
        assert!(matches!(
            End::of(None, None, gone, false),
            End::ObserverGone(..)
        ));
        assert!(matches!(End::of(None, None, None, true), End::LivesOn));
        assert!(matches!(End::of(None, None, None, false), End::Whole));
    }
}
