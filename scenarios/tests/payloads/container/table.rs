//! What other launchers leave in the same container.

use std::fmt::Write;
use std::sync::Mutex;

use super::{Container, LIFE, USER};
use crate::expected::not_alone;
use crate::payload::{Payload, ids};
use crate::tools;

/// A way of giving a program 0.3 s. `{}` stands for the script.
const LAUNCHERS: [(&str, &[&str]); 4] = [
    (
        "allgone run --timeout 0.3",
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
        "timeout -k 0.1 0.3",
        &["timeout", "-k", "0.1", LIFE, "actor", BELT, "{}"],
    ),
    (
        "timeout -s KILL 0.3 setsid -w",
        &[
            "timeout", "-s", "KILL", LIFE, "setsid", "-w", "actor", BELT, "{}",
        ],
    ),
    (
        "setsid, kill -KILL -PGID after 0.3 s",
        &["sh", "-c", GROUP, BELT, "{}"],
    ),
];
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

static TABLE: Mutex<String> = Mutex::new(String::new());

/// The table, if it was made.
pub(crate) fn printed() -> String {
    TABLE.lock().unwrap().clone()
}

/// Plays payloads that live until they are killed, each by each launcher. This launcher may leave
/// nothing; that the others leave something shows that it would be found.
pub(super) fn measure(container: &Container) -> Result<(), String> {
    let rounds = tools::rounds();
    let payloads: Vec<Payload> = ids()
        .filter(|id| not_alone(id).is_none() && (rounds.is_some() || SOME.contains(id)))
        .map(Payload::that_stays)
        .collect();
    let mut table = String::from(
        "| in a container | runs | left something | payloads that were left | processes left |\n",
    );
    table.push_str("|---|---|---|---|---|\n");
    let mut wrong = Vec::new();
    for (name, command) in LAUNCHERS {
        let (mut runs, mut leaky, mut processes) = (0, 0, 0);
        let mut which = Vec::new();
        for payload in &payloads {
            let mut once = false;
            for _ in 0..rounds.unwrap_or(1) {
                let words: Vec<&str> = command
                    .iter()
                    .map(|word| {
                        if *word == "{}" {
                            payload.text.as_str()
                        } else {
                            *word
                        }
                    })
                    .collect();
                let left = container.exec_and_end(USER, &words)?;
                runs += 1;
                leaky += u32::from(!left.is_empty());
                processes += left.len();
                once |= !left.is_empty();
            }
            if once {
                which.push(payload.id);
            }
        }
        let (some, all) = (which.len(), payloads.len());
        writeln!(
            table,
            "| `{name}` | {runs} | {leaky} | {some} of {all} | {processes} |"
        )
        .map_err(|e| e.to_string())?;
        if name.starts_with("allgone") == (leaky > 0) {
            wrong.push(format!("{name}: {which:?}"));
        }
    }
    TABLE.lock().unwrap().clone_from(&table);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}
