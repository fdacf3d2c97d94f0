//! One recorded campaign.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use harness_record::{NoiseRecord, SCHEMA, TrialRecord, fault, read_lines};
use serde_json::Value;

use super::plan::Plan;
use super::{file, verify};

/// A campaign: its plan, its machine, and every trial.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Its directory's name.
    pub name: String,
    /// What was decided before the first trial.
    pub plan: Plan,
    /// The machine.
    pub machine: Machine,
    /// The runs of its records, in their order.
    pub runs: Vec<String>,
    /// All trials, in order.
    pub trials: Vec<TrialRecord>,
    /// The time that a spinning control lost.
    pub noise: Vec<NoiseRecord>,
    /// Many sites at once, if that was measured.
    pub sites: Vec<SiteCost>,
}

/// The facts about a machine that a reader needs before comparing figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// `uname -r`.
    pub kernel: String,
    /// Ticks per second.
    pub hz: Option<u32>,
    /// The processor.
    pub cpu: String,
    /// How many may be used.
    pub cpus: Option<u64>,
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// Whether a hypervisor says that it is there.
    pub virtual_machine: bool,
    /// Whether the processor was emulated, if the machine says it: times are the emulator's then.
    pub emulated: bool,
    /// `v2`, `hybrid`, ...
    pub cgroups: String,
    /// Whether the program was built without optimisation.
    pub debug_build: bool,
    /// The commit that it was built from.
    pub revision: Option<String>,
}

/// One measurement of a mechanism that watches many sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteCost {
    /// Run, if the record says it.
    pub run: Option<String>,
    /// Mechanism id.
    pub mechanism: String,
    /// Sites watched at once.
    pub sites: u64,
    /// Populated sites, if the record says it.
    pub populated: Option<u64>,
    /// Whether the right site was found to be empty, and not before it was.
    pub right: bool,
    /// Every other number of the record, by its name; `latency_ns` from the exit stamp to the
    /// verdict.
    pub figures: BTreeMap<String, u64>,
}

/// The format of `environment.json` that this program reads.
const ENVIRONMENT_SCHEMA: u32 = 1;

/// The format of `sittings.json` that this program reads.
const SITTINGS_SCHEMA: u32 = 1;

/// A campaign is called loaded if its control lost more than this.
pub const LOADED_PERMILLE: u32 = 50;

impl Dataset {
    /// Reads the directory of a campaign, compressed or not.
    pub fn read(dir: &Path) -> Result<Self> {
        let name = dir
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let inside = |file: &str| format!("{} in {}", file, dir.display());
        let plan =
            Plan::parse(&file::need(dir, "plan.json")?).with_context(|| inside("plan.json"))?;
        let environment: Value = serde_json::from_slice(&file::need(dir, "environment.json")?)
            .with_context(|| inside("environment.json"))?;
        verify::not_newer("it", &environment, ENVIRONMENT_SCHEMA)
            .with_context(|| inside("environment.json"))?;
        if let Some(sittings) = file::read(dir, "sittings.json")? {
            verify::schema("it", &sittings, SITTINGS_SCHEMA)
                .with_context(|| inside("sittings.json"))?;
        }
        let trials = file::read(dir, "trials.jsonl")?.unwrap_or_default();
        let trials: Vec<TrialRecord> = read_lines(trials.as_slice())
            .collect::<Result<_, _>>()
            .with_context(|| inside("trials.jsonl"))?;
        let noise = lines(dir, "noise.jsonl", |line| {
            verify::not_newer("it", &line, SCHEMA)?;
            Ok(serde_json::from_value::<NoiseRecord>(line)?)
        })?;
        let sites = lines(dir, "scale.jsonl", |line| SiteCost::parse(&line))?;
        ensure!(
            !(trials.is_empty() && sites.is_empty()),
            "{} holds no record: neither trials.jsonl nor scale.jsonl has a line",
            dir.display()
        );
        let mut runs: Vec<String> = Vec::new();
        let named = trials
            .iter()
            .map(|t| &t.run)
            .chain(sites.iter().filter_map(|s| s.run.as_ref()));
        for run in named {
            if !runs.contains(run) {
                runs.push(run.clone());
            }
        }
        Ok(Self {
            name,
            plan,
            machine: Machine::of(&environment),
            runs,
            trials,
            noise,
            sites,
        })
    }

    /// An error, with the line of the file, unless what is recorded is what was planned and can
    /// have happened.
    pub fn verify(&self) -> Result<()> {
        if !self.trials.is_empty() {
            verify::trials(&self.plan, &self.trials)?;
        }
        match self.sites.is_empty() {
            true => Ok(()),
            false => verify::sites(&self.plan, &self.sites),
        }
    }

    /// Time that each trial was allowed; no limit where the plan does not say it.
    pub fn deadline_ns(&self) -> u64 {
        match self.plan.deadline_ns {
            0 => u64::MAX,
            ns => ns,
        }
    }

    /// Whether others used so much of the machine that its times are those of a loaded one.
    pub fn is_loaded(&self) -> bool {
        self.noise_permille()
            .is_some_and(|permille| permille > LOADED_PERMILLE)
    }

    /// Share of the control's time that others used, in permille; nothing if it was not measured.
    pub fn noise_permille(&self) -> Option<u32> {
        let spun: u64 = self.noise.iter().map(|n| n.spun_ns).sum();
        let lost: u64 = self.noise.iter().map(|n| n.lost_ns).sum();
        (lost * 1_000)
            .checked_div(spun)
            .and_then(|permille| u32::try_from(permille).ok())
    }
}

impl Machine {
    fn of(environment: &Value) -> Self {
        let text = |at: &str| {
            environment
                .pointer(at)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let number = |at: &str| environment.pointer(at).and_then(Value::as_u64);
        let yes = |at: &str| {
            environment
                .pointer(at)
                .and_then(Value::as_bool)
                .unwrap_or(false)
        };
        let unknown = || "unknown".to_owned();
        Self {
            kernel: text("/kernel/release").unwrap_or_else(unknown),
            hz: number("/kernel/hz").and_then(|hz| u32::try_from(hz).ok()),
            cpu: text("/cpu/model").unwrap_or_else(unknown),
            cpus: number("/cpu/allowed"),
            memory_bytes: number("/memory_bytes"),
            virtual_machine: yes("/virtualisation/hypervisor_flag"),
            emulated: yes("/virtualisation/emulated"),
            cgroups: text("/cgroups/layout").unwrap_or_else(unknown),
            debug_build: yes("/build/debug_assertions"),
            revision: text("/build/revision"),
        }
    }

    /// In a line.
    pub fn in_words(&self) -> String {
        let mut words = format!("Linux {}", self.kernel);
        match self.hz {
            Some(hz) => words.push_str(&format!(" (HZ={hz})")),
            None => words.push_str(" (HZ unknown)"),
        }
        words.push_str(&format!(
            ", {}{}, {} processors, cgroups {}",
            self.cpu,
            if self.virtual_machine {
                " (virtual machine)"
            } else {
                ""
            },
            self.cpus
                .map_or_else(|| "unknown".to_owned(), |n| n.to_string()),
            self.cgroups
        ));
        if self.emulated {
            words.push_str(", **emulated: ratios and counts alone mean something**");
        }
        if self.debug_build {
            words.push_str(", **debug build**");
        }
        words
    }
}

impl SiteCost {
    fn parse(line: &Value) -> Result<Self> {
        verify::not_newer("it", line, SCHEMA)?;
        let fields = line.as_object().context("it is no object")?;
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let mut figures: BTreeMap<String, u64> = fields
            .iter()
            .filter(|(name, _)| !OF_THE_ROW.contains(&name.as_str()))
            .filter_map(|(name, value)| Some((name.clone(), value.as_u64()?)))
            .collect();
        if let (Some(exit), Some(decided)) = (line["exit_ns"].as_u64(), line["decided_ns"].as_u64())
        {
            figures.insert("latency_ns".to_owned(), decided.saturating_sub(exit));
        }
        Ok(Self {
            populated: line["populated"].as_u64(),
            right: line["outcome"]
                .as_str()
                .is_none_or(|outcome| outcome == "right"),
            run: text("run"),
            mechanism: text("mechanism").context("it names no mechanism")?,
            sites: line["sites"]
                .as_u64()
                .context("it does not say how many sites")?,
            figures,
        })
    }
}

/// Fields of a record of many sites that are not figures: keys, and stamps of a clock.
const OF_THE_ROW: [&str; 11] = [
    "schema",
    "sites",
    "populated",
    "seq",
    "job",
    "site",
    "block",
    "seed",
    "asked_ns",
    "exit_ns",
    "decided_ns",
];

/// Each line of a file of JSON lines, as `parse` reads it; none if there is no such file. An error
/// names the line of the file.
fn lines<T>(dir: &Path, name: &str, parse: impl Fn(Value) -> Result<T>) -> Result<Vec<T>> {
    let text = file::read(dir, name)?.unwrap_or_default();
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if line.is_empty() {
            continue;
        }
        let at = || format!("line {number} of {name} in {}", dir.display());
        let value = serde_json::from_slice(line)
            .map_err(|e| anyhow!("{} is not JSON: {}", at(), fault(&e)))?;
        lines.push(parse(value).with_context(at)?);
    }
    Ok(lines)
}
