//! What a strategy did.

use serde::{Deserialize, Serialize};

use crate::{ErrorRecord, Fallback, earlier};

/// What a strategy did.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KillReport {
    /// When the strategy began to act: to freeze, to look, to signal.
    #[serde(default)]
    pub begun_ns: u64,
    /// When all members were known to be held still (`frozen 1`), if the strategy waits for that.
    #[serde(default)]
    pub held_ns: Option<u64>,
    /// Just before the first signal (or write that signals). 0 if there was none.
    pub first_signal_ns: u64,
    /// After the last one.
    pub last_signal_ns: u64,
    /// When the strategy had nothing more to do.
    pub issued_ns: u64,
    /// Signals sent one by one. A write to `cgroup.kill` counts as one.
    pub signals: u64,
    /// Passes over the members.
    pub passes: u64,
    /// Signals answered with `ESRCH`: the process had died first.
    pub esrch: u64,
    /// Members that could not be named (pid 0) and were not signalled.
    pub foreign: u64,
    /// Whether it gave up at the deadline.
    pub gave_up: bool,
    /// Whether the kernel kills most of the set only when another process has ended (an init, a
    /// tracer, a parent): "issued" then means less.
    #[serde(default)]
    pub indirect: bool,
    /// Whether the processes are ended by the kernel's OOM killer, on the strategy's order.
    #[serde(default)]
    pub by_oom: bool,
    /// What it did instead of what its name says, and why: always reported, and each once. One text
    /// (`fallback`) up to schema 2.
    #[serde(default, alias = "fallback", deserialize_with = "earlier::many")]
    pub fallbacks: Vec<Fallback>,
    /// Other errors after which it went on.
    pub errors: Vec<ErrorRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FallbackKind;

    #[test]
    fn an_older_report_can_be_read() {
        let report: KillReport = serde_json::from_str(
            r#"{"first_signal_ns":1,"last_signal_ns":2,"issued_ns":3,"signals":1,"passes":1,"esrch":0,"foreign":0,"gave_up":false,
                "fallback":null,"errors":[]}"#,
        )
        .unwrap();
        assert_eq!((report.begun_ns, report.held_ns), (0, None));
        assert!(report.fallbacks.is_empty());
    }

    #[test]
    fn a_fallback_in_words_is_kept_as_text() {
        const SINCE_3: &str =
            r#""fallbacks":[{"kind":"did-not-freeze","errno":"EACCES","what":"w"}]"#;
        for (fallback, kind) in [
            (r#""fallback":"w""#, FallbackKind::Text),
            (SINCE_3, FallbackKind::DidNotFreeze),
        ] {
            let line = format!(
                r#"{{"first_signal_ns":1,"last_signal_ns":2,"issued_ns":3,"signals":1,"passes":1,
                    "esrch":0,"foreign":0,"gave_up":false,{fallback},"errors":[]}}"#
            );
            let report: KillReport = serde_json::from_str(&line).unwrap();
            assert_eq!(report.fallbacks.len(), 1);
            assert_eq!(
                (report.fallbacks[0].kind, report.fallbacks[0].what.as_str()),
                (kind, "w")
            );
            let again = serde_json::to_string(&report).unwrap();
            assert_eq!(serde_json::from_str::<KillReport>(&again).unwrap(), report);
        }
    }
}
