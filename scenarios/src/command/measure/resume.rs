//! Resuming: which part of an interrupted campaign is good, and whether it may be resumed here.
//!
//! The recorded trials must be the beginning of the plan, trial by trial; only the end of the file
//! may be unfinished, as after a crash.

use std::collections::BTreeMap;
use std::io::BufRead;

use anyhow::{Context, Result, bail};
use harness::record::{Outcome, TrialRecord, read_lines};
use serde_json::Value;

use super::super::plan::Plan;

/// The good part of a file of trials.
#[derive(Debug)]
pub(super) struct Kept {
    /// How many trials it has.
    pub trials: usize,
    /// How long it is.
    pub bytes: u64,
    /// What follows it and is cut off, in words.
    pub cut: Option<String>,
}

/// Reads a file of trials against the plan that they belong to, a line at a time.
pub(super) fn keep(mut file: impl BufRead, plan: &Plan) -> Result<Kept> {
    let mut kept = Kept {
        trials: 0,
        bytes: 0,
        cut: None,
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = file
            .read_until(b'\n', &mut line)
            .context("could not read the trials")?;
        if length == 0 {
            return Ok(kept);
        }
        let seq = kept.trials;
        let is_last = |file: &mut dyn BufRead| -> Result<bool> {
            Ok(file
                .fill_buf()
                .context("could not read the trials")?
                .is_empty())
        };
        let record = match (line.ends_with(b"\n"), read_lines(line.as_slice()).next()) {
            (true, Some(Ok(record))) => record,
            // Only the last line may be unfinished or, after a power cut, corrupt.
            (_, _) if is_last(&mut file)? => {
                kept.cut = Some(format!("an unfinished line of {length} bytes"));
                return Ok(kept);
            }
            (_, Some(Err(e))) => return Err(e.at_line(seq + 1)).with_context(|| damaged(seq)),
            (_, _) => bail!(damaged(seq)),
        };
        if record.outcome == Outcome::Interrupted && is_last(&mut file)? {
            kept.cut = Some(format!("trial {seq}, which was interrupted"));
            return Ok(kept);
        }
        as_planned(seq, &record, plan)?;
        kept.trials += 1;
        kept.bytes += u64::try_from(length).context("a line longer than any file")?;
    }
}

/// An error unless `record` is trial `seq` of the plan.
fn as_planned(seq: usize, record: &TrialRecord, plan: &Plan) -> Result<()> {
    let Some(planned) = plan.order.get(seq) else {
        bail!("line {} is one trial more than the plan has", seq + 1);
    };
    let cell = &plan.cells[planned.row];
    let params: BTreeMap<String, u64> =
        cell.params.iter().map(|(k, v)| (k.to_owned(), v)).collect();
    let as_planned = record.seq == planned.seq
        && record.block == Some(planned.block)
        && record.seed == planned.script_seed
        && record.scenario == cell.subject.id()
        && record.detector == cell.detector(planned.block).spec().id
        && record.strategy.as_deref() == cell.strategy.map(|s| s.spec().id)
        && record.twin == cell.twin
        && record.params == params;
    if !as_planned {
        bail!("line {} is not trial {} of the plan", seq + 1, planned.seq);
    }
    Ok(())
}

fn damaged(seq: usize) -> String {
    format!(
        "line {} is damaged, and it is not the last: this is not what an interruption leaves",
        seq + 1
    )
}

/// Compares the recorded plan with the one that its arguments make here and now. The name of the
/// run always differs, and the description of a missing mechanism may.
pub(super) fn same_plan(recorded: &Value, here: &Value) -> Result<()> {
    let (Some(recorded), Some(here)) = (recorded.as_object(), here.as_object()) else {
        bail!("plan.json is not a plan");
    };
    let keys = recorded.keys().chain(here.keys());
    for key in keys.filter(|key| !["run", "skipped"].contains(&key.as_str())) {
        let (then, now) = (recorded.get(key), here.get(key));
        if then != now {
            let short = |value: Option<&Value>| match value {
                Some(Value::Array(_) | Value::Object(_)) => "another list".to_owned(),
                Some(value) => value.to_string(),
                None => "nothing".to_owned(),
            };
            bail!(
                "the plan was made by another version of this program or for another machine: \
                    `{key}` is {} there and {} here; begin a new campaign",
                short(then),
                short(now)
            );
        }
    }
    Ok(())
}
