//! The payload writes the time into a file and exits; the launcher returns. Beside it the same
//! payload is started without a launcher, in turns, nine times each. The launcher is not late if
//! the median of its times, from the payload's stamp to its return, is less than 30 ms above the
//! median of those without it. Level 0.
//!
//! Why 30 ms: launchers that poll at intervals of a hundredth of a second are not told from others,
//! and one that sleeps for 50 ms is, on a machine with load too.

use super::{Judged, Plan, Promise, checked};
use crate::adapter::Adapter;
use crate::payload::STAMP;
use crate::trial::{Case, DIR, Payload, Seen, Way};

const PAIRS: usize = 9;
const LATE_US: u64 = 30_000;

/// `late`.
#[derive(Debug)]
pub(super) struct Late;

impl Promise for Late {
    fn id(&self) -> &'static str {
        "late"
    }

    fn summary(&self) -> &'static str {
        "the launcher returns as soon as the last process has ended"
    }

    fn source(&self) -> &'static str {
        include_str!("late.rs")
    }

    fn cases(&self, _: &mut Plan<'_>) -> Vec<Case> {
        let payload = Payload::Args(vec![STAMP.to_owned(), format!("{DIR}/stamp")]);
        let case = Case {
            settle_ms: 0,
            ..Case::new("late/exit", 0, payload)
        };
        let bare = Case {
            id: "late/without".to_owned(),
            way: Way::Bare,
            ..case.clone()
        };
        std::iter::repeat_n([case, bare], PAIRS).flatten().collect()
    }

    fn judge(&self, _: &Case, seen: &Seen, _: &Adapter) -> Judged {
        match seen.late_us {
            Some(_) => Judged::Kept,
            None => Judged::Unknown("the payload left no stamp".to_owned()),
        }
    }

    fn judge_all(&self, played: &[(&Case, &Seen)], adapter: &Adapter) -> Vec<Judged> {
        let times = |bare: bool| {
            let of = played
                .iter()
                .filter(|(case, _)| (case.way == Way::Bare) == bare);
            let mut all: Vec<u64> = of.filter_map(|(_, seen)| seen.late_us).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied()
        };
        let (Some(own), Some(bare)) = (times(false), times(true)) else {
            let why = "the payload left no stamp".to_owned();
            return played
                .iter()
                .map(|_| Judged::Unknown(why.clone()))
                .collect();
        };
        let late = own.saturating_sub(bare);
        played
            .iter()
            .map(|(case, seen)| {
                checked(seen, || match self.judge(case, seen, adapter) {
                    Judged::Kept if late >= LATE_US => Judged::Broken(format!(
                        "it returned {} ms later than without a launcher (medians of {PAIRS}: \
                         {own} and {bare} µs)",
                        late / 1_000
                    )),
                    judged => judged,
                })
            })
            .collect()
    }
}
