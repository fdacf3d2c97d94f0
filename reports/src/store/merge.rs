//! The shards of a campaign (`scenario measure --shard K/N`), put together machine by machine.
//!
//! A shard has whole blocks, and each block has every row, so shards of one boot of one machine are
//! one campaign. Those of two machines never are: their clocks and their noise differ.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::add::{Taking, add, remove};
use super::dataset::Dataset;
use super::plan::Shards;
use super::{data_dir, file};

/// Takes one campaign, or the shards of one, into `reports/data/<name>`. The shards of several
/// machines become datasets of their own, `<name>-1` and so on, in the order of the directories.
///
/// Refuses what [`add`] refuses, a shard that is not finished or that is there twice, and shards of
/// different campaigns.
pub fn add_all(
    root: &Path,
    name: &str,
    dirs: &[PathBuf],
    taking: &Taking<'_>,
) -> Result<Vec<Dataset>> {
    if let [one] = dirs {
        return Ok(vec![add(root, name, one, taking)?]);
    }
    let mut machines: Vec<Vec<Part>> = Vec::new();
    for dir in dirs {
        (taking.progress)(&format!("reading {}", dir.display()));
        let part =
            Part::read(dir).with_context(|| format!("{} cannot be taken in", dir.display()))?;
        match machines
            .iter_mut()
            .find(|parts| parts[0].machine == part.machine)
        {
            Some(parts) => parts.push(part),
            None => machines.push(vec![part]),
        }
    }
    let several = machines.len() > 1;
    (taking.progress)(&format!(
        "{} directories of {} machines",
        dirs.len(),
        machines.len()
    ));
    let mut datasets = Vec::new();
    for (number, parts) in (1..).zip(machines) {
        let name = match several {
            true => format!("{name}-{number}"),
            false => name.to_owned(),
        };
        let together = data_dir(root).join(format!(".{name}.together"));
        remove(&together)?;
        let taken = merge(&parts, &together).and_then(|()| add(root, &name, &together, taking));
        remove(&together)?;
        datasets.push(taken?);
    }
    Ok(datasets)
}

/// One shard, as it was recorded.
struct Part {
    dir: PathBuf,
    plan: Value,
    shards: Shards,
    /// What has to be alike: kernel, processor, build, boot.
    machine: Value,
    environment: Value,
    sittings: Value,
}

impl Part {
    fn read(dir: &Path) -> Result<Self> {
        let dataset = Dataset::read(dir)?;
        dataset.verify()?;
        let shards = dataset.plan.shards().cloned().context(
            "it is a whole campaign, not a shard of one: add it alone, under a name of its own",
        )?;
        let (recorded, planned) = (dataset.trials.len(), dataset.plan.order().count());
        ensure!(
            recorded == planned,
            "it is not finished, {recorded} of {planned} trials are recorded: go on with `scenario \
                measure --resume DIR`"
        );
        let document = |name: &str| -> Result<Value> {
            let content = file::read(dir, name)?.unwrap_or_else(|| b"null".to_vec());
            serde_json::from_slice(&content).with_context(|| format!("{name} is not JSON"))
        };
        let (environment, sittings) = (document("environment.json")?, document("sittings.json")?);
        let boots: BTreeSet<String> = sittings["sittings"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|sitting| sitting["boot_id"].to_string())
            .collect();
        let facts = [
            "hostname",
            "kernel",
            "cpu",
            "memory_bytes",
            "virtualisation",
            "build",
        ];
        let facts = facts.map(|fact| environment[fact].clone());
        Ok(Self {
            dir: dir.to_path_buf(),
            plan: document("plan.json")?,
            shards,
            machine: json!([facts, boots]),
            environment,
            sittings,
        })
    }

    /// The plan without what differs between shards.
    fn campaign(&self) -> Value {
        let mut plan = self.plan.clone();
        for own in ["run", "arguments", "skipped"] {
            plan[own] = Value::Null;
        }
        plan["campaign"]["shards"] = Value::Null;
        plan
    }
}

/// Writes the shards of one machine as one campaign.
fn merge(parts: &[Part], to: &Path) -> Result<()> {
    let [first, others @ ..] = parts else {
        bail!("there is nothing to put together");
    };
    let mut shards = first.shards.clone();
    for part in others {
        ensure!(
            part.campaign() == first.campaign() && part.shards.of == first.shards.of,
            "{} and {} are not of one campaign: their plans differ",
            first.dir.display(),
            part.dir.display()
        );
        if let Some(twice) = part.shards.numbers.intersection(&shards.numbers).next() {
            bail!("shard {twice} is in {} and before", part.dir.display());
        }
        shards.numbers.extend(&part.shards.numbers);
    }
    fs::create_dir_all(to).with_context(|| format!("could not make {}", to.display()))?;
    let put = |name: &str, content: &[u8]| {
        let path = to.join(name);
        fs::write(&path, content).with_context(|| format!("could not write {}", path.display()))
    };
    let whole = shards.numbers.len() == shards.of;
    let mut plan = first.plan.clone();
    plan["campaign"]["shards"] = match whole {
        true => Value::Null,
        false => serde_json::to_value(&shards).context("could not write the plan as JSON")?,
    };
    if let Some(words) = plan["arguments"].as_array_mut() {
        with_shards(words, (!whole).then_some(&shards));
    }
    put("plan.json", plan.to_string().as_bytes())?;
    put("environment.json", first.environment.to_string().as_bytes())?;
    let sittings = parts
        .iter()
        .filter_map(|part| part.sittings["sittings"].as_array());
    let sittings: Vec<&Value> = sittings.flatten().collect();
    if !sittings.is_empty() {
        let all = json!({"schema": first.sittings["schema"], "sittings": sittings});
        put("sittings.json", all.to_string().as_bytes())?;
    }
    put("trials.jsonl", &lines(parts, "trials.jsonl", "seq")?)?;
    put("noise.jsonl", &lines(parts, "noise.jsonl", "block")?)
}

/// The lines of a file of all parts, as they were written, in the order of a field.
fn lines(parts: &[Part], name: &str, by: &str) -> Result<Vec<u8>> {
    let mut all: Vec<(u64, Vec<u8>)> = Vec::new();
    for part in parts {
        let content = file::read(&part.dir, name)?.unwrap_or_default();
        for line in content
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let value: Value = serde_json::from_slice(line)
                .with_context(|| format!("{name} in {} is damaged", part.dir.display()))?;
            all.push((value[by].as_u64().unwrap_or(0), [line, b"\n"].concat()));
        }
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().flat_map(|(_, line)| line).collect())
}

/// The words of a command line with other shards, or with none.
fn with_shards(words: &mut Vec<Value>, shards: Option<&Shards>) {
    let Some(at) = words.iter().position(|word| {
        let word = word.as_str().unwrap_or_default();
        word == "--shard" || word.starts_with("--shard=")
    }) else {
        return;
    };
    let more = usize::from(words[at] == "--shard" && at + 1 < words.len());
    let option = shards.map(|shards| {
        let numbers: Vec<String> = shards.numbers.iter().map(usize::to_string).collect();
        Value::from(format!("--shard={}/{}", numbers.join(","), shards.of))
    });
    words.splice(at..=at + more, option);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_the_shards_that_were_put_together() {
        let command = |shards: Option<Shards>| {
            let mut words = ["measure", "x", "--shard", "1/3", "--quiet"]
                .map(Value::from)
                .to_vec();
            with_shards(&mut words, shards.as_ref());
            Value::from(words).to_string()
        };
        assert_eq!(command(None), r#"["measure","x","--quiet"]"#);
        let two = Shards {
            of: 3,
            numbers: BTreeSet::from([1, 3]),
        };
        assert_eq!(
            command(Some(two)),
            r#"["measure","x","--shard=1,3/3","--quiet"]"#
        );
    }
}
