//! Tables of Markdown.

use std::collections::BTreeSet;

use harness_record::Outcome;
use harness_record::Plane;

use super::plot::Plot;
use super::{Origin, costs, diff, text};
use crate::analysis::{Analysis, Campaign, Cell, Comparison};
use crate::stats::CENSORED;

/// How to read the columns, once for each document.
const LEGEND: &str = "Intervals are of 95 % and distribution-free (order statistics); `?` is an \
    end that so few trials cannot give, `never` lies beyond the deadline, `-` is not stated: fewer \
    than 100 trials for a p99, fewer than ten trials beyond a p99.9. \"against\" compares medians \
    block by block (block bootstrap, in stretches as long as the run's memory). Faster or slower \
    is only said where a permutation test tells them apart after Holm's correction over the table, \
    the interval excludes 1, and the medians differ by more than 10 %; \"too few blocks\" where no \
    result could have passed that test. Twins are compared as one. Outliers are counted, never \
    removed. A trial that broke counts for nothing. `0 of N` stands with the largest rate that \
    would still look like that, 3/N.\n";

/// The columns that only kills have.
const KILL_LEGEND: &str = "Durations run from the decision to kill to the oracle's first \
    `populated 0`. \"Holding\" is the part of it before the first signal, \"dying\" the rest. \
    \"Known late\" is the share of trials in which each detector that watched, in turns, knew of \
    the end more than 1 ms after it: the times have two modes, and the oracle, which says when the \
    end was, looks every 200 us.\n";

/// The document of one campaign.
pub fn campaign(campaign: &Campaign<'_>, plots: &[Plot]) -> String {
    let mut out = Origin::of(campaign).comment();
    let name = &campaign.dataset.name;
    out.push_str(&format!("\n# {name}\n\n"));
    out.push_str(&facts(campaign));
    out.push_str(&format!(
        "- Every row as a file: [{name}.csv]({name}.csv).\n"
    ));
    for (plane, title) in [(Plane::Detect, "Detectors"), (Plane::Kill, "Strategies")] {
        if campaign.plane(plane).next().is_some() {
            let more = if plane == Plane::Kill {
                KILL_LEGEND
            } else {
                ""
            };
            out.push_str(&format!(
                "\n## {title}\n\n{LEGEND}{more}\n{}",
                with_noise(campaign, rows(campaign, plane, None))
            ));
        }
    }
    if !campaign.twins.is_empty() {
        out.push_str(&format!(
            "\n\
                ## Rows that are alike (A/A)\n\n\
                Twins differ in nothing, so what differs between them is chance, or a mistake in \
                the measurement. {}\n\n\
                {}",
            twins_in_words(campaign),
            twins(&campaign.twins)
        ));
    }
    if let Some(table) = costs::idle(campaign) {
        out.push_str(&format!("\n## What waiting costs\n\n{table}"));
    }
    if let Some(table) = costs::stages(campaign) {
        let legend = costs::STAGES_LEGEND;
        out.push_str(&format!(
            "\n## The way from the exit to the verdict\n\n{legend}\n{table}"
        ));
    }
    if !campaign.scale.is_empty() {
        out.push_str(&format!(
            "\n## Many sites at once\n\n{}",
            costs::scale(&campaign.scale)
        ));
    }
    for plot in plots {
        out.push_str(&format!(
            "\n## {}\n\n![{}]({})\n\n{}\n",
            plot.title, plot.title, plot.file, plot.caption
        ));
    }
    if !campaign.dataset.plan.skipped.is_empty() {
        out.push_str("\n## Not offered by this machine\n\n");
        for skip in &campaign.dataset.plan.skipped {
            out.push_str(&format!(
                "- `{}`: {}\n",
                skip.mechanism,
                skip.why.replace('\n', " ")
            ));
        }
    }
    out
}

/// How and where it was measured.
pub fn facts(campaign: &Campaign<'_>) -> String {
    let (dataset, plan) = (campaign.dataset, &campaign.dataset.plan);
    let mut out = format!(
        "- Measured on {}.\n- Command: `{}`\n",
        dataset.machine.in_words(),
        plan.command()
    );
    if !dataset.trials.is_empty() {
        out.push_str(&format!(
            "- {} trials in {} rows; deadline {}, an idle gap {}, at most {} tasks.\n",
            dataset.trials.len(),
            campaign.cells.len(),
            text::ns(plan.deadline_ns),
            plan.gap(dataset.machine.hz),
            plan.tasks
        ));
    }
    out.push_str(&format!("- {}\n", noise(campaign)));
    let surprises: usize = campaign.cells.iter().map(|c| c.row.n - c.row.held).sum();
    if !dataset.trials.is_empty() {
        out.push_str(&format!(
            "- Trials that did not end as expected: {}.\n",
            text::count(surprises, campaign.cells.iter().map(|c| c.row.n).sum())
        ));
    }
    let broken: usize = campaign.cells.iter().map(|c| c.row.broken).sum();
    if broken > 0 {
        out.push_str(&format!(
            "- Trials that broke, and count for nothing: {}; {}.\n",
            text::count(broken, dataset.trials.len()),
            reasons(campaign).join("; ")
        ));
    }
    out
}

/// Why trials broke, each reason once.
fn reasons(campaign: &Campaign<'_>) -> Vec<String> {
    let broken = campaign.cells.iter().flat_map(|cell| &cell.trials);
    let notes: BTreeSet<String> = broken
        .filter(|t| matches!(t.outcome, Outcome::Broken | Outcome::Interrupted))
        .map(|t| {
            t.note
                .as_ref()
                .map_or_else(|| "interrupted".to_owned(), ToString::to_string)
                .replace('\n', " ")
        })
        .collect();
    notes.into_iter().collect()
}

/// How much of the machine's time others used, in a sentence.
pub fn noise(campaign: &Campaign<'_>) -> String {
    let dataset = campaign.dataset;
    let Some(permille) = dataset.noise_permille() else {
        return "Noise was not measured.".to_owned();
    };
    let longest = text::maybe_ns(dataset.noise.iter().map(|n| n.longest_ns).max());
    let loaded = match dataset.is_loaded() {
        true => {
            " **The machine was loaded**: times are larger than on an idle one, and tails much \
                larger."
        }
        false => "",
    };
    format!(
        "Noise: a control that only spins lost {} of its time to others, the longest gap was \
            {longest}.{loaded}",
        text::percent(f64::from(permille) / 1_000.0)
    )
}

/// A table with the noise of its campaign below it.
pub fn with_noise(campaign: &Campaign<'_>, table: String) -> String {
    format!("{table}\n{}\n", noise(campaign))
}

/// The rows of one plane, or those of one label of it.
pub fn rows(campaign: &Campaign<'_>, plane: Plane, label: Option<&str>) -> String {
    let cells: Vec<&Cell<'_>> = campaign
        .plane(plane)
        .filter(|cell| label.is_none_or(|label| cell.row.label == label))
        .collect();
    let far = cells.iter().any(|cell| cell.row.p999_ns.is_some());
    let mut head = match plane {
        Plane::Detect => vec!["scenario", "detector", "right", "early", "missed"],
        Plane::Kill => vec![
            "scenario",
            "strategy",
            "emptied",
            "left something alive",
            "bystanders hit",
        ],
    };
    let broken = cells.iter().any(|cell| cell.row.broken > 0);
    let paid = cells.iter().any(|cell| cell.row.prepare_ns.is_some());
    head.push("other");
    if broken {
        head.push("broken");
    }
    head.extend(["p50", "p90", "p99"]);
    if far {
        head.push("p99.9");
    }
    head.extend(["max", "outliers", "against", "p (Holm)"]);
    head.extend(match plane {
        Plane::Detect => vec!["wake-ups", "CPU"],
        Plane::Kill => vec!["signals", "holding", "dying", "known late"],
    });
    if paid {
        head.push("paid in advance");
    }
    let lines: Vec<Vec<String>> = cells
        .iter()
        .map(|cell| {
            let row = &cell.row;
            let mut line = vec![row.label.clone(), format!("`{}`", cell.name())];
            match plane {
                Plane::Detect => {
                    line.extend([row.right, row.early, row.missed].map(|k| text::count(k, row.n)));
                }
                Plane::Kill => {
                    line.push(text::count(row.emptied, row.n));
                    line.push(survived(cell));
                    line.push(canaries(cell));
                }
            }
            line.push(if row.other == 0 {
                ".".to_owned()
            } else {
                text::count(row.other, row.n)
            });
            if broken {
                line.push(row.broken.to_string());
            }
            line.extend(
                [500, 900, 990].map(|permille| text::quantile(cell.latency.quantile(permille))),
            );
            if far {
                line.push(text::quantile(cell.latency.quantile(999)));
            }
            line.push(text::bound(cell.latency.max()));
            line.push(row.outliers.to_string());
            line.extend(against(campaign, cell));
            line.extend(match plane {
                Plane::Detect => vec![
                    row.wakeups
                        .map_or_else(|| "-".to_owned(), |w| w.to_string()),
                    text::maybe_ns(row.cpu_ns),
                ],
                Plane::Kill => vec![
                    row.signals
                        .map_or_else(|| "-".to_owned(), |s| s.to_string()),
                    text::maybe_ns(row.holding_ns),
                    text::maybe_ns(row.dying_ns),
                    knowing(cell),
                ],
            });
            if paid {
                line.push(text::maybe_ns(row.prepare_ns));
            }
            line
        })
        .collect();
    text::table(&head, &lines)
}

/// How often each detector knew of the end late.
fn knowing(cell: &Cell<'_>) -> String {
    let known = cell.row.knowing.iter();
    let known: Vec<String> = known
        .map(|(detector, knowing)| format!("`{detector}` {}", text::late(knowing)))
        .collect();
    match known.is_empty() {
        true => "-".to_owned(),
        false => known.join(", "),
    }
}

/// The rows of one label with few columns, for prose. Twins are left out.
pub fn ranking(campaign: &Campaign<'_>, plane: Plane, label: &str) -> String {
    let head = match plane {
        Plane::Detect => vec!["detector", "right", "p50", "p99", "against", "CPU"],
        Plane::Kill => vec![
            "strategy", "emptied", "p50", "p99", "against", "holding", "dying", "signals",
        ],
    };
    let cells: Vec<&Cell<'_>> = campaign
        .plane(plane)
        .filter(|c| c.row.label == label && c.row.twin == 0)
        .collect();
    let paid = cells.iter().any(|cell| cell.row.prepare_ns.is_some());
    let mut head = head;
    if paid {
        head.push("paid in advance");
    }
    let lines: Vec<Vec<String>> = cells
        .into_iter()
        .map(|cell| {
            let [against, _] = against(campaign, cell);
            let mut line = vec![
                format!("`{}`", cell.name()),
                text::count(cell.good(), cell.row.n),
            ];
            line.extend([500, 990].map(|permille| text::quantile(cell.latency.quantile(permille))));
            line.push(against);
            match plane {
                Plane::Detect => line.push(text::maybe_ns(cell.row.cpu_ns)),
                Plane::Kill => line.extend([
                    text::maybe_ns(cell.row.holding_ns),
                    text::maybe_ns(cell.row.dying_ns),
                    cell.row
                        .signals
                        .map_or_else(|| "-".to_owned(), |s| s.to_string()),
                ]),
            }
            if paid {
                line.push(text::maybe_ns(cell.row.prepare_ns));
            }
            line
        })
        .collect();
    text::table(&head, &lines)
}

fn survived(cell: &Cell<'_>) -> String {
    let count = text::count(cell.row.survived, cell.row.n);
    match cell.row.survivors_max {
        0 => count,
        most => format!("{count}, up to {most}"),
    }
}

fn canaries(cell: &Cell<'_>) -> String {
    if cell.row.canaries_hit.is_empty() {
        return text::count(0, cell.row.n);
    }
    let kinds = cell.row.canaries_hit.iter();
    kinds
        .map(|(kind, hit)| format!("{kind} {}", text::count(*hit, cell.row.n)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn against(campaign: &Campaign<'_>, cell: &Cell<'_>) -> [String; 2] {
    match (&cell.row.reference, cell.row.p_holm) {
        (Some(reference), Some(p)) => [
            format!(
                "{} `{reference}`, {}",
                compared(campaign, cell),
                text::word(cell.row.word)
            ),
            text::p(p),
        ],
        _ => ["-".to_owned(), "-".to_owned()],
    }
}

/// The ratio of a row to its reference; under emulation, where the shorter of two times is the
/// emulator's, the difference.
fn compared(campaign: &Campaign<'_>, cell: &Cell<'_>) -> String {
    let row = &cell.row;
    let beyond = cell.latency.median() == Some(CENSORED);
    match row.ratio {
        None if beyond => "∞".to_owned(),
        _ if campaign.dataset.machine.emulated => {
            text::difference(row.difference_ns, row.difference_ci)
        }
        ratio => text::ratio(ratio, row.ratio_ci),
    }
}

/// Twins, with the p-values.
pub fn twins(twins: &[Comparison]) -> String {
    let lines: Vec<Vec<String>> = twins
        .iter()
        .map(|twin| {
            let finite = twin
                .interval
                .map_or([None, None], |(low, high)| [Some(low), Some(high)]);
            vec![
                twin.label.clone(),
                format!("`{}`", twin.with),
                twin.blocks.to_string(),
                text::ratio(twin.ratio, finite),
                text::p(twin.p),
                text::p(twin.p_holm),
            ]
        })
        .collect();
    text::table(
        &[
            "scenario",
            "mechanism",
            "blocks",
            "ratio of medians",
            "p",
            "p (Holm)",
        ],
        &lines,
    )
}

/// The result of the A/A rows, in a sentence.
pub fn twins_in_words(campaign: &Campaign<'_>) -> String {
    let pairs = campaign.twins.len();
    let told_apart = campaign.twins.iter().filter(|t| t.p_holm < 0.05).count();
    let smallest = campaign
        .twins
        .iter()
        .map(|t| t.p_holm)
        .min_by(f64::total_cmp);
    match smallest {
        None => "No row was run twice.".to_owned(),
        Some(smallest) if told_apart == 0 => format!(
            "None of {pairs} pairs is told apart (smallest p after Holm's correction: {}).",
            text::p(smallest)
        ),
        Some(smallest) => format!(
            "{told_apart} of {pairs} pairs are told apart (smallest p after Holm's correction: \
                {}): this campaign's differences of that size mean nothing.",
            text::p(smallest)
        ),
    }
}

/// A plot in a text that stands beside `generated`.
pub fn plot(plot: &Plot) -> String {
    format!(
        "![{}](generated/{})\n\n*{}. {}*\n",
        plot.title, plot.file, plot.title, plot.caption
    )
}

/// What there is in `generated`.
pub fn index(analysis: &Analysis<'_>) -> String {
    let mut out = Origin::of_all(&analysis.campaigns).comment();
    out.push_str(
        "\n\
            # What was measured\n\n\
            Everything here is made by `report render` from the recorded trials in `reports/data`, \
            and `report check` makes it again and compares. [index.html](index.html) is all of it \
            on one page; [summary.json](summary.json) is for programs; `trials` has the single \
            trials, which the page loads when a row is opened; [emulated.md](emulated.md) \
            has what was measured under emulation, which is never mixed with the rest.\n\n",
    );
    let lines: Vec<Vec<String>> = analysis
        .campaigns
        .iter()
        .map(|c| {
            let name = &c.dataset.name;
            vec![
                format!("[{name}]({name}.md)"),
                format!("[csv]({name}.csv)"),
                c.cells.len().to_string(),
                c.dataset.trials.len().to_string(),
                c.dataset.machine.kernel.clone(),
                format!("`{}`", c.dataset.plan.command()),
            ]
        })
        .collect();
    match lines.is_empty() {
        true => out.push_str("Nothing is recorded yet.\n"),
        false => out.push_str(&text::table(
            &["dataset", "", "rows", "trials", "kernel", "recorded by"],
            &lines,
        )),
    }
    for diff in &analysis.diffs {
        out.push_str(&format!(
            "\n[{} and {}]({}-diff.md): {}\n",
            diff.before,
            diff.after,
            diff.before,
            diff::in_words(diff)
        ));
    }
    out
}
