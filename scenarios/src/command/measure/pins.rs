//! `--pin`: the processor for each process.

use std::collections::BTreeMap;

use nix::sched::sched_getaffinity;
use nix::unistd::Pid;

/// One processor for each role that is pinned. A role that is not named runs where its parent may:
/// the observer where the harness may, the workload where the observer may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(in super::super) struct Pins {
    /// The harness: it makes the sites, and is the oracle and the control.
    pub harness: Option<usize>,
    /// The observer: detector and strategy.
    pub observer: Option<usize>,
    /// The workload and all that it forks.
    pub workload: Option<usize>,
}

impl Pins {
    /// Reads `1`, or `harness=0,workload=1`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pins = Self::default();
        if let Ok(cpu) = text.parse() {
            pins.harness = Some(cpu);
            return Ok(pins);
        }
        for part in text.split(',') {
            let wanted = || {
                format!(
                    "{part:?}: a processor is needed, or harness=, observer= or workload= and a \
                        processor"
                )
            };
            let (role, cpu) = part.split_once('=').ok_or_else(wanted)?;
            let place = match role {
                "harness" => &mut pins.harness,
                "observer" => &mut pins.observer,
                "workload" => &mut pins.workload,
                _ => return Err(wanted()),
            };
            if place.replace(cpu.parse().map_err(|_| wanted())?).is_some() {
                return Err(format!("{role} is named twice"));
            }
        }
        Ok(pins)
    }

    /// Finds out whether all of them can be had, and keeps the calling process, the harness, on its
    /// own.
    pub(super) fn begin(self) -> Result<(), String> {
        let allowed =
            sched_getaffinity(Pid::from_raw(0)).map_err(|e| format!("sched_getaffinity: {e}"))?;
        for (role, cpu) in self.record() {
            if !allowed.is_set(cpu).unwrap_or(false) {
                return Err(format!(
                    "--pin: this process may not run on processor {cpu} ({role})"
                ));
            }
        }
        match self.harness {
            Some(cpu) => {
                harness::trial::pin(cpu).map_err(|e| format!("--pin: processor {cpu}: {e}"))
            }
            None => Ok(()),
        }
    }

    /// For the plan.
    pub(super) fn record(self) -> BTreeMap<&'static str, usize> {
        [
            ("harness", self.harness),
            ("observer", self.observer),
            ("workload", self.workload),
        ]
        .into_iter()
        .filter_map(|(role, cpu)| Some((role, cpu?)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_everybody_and_roles_are_themselves() {
        assert_eq!(
            Pins::parse("1").unwrap().record(),
            BTreeMap::from([("harness", 1)])
        );
        assert_eq!(
            Pins::parse("harness=0,workload=1").unwrap().record(),
            BTreeMap::from([("harness", 0), ("workload", 1)])
        );
        for bad in [
            "",
            "x",
            "kernel=1",
            "observer=",
            "observer=1,observer=0",
            "-1",
        ] {
            assert!(Pins::parse(bad).is_err(), "{bad:?}");
        }
    }
}
