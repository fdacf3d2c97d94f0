//! Where recorded trials go: a directory of their own, made before the first trial, filled as the
//! run goes on.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use harness::record::{self, NoiseRecord, TrialRecord};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use serde::Serialize;

/// How many runs are kept below the default directory.
const KEPT: usize = 10;

/// The plan of a run, as it was decided.
pub(super) const PLAN: &str = "plan.json";
/// Name of the script, where one was run.
pub(super) const SCRIPT: &str = "script.txt";
/// The machine it ran on.
pub(super) const ENVIRONMENT: &str = "environment.json";
/// One line for each trial.
pub(super) const TRIALS: &str = "trials.jsonl";
/// Instead of [`TRIALS`], one line for each job of a loop that watches many sites.
pub(super) const SCALE: &str = "scale.jsonl";
/// One line for each measurement of the machine's noise.
pub(super) const NOISE: &str = "noise.jsonl";

/// The directory of one run.
#[derive(Debug)]
pub(super) struct Output {
    dir: PathBuf,
    file: &'static str,
    trials: File,
    good_bytes: u64,
    recorded: usize,
}

impl Output {
    /// Makes the directory `out`, or one for `run` below the default place, and begins an empty
    /// file of trials in it.
    ///
    /// A directory that already holds trials is refused: recorded trials are never overwritten.
    pub(super) fn create(out: Option<&Path>, run: &str) -> Result<Self> {
        Self::create_with(out, run, TRIALS)
    }

    /// As [`Output::create`], with records of another kind in `file`.
    pub(super) fn create_with(out: Option<&Path>, run: &str, file: &'static str) -> Result<Self> {
        let dir = match out {
            Some(dir) => dir.to_path_buf(),
            None => default_parent()?.join(run),
        };
        fs::create_dir_all(&dir).with_context(|| {
            format!(
                "could not make the directory {} (--out names another)",
                dir.display()
            )
        })?;
        let path = dir.join(file);
        let trials = match File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
        {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                bail!(
                    "{} exists: recorded trials are not overwritten; name another directory with \
                        --out",
                    path.display()
                )
            }
            other => other.with_context(|| format!("could not create {}", path.display()))?,
        };
        claim(&trials, &path)?;
        let output = Self {
            dir,
            file,
            trials,
            good_bytes: 0,
            recorded: 0,
        };
        if out.is_none() {
            output.prune()?;
        }
        Ok(output)
    }

    /// Opens the directory of a run that was begun. No other process may be writing there. Before
    /// anything is recorded, [`Output::keep`] has to say how many of its trials are good.
    pub(super) fn reopen(dir: &Path) -> Result<Self> {
        let path = dir.join(TRIALS);
        let trials = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("could not open {}", path.display()))?;
        claim(&trials, &path)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            file: TRIALS,
            trials,
            good_bytes: 0,
            recorded: 0,
        })
    }

    /// The whole file of trials, from its beginning.
    pub(super) fn reader(&self) -> impl BufRead + '_ {
        BufReader::new(FromStart {
            file: &self.trials,
            at: 0,
        })
    }

    /// The trials that were recorded, one by one.
    pub(super) fn trials(&self) -> impl Iterator<Item = Result<TrialRecord>> + '_ {
        let path = self.dir.join(TRIALS);
        record::read_lines(self.reader().take(self.good_bytes)).map(move |record| {
            record.with_context(|| format!("could not read {} again", path.display()))
        })
    }

    /// Keeps the first `bytes` of the file of trials, which are `recorded` trials, cuts off the
    /// rest, and appends to them.
    pub(super) fn keep(&mut self, bytes: u64, recorded: usize) -> Result<()> {
        self.trials
            .set_len(bytes)
            .and_then(|()| self.trials.seek(SeekFrom::Start(bytes)))
            .with_context(|| {
                format!(
                    "could not cut {} to {bytes} bytes",
                    self.dir.join(TRIALS).display()
                )
            })?;
        (self.good_bytes, self.recorded) = (bytes, recorded);
        // Noise has one short line for each block: its file is simply written anew without an
        // unfinished last one.
        let noise = self.dir.join(NOISE);
        match fs::read(&noise) {
            Ok(text) if !text.is_empty() && !text.ends_with(b"\n") => {
                let whole = text
                    .iter()
                    .rposition(|b| *b == b'\n')
                    .map_or(0, |at| at + 1);
                fs::write(&noise, &text[..whole])
                    .with_context(|| format!("could not write {}", noise.display()))
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("could not read {}", noise.display()))
            }
            _ => Ok(()),
        }
    }

    /// All recorded measurements of the machine's noise.
    pub(super) fn noises(&self) -> Result<Vec<NoiseRecord>> {
        let path = self.dir.join(NOISE);
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| format!("could not read {}", path.display()))?,
        };
        text.lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .with_context(|| format!("{} contains a line that is not a record", path.display()))
    }

    /// Records a measurement of the machine's noise.
    pub(super) fn noise(&self, seen: &NoiseRecord) -> Result<()> {
        let path = self.dir.join(NOISE);
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| record::write_line(&mut file, seen))
            .with_context(|| format!("could not record noise in {}", path.display()))
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// How many trials were recorded.
    pub(super) fn recorded(&self) -> usize {
        self.recorded
    }

    /// Writes a document beside the trials. A reader finds the old one, if there was one, or all of
    /// the new one.
    pub(super) fn document(&self, name: &str, content: &impl Serialize) -> Result<()> {
        let path = self.dir.join(name);
        let mut text = serde_json::to_vec_pretty(content)
            .with_context(|| format!("could not write {name} as JSON"))?;
        text.push(b'\n');
        let unfinished = self.dir.join(format!("{name}.new"));
        fs::write(&unfinished, text)
            .and_then(|()| fs::rename(&unfinished, &path))
            .with_context(|| format!("could not write {}", path.display()))
    }

    /// Writes a text beside the trials.
    pub(super) fn text(&self, name: &str, content: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, content).with_context(|| format!("could not write {}", path.display()))
    }

    /// Records a trial. If the disk is full, the unfinished line is taken back, so that what was
    /// recorded before stays readable.
    pub(super) fn record(&mut self, trial: &TrialRecord) -> Result<()> {
        self.line(trial.seq, trial)
    }

    /// As [`Output::record`], for number `seq` of any kind of record.
    pub(super) fn line(&mut self, seq: u32, record: &impl Serialize) -> Result<()> {
        let written = record::write_line(&mut self.trials, record);
        if let Err(error) = written {
            let taken_back = self.trials.set_len(self.good_bytes).map_or_else(
                |e| format!("the last line is unfinished ({e})"),
                |()| "the unfinished line was removed".to_owned(),
            );
            return Err(error).with_context(|| {
                format!(
                    "could not record trial {seq} in {}; {} trials are recorded, {taken_back}",
                    self.dir.join(self.file).display(),
                    self.recorded
                )
            });
        }
        self.recorded += 1;
        self.good_bytes = self
            .trials
            .stream_position()
            .context("could not read the position in the file of trials")?;
        Ok(())
    }

    /// Removes all but the last runs below the default directory. Only directories that this
    /// command made (they hold a plan).
    fn prune(&self) -> Result<()> {
        let Some(parent) = self.dir.parent() else {
            return Ok(());
        };
        let mut runs = Vec::new();
        let list =
            fs::read_dir(parent).with_context(|| format!("could not list {}", parent.display()))?;
        for entry in list {
            let path = entry
                .with_context(|| format!("could not list {}", parent.display()))?
                .path();
            // A run that another process is just removing has no time, and is skipped.
            if let Ok(planned) = fs::metadata(path.join(PLAN)).and_then(|m| m.modified()) {
                runs.push((planned, path));
            }
        }
        runs.sort();
        // The new one has no plan yet, so it is not among them.
        let excess = (runs.len() + 1).saturating_sub(KEPT);
        for (_, path) in runs.into_iter().take(excess) {
            match fs::remove_dir_all(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(e).with_context(|| {
                        format!("could not remove the old run {}", path.display())
                    });
                }
                _ => tracing::info!(path = %path.display(), "removed an old run"),
            }
        }
        Ok(())
    }
}

/// Reads a file from its beginning and leaves its offset to the writer.
///
/// Opening the file once more would do that as well, but closing *any* descriptor of a file ends
/// the process's record locks on it.
#[derive(Debug)]
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += u64::try_from(n).map_err(io::Error::other)?;
        Ok(n)
    }
}

/// Makes sure that no other process writes to the file of trials. A record lock, because helpers
/// that are forked without exec do not inherit it: it ends with this process, even if its guards
/// are still at work. Source: fcntl(2), "Advisory record locking".
fn claim(trials: &File, path: &Path) -> Result<()> {
    let whole = nix::libc::flock {
        l_type: i16::try_from(nix::libc::F_WRLCK).unwrap_or_default(),
        l_whence: i16::try_from(nix::libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(trials, FcntlArg::F_SETLK(&whole)) {
        Ok(_) => Ok(()),
        Err(Errno::EAGAIN) => bail!("another process is recording in {}", path.display()),
        // File systems without locks, and kernels: one without CONFIG_FILE_LOCKING answers EACCES
        // (include/linux/filelock.h, 6.12), which Linux never returns for a lock that another
        // process holds. The worst case is a user who starts a campaign twice at once.
        Err(errno) => {
            tracing::warn!(path = %path.display(), %errno, "could not lock");
            Ok(())
        }
    }
}

/// `$XDG_STATE_HOME/scenario`, or `~/.local/state/scenario`.
pub(super) fn default_parent() -> Result<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    match state {
        Some(state) => Ok(state.join("scenario")),
        None => bail!(
            "neither XDG_STATE_HOME nor HOME is set, so there is no directory for the recorded \
                trials; name one with --out"
        ),
    }
}

/// One JSON line on standard output.
pub(super) fn json_line(out: &mut impl Write, record: &impl Serialize) -> Result<()> {
    record::write_line(out, record).context("could not write a record to standard output")
}

#[cfg(test)]
mod tests {
    use harness::expect::Plane;
    use harness::record::Outcome;

    use super::*;

    #[test]
    fn recorded_trials_are_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let first = Output::create(Some(dir.path()), "r").unwrap();
        assert_eq!(first.dir(), dir.path());
        let error = Output::create(Some(dir.path()), "r")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("not overwritten") && error.contains("--out"),
            "{error}"
        );
    }

    #[test]
    fn what_was_recorded_can_be_read_while_more_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::create(Some(dir.path()), "r").unwrap();
        for seq in 0..3 {
            output.record(&TrialRecord { seq, ..record() }).unwrap();
            let read: Vec<u32> = output.trials().map(|trial| trial.unwrap().seq).collect();
            assert_eq!(read, (0..=seq).collect::<Vec<_>>());
        }
    }

    fn record() -> TrialRecord {
        let mut record = TrialRecord::blank("r", 0, Plane::Detect, "exit-now", "waitpid-main");
        record.outcome = Outcome::Right;
        record.held = true;
        record
    }

    #[test]
    fn a_bad_place_fails_at_once_and_names_itself() {
        let error = Output::create(Some(Path::new("/proc/none/of/this")), "r")
            .unwrap_err()
            .to_string();
        assert!(error.contains("/proc/none/of/this"), "{error}");
    }

    #[test]
    fn only_the_last_runs_are_kept_and_nothing_foreign_is_touched() {
        let parent = tempfile::tempdir().unwrap();
        for run in 0..KEPT + 3 {
            let dir = parent.path().join(format!("run-{run:02}"));
            fs::create_dir(&dir).unwrap();
            let plan = File::create(dir.join(PLAN)).unwrap();
            let age =
                std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + run as u64);
            plan.set_modified(age).unwrap();
        }
        fs::create_dir(parent.path().join("mine")).unwrap();
        let output = Output {
            dir: parent.path().join("new"),
            file: TRIALS,
            trials: tempfile::tempfile().unwrap(),
            good_bytes: 0,
            recorded: 0,
        };
        output.prune().unwrap();
        let mut left: Vec<_> = fs::read_dir(parent.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left.len(), KEPT - 1 + 1);
        assert_eq!(left[0], "mine");
        assert_eq!(left[1], "run-04");
    }
}
