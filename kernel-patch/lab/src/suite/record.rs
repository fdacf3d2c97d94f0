//! The record of one boot: everything that is needed to understand its figures in two years.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::answers::Answers;
use crate::build::image_sha256;
use crate::kernel::{Kernel, Origin};
use crate::process;
use crate::vm::{Accelerator, Boot};

/// The version of the record's shape.
pub const SCHEMA: u32 = 1;

/// One boot of one kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The kernel's name in the lab.
    pub kernel: String,
    /// Where it comes from.
    pub origin: Origin,
    /// The image's SHA-256.
    pub image_sha256: String,
    /// `uname -r`, `uname -v` inside.
    pub release: String,
    /// See `release`.
    pub version: String,
    /// HZ and preemption model, when the configuration is known.
    pub ticks: String,
    /// Controllers as mounted.
    pub controllers: String,
    /// How the machine ran: times of an emulated one are never compared with others.
    pub accelerator: Accelerator,
    /// From QEMU's start to init, in milliseconds.
    pub boot_ms: u64,
    /// QEMU's version line.
    pub qemu: String,
    /// When, in UTC.
    pub at: String,
    /// The answers of `lab-probe`.
    pub answers: Answers,
}

impl Record {
    /// Puts a record together.
    ///
    /// # Errors
    /// When the image or its configuration cannot be read.
    pub fn new(
        kernel: &Kernel,
        boot: &Boot,
        accelerator: Accelerator,
        answers: Answers,
    ) -> Result<Self> {
        let config = kernel
            .config
            .as_ref()
            .map(fs::read_to_string)
            .transpose()
            .context("cannot read a configuration")?;
        Ok(Self {
            schema: SCHEMA,
            kernel: kernel.name.clone(),
            origin: kernel.origin.clone(),
            image_sha256: image_sha256(kernel)?,
            release: boot.release.clone(),
            version: boot.version.clone(),
            ticks: config.map_or_else(
                || "configuration not packaged".to_owned(),
                |text| crate::config::ticks(&text),
            ),
            controllers: boot.controllers.clone(),
            accelerator,
            boot_ms: u64::try_from(boot.boot.as_millis()).unwrap_or(u64::MAX),
            qemu: first_line(Command::new("qemu-system-x86_64").arg("--version"))?,
            at: first_line(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%MZ"]))?,
            answers,
        })
    }

    /// Keeps the record as a line of `records.jsonl` in `dir`, and the console and configuration,
    /// compressed, beside it.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn keep(&self, dir: &Path, kernel: &Kernel, console: &str, tag: &str) -> Result<()> {
        use std::io::Write;
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let path = dir.join("records.jsonl");
        let line = serde_json::to_string(self).context("encode a record")?;
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        writeln!(file, "{line}").with_context(|| format!("cannot write {}", path.display()))?;
        compressed(
            &dir.join(format!("{}{tag}.console.gz", file_name(&self.kernel))),
            console.as_bytes(),
        )?;
        if let Some(config) = &kernel.config {
            let text =
                fs::read(config).with_context(|| format!("cannot read {}", config.display()))?;
            compressed(
                &dir.join(format!("{}.config.gz", file_name(&self.kernel))),
                &text,
            )?;
        }
        Ok(())
    }
}

/// Reads all records of a directory.
///
/// # Errors
/// When the file cannot be read or a line is no record.
pub fn read_all(dir: &Path) -> Result<Vec<Record>> {
    let path = dir.join("records.jsonl");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .map(|line| {
            serde_json::from_str(line)
                .with_context(|| format!("not a record in {}", path.display()))
        })
        .collect()
}

/// A kernel's name as a file name: that of an image given by its path has slashes.
fn file_name(kernel: &str) -> String {
    kernel.trim_start_matches('/').replace('/', "_")
}

fn first_line(command: &mut Command) -> Result<String> {
    Ok(process::text(command)?
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// Writes `data` through gzip without name and time, so that equal data are equal files.
fn compressed(path: &Path, data: &[u8]) -> Result<()> {
    let plain = path.with_extension("");
    fs::write(&plain, data).with_context(|| format!("cannot write {}", plain.display()))?;
    process::output(Command::new("gzip").args(["-9", "-n", "-f"]).arg(&plain))?;
    Ok(())
}
