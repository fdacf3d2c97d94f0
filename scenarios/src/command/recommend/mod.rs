//! `scenario recommend`: what to use on this machine, for what, and why. Facts from the specs,
//! availability from the probes, figures from the committed evidence.

mod evidence;
mod page;
mod rank;
#[cfg(test)]
mod tests;

use clap::{Args, ValueEnum};
use harness::detect::DETECTORS;
use harness::host::bugs::{self, Presence, SPARES_DEAD_LEADERS};
use harness::host::{Support, Surveyed};
use harness::kill::STRATEGIES;
use serde::Serialize;

use super::args::Format;
use super::conclude::print;
use super::exit::{Exit, Failure};
use super::plan::Offers;
use super::surroundings::Surroundings;
use evidence::Evidence;
use rank::{Candidate, Here, rank};

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
    /// No privileges: no root, no capability, only a delegated cgroup
    NoRoot,
    /// A kernel of the oldest long-term series (5.4): no cgroup.kill, no birth in a cgroup
    OldKernel,
    /// A kernel with the draft series of this project (kernel-patch/series)
    PatchedKernel,
}

/// Whether `cgroup.kill` of this kernel misses processes without a first thread.
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

/// Probes the machine and says what to use.
pub(super) fn recommend(args: &RecommendArgs) -> Result<Exit, Failure> {
    let evidence = Evidence::committed()?;
    let around = Surroundings::look(args.cgroup.clone(), true)?;
    let answer = answer(&around.here, &evidence, args.situation);
    let undone = around.leave()?;
    let mut said = match args.format {
        Format::Table => page::text(&answer),
        Format::Json => serde_json::to_string_pretty(&answer).map_err(anyhow::Error::from)? + "\n",
    };
    if args.format == Format::Table {
        undone
            .iter()
            .for_each(|left| said.push_str(&format!("{left}\n")));
    }
    print(&said)?;
    Ok(if undone.is_empty() {
        Exit::Held
    } else {
        Exit::Internal
    })
}

fn answer(here: &Surveyed, evidence: &Evidence, only: Option<Situation>) -> Answer {
    let host = &here.host;
    let offers = Offers::of(host);
    let tried = host
        .base
        .as_ref()
        .map(|base| bugs::spares_dead_leaders(base.cgroup()));
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
            .map(|base| format!("{} ({})", base.cgroup().path().display(), base.how())),
        no_base: here.no_base.as_ref().map(ToString::to_string),
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
                    // An old kernel has no cgroup.kill, and other kernels were not tried.
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
