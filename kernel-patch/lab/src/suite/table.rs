//! Tables in Markdown. Every one that has times says in its heading whether they are emulated.

use std::fmt::Write;

use super::answers::{Answer, Answers};
use super::record::Record;
use super::stats::{median, quantile, ratio};

/// Renders the behaviours that differ and the latencies of a series of kernels.
#[must_use]
pub fn matrix(records: &[Record], not_covered: &[(String, String)]) -> String {
    let title = "# The same questions to a row of kernels\n\n<!-- Written by `lab matrix` -->\n\n";
    questions(title, records, not_covered)
}

/// Renders the same of a base and a patched kernel.
#[must_use]
pub fn compare(records: &[Record], boots: usize) -> String {
    let title = format!(
        "# The same questions before and after\n\n\
            <!-- Written by `lab compare` -->\n\n\
            Boots of the base and of the patched kernel by turns, {boots} of each; their trials \
            are pooled.\n\n"
    );
    questions(&title, records, &[])
}

fn questions(title: &str, records: &[Record], not_covered: &[(String, String)]) -> String {
    let mut text = title.to_owned();
    kernels(&mut text, records, not_covered);
    behaviours(&mut text, records);
    latencies(&mut text, records);
    text
}

fn row(text: &mut String, cells: &[String]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("a String takes every write");
}

fn head(text: &mut String, cells: &[&str]) {
    row(
        text,
        &cells
            .iter()
            .map(|cell| (*cell).to_owned())
            .collect::<Vec<_>>(),
    );
    row(text, &vec!["---".to_owned(); cells.len()]);
}

fn kernels(text: &mut String, records: &[Record], not_covered: &[(String, String)]) {
    text.push_str("## Kernels\n\n");
    head(
        text,
        &[
            "kernel",
            "release",
            "where from",
            "ticks, preemption",
            "boot to init",
        ],
    );
    for record in records {
        let boot = format!(
            "{}.{:02} s",
            record.boot_ms / 1000,
            record.boot_ms % 1000 / 10
        );
        let from = record.origin.to_string();
        row(
            text,
            &[
                record.kernel.clone(),
                record.release.clone(),
                from,
                record.ticks.clone(),
                boot,
            ],
        );
    }
    for (kernel, why) in not_covered {
        row(
            text,
            &[
                kernel.clone(),
                "not covered".to_owned(),
                why.clone(),
                String::new(),
                String::new(),
            ],
        );
    }
    if let Some(record) = records.first() {
        let how = records
            .iter()
            .map(|record| record.accelerator.label())
            .collect::<std::collections::BTreeSet<_>>();
        let how = how.into_iter().collect::<Vec<_>>().join(", ");
        writeln!(
            text,
            "\nMachines: 2 CPUs, {how}; {}; {}.",
            record.qemu, record.at
        )
        .expect("a String takes every write");
    }
}

/// A share: a word if it is all or nothing, else a fraction.
fn share(counted: Option<(usize, usize)>) -> String {
    match counted {
        None => "not asked".to_owned(),
        Some((_, 0)) => "no try".to_owned(),
        Some((hits, tries)) => format!("{hits} of {tries}"),
    }
}

/// How many of the valid tries were never notified.
fn lost(answers: &Answers, case: &str) -> String {
    let Some((lost, _)) = answers.share("lost", case, "never woken") else {
        return "not asked".to_owned();
    };
    let told = answers
        .share("lost", case, "told")
        .map_or(0, |(told, _)| told);
    if lost + told == 0 {
        "owner never in the window".to_owned()
    } else {
        format!("{lost} of {}", lost + told)
    }
}

fn rmdir(answers: &Answers, case: &str) -> String {
    let Some(answer) = answers.get("rmdir", case) else {
        return "not asked".to_owned();
    };
    let parts: Vec<String> = answer
        .counts
        .iter()
        .map(|(what, count)| format!("{count}× {what}"))
        .collect();
    parts.join(", ")
}

/// How often a watcher was woken per interval of the rate limit while the state flipped: the mean,
/// and the most in any.
fn storm(answer: &Answer) -> String {
    let most = answer.peaks.get("wake-ups in any interval");
    match (
        answer.counts.get("wake-ups"),
        answer.counts.get("ms of flips"),
        most,
    ) {
        (Some(wakes), Some(ms), Some(most)) if *ms > 0 => {
            let hundredths = wakes * 16 * 100 / ms;
            format!("{}.{:02} ({most})", hundredths / 100, hundredths % 100)
        }
        // An answer of a program that did not record how long it had watched.
        _ => "not comparable".to_owned(),
    }
}

fn behaviours(text: &mut String, records: &[Record]) {
    text.push_str(
        "\n\
        ## Behaviours\n\n\
        Counts, which emulation does not change but for how often a race is met.\n\n",
    );
    head(
        text,
        &[
            "kernel",
            "`populated` already 0 when `waitid` returns",
            "rmdir right after `waitid`",
            "child killed at birth in a cgroup killed before",
            "lost: poll",
            "lost: inotify, file held",
            "lost: inotify only",
            "wake-ups per 16 ms of flips (most in any 16 ms)",
        ],
    );
    for record in records {
        let a = &record.answers;
        let storm = a
            .starting("storm", "poll")
            .map_or_else(|| "not asked".to_owned(), storm);
        row(
            text,
            &[
                record.kernel.clone(),
                share(a.share("order", "populated when waitid has returned", "already 0")),
                rmdir(a, "after waitid"),
                share(a.share(
                    "reuse",
                    "child of clone3 in a cgroup killed before",
                    "killed at birth",
                )),
                lost(a, "poll"),
                lost(a, "inotify, events file held open"),
                lost(a, "inotify, nothing held open"),
                storm,
            ],
        );
    }
}

/// Median and 90th percentile in milliseconds.
fn times(samples: &[u64]) -> String {
    let (Some(mid), Some(high)) = (median(samples), quantile(samples, 0.9)) else {
        return "no time".to_owned();
    };
    format!("{} / {}", ms(mid), ms(high))
}

fn ms(ns: u64) -> String {
    format!("{}.{:02}", ns / 1_000_000, ns % 1_000_000 / 10_000)
}

/// A ratio of medians with its bounds.
#[must_use]
pub fn ratio_cell(above: &[u64], below: &[u64]) -> String {
    ratio(above, below).map_or_else(
        || "none".to_owned(),
        |r| format!("{:.2} [{:.2}, {:.2}]", r.value, r.low, r.high),
    )
}

fn latencies(text: &mut String, records: &[Record]) {
    let emulated = records
        .iter()
        .any(|record| record.accelerator.is_emulated());
    let note = if emulated {
        "**Emulated: only the ratios, each within one boot, mean anything.** "
    } else {
        ""
    };
    write!(
        text,
        "\n\
            ## From the last exit to the waiter\n\n\
            {note}Median / 90th percentile in milliseconds; ratios are of medians, in brackets the \
            bounds of 95 % of 2 000 bootstrap draws. n is per cell.\n"
    )
    .expect("a String takes every write");
    for lifetime in ["0us", "1000us"] {
        write!(text, "\n### Job of {lifetime}\n\n").expect("a String takes every write");
        head(
            text,
            &[
                "kernel",
                "n",
                "waitid",
                "pidfd poll",
                "cgroup.events poll",
                "cgroup.events inotify",
                "poll ÷ pidfd",
                "inotify ÷ pidfd",
            ],
        );
        for record in records {
            let of = |name: &str| {
                record
                    .answers
                    .samples("latency", &format!("{name} {lifetime}"))
            };
            let (waitid, pidfd) = (of("waitid"), of("pidfd-poll"));
            let (poll, inotify) = (of("cgroup-events-poll"), of("cgroup-events-inotify"));
            row(
                text,
                &[
                    record.kernel.clone(),
                    poll.len().to_string(),
                    times(waitid),
                    times(pidfd),
                    times(poll),
                    times(inotify),
                    ratio_cell(poll, pidfd),
                    ratio_cell(inotify, pidfd),
                ],
            );
        }
    }
    text.push_str("\n### Freeze, then kill: from the write of `cgroup.kill` to knowing\n\n");
    head(
        text,
        &[
            "kernel",
            "case",
            "n",
            "poll of cgroup.events",
            "every pidfd",
            "poll ÷ pidfds",
        ],
    );
    for record in records {
        let polls = record
            .answers
            .0
            .iter()
            .filter(|a| a.probe == "freeze" && a.case.ends_with("poll of cgroup.events"));
        for poll in polls {
            let tasks = poll.case.split(',').next().unwrap_or_default();
            let pidfds = record
                .answers
                .samples("freeze", &format!("{tasks}, every pidfd"));
            row(
                text,
                &[
                    record.kernel.clone(),
                    tasks.to_owned(),
                    poll.samples_ns.len().to_string(),
                    times(&poll.samples_ns),
                    times(pidfds),
                    ratio_cell(&poll.samples_ns, pidfds),
                ],
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(lines: &[&str]) -> Answers {
        Answers::parse(
            &lines
                .iter()
                .map(|line| (*line).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap()
    }

    #[test]
    fn a_try_outside_the_window_proves_nothing() {
        let a = answers(&[
            r#"{"probe":"lost","case":"poll","tries":20,"counts":{"never woken":7,"told":1,"told, but the owner was too slow to be in the window":12},"samples_ns":[]}"#,
        ]);
        assert_eq!(lost(&a, "poll"), "7 of 8");
        assert_eq!(lost(&a, "inotify"), "not asked");
    }

    #[test]
    fn a_storm_is_told_per_interval() {
        let mut pool = Answers::default();
        for (wakes, most) in [(63, 2), (62, 2), (112, 4)] {
            let line = format!(
                r#"{{"probe":"storm","case":"poll","tries":1,"counts":{{"wake-ups":{wakes},"ms of flips":1000}},"peaks":{{"wake-ups in any interval":{most}}},"samples_ns":[]}}"#
            );
            pool.add(&answers(&[&line]));
        }
        assert_eq!(storm(pool.starting("storm", "poll").unwrap()), "1.26 (4)");
        let old = answers(&[
            r#"{"probe":"storm","case":"poll","tries":1,"counts":{"wake-ups":75,"most in any interval":2},"samples_ns":[]}"#,
        ]);
        assert_eq!(
            storm(old.starting("storm", "poll").unwrap()),
            "not comparable"
        );
    }

    #[test]
    fn what_was_not_asked_is_not_zero() {
        let none = answers(&[]);
        assert_eq!(share(none.share("reuse", "x", "y")), "not asked");
        assert_eq!(rmdir(&none, "after waitid"), "not asked");
        assert_eq!(times(&[]), "no time");
        assert_eq!(ratio_cell(&[], &[]), "none");
    }

    #[test]
    fn milliseconds_have_two_places() {
        assert_eq!(ms(13_308_000), "13.30");
        assert_eq!(ms(336_000), "0.33");
    }
}
