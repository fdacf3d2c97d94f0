//! Tables of what was measured under emulation: counts, and differences within one boot.

use std::collections::{BTreeMap, BTreeSet};

use super::{Origin, text};
use crate::emulated::{Boot, Difference, Emulated, Kernel, compare};

/// The note above every such table.
pub const WARNING: &str = "**Emulated.** Stated are counts, and how much later than another \
    mechanism of the same boot a mechanism reports the end: the kernel's rate limit is a timer, \
    and shows there whatever the speed of the emulator. Nothing else of a time under emulation \
    means anything, and none of this is compared with, or added to, what was measured natively.\n";

/// The mechanism that others are compared with.
const REFERENCES: [&str; 2] = ["waitid", "pidfd-main"];

/// The document.
pub fn document(emulated: &Emulated) -> String {
    format!(
        "{}\n\
            # Other kernels, and the patch series\n\n\
            {WARNING}\n\
            ## The same questions to a row of kernels\n\n\
            {}\n\
            ## Counts\n\n\
            {}\n\
            ## The draft series\n\n\
            {}",
        origin(emulated).comment(),
        latencies(emulated),
        counts(emulated),
        series(emulated)
    )
}

/// Where these tables come from.
pub fn origin(emulated: &Emulated) -> Origin {
    let kernels: Vec<&str> = emulated.kernels.iter().map(|k| k.kernel.as_str()).collect();
    let boots: Vec<&str> = emulated.series.iter().map(|b| b.name.as_str()).collect();
    Origin {
        runs: vec![format!(
            "kernels {}; boots {}",
            kernels.join(", "),
            boots.join(", ")
        )],
        recorded: vec!["lab matrix; kernel-patch/results/series/measure.c".to_owned()],
    }
}

/// How much later than `waitid` each mechanism reports the end, kernel by kernel.
pub fn latencies(emulated: &Emulated) -> String {
    let columns: BTreeSet<(&str, &str)> = emulated
        .kernels
        .iter()
        .flat_map(Kernel::latencies)
        .filter(|(mechanism, ..)| *mechanism != REFERENCES[0])
        .map(|(mechanism, point, _)| (point, mechanism))
        .collect();
    let mut head = vec!["kernel".to_owned()];
    head.extend(
        columns.iter().map(|(point, mechanism)| {
            format!("{mechanism} less {}, job of {point}", REFERENCES[0])
        }),
    );
    let lines: Vec<Vec<String>> = emulated
        .kernels
        .iter()
        .map(|kernel| {
            let mut line = vec![kernel.kernel.clone()];
            line.extend(columns.iter().map(|(point, mechanism)| {
                let samples = |m: &str| {
                    kernel
                        .answer("latency", &format!("{m} {point}"))
                        .map(|a| a.samples_ns.as_slice())
                };
                let later = samples(mechanism)
                    .zip(samples(REFERENCES[0]))
                    .and_then(|(of, to)| compare(&[&kernel.kernel, mechanism, point], of, to));
                words(later)
            }));
            line
        })
        .collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    table(&head, &lines)
}

/// Everything that was counted, question by question.
pub fn counts(emulated: &Emulated) -> String {
    let mut lines = Vec::new();
    let mut questions: Vec<(&str, &str)> = Vec::new();
    for answer in emulated.kernels.iter().flat_map(|k| &k.answers) {
        let question = (answer.probe.as_str(), answer.case.as_str());
        if !answer.counts.is_empty() && !questions.contains(&question) {
            questions.push(question);
        }
    }
    for (probe, case) in questions {
        for kernel in &emulated.kernels {
            if let Some(answer) = kernel.answer(probe, case) {
                let seen: Vec<String> = answer
                    .counts
                    .iter()
                    .map(|(what, n)| format!("{what}: {n}"))
                    .collect();
                lines.push(vec![
                    format!("{probe}: {case}"),
                    kernel.kernel.clone(),
                    answer.tries.to_string(),
                    seen.join("; "),
                ]);
            }
        }
    }
    table(&["question", "kernel", "asked", "answers"], &lines)
}

/// Base and patched, from the raw samples.
pub fn series(emulated: &Emulated) -> String {
    let [differences, lost] = series_tables(emulated);
    format!("{differences}\n{REMOVALS}\n\n{lost}")
}

/// What the second of these tables is about.
pub const REMOVALS: &str = "The owner removes the cgroup as soon as `populated` is 0, while \
    another process waits for that:";

/// How late each detector was, and how often it was never woken.
pub fn series_tables(emulated: &Emulated) -> [String; 2] {
    let mut differences = Vec::new();
    let mut lost = Vec::new();
    for boot in &emulated.series {
        for ((point, detector), samples) in boot
            .latencies
            .iter()
            .filter(|((_, d), _)| d != REFERENCES[1])
        {
            let reference = boot
                .latencies
                .get(&(point.clone(), REFERENCES[1].to_owned()));
            if let Some(reference) = reference {
                let later = compare(&[&boot.name, point, detector], samples, reference);
                differences.push(vec![
                    boot.name.clone(),
                    point.clone(),
                    format!("`{detector}`"),
                    samples.len().to_string(),
                    words(later),
                ]);
            }
        }
        for ((point, detector), (n, never)) in &boot.removals {
            lost.push(vec![
                boot.name.clone(),
                point.clone(),
                format!("`{detector}`"),
                text::count(*never, *n),
            ]);
        }
    }
    let against = format!("median less that of `{}`", REFERENCES[1]);
    [
        table(&["boot", "job", "detector", "n", &against], &differences),
        table(&["boot", "jobs", "detector", "never woken"], &lost),
    ]
}

/// A difference within one boot of the series, for the findings.
pub fn series_difference(boot: &Boot, point: &str, detector: &str) -> Option<Difference> {
    let of = |d: &str| boot.latencies.get(&(point.to_owned(), d.to_owned()));
    compare(
        &[&boot.name, point, detector],
        of(detector)?,
        of(REFERENCES[1])?,
    )
}

/// Counts by answer over all kernels, for the findings.
pub fn tally<'k>(
    kernels: &'k [Kernel],
    probe: &str,
    case: &str,
) -> BTreeMap<&'k str, Vec<(&'k str, u64)>> {
    let mut tally: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for kernel in kernels {
        for (what, n) in kernel.answer(probe, case).iter().flat_map(|a| &a.counts) {
            tally.entry(what).or_default().push((&kernel.kernel, *n));
        }
    }
    tally
}

/// A difference in words.
pub fn words(later: Option<Difference>) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "nanoseconds between two deadlines"
    )]
    let whole = |ns: f64| ns as i64;
    later.map_or_else(
        || "-".to_owned(),
        |d| {
            let (low, high) = d.interval;
            text::difference(
                Some(whole(d.of_medians)),
                [Some(whole(low)), Some(whole(high))],
            )
        },
    )
}

/// How much later than `waitid` a mechanism reports the end, over all kernels: the smallest and the
/// largest median, in milliseconds.
pub fn range(emulated: &Emulated, mechanism: &str, point: &str) -> Option<String> {
    let samples = |kernel: &Kernel, m: &str| {
        Some(
            kernel
                .answer("latency", &format!("{m} {point}"))?
                .samples_ns
                .clone(),
        )
    };
    let mut all: Vec<i64> = Vec::new();
    for kernel in &emulated.kernels {
        let (of, to) = (samples(kernel, mechanism)?, samples(kernel, REFERENCES[0])?);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "nanoseconds between two deadlines"
        )]
        all.extend(
            compare(&[&kernel.kernel, mechanism, point], &of, &to).map(|d| d.of_medians as i64),
        );
    }
    Some(format!(
        "{} to {}",
        text::milliseconds(*all.iter().min()?),
        text::milliseconds(*all.iter().max()?)
    ))
}

fn table(head: &[&str], lines: &[Vec<String>]) -> String {
    match lines.is_empty() {
        true => "Not recorded.\n".to_owned(),
        false => text::table(head, lines),
    }
}
