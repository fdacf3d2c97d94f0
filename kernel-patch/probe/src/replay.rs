//! A counter-example of the model (`kernel-patch/model`), step by step: `lab model --steps` prints
//! what the outside world does in it, and this does the same in the same order.
//!
//! A step is taken when the one before it is known to be done: a watcher that "sleeps" is asleep in
//! `poll(2)`, a job that "ends" has been reaped. What the kernel does in between, such as holding a
//! notification back, follows from that as in the model, if all of it takes less than the interval
//! of the rate limit. A try that took longer proves nothing and is counted apart.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use allgone_sys::fork::{Worker, worker};
use allgone_sys::time::{MonoNs, now};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::wait::WaitStatus;

use crate::Answer;
use crate::latency::sleep_on;
use crate::lost::{SILENCE, WINDOW, until_asleep};
use crate::site::{Group, Line, OwnCgroup, PATIENCE, flag, ns_between, reap};

/// One step. There are one watcher, number 0, and jobs 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Opens,
    Reads(bool),
    Sleeps,
    Enters,
    Ends,
    Removes,
}

/// What the watcher is told to do.
const OPEN: u64 = 1;
const READ: u64 = 2;
const SLEEP: u64 = 3;
/// Its answers; after [`SLEEP`] it gives none.
const DONE: u64 = 10;
const POPULATED: u64 = 11;
const EMPTY: u64 = 12;

/// Exit statuses of the watcher.
const TOLD: i32 = 0;
const NEVER_WOKEN: i32 = 10;
const FAILED: i32 = 11;

/// Understands the steps as `lab model --steps` prints them.
fn parse(text: &str) -> Result<Vec<Step>> {
    let steps: Vec<Step> = text
        .split(',')
        .map(|step| match step.trim() {
            "watcher 0 opens" => Ok(Step::Opens),
            "watcher 0 reads 0" => Ok(Step::Reads(false)),
            "watcher 0 reads 1" => Ok(Step::Reads(true)),
            "watcher 0 sleeps" => Ok(Step::Sleeps),
            "job 0 enters" => Ok(Step::Enters),
            "job 0 ends" => Ok(Step::Ends),
            "owner 0 removes" => Ok(Step::Removes),
            other => bail!("{other:?} is no step that can be replayed"),
        })
        .collect::<Result<_>>()?;
    anyhow::ensure!(
        steps.last() == Some(&Step::Removes) && steps.contains(&Step::Sleeps),
        "a replay has a watcher that sleeps, and ends with the removal"
    );
    Ok(steps)
}

/// Replays `steps` again and again.
pub(crate) fn ask(own: &OwnCgroup, tries: usize, steps: &str) -> Result<Vec<Answer>> {
    let steps = parse(steps)?;
    let mut answer = Answer::new("replay", "the model's counter-example");
    for _ in 0..tries {
        answer.tries += 1;
        let (outcome, took_ns) = replay(own, &steps)?;
        answer.count(outcome);
        answer.samples_ns.push(took_ns);
    }
    Ok(vec![answer])
}

/// Fails unless the outcome is the expected one. "told": in every try, however long it took, since
/// the removal itself is told. "never woken": in at least one; in others the interval was over.
pub(crate) fn is_as_expected(answers: &[Answer], expected: &str) -> Result<()> {
    let lost: usize = answers
        .iter()
        .flat_map(|answer| &answer.counts)
        .filter(|(what, _)| what.starts_with("never woken"))
        .map(|(_, count)| count)
        .sum();
    match expected {
        "told" => anyhow::ensure!(lost == 0, "the watcher was never woken in {lost} tries"),
        "never woken" => anyhow::ensure!(lost > 0, "the watcher was told in every try"),
        other => bail!("{other:?} is no outcome; there are \"told\" and \"never woken\""),
    }
    Ok(())
}

fn replay(own: &OwnCgroup, steps: &[Step]) -> Result<(&'static str, u64)> {
    let (order, said, gate) = (Line::new()?, Line::new()?, Line::new()?);
    let path = own.next_path();
    // Forked before the cgroup exists: a copy of the owner's descriptors would hold the events file
    // open.
    let watcher = worker(0, None, || {
        watch(&path.join("cgroup.events"), &order, &said).unwrap_or(FAILED)
    })
    .context("fork the watcher")?;
    let mut group = Some(Group::make(&path)?);
    let mut job: Option<Worker> = None;
    let mut began: Option<MonoNs> = None;
    for step in steps {
        match step {
            Step::Opens => {
                order.say(OPEN);
                anyhow::ensure!(said.hear()? == DONE, "the watcher could not open the file");
            }
            Step::Reads(expected) => {
                order.say(READ);
                let seen = said.hear()?;
                let expected = if *expected { POPULATED } else { EMPTY };
                anyhow::ensure!(seen == expected, "the watcher read {seen}, not {expected}");
            }
            Step::Sleeps => {
                order.say(SLEEP);
                said.hear()?;
                until_asleep(watcher.pid)?;
            }
            Step::Enters => {
                let group = group.as_ref().context("a job after the removal")?;
                began = Some(now());
                job = Some(group.spawn(|| i32::from(gate.take().is_err()))?);
            }
            Step::Ends => {
                gate.stamp();
                reap(job.as_ref().context("an end before the start")?)?;
            }
            Step::Removes => {
                // Only the watcher holds the file open.
                drop(group.take());
                remove(&path)?;
            }
        }
    }
    let took_ns = ns_between(began.context("no job entered")?, now());
    let in_time = u128::from(took_ns) < WINDOW.as_nanos();
    let outcome = match reap(&watcher)? {
        WaitStatus::Exited(_, TOLD) if in_time => "told",
        WaitStatus::Exited(_, NEVER_WOKEN) if in_time => "never woken",
        WaitStatus::Exited(_, TOLD) => "told, but too slow to be the replay",
        WaitStatus::Exited(_, NEVER_WOKEN) => "never woken, but too slow to be the replay",
        other => bail!("the watcher ended with {other:?}"),
    };
    Ok((outcome, took_ns))
}

/// Removes the cgroup; 6.19 says EBUSY for a moment after the last process was reaped.
fn remove(path: &Path) -> Result<()> {
    let deadline = now() + PATIENCE;
    loop {
        match std::fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error)
                if error.raw_os_error() == Some(Errno::EBUSY as i32) && !deadline.has_passed() => {}
            Err(error) => return Err(error).with_context(|| format!("rmdir {}", path.display())),
        }
    }
}

/// The watcher: does what it is told, and after the sleep says by its status whether it was woken.
fn watch(path: &Path, order: &Line, said: &Line) -> Result<i32> {
    let mut file = None;
    loop {
        match order.hear()? {
            OPEN => {
                file = Some(File::open(path)?);
                said.say(DONE);
            }
            READ => {
                let file = file.as_ref().context("read before open")?;
                let populated = flag(file, "populated")?.context("no populated line")?;
                said.say(if populated { POPULATED } else { EMPTY });
            }
            SLEEP => {
                let file = file.as_ref().context("sleep before open")?;
                said.say(DONE);
                let woken = sleep_on(file.as_fd(), PollFlags::POLLPRI, now() + SILENCE)?;
                return Ok(if woken.is_some() { TOLD } else { NEVER_WOKEN });
            }
            other => bail!("there is no order {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_try_is_enough_for_lost_and_too_many_for_told() {
        let answer = |what: &[&'static str]| {
            let mut answer = Answer::new("replay", "");
            what.iter().for_each(|what| answer.count(what));
            [answer]
        };
        let slow = "told, but too slow to be the replay";
        let slow_and_lost = "never woken, but too slow to be the replay";
        assert!(is_as_expected(&answer(&["never woken", slow]), "never woken").is_ok());
        assert!(is_as_expected(&answer(&["told", slow]), "told").is_ok());
        assert!(is_as_expected(&answer(&["told", slow]), "never woken").is_err());
        assert!(is_as_expected(&answer(&["told", slow_and_lost]), "told").is_err());
        assert!(is_as_expected(&answer(&["told"]), "anything").is_err());
    }

    #[test]
    fn steps_of_the_model_are_understood_and_others_refused() {
        let text = "job 0 enters,watcher 0 opens,watcher 0 reads 1,watcher 0 sleeps,job 0 ends,\
                    owner 0 removes";
        let steps = parse(text).unwrap();
        assert_eq!(steps.len(), 6);
        assert_eq!(steps[2], Step::Reads(true));
        assert!(parse("job 0 flies").is_err());
        assert!(parse("job 0 enters,watcher 0 sleeps").is_err());
    }
}
