//! One recorded campaign.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness_record::{NoiseRecord, SCHEMA, TrialRecord, read_lines};
use serde_json::Value;

use super::file;
use super::plan::Plan;

/// A campaign: what was meant, where it was measured, and every trial.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Its directory's name.
    pub name: String,
    /// What was decided before the first trial.
    pub plan: Plan,
    /// The machine.
    pub machine: Machine,
    /// Runs whose records it holds, in the order in which they come.
    pub runs: Vec<String>,
    /// All trials, in order.
    pub trials: Vec<TrialRecord>,
    /// What a spinning control lost to others.
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
    /// Sites in which a process lived, if the record says it.
    pub populated: Option<u64>,
    /// Whether the right site was found to be empty, and not before it was.
    pub right: bool,
    /// Every other number of the record, by its name; `latency_ns` from the exit stamp to the verdict.
    pub figures: BTreeMap<String, u64>,
}

impl Dataset {
    /// Reads the directory of a campaign, compressed or not.
    pub fn read(dir: &Path) -> Result<Self> {
        let name = dir
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let inside = |file: &str| format!("{} in {}", file, dir.display());
        let plan = Plan::parse(&file::need(dir, "plan.json")?).with_context(|| inside("plan.json"))?;
        let environment: Value = serde_json::from_slice(&file::need(dir, "environment.json")?)
            .with_context(|| inside("environment.json"))?;
        let trials = file::read(dir, "trials.jsonl")?.unwrap_or_default();
        let trials: Vec<TrialRecord> = read_lines(trials.as_slice())
            .collect::<Result<_, _>>()
            .with_context(|| inside("trials.jsonl"))?;
        let noise = lines(dir, "noise.jsonl")?
            .into_iter()
            .map(|line| serde_json::from_value(line).with_context(|| inside("noise.jsonl")))
            .collect::<Result<_>>()?;
        let sites: Vec<SiteCost> = lines(dir, "scale.jsonl")?
            .iter()
            .map(|line| SiteCost::parse(line).with_context(|| inside("scale.jsonl")))
            .collect::<Result<_>>()?;
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

    /// Share of the control's time that others had, in permille; nothing if it was not measured.
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
        let text = |at: &str| environment.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let number = |at: &str| environment.pointer(at).and_then(Value::as_u64);
        let yes = |at: &str| environment.pointer(at).and_then(Value::as_bool).unwrap_or(false);
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
            if self.virtual_machine { " (virtual machine)" } else { "" },
            self.cpus.map_or_else(|| "unknown".to_owned(), |n| n.to_string()),
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
        let schema = line["schema"].as_u64().unwrap_or(0);
        ensure!(
            schema <= u64::from(SCHEMA),
            "a line has schema {schema}; this program reads up to {SCHEMA}"
        );
        let fields = line.as_object().context("a line is no object")?;
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let mut figures: BTreeMap<String, u64> = fields
            .iter()
            .filter(|(name, _)| !OF_THE_ROW.contains(&name.as_str()))
            .filter_map(|(name, value)| Some((name.clone(), value.as_u64()?)))
            .collect();
        if let (Some(exit), Some(decided)) = (line["exit_ns"].as_u64(), line["decided_ns"].as_u64()) {
            figures.insert("latency_ns".to_owned(), decided.saturating_sub(exit));
        }
        Ok(Self {
            populated: line["populated"].as_u64(),
            right: line["outcome"].as_str().is_none_or(|outcome| outcome == "right"),
            run: text("run"),
            mechanism: text("mechanism").context("a line names no mechanism")?,
            sites: line["sites"].as_u64().context("a line does not say how many sites")?,
            figures,
        })
    }
}

/// Fields of a record of many sites that are no figures: what it is about, and stamps of a clock.
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

/// Each line of a file of JSON lines; none if there is no such file.
fn lines(dir: &Path, name: &str) -> Result<Vec<Value>> {
    let text = file::read(dir, name)?.unwrap_or_default();
    let mut lines = Vec::new();
    for (number, line) in text
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
    {
        let value = serde_json::from_slice(line)
            .with_context(|| format!("line {} of {name} in {} is not JSON", number + 1, dir.display()))?;
        lines.push(value);
    }
    Ok(lines)
}
