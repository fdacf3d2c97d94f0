//! What other launchers leave in the same container.

use std::collections::BTreeSet;
use std::fmt::Write;

use libtest_mimic::Trial;

use super::{LIFE, USER, in_container};
use crate::cells::cell;
use crate::expected::not_alone;
use crate::payload::{Payload, ids};
use crate::seats::Seat;
use crate::tools;
use crate::totals;

/// A way of giving a program 0.3 s: the test's name, the table's, and the command, in which `{}`
/// stands for the script.
type Launcher = (&'static str, &'static str, &'static [&'static str]);

const LAUNCHERS: [Launcher; 4] = [
    (
        "allgone",
        OWN,
        &[
            "allgone",
            "run",
            "--timeout",
            "300ms",
            "--",
            "actor",
            BELT,
            "{}",
        ],
    ),
    (
        "timeout",
        "`timeout -k 0.1 0.3`",
        &["timeout", "-k", "0.1", LIFE, "actor", BELT, "{}"],
    ),
    (
        "timeout-setsid",
        "`timeout -s KILL 0.3 setsid -w`",
        &[
            "timeout", "-s", "KILL", LIFE, "setsid", "-w", "actor", BELT, "{}",
        ],
    ),
    (
        "kill-group",
        "`setsid`, kill -KILL -PGID after 0.3 s",
        &["sh", "-c", GROUP, BELT, "{}"],
    ),
];
const OWN: &str = "`allgone run --timeout 0.3`";
const BELT: &str = "--deadline=30s";
/// In a shell without job control the number of the job is that of the session.
const GROUP: &str = "setsid actor \"$0\" \"$1\" & sleep 0.3; kill -KILL -$!; wait";

/// What a usual test plays of all.
const SOME: [&str; 8] = [
    "clone-parent",
    "fork-exit",
    "forkbomb-setsid",
    "leaderless",
    "pid-hopper",
    "setsid",
    "signal-ignorer",
    "stopped-tree",
];

/// Payloads that live until they are killed, each by each launcher, as an ordinary user.
pub(super) fn tests(first: usize) -> Vec<Trial> {
    let all = ids()
        .filter(|id| not_alone(id).is_none() && (tools::rounds().is_some() || SOME.contains(id)));
    let cells = all.flat_map(|id| LAUNCHERS.map(|launcher| (id, launcher)));
    let trial = |(at, (id, (short, name, command))): (usize, (&'static str, Launcher))| {
        let title = format!("container::table::{id}::{short}");
        cell(first + at, title, move |counts| {
            let counts = counts.entry(counted(name, id)).or_default();
            in_container(|container| {
                let payload = Payload::that_stays(id);
                let words = command.iter().map(|word| match *word {
                    "{}" => payload.text.as_str(),
                    word => word,
                });
                let words: Vec<&str> = words.collect();
                for _ in 0..tools::rounds().unwrap_or(1) {
                    let _seat = Seat::take(payload.busy);
                    let left = container.exec_and_end(USER, &words)?;
                    counts.runs += 1;
                    counts.survivors += u32::from(!left.is_empty());
                    counts.processes += u32::try_from(left.len()).unwrap_or(u32::MAX);
                }
                let leaky = name == OWN && counts.survivors > 0;
                Ok(leaky
                    .then(|| format!("left: {counts:?}"))
                    .into_iter()
                    .collect())
            })
        })
    };
    cells.enumerate().map(trial).collect()
}

/// Under what it is counted.
fn counted(launcher: &str, id: &str) -> String {
    format!("{launcher}\t{id}")
}

/// The table of all that was played, if anything was; and what is wrong with it: if a launcher has
/// left nothing that is known to leave something, nothing would be found either.
pub(crate) fn table() -> (String, Option<String>) {
    let sums = totals::sums(|name| name.starts_with('`'));
    if sums.is_empty() {
        return (String::new(), None);
    }
    let mut table = String::from(
        "| in a container | runs | left something | payloads that were left | processes left |\n\
         |---|---|---|---|---|\n",
    );
    let mut wrong = None;
    for (_, launcher, _) in LAUNCHERS {
        let of_it = sums.iter().filter_map(|(name, counts)| {
            let (of, id) = name.split_once('\t')?;
            (of == launcher).then_some((id, counts))
        });
        let of_it: Vec<_> = of_it.collect();
        let sum =
            |of: fn(&totals::Counts) -> u32| of_it.iter().map(|(_, one)| of(one)).sum::<u32>();
        let [runs, leaky, processes]: [u32; 3] = [
            sum(|counts| counts.runs),
            sum(|counts| counts.survivors),
            sum(|counts| counts.processes),
        ];
        let some = of_it.iter().filter(|(_, one)| one.survivors > 0).count();
        let all = of_it.len();
        let row = format!("| {launcher} | {runs} | {leaky} | {some} of {all} | {processes} |");
        writeln!(table, "{row}").expect("memory");
        let played: BTreeSet<&str> = of_it.iter().map(|(id, _)| *id).collect();
        let whole = SOME.iter().all(|id| played.contains(id));
        if launcher != OWN && whole && leaky == 0 {
            wrong = Some(format!("{launcher} left nothing: would anything be found?"));
        }
    }
    (table, wrong)
}
