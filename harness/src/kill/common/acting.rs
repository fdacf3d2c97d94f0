//! A strategy that needs no more than a function: what nearly all contenders prepare.

use std::fmt;

use allgone::MonoNs;
use allgone::spawn::Child;

use crate::kill::{BlockingKiller, KillError, KillReport};

/// A killer that does `act` within a report that is begun before it and ended after it. What was
/// prepared is moved into `act`.
pub(in crate::kill) fn acting(
    act: impl FnMut(&Child, MonoNs, &mut KillReport) -> Result<(), KillError> + Send + 'static,
) -> Box<dyn BlockingKiller> {
    Box::new(Acting(act))
}

struct Acting<F>(F);

impl<F> BlockingKiller for Acting<F>
where
    F: FnMut(&Child, MonoNs, &mut KillReport) -> Result<(), KillError> + Send + 'static,
{
    fn kill(&mut self, child: &Child, deadline: MonoNs) -> Result<KillReport, KillError> {
        let mut report = KillReport::begin();
        (self.0)(child, deadline, &mut report)?;
        Ok(report.issued())
    }
}

impl<F> fmt::Debug for Acting<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acting")
    }
}
