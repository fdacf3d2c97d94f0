//! A hundred runs at once (20 unless `--thorough`), each with a main process that lives for 1.5 s
//! and exits with 7. When all are ready, the launcher of every tenth is sent `SIGTERM`. The others
//! return 7, within 10 s, and two seconds later nothing of any payload lives.
//!
//! Level 0; it is played once.

use super::{Judged, Plan, Promise, idle};
use crate::adapter::Adapter;
use crate::trial::{Case, Payload, Seen};

/// `crowd`.
#[derive(Debug)]
pub(super) struct Crowd;

impl Promise for Crowd {
    fn id(&self) -> &'static str {
        "crowd"
    }

    fn summary(&self) -> &'static str {
        "many runs at once do not disturb each other, nor does the end of some"
    }

    fn source(&self) -> &'static str {
        include_str!("crowd.rs")
    }

    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case> {
        let payload = Payload::Script("main: ready; live 1500ms; exit 7".to_owned());
        vec![Case {
            crowd: if plan.thorough { 100 } else { 20 },
            patience_ms: 10_000,
            settle_ms: 2_000,
            ..Case::new("crowd/all", 0, payload)
        }]
    }

    fn judge(&self, case: &Case, seen: &Seen, _: &Adapter) -> Judged {
        let wanted = case.crowd - case.crowd / 10;
        if seen.crowd_right != wanted {
            let wrong = seen.crowd_wrong.join("; ");
            return Judged::Broken(format!(
                "{} of {wanted} returned 7: {wrong}",
                seen.crowd_right
            ));
        }
        idle(
            seen.settled.as_ref(),
            "two seconds after all had returned",
            seen,
        )
    }
}
