//! What the lab recorded under emulation (`kernel-patch/results`). The wait of a mechanism itself
//! (the kernel's rate limit is a timer) shows in the difference of two medians of one boot; a ratio
//! would mostly say how slowly the emulator runs the faster mechanism. These records have tables of
//! their own, and are in no summary.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use serde::Deserialize;

use crate::stats::{Resampling, Sample, difference, interval, ranks, seed, stretch};

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Emulated {
    /// The same questions for a series of kernels.
    pub kernels: Vec<Kernel>,
    /// The draft series, base and patched.
    pub series: Vec<Boot>,
}

/// A kernel and its answers, as `lab matrix` wrote them.
#[derive(Clone, Debug, Deserialize)]
pub struct Kernel {
    /// The lab's name for it.
    pub kernel: String,
    /// `uname -r`.
    pub release: String,
    /// How the machine ran.
    pub accelerator: String,
    /// Its answers.
    pub answers: Vec<Answer>,
}

/// An answer of `lab-probe`.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The question.
    pub probe: String,
    /// In which case.
    pub case: String,
    /// How often it was asked.
    pub tries: u64,
    /// What was seen, how often.
    pub counts: BTreeMap<String, u64>,
    /// Durations, in nanoseconds.
    pub samples_ns: Vec<u64>,
}

/// One boot of a kernel of the series.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The file's name: how it was emulated, which configuration, base or patched.
    pub name: String,
    /// `latency` by point and detector: nanoseconds, in order.
    pub latencies: BTreeMap<(String, String), Vec<u64>>,
    /// Owner removes its cgroup at once: by point and detector, trials and how many were never
    /// woken.
    pub removals: BTreeMap<(String, String), (usize, usize)>,
}

/// One median less another, with its interval, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Of the medians.
    pub of_medians: f64,
    /// Its bootstrap interval.
    pub interval: (f64, f64),
}

impl Emulated {
    /// Reads what there is below `root` (the top of the workspace).
    pub fn read(root: &Path) -> Result<Self> {
        Ok(Self {
            kernels: kernels(&root.join("kernel-patch/results/matrix/records.jsonl"))?,
            series: boots(&root.join("kernel-patch/results/series/raw"))?,
        })
    }
}

impl Kernel {
    /// An answer.
    pub fn answer(&self, probe: &str, case: &str) -> Option<&Answer> {
        self.answers
            .iter()
            .find(|a| a.probe == probe && a.case == case)
    }

    /// Cases of the probe `latency`, split into mechanism and point: `waitid 0us`.
    pub fn latencies(&self) -> impl Iterator<Item = (&str, &str, &Answer)> {
        self.answers
            .iter()
            .filter(|a| a.probe == "latency")
            .filter_map(|a| {
                let (mechanism, point) = a.case.rsplit_once(' ')?;
                Some((mechanism, point, a))
            })
    }
}

/// The difference of two series of trials that took turns in one boot.
pub fn compare(what: &[&str], of: &[u64], to: &[u64]) -> Option<Difference> {
    let numbered = |values: &[u64]| values.iter().copied().enumerate().collect::<Vec<_>>();
    let memory = stretch(&ranks(of)).max(stretch(&ranks(to)));
    let resampling = Resampling::new(of.len().max(to.len()), memory, seed(what));
    let median = |values: &[u64]| Sample::new(values.to_vec()).median();
    Some(Difference {
        of_medians: difference(median(of)?, median(to)?)?,
        interval: interval(
            &resampling.medians(&numbered(of)),
            &resampling.medians(&numbered(to)),
            difference,
        )?,
    })
}

fn kernels(path: &Path) -> Result<Vec<Kernel>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text =
        fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    text.lines()
        .enumerate()
        .map(|(at, line)| {
            serde_json::from_str(line).with_context(|| {
                format!(
                    "line {} of {} is not a record of the lab",
                    at + 1,
                    path.display()
                )
            })
        })
        .collect()
}

fn boots(dir: &Path) -> Result<Vec<Boot>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir).with_context(|| format!("could not list {}", dir.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("could not list {}", dir.display()))?
            .path();
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        if let Some(name) = name.strip_suffix(".csv.gz") {
            paths.push((name.to_owned(), path.clone()));
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|(name, path)| {
            let packed =
                fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
            let mut text = String::new();
            GzDecoder::new(packed.as_slice())
                .read_to_string(&mut text)
                .with_context(|| format!("could not decompress {}", path.display()))?;
            Ok(Boot::parse(name, &text))
        })
        .collect()
}

impl Boot {
    /// Lines of `measure.c`; what else a console says is left out.
    fn parse(name: String, text: &str) -> Self {
        let mut boot = Self {
            name,
            latencies: BTreeMap::new(),
            removals: BTreeMap::new(),
        };
        for line in text.lines() {
            let fields: Vec<&str> = line.trim().split(',').collect();
            match fields[..] {
                ["lat", detector, lifetime_us, ns] => {
                    boot.latency(format!("lifetime {lifetime_us} us"), detector, ns)
                }
                ["frz", detector, tasks, ns] => {
                    boot.latency(format!("freeze, kill {tasks} tasks"), detector, ns)
                }
                ["rmd", detector, jobs, woken, ..] => {
                    let point = (format!("{jobs} job(s)"), detector.to_owned());
                    let (n, lost) = boot.removals.entry(point).or_default();
                    *n += 1;
                    *lost += usize::from(woken == "0");
                }
                _ => {}
            }
        }
        boot
    }

    fn latency(&mut self, point: String, detector: &str, ns: &str) {
        if let Ok(ns) = ns.parse() {
            self.latencies
                .entry((point, detector.to_owned()))
                .or_default()
                .push(ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_console_are_told_from_measurements() {
        let text = "KERNEL 7.3\n\
            lat,pidfd-main,0,100\n\
            lat,pidfd-main,0,300\n\
            rmd,poll,1,0,1000\n\
            rmd,poll,1,1,5\n";
        let boot = Boot::parse("x".into(), text);
        assert_eq!(
            boot.latencies[&("lifetime 0 us".into(), "pidfd-main".into())],
            [100, 300]
        );
        assert_eq!(boot.removals[&("1 job(s)".into(), "poll".into())], (2, 1));
    }
}
