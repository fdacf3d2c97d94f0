//! `report add`: takes a campaign's directory into `reports/data`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::dataset::Dataset;
use super::{data_dir, file};

/// Large files, and files that are kept readable. What a directory holds beyond these is left where
/// it is.
const PACKED: [&str; 4] = ["plan.json", "trials.jsonl", "noise.jsonl", "scale.jsonl"];
const READABLE: [&str; 2] = ["environment.json", "sittings.json"];

/// Whether [`add`] may replace a dataset of that name, and a callback for its progress.
pub struct Taking<'p> {
    /// Replace the dataset that is there.
    pub replace: bool,
    /// Called with each step: a large campaign takes a minute.
    pub progress: &'p dyn Fn(&str),
}

impl std::fmt::Debug for Taking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taking")
            .field("replace", &self.replace)
            .finish_non_exhaustive()
    }
}

/// Copies the campaign in `from` to `reports/data/<name>`, compressed, and without what identifies
/// the machine: host names, boot ids, and the directory that it was written to. Every trial is
/// kept. Returns what is there now.
///
/// Refuses what `scenario measure --resume` would refuse: records that are not those of the plan,
/// or that cannot be true, and files of a newer version. An existing dataset is replaced only if
/// that was asked for, and only when the new one is complete.
pub fn add(root: &Path, name: &str, from: &Path, taking: &Taking<'_>) -> Result<Dataset> {
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !name.is_empty() && name.chars().all(fit),
        "{name:?} cannot be the name of a dataset: lower-case letters, digits and dashes"
    );
    let (data, to) = (data_dir(root), data_dir(root).join(name));
    ensure!(
        taking.replace || !to.exists(),
        "{} is there already: say --replace to take {} in its place, or choose another name",
        to.display(),
        from.display()
    );
    (taking.progress)(&format!("reading {}", from.display()));
    let refused = || format!("{} cannot be taken in", from.display());
    let read = Dataset::read(from).with_context(refused)?;
    (taking.progress)(&format!(
        "comparing {} trials and {} measurements of many sites with the plan",
        read.trials.len(),
        read.sites.len()
    ));
    read.verify().with_context(refused)?;
    let new = data.join(format!(".{name}.new"));
    remove(&new)?;
    fs::create_dir_all(&new).with_context(|| format!("could not make {}", new.display()))?;
    for file in PACKED {
        let Some(content) = file::read(from, file)? else {
            continue;
        };
        (taking.progress)(&format!("compressing {file}, {} kB", content.len() / 1_000));
        match file.ends_with(".json") {
            true => file::write_packed(&new, file, &document(file, &content)?)?,
            false => file::write_packed(&new, file, &content)?,
        }
    }
    for file in READABLE {
        if let Some(content) = file::read(from, file)? {
            let path = new.join(file);
            fs::write(&path, document(file, &content)?)
                .with_context(|| format!("could not write {}", path.display()))?;
        }
    }
    remove(&to)?;
    fs::rename(&new, &to)
        .with_context(|| format!("could not rename {} to {}", new.display(), to.display()))?;
    Dataset::read(&to)
}

/// Removes a directory if it is there.
pub(super) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other.with_context(|| format!("could not remove {}", dir.display())),
    }
}

/// A JSON document without private fields.
fn document(name: &str, content: &[u8]) -> Result<Vec<u8>> {
    let mut value: Value =
        serde_json::from_slice(content).with_context(|| format!("{name} is not JSON"))?;
    clean(&mut value);
    let mut text =
        serde_json::to_vec_pretty(&value).with_context(|| format!("could not write {name}"))?;
    text.push(b'\n');
    Ok(text)
}

fn clean(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for private in ["hostname", "nodename", "boot_id"] {
                if let Some(field) = fields.get_mut(private) {
                    *field = Value::Null;
                }
            }
            if let Some(Value::Array(words)) = fields.get_mut("arguments") {
                without_place(words);
            }
            fields.values_mut().for_each(clean);
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        _ => {}
    }
}

/// The words of a command line without the values of `--out` and `--resume`.
fn without_place(words: &mut [Value]) {
    for at in 0..words.len() {
        let word = words[at].as_str().unwrap_or_default().to_owned();
        for option in ["--out", "--resume"] {
            if word == option && at + 1 < words.len() {
                words[at + 1] = Value::from("DIR");
            } else if word.starts_with(&format!("{option}=")) {
                words[at] = Value::from(format!("{option}=DIR"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_and_names_are_left_out() {
        let mut value = json!({"arguments": ["measure", "--out", "/home/x", "--resume=/y"],
            "boot_id": "abc", "kernel": {"hostname": "h"}});
        clean(&mut value);
        assert_eq!(
            value,
            json!({"arguments": ["measure", "--out", "DIR", "--resume=DIR"], "boot_id": null,
                "kernel": {"hostname": null}})
        );
    }
}
