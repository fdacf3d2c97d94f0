//! The payload is a fork bomb, and the launcher is inside the same limit on tasks, so that it
//! cannot fork either. When the limit is reached (that is "ready"), the time limit of one second
//! ends everything (`limit`), and so does `SIGTERM` to the launcher (`term`): within three seconds
//! and the grace period it has returned, and nothing of the bomb lives.
//!
//! Level 2. Where tasks cannot be limited no bomb is started, and this is skipped.
//!
//! Not tested: the `stop` command, because it would have to be started inside the limit as well.

use nix::sys::signal::Signal;

use super::{Judged, Plan, Promise, over};
use crate::adapter::Adapter;
use crate::trial::{Act, Case, Payload, Seen, Way};

/// `exhausted`.
#[derive(Debug)]
pub(super) struct Exhausted;

impl Promise for Exhausted {
    fn id(&self) -> &'static str {
        "exhausted"
    }

    fn summary(&self) -> &'static str {
        "limit and SIGTERM end a fork bomb that has used up all tasks"
    }

    fn source(&self) -> &'static str {
        include_str!("exhausted.rs")
    }

    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case> {
        let case = |name: &str| Case {
            patience_ms: 3_000 + plan.adapter.grace_ms,
            settle_ms: 0,
            ..Case::new(
                format!("exhausted/{name}"),
                2,
                Payload::Script("main: bomb setsid".to_owned()),
            )
        };
        let mut all = vec![Case {
            act: Act::Signal {
                number: Signal::SIGTERM as i32,
                after_us: 100_000,
                group: false,
            },
            ..case("term")
        }];
        if plan.adapter.limit.is_some() {
            all.push(Case {
                way: Way::Limit(1_000),
                ..case("limit")
            });
        }
        all
    }

    fn judge(&self, case: &Case, seen: &Seen, _: &Adapter) -> Judged {
        over(case, seen)
    }
}
