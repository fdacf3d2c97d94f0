//! `scenario recommend`: what to use on this machine, for what, and why. Facts from the specs, availability from the probes, figures from the
//! committed evidence.

mod evidence;
mod rank;
#[cfg(test)]
mod tests;

use clap::{Args, ValueEnum};
use harness::detect::DETECTORS;
use harness::host::bugs::{self, Presence, SPARES_DEAD_LEADERS};
use harness::host::{Host, Support};
use harness::kill::STRATEGIES;
use serde::Serialize;

use super::args::Format;
use super::conclude::print;
use super::exit::{Exit, Failure};
use super::plan::Offers;
use super::{stats, surroundings};
use evidence::{Evidence, Measured};
use rank::{Candidate, Here, OLD, rank};

/// Arguments of `scenario recommend`.
#[derive(Debug, Args)]
pub(super) struct RecommendArgs {
    /// What it is for [default: all situations]
    #[arg(value_enum)]
    pub situation: Option<Situation>,
    /// A cgroup v2 directory that the command may use
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<std::path::PathBuf>,
    /// Shape of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// What something is recommended for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Situation {
    /// One job is started, awaited and ended
    OneShot,
    /// A supervisor starts many jobs and watches all of them
    Server,
    /// Nobody helps: no root, no capability, only a delegated cgroup
    NoRoot,
    /// A kernel of the oldest long-term series (5.4): no cgroup.kill, no birth in a cgroup
    OldKernel,
    /// A kernel with the draft series of this project (kernel-patch/series)
    PatchedKernel,
}

/// Whether this kernel spares processes without a first thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Spared {
    id: &'static str,
    answer: String,
    summary: &'static str,
}

/// The strategy that does what [`SPARES_DEAD_LEADERS`] asks for.
const SWEEP: &str = "cgroup-kill-sweep";

/// The whole answer.
#[derive(Debug, Serialize)]
struct Answer {
    kernel: String,
    euid: u32,
    /// The cgroup below which jobs can have theirs; `null`: none, and `no_base` says why.
    base: Option<String>,
    no_base: Option<String>,
    kernel_bug: Option<Spared>,
    evidence: Vec<String>,
    situations: Vec<Advice>,
}

/// The answer for one situation, the best first.
#[derive(Debug, Serialize)]
struct Advice {
    situation: Situation,
    detectors: Vec<Candidate>,
    strategies: Vec<Candidate>,
}

/// Looks at the machine and says what to use.
pub(super) fn recommend(args: &RecommendArgs) -> Result<Exit, Failure> {
    let evidence = Evidence::committed()?;
    let mut host = surroundings::look(args.cgroup.clone(), true)?;
    let answer = answer(&host, &evidence, args.situation);
    let undone = surroundings::undo(&mut host);
    let mut said = match args.format {
        Format::Table => text(&answer),
        Format::Json => serde_json::to_string_pretty(&answer).map_err(anyhow::Error::from)? + "\n",
    };
    if args.format == Format::Table {
        undone.iter().for_each(|left| said.push_str(&format!("{left}\n")));
    }
    print(&said)?;
    Ok(if undone.is_empty() { Exit::Held } else { Exit::Internal })
}

fn answer(host: &Host, evidence: &Evidence, only: Option<Situation>) -> Answer {
    let offers = Offers::of(host);
    let tried = host.base.as_ref().map(|base| bugs::spares_dead_leaders(&base.cgroup));
    let kills_leaderless = matches!(tried, Some(Ok(Presence::Absent)));
    let all: Vec<Situation> = match only {
        Some(one) => vec![one],
        None => Situation::value_variants().to_vec(),
    };
    Answer {
        kernel: host.release.clone(),
        euid: host.euid,
        base: host
            .base
            .as_ref()
            .map(|base| format!("{} ({})", base.cgroup.path().display(), base.how)),
        no_base: host.no_base.as_ref().map(ToString::to_string),
        kernel_bug: tried.map(|tried| Spared {
            id: SPARES_DEAD_LEADERS.id,
            answer: match tried {
                Ok(Presence::Present) => "present".to_owned(),
                Ok(Presence::Absent) => "absent".to_owned(),
                Ok(Presence::NotApplicable(why)) => format!("cannot happen: {why}"),
                Err(e) => format!("not known: {e}"),
            },
            summary: SPARES_DEAD_LEADERS.summary,
        }),
        evidence: evidence.places(),
        situations: all
            .into_iter()
            .map(|situation| {
                let here = Here {
                    situation,
                    // An old kernel has no cgroup.kill, and what another kernel does was not tried.
                    kills_leaderless: kills_leaderless && situation != Situation::OldKernel,
                };
                advise(here, &offers, evidence)
            })
            .collect(),
    }
}

/// The candidates of one situation, in order.
fn advise(here: Here, offers: &Offers, evidence: &Evidence) -> Advice {
    let unknown = Support::missing("it was not probed", "see `scenario doctor`");
    let detectors = DETECTORS.iter().map(|d| d.spec()).filter_map(|spec| {
        let support = offers.detectors.get(spec.id).unwrap_or(&unknown);
        here.detector(spec, support, evidence.detector(spec.id))
    });
    let strategies = STRATEGIES.iter().map(|s| s.spec()).filter_map(|spec| {
        let support = offers.strategies.get(spec.id).unwrap_or(&unknown);
        here.strategy(spec, support, evidence.strategy(spec.id))
    });
    Advice {
        situation: here.situation,
        detectors: rank(detectors.collect()),
        strategies: rank(strategies.collect()),
    }
}

fn text(answer: &Answer) -> String {
    let mut text = format!("Linux {}, user {}\n", answer.kernel, answer.euid);
    match (&answer.base, &answer.no_base) {
        (Some(base), _) => text.push_str(&format!("cgroup {base}\n")),
        (None, why) => text.push_str(&format!(
            "no cgroup may be used, so nothing that needs one is available: {}\n",
            why.as_deref().unwrap_or("none was found")
        )),
    }
    if let Some(bug) = &answer.kernel_bug {
        text.push_str(&format!(
            "kernel bug {}: {} ({}; {SWEEP} does both)\n",
            bug.id, bug.answer, bug.summary
        ));
    }
    match answer.evidence.as_slice() {
        [] => text.push_str("No measurements were compiled in: what follows is by facts alone.\n"),
        places => places
            .iter()
            .for_each(|place| text.push_str(&format!("measured in {place}; other machines have other figures\n"))),
    }
    for advice in &answer.situations {
        text.push_str(&format!("\n{}\n", title(advice.situation)));
        named(&mut text, "know", &advice.detectors);
        named(&mut text, "kill", &advice.strategies);
    }
    text
}

fn title(situation: Situation) -> String {
    let value = situation.to_possible_value();
    let (name, help) = value.as_ref().map_or(("", None), |v| (v.get_name(), v.get_help()));
    let assumed = match situation {
        Situation::OldKernel => format!(" [what needs more than Linux {OLD} is left out]"),
        _ => String::new(),
    };
    format!("{name}: {}{assumed}", help.map(ToString::to_string).unwrap_or_default())
}

/// The first of `all` that can be used, with its reasons; the next ones; and what would come before it and is missing.
fn named(text: &mut String, verb: &str, all: &[Candidate]) {
    let mut usable = all.iter().filter(|c| c.missing.is_none());
    match usable.next() {
        None => text.push_str(&format!("  {verb:5} nothing that can be relied on is available here\n")),
        Some(best) => {
            text.push_str(&format!("  {verb:5} {}\n", best.id));
            for because in &best.because {
                text.push_str(&format!("        because {because}\n"));
            }
            text.push_str(&format!("        measured {}\n", figures(best.measured.as_ref())));
            for but in &best.but {
                text.push_str(&format!("        but {but}\n"));
            }
        }
    }
    let next: Vec<String> = usable.take(2).map(|c| format!("{} ({})", c.id, short(c))).collect();
    if !next.is_empty() {
        text.push_str(&format!("        else {}\n", next.join(", ")));
    }
    for (id, (why, remedy)) in all.iter().filter_map(|c| Some((c.id, c.missing.as_ref()?))) {
        text.push_str(&format!("        not here: {id}: {why}; help: {remedy}\n"));
    }
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
        None => format!("median beyond the deadline on {} ({} trials", m.worst, m.worst_n),
    };
    let tail = m
        .p99_ns
        .map(|ns| format!(", p99 {}", stats::ns(ns)))
        .unwrap_or_default();
    let mut figures = format!("{slowest}{tail}; {} trials in {} rows in all)", m.trials, m.rows);
    if let Some(ns) = m.launch_ns {
        figures.push_str(&format!("; a start takes {}", stats::ns(ns)));
    }
    match m.idle_cpu_ns {
        Some(ns) => figures.push_str(&format!("; waiting costs {} a second", stats::ns(ns))),
        None => figures.push_str("; what waiting costs was not measured"),
    }
    if let Some((sites, medians)) = &m.scale {
        let medians: Vec<String> = medians.iter().map(|(name, value)| format!("{name} {value}")).collect();
        figures.push_str(&format!("; with {sites} jobs: {}", medians.join(", ")));
    }
    figures
}

fn short(candidate: &Candidate) -> String {
    match &candidate.measured {
        None => "not measured".to_owned(),
        Some(m) => m
            .worst_p50_ns
            .map_or_else(|| "beyond the deadline".to_owned(), stats::ns),
    }
}
