//! The words in tables and messages, with a sentence each: a part of `--help`.

/// Sorted by word.
const WORDS: &[(&str, &str)] = &[
    (
        "bystander, canary",
        "a process beside the workload that a kill must not hit; a dead canary was hit",
    ),
    (
        "censored",
        "not over at the deadline: counted as longer than every measured time",
    ),
    (
        "detector",
        "a mechanism that says when a program and all that it started are gone",
    ),
    (
        "empty",
        "no process of the workload is alive (zombies are dead)",
    ),
    ("gap", "idle time before each trial, drawn at random"),
    (
        "holding, dying, knowing",
        "from the decision to kill to the first signal; to the last death; to the verdict",
    ),
    (
        "ledger",
        "a page of memory in which each process of a workload stamps its birth and its exit",
    ),
    (
        "limits",
        "on tasks and memory of a workload; a bomb is refused without a limit on tasks",
    ),
    (
        "observer",
        "the process that runs detector and strategy in one trial",
    ),
    (
        "oracle",
        "the part of the harness that finds the truth by other means than the detector's",
    ),
    (
        "plane",
        "one of two tables: detectors while nothing is killed, strategies while one kills",
    ),
    (
        "reach",
        "the processes that a strategy can hit, and how it kills them",
    ),
    (
        "row",
        "one detector or strategy on one scenario at one point of the axes",
    ),
    (
        "scenario",
        "a workload that is hard to watch or to end, such as a fork bomb",
    ),
    (
        "scope",
        "the processes that a mechanism can see: the first, its group, the cgroup ...",
    ),
    (
        "site",
        "the cgroup in which the workload of one trial is born",
    ),
    (
        "sound",
        "leaves nothing alive and hits nothing else, or says \"empty\" only when it is true",
    ),
    ("strategy", "a way to end a program and all that it started"),
    (
        "survivor",
        "a process of the workload that lives on after a kill",
    ),
    (
        "verdict",
        "what a detector says: empty, site removed, unknown, or nothing until the deadline",
    ),
    (
        "witness",
        "a process of the workload that was alive when a detector said \"empty\"",
    ),
];

/// The section of `--help`.
pub(super) fn text() -> String {
    let mut text = String::from("Words:\n");
    for (word, meaning) in WORDS {
        text.push_str(&format!("  {word:24} {meaning}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_sorted_and_short() {
        assert!(WORDS.is_sorted());
        assert!(
            text().lines().all(|line| line.chars().count() <= 110),
            "{}",
            text()
        );
        for word in [
            "oracle", "canary", "witness", "scope", "reach", "verdict", "ledger", "survivor",
            "site",
        ] {
            assert!(text().contains(word), "{word}");
        }
    }
}
