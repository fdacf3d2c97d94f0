//! A program that does not exist (`missing`), and a file that may not be executed
//! (`not-executable`): within two seconds the launcher returns, with one of the codes that the
//! adapter declares for that (126 and 127 unless it says otherwise). Level 0.

use super::{Judged, Plan, Promise};
use crate::adapter::Adapter;
use crate::trial::{Case, Payload, Seen};

/// `no-start`.
#[derive(Debug)]
pub(super) struct NoStart;

impl Promise for NoStart {
    fn id(&self) -> &'static str {
        "no-start"
    }

    fn summary(&self) -> &'static str {
        "a program that cannot be started is reported as such, at once"
    }

    fn source(&self) -> &'static str {
        include_str!("no_start.rs")
    }

    fn cases(&self, _: &mut Plan<'_>) -> Vec<Case> {
        let case = |name: &str, payload| Case {
            patience_ms: 2_000,
            settle_ms: 0,
            ..Case::new(format!("no-start/{name}"), 0, payload)
        };
        vec![
            case("missing", Payload::Missing),
            case("not-executable", Payload::NotExecutable),
        ]
    }

    fn judge(&self, case: &Case, seen: &Seen, adapter: &Adapter) -> Judged {
        match seen.returned {
            None => Judged::Broken(format!("it had not returned after {} ms", case.patience_ms)),
            Some(returned) => match returned.code {
                Some(code) if adapter.not_started.contains(&code) => Judged::Kept,
                _ => Judged::Broken(format!(
                    "{returned}, which does not say that the program could not be started"
                )),
            },
        }
    }
}
