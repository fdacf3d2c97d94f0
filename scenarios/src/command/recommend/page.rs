//! A recommendation for people: all situations on one page, or one situation with its reasons.

use clap::ValueEnum;

use super::super::lines::{WIDTH, cut, wrapped};
use super::super::stats;
use super::evidence::Measured;
use super::rank::{Candidate, OLD};
use super::{Advice, Answer, SWEEP, Situation};

/// Where the text of one reason begins.
const REASON: usize = 8;

/// The whole answer. Several situations: what to use, and how to ask why. One: the reasons as well.
pub(super) fn text(answer: &Answer) -> String {
    let mut lines = head(answer);
    match answer.situations.as_slice() {
        [one] => reasons(&mut lines, one),
        all => {
            for advice in all {
                short(&mut lines, advice);
            }
            lines.push(String::new());
            lines.push(
                "Times are medians at the slowest. Why: `scenario recommend SITUATION`.".to_owned(),
            );
        }
    }
    lines.push(String::new());
    lines.extend(evidence(answer));
    lines.push(String::new());
    lines.join("\n")
}

fn head(answer: &Answer) -> Vec<String> {
    let mut lines = vec![format!("Linux {}, user {}", answer.kernel, answer.euid)];
    match (&answer.base, &answer.no_base) {
        (Some(base), _) => lines.extend(wrapped("cgroup ", base, 2)),
        (None, why) => {
            lines.push("No cgroup may be used, so nothing that needs one is available:".to_owned());
            lines.extend(
                why.as_deref()
                    .unwrap_or("none was found")
                    .lines()
                    .map(str::to_owned),
            );
        }
    }
    if let Some(bug) = &answer.kernel_bug {
        let text = format!("{} ({}; {SWEEP} does both)", bug.answer, bug.summary);
        lines.extend(wrapped(&format!("kernel bug {}: ", bug.id), &text, 2));
    }
    lines
}

/// The machine of the measurements: most campaigns share a kernel and a processor, so each is
/// printed once.
fn evidence(answer: &Answer) -> Vec<String> {
    let mut places: Vec<(&str, Vec<&str>)> = Vec::new();
    for place in &answer.evidence {
        let (campaign, machine) = place
            .split_once(": ")
            .unwrap_or((place, "an unknown machine"));
        match places.iter_mut().find(|(known, _)| *known == machine) {
            Some((_, campaigns)) => campaigns.push(campaign),
            None => places.push((machine, vec![campaign])),
        }
    }
    if places.is_empty() {
        return vec!["No measurements were compiled in: this is by facts alone.".to_owned()];
    }
    let said = |(machine, campaigns): &(&str, Vec<&str>)| {
        format!("on {machine} ({})", campaigns.join(", "))
    };
    let all: Vec<String> = places.iter().map(said).collect();
    wrapped(
        "",
        &format!(
            "Measured {}; other machines have other figures.",
            all.join("; ")
        ),
        2,
    )
}

/// One situation in three lines.
fn short(lines: &mut Vec<String>, advice: &Advice) {
    lines.push(String::new());
    lines.extend(wrapped("", &title(advice.situation), 2));
    for (verb, all) in [("know", &advice.detectors), ("kill", &advice.strategies)] {
        let missing = all.iter().filter(|c| c.missing.is_some()).count();
        let usable: Vec<String> = all
            .iter()
            .filter(|c| c.missing.is_none())
            .take(3)
            .map(|c| format!("{} ({})", c.id, time(c)))
            .collect();
        let mut text = match usable.as_slice() {
            [] => "nothing that can be relied on is available here".to_owned(),
            [best] => best.clone(),
            [best, others @ ..] => format!("{best}; else {}", others.join(", ")),
        };
        if missing > 0 {
            text.push_str(&format!("; {missing} not here"));
        }
        lines.extend(wrapped(&format!("  {verb}  "), &text, REASON));
    }
}

/// One situation, with the reasons for what is named first, and what is missing.
fn reasons(lines: &mut Vec<String>, advice: &Advice) {
    lines.push(String::new());
    lines.extend(wrapped("", &title(advice.situation), 2));
    for (verb, all) in [("know", &advice.detectors), ("kill", &advice.strategies)] {
        let mut usable = all.iter().filter(|c| c.missing.is_none());
        match usable.next() {
            None => lines.push(format!(
                "  {verb}  nothing that can be relied on is available here"
            )),
            Some(best) => {
                lines.push(cut(&format!("  {verb}  {}", best.id), WIDTH));
                best.because
                    .iter()
                    .for_each(|because| say(lines, "because", because));
                say(lines, "measured", &figures(best.measured.as_ref()));
                best.but.iter().for_each(|but| say(lines, "but", but));
            }
        }
        let next: Vec<String> = usable
            .take(2)
            .map(|c| format!("{} ({})", c.id, time(c)))
            .collect();
        if !next.is_empty() {
            say(lines, "else", &next.join(", "));
        }
        for (id, (why, remedy)) in all.iter().filter_map(|c| Some((c.id, c.missing.as_ref()?))) {
            say(lines, "not here:", &format!("{id}: {why}; help: {remedy}"));
        }
    }
}

fn say(lines: &mut Vec<String>, what: &str, text: &str) {
    lines.extend(wrapped(&format!("{:REASON$}{what} ", ""), text, REASON + 2));
}

fn title(situation: Situation) -> String {
    let value = situation.to_possible_value();
    let (name, help) = value
        .as_ref()
        .map_or(("", None), |v| (v.get_name(), v.get_help()));
    let assumed = match situation {
        Situation::OldKernel => format!(" [what needs more than Linux {OLD} is left out]"),
        _ => String::new(),
    };
    format!(
        "{name}: {}{assumed}",
        help.map(ToString::to_string).unwrap_or_default()
    )
}

fn figures(measured: Option<&Measured>) -> String {
    let Some(m) = measured else {
        return "nothing: not measured".to_owned();
    };
    let slowest = match m.worst_p50_ns {
        Some(ns) => format!(
            "median {} at its slowest, {} ({} trials",
            stats::ns(ns),
            m.worst,
            m.worst_n
        ),
        None => format!(
            "median beyond the deadline on {} ({} trials",
            m.worst, m.worst_n
        ),
    };
    let tail = m
        .p99_ns
        .map(|ns| format!(", p99 {}", stats::ns(ns)))
        .unwrap_or_default();
    let mut figures = format!(
        "{slowest}{tail}; {} trials in {} rows in all)",
        m.trials, m.rows
    );
    if let Some(ns) = m.launch_ns {
        figures.push_str(&format!("; a start takes {}", stats::ns(ns)));
    }
    match m.idle_cpu_ns {
        Some(ns) => figures.push_str(&format!("; waiting costs {} a second", stats::ns(ns))),
        None => figures.push_str("; what waiting costs was not measured"),
    }
    if let Some((sites, medians)) = &m.scale {
        let medians: Vec<String> = medians
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        figures.push_str(&format!("; with {sites} jobs: {}", medians.join(", ")));
    }
    figures
}

/// The median of its slowest row.
fn time(candidate: &Candidate) -> String {
    match &candidate.measured {
        None => "not measured".to_owned(),
        Some(m) => m
            .worst_p50_ns
            .map_or_else(|| "beyond the deadline".to_owned(), stats::ns),
    }
}
