//! What a launcher can be expected to do: one file each, whose documentation is its exact test.

mod crowd;
mod end_kill;
mod end_wait;
mod exhausted;
mod hup;
mod int;
mod io;
mod kill;
mod late;
mod limit;
mod no_start;
mod residue;
mod signals;
mod status;
mod stop;
mod strangers;
mod term;
mod trees;

use std::fmt::Debug;

use crate::adapter::Adapter;
use crate::trial::{Case, Life, Seen};

/// One promise.
pub trait Promise: Debug + Sync {
    /// Its name.
    fn id(&self) -> &'static str;

    /// What is promised, in one line.
    fn summary(&self) -> &'static str;

    /// The text of its file, which begins with the exact test.
    fn source(&self) -> &'static str;

    /// What the launcher lacks, if it cannot be asked to keep this: a limit, for example.
    fn lacks(&self, _: &Adapter) -> Option<&'static str> {
        None
    }

    /// The cases, each of which is played once. One that is to be played more often stands here
    /// more often.
    fn cases(&self, plan: &mut Plan<'_>) -> Vec<Case>;

    /// What one played case says. Pure.
    fn judge(&self, case: &Case, seen: &Seen, adapter: &Adapter) -> Judged;

    /// What all cases of one level say, where one alone says nothing. Pure.
    fn judge_all(&self, played: &[(&Case, &Seen)], adapter: &Adapter) -> Vec<Judged> {
        let judge =
            |(case, seen): &(&Case, &Seen)| checked(seen, || self.judge(case, seen, adapter));
        played.iter().map(judge).collect()
    }
}

/// What cases are made for.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The launcher.
    pub adapter: &'a Adapter,
    /// How long it takes from its start to "ready".
    pub ready_us: u64,
    /// How often each case is played.
    pub runs: u32,
    /// Whether the rare is looked for.
    pub thorough: bool,
    /// For random moments.
    pub random: rand_chacha::ChaCha8Rng,
}

/// What a played case says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The promise was kept.
    Kept,
    /// It was not, because of this.
    Broken(String),
    /// The case does not apply, for this reason.
    Skipped(String),
    /// It is not known, for this reason.
    Unknown(String),
}

/// All, in the order of their names.
pub static PROMISES: [&dyn Promise; 17] = [
    &crowd::Crowd,
    &end_kill::EndKill,
    &end_kill::EndKillLater,
    &end_wait::EndWait,
    &exhausted::Exhausted,
    &hup::Hup,
    &int::Int,
    &io::Io,
    &kill::Kill,
    &late::Late,
    &limit::Limit,
    &no_start::NoStart,
    &residue::Residue,
    &status::Status,
    &stop::Stop,
    &strangers::Strangers,
    &term::Term,
];

/// The promise of this name.
pub fn by_id(id: &str) -> Option<&'static dyn Promise> {
    PROMISES.into_iter().find(|promise| promise.id() == id)
}

/// The manual page: what the file of the promise begins with.
pub fn page(promise: &dyn Promise) -> String {
    let lines = promise.source().lines();
    let lines = lines.map_while(|line| line.strip_prefix("//!"));
    let text: Vec<&str> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    format!(
        "{}: {}\n\n{}\n",
        promise.id(),
        promise.summary(),
        text.join("\n")
    )
}

/// What is the same for every promise: a trial that says nothing is unknown.
fn checked(seen: &Seen, judge: impl FnOnce() -> Judged) -> Judged {
    match &seen.trouble {
        Some(trouble) => Judged::Unknown(trouble.clone()),
        None => judge(),
    }
}

/// Whether the payload was there to be looked for.
fn there(seen: &Seen) -> Result<(), Judged> {
    /// Exit codes of an actor that could not do what its script says.
    const COULD_NOT: [i32; 3] = [actor::REFUSED, actor::NO_CGROUP, actor::NO_READY];
    if seen.ready_us.is_some() {
        return Ok(());
    }
    let code = seen.returned.and_then(|returned| returned.code);
    Err(match code {
        Some(code) if COULD_NOT.contains(&code) => Judged::Skipped(
            "the launcher gives the payload no way to do what this case needs".to_owned(),
        ),
        _ => Judged::Unknown(format!(
            "the payload never was ready{}{}",
            seen.returned
                .map_or_else(String::new, |returned| format!(" ({returned})")),
            match seen.errors.trim() {
                "" => String::new(),
                said => format!(": {}", said.replace('\n', "; ")),
            }
        )),
    })
}

/// Whether nothing lived at a moment; `when` is for messages.
fn idle(life: Option<&Life>, when: &str, seen: &Seen) -> Judged {
    match life {
        Some(Life::Idle) => Judged::Kept,
        Some(Life::Alive) => Judged::Broken(match &seen.left[..] {
            [] => format!("something of it was alive {when}"),
            left => format!("something of it was alive {when}: {}", left.join(", ")),
        }),
        Some(Life::Unknown(why)) => Judged::Unknown(why.clone()),
        None => Judged::Unknown("it was not looked for".to_owned()),
    }
}

/// Whether it returned, and nothing lived when the time to settle was over.
fn over(case: &Case, seen: &Seen) -> Judged {
    if let Err(judged) = there(seen) {
        return judged;
    }
    let when = format!("{} ms after its launcher had to be gone", case.settle_ms);
    match (idle(seen.settled.as_ref(), &when, seen), seen.returned) {
        (Judged::Kept, None) => Judged::Broken(format!(
            "the launcher had not returned after {} ms, although nothing lived",
            case.patience_ms
        )),
        (judged, _) => judged,
    }
}

#[cfg(test)]
mod tests;
