//! `report add`: takes a campaign's directory into `reports/data`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::dataset::Dataset;
use super::{data_dir, file};

/// Large files, and files that are kept readable. What a directory holds beyond these is left where it is.
const PACKED: [&str; 4] = ["plan.json", "trials.jsonl", "noise.jsonl", "scale.jsonl"];
const READABLE: [&str; 2] = ["environment.json", "sittings.json"];

/// Copies the campaign in `from` to `reports/data/<name>`, in the place of what was there, compressed, and without what says whose machine it was:
/// host names, boot ids, and the directory that it was written to. Every trial is kept. Returns what is there now.
pub fn add(root: &Path, name: &str, from: &Path) -> Result<Dataset> {
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !name.is_empty() && name.chars().all(fit),
        "{name:?} cannot be the name of a dataset: lower-case letters, digits and dashes"
    );
    Dataset::read(from).with_context(|| format!("{} cannot be taken in", from.display()))?;
    let to = data_dir(root).join(name);
    if to.is_dir() {
        fs::remove_dir_all(&to).with_context(|| format!("could not replace {}", to.display()))?;
    }
    fs::create_dir_all(&to).with_context(|| format!("could not make {}", to.display()))?;
    for name in PACKED {
        match file::read(from, name)? {
            Some(content) if name.ends_with(".json") => file::write_packed(&to, name, &document(name, &content)?)?,
            Some(content) => file::write_packed(&to, name, &content)?,
            None => {}
        }
    }
    for name in READABLE {
        if let Some(content) = file::read(from, name)? {
            let path = to.join(name);
            fs::write(&path, document(name, &content)?)
                .with_context(|| format!("could not write {}", path.display()))?;
        }
    }
    Dataset::read(&to)
}

/// A JSON document without what is nobody's business.
fn document(name: &str, content: &[u8]) -> Result<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(content).with_context(|| format!("{name} is not JSON"))?;
    clean(&mut value);
    let mut text = serde_json::to_vec_pretty(&value).with_context(|| format!("could not write {name}"))?;
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
        let mut value = json!({"arguments": ["measure", "--out", "/home/x", "--resume=/y"], "boot_id": "abc", "kernel": {"hostname": "h"}});
        clean(&mut value);
        assert_eq!(
            value,
            json!({"arguments": ["measure", "--out", "DIR", "--resume=DIR"], "boot_id": null, "kernel": {"hostname": null}})
        );
    }
}
