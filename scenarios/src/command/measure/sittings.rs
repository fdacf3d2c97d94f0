//! `sittings.json`: the run, time and environment of each sitting. A campaign that was interrupted
//! has several.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use harness::host::environment::Environment;
use serde::{Deserialize, Serialize};

/// The file.
pub(super) const SITTINGS: &str = "sittings.json";
/// Version of its format.
const SCHEMA: u32 = 1;

/// All sittings of a campaign, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sittings {
    schema: u32,
    sittings: Vec<Sitting>,
}

/// One sitting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sitting {
    /// Name of the run; the records of the sitting bear it.
    pub run: String,
    /// The first trial that it was to play.
    pub from: usize,
    /// Arguments of the command.
    pub arguments: Vec<String>,
    /// `/proc/sys/kernel/random/boot_id`: stamps of one boot compare.
    pub boot_id: Option<String>,
    /// The machine and the build.
    pub environment: Environment,
}

impl Sittings {
    /// None yet.
    pub(super) fn none() -> Self {
        Self {
            schema: SCHEMA,
            sittings: Vec::new(),
        }
    }

    /// Those recorded in `dir`. A campaign that died before its first has none.
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(SITTINGS);
        let text = match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::none()),
            other => other.with_context(|| format!("could not read {}", path.display()))?,
        };
        let sittings: Self = serde_json::from_slice(&text)
            .with_context(|| format!("could not understand {}", path.display()))?;
        if sittings.schema > SCHEMA {
            bail!(
                "{} has schema {}; this program reads up to {SCHEMA}",
                path.display(),
                sittings.schema
            );
        }
        Ok(sittings)
    }

    /// Adds one, unless its figures and those of the last one do not belong together.
    pub(super) fn add(&mut self, next: Sitting, across_boots: bool) -> Result<()> {
        if let Some(last) = self.sittings.last() {
            same(&last.environment, &next.environment)?;
            if last.boot_id != next.boot_id && !across_boots {
                bail!(
                    "the machine was booted since the last sitting ({}): stamps of two boots do \
                        not compare, though differences of stamps do; --across-boots goes on all \
                        the same",
                    last.run
                );
            }
        }
        self.sittings.push(next);
        Ok(())
    }
}

/// An error unless figures from both may be in one table.
fn same(then: &Environment, now: &Environment) -> Result<()> {
    let differ = |what: &str, then: String, now: String| -> Result<()> {
        if then == now {
            return Ok(());
        }
        bail!(
            "{what} was {then} and is {now}: figures of both do not belong into one campaign; \
                begin a new one"
        )
    };
    let kernel = |e: &Environment| {
        format!(
            "{} {}",
            e.kernel.release,
            e.kernel.version.as_deref().unwrap_or("(unknown)")
        )
    };
    differ("the kernel", kernel(then), kernel(now))?;
    differ(
        "the build of this program",
        format!("{:?}", then.build),
        format!("{:?}", now.build),
    )
}

/// This boot.
pub(super) fn boot_id() -> Option<String> {
    // What cannot be read is absent, and differs from what was recorded.
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}
