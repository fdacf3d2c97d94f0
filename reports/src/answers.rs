//! The two questions that the page begins with, and what the records answer. Every word of an
//! answer that depends on a figure is chosen by that figure.

use harness_record::Plane;

use crate::analysis::{Analysis, Campaign, Cell};
use crate::summary::Word;
use crate::text;

/// The detector that the first question is about: the kernel's own notification.
pub const NOTIFICATION: &str = "cgroup-events-poll";

/// The strategies that the second one is about: with one write, and with the freezer first.
const KILL: &str = "cgroup-kill";
const FREEZE: &str = "freeze-kill";

/// A question, and its answer as Markdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question.
    pub question: &'static str,
    /// The answer in a few words.
    pub short: String,
    /// The figures that give it; the rest of the sentence that `short` begins.
    pub reason: String,
    /// The datasets that they come from.
    pub datasets: Vec<String>,
}

impl Answer {
    /// The whole sentence, as Markdown.
    pub fn sentence(&self) -> String {
        format!("**{}:** {}", self.short, self.reason)
    }

    fn unknown(question: &'static str) -> Self {
        Self {
            question,
            short: "Not recorded".to_owned(),
            reason: "no campaign has trials of it.".to_owned(),
            datasets: Vec::new(),
        }
    }
}

/// Both answers, by the name of their figure.
pub fn all(analysis: &Analysis<'_>) -> [(&'static str, Answer); 2] {
    [
        ("notification", notification(analysis)),
        ("freezing", freezing(analysis)),
    ]
}

/// How late the notification is against the lifetime of a job, where that was measured best.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a, 's> {
    /// The campaign.
    pub campaign: &'a Campaign<'s>,
    /// The scenario whose jobs live for different times.
    pub scenario: &'a str,
    /// The axis of that time.
    pub axis: &'a str,
}

impl<'a, 's> Window<'a, 's> {
    /// That with the most lifetimes; nothing if none has three.
    pub fn of(analysis: &'a Analysis<'s>) -> Option<Self> {
        let mut best: Option<(usize, Self)> = None;
        for campaign in native(analysis) {
            for cell in notifications(campaign) {
                for axis in cell.row.params.keys() {
                    let here = Self {
                        campaign,
                        scenario: &cell.row.scenario,
                        axis,
                    };
                    let lifetimes = here.lifetimes();
                    let times = lifetimes.iter().all(|(ns, _)| *ns == 0 || *ns >= 1_000);
                    let more = best.as_ref().is_none_or(|(n, _)| lifetimes.len() > *n);
                    if times && lifetimes.len() >= 3 && more {
                        best = Some((lifetimes.len(), here));
                    }
                }
            }
        }
        best.map(|(_, window)| window)
    }

    /// The cells of the notification by lifetime.
    pub fn lifetimes(&self) -> Vec<(u64, &'a Cell<'s>)> {
        let mut cells: Vec<(u64, &Cell<'s>)> = notifications(self.campaign)
            .filter(|cell| cell.row.scenario == self.scenario && cell.row.twin == 0)
            .filter_map(|cell| Some((*cell.row.params.get(self.axis)?, cell)))
            .collect();
        cells.sort_by_key(|(lifetime, _)| *lifetime);
        cells.dedup_by_key(|(lifetime, _)| *lifetime);
        cells
    }
}

fn native<'a, 's>(analysis: &'a Analysis<'s>) -> impl Iterator<Item = &'a Campaign<'s>> {
    let campaigns = analysis.campaigns.iter();
    campaigns.filter(|campaign| !campaign.dataset.machine.emulated)
}

fn notifications<'a, 's>(campaign: &'a Campaign<'s>) -> impl Iterator<Item = &'a Cell<'s>> {
    campaign
        .plane(Plane::Detect)
        .filter(|cell| cell.mechanism() == NOTIFICATION && cell.row.n > 0)
}

fn notification(analysis: &Analysis<'_>) -> Answer {
    let question = "Can the notification tell when a cgroup is empty?";
    let cells: Vec<&Cell<'_>> = native(analysis).flat_map(notifications).collect();
    if cells.is_empty() {
        return Answer::unknown(question);
    }
    let sum =
        |count: &dyn Fn(&Cell<'_>) -> usize| cells.iter().map(|cell| count(cell)).sum::<usize>();
    let (n, early): (usize, usize) = (sum(&|cell| cell.row.n), sum(&|cell| cell.row.early));
    let mut reasons = vec![format!(
        "`cgroup.events` said \"empty\" too early in {}",
        of(early, n)
    )];
    let window = Window::of(analysis);
    let late = window.and_then(|window| lateness(&window));
    reasons.extend(late.clone());
    let lost: Vec<&&Cell<'_>> = cells.iter().filter(|cell| cell.row.missed > 0).collect();
    if !lost.is_empty() {
        let missed = lost.iter().map(|cell| cell.row.missed).sum();
        let of_these = lost.iter().map(|cell| cell.row.n).sum();
        let mut scenarios: Vec<String> = lost
            .iter()
            .map(|cell| format!("`{}`", cell.row.scenario))
            .collect();
        scenarios.dedup();
        let scenarios = scenarios.join(", ");
        reasons.push(format!(
            "it never came in {} of {scenarios}",
            of(missed, of_these)
        ));
    }
    let short = match (early > 0, late.is_some(), !lost.is_empty()) {
        (true, _, _) => "Not by itself",
        (false, true, true) => "Yes, but late for short jobs, and it can be lost",
        (false, true, false) => "Yes, but late for short jobs",
        (false, false, true) => "Yes, but it can be lost",
        (false, false, false) => "Yes",
    };
    let mut datasets: Vec<String> = cells.iter().map(|cell| cell.row.dataset.clone()).collect();
    datasets.dedup();
    Answer {
        question,
        short: short.to_owned(),
        reason: format!("{}.", reasons.join("; ")),
        datasets,
    }
}

/// How late it is for jobs of which length; nothing if no lifetime was called slower.
fn lateness(window: &Window<'_, '_>) -> Option<String> {
    let lifetimes = window.lifetimes();
    let slower = |cell: &Cell<'_>| cell.row.word == Some(Word::Slower);
    let (longest, _) = lifetimes.iter().rfind(|(_, cell)| slower(cell))?;
    let (shortest, cell) = lifetimes.iter().find(|(_, cell)| slower(cell))?;
    let job = match shortest {
        0 => "exits at once".to_owned(),
        ns => format!("lives {}", round(*ns)),
    };
    let reference = cell.row.reference.as_deref()?;
    let mut all = window.campaign.cells.iter();
    let with = all.find(|other| other.name() == reference && other.same_point(cell))?;
    let up_to = match longest > shortest {
        true => format!(", and it is late up to a life of {}", round(*longest)),
        false => String::new(),
    };
    Some(format!(
        "the end of a job that {job} is known after {} where `{reference}` takes {}{up_to}",
        text::bound(cell.median()),
        text::bound(with.median())
    ))
}

fn freezing(analysis: &Analysis<'_>) -> Answer {
    let question = "Is freezing needed before killing?";
    let mut pairs: Vec<(&Cell<'_>, &Cell<'_>)> = Vec::new();
    for campaign in native(analysis) {
        let of = |name: &'static str| {
            let cells = campaign.plane(Plane::Kill);
            cells.filter(move |cell| {
                cell.mechanism() == name && cell.row.twin == 0 && cell.row.n > 0
            })
        };
        for kill in of(KILL) {
            pairs.extend(
                of(FREEZE)
                    .find(|freeze| freeze.same_point(kill))
                    .map(|f| (kill, f)),
            );
        }
    }
    if pairs.is_empty() {
        return Answer::unknown(question);
    }
    let count = |of: &dyn Fn(&(&Cell<'_>, &Cell<'_>)) -> usize| pairs.iter().map(of).sum::<usize>();
    let (killed, n) = (count(&|p| p.0.row.emptied), count(&|p| p.0.row.n));
    let (frozen, m) = (count(&|p| p.1.row.emptied), count(&|p| p.1.row.n));
    let mut ratios: Vec<f64> = pairs.iter().filter_map(|p| p.1.row.ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let took = match (ratios.first(), ratios.last()) {
        (Some(least), Some(most)) if ratios.len() > 1 => format!(
            " and took {} to {} the time until all were dead",
            text::times(*least),
            text::times(*most)
        ),
        (Some(ratio), _) => format!(" and took {} the time", text::times(*ratio)),
        _ => String::new(),
    };
    let short = match (killed == n, frozen == m) {
        (true, _) => "No",
        (false, true) => "Yes, in these trials",
        (false, false) => "It is not enough either",
    };
    let mut workloads: Vec<&str> = pairs.iter().map(|p| p.0.row.scenario.as_str()).collect();
    workloads.sort_unstable();
    workloads.dedup();
    let mut datasets: Vec<String> = pairs.iter().map(|p| p.0.row.dataset.clone()).collect();
    datasets.dedup();
    Answer {
        question,
        short: short.to_owned(),
        reason: format!(
            "one write to `cgroup.kill` left nothing alive in {} of {} workloads; freezing, \
                signalling and thawing did so in {}{took}.",
            of(killed, n),
            workloads.len(),
            of(frozen, m)
        ),
        datasets,
    }
}

/// `0 of 4 535 trials (≤ 0.07 %)`.
fn of(seen: usize, n: usize) -> String {
    let whole = text::count(seen, n);
    let (counts, share) = whole
        .split_once(" (")
        .map_or((&*whole, None), |(a, b)| (a, Some(b)));
    match share {
        Some(share) => format!("{counts} trials ({share}"),
        None => format!("{counts} trials"),
    }
}

fn round(ns: u64) -> String {
    text::ns(ns).replace(".00 ", " ").replace(".0 ", " ")
}
