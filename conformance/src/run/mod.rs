//! Many trials, a few at a time, inside limits and below a guard.

mod order;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use allgone::base::NoBase;
use allgone::base::name::OwnerId;
use allgone::job::{Guarded, Stdio};
use allgone::limits::LimitSource;
use allgone::sys::time::now;
use allgone::{Base, Command};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::adapter::{self, Adapter};
use crate::promises::{Plan, Promise};
use crate::trial::{Case, Payload, Seen, Way};

pub use order::Tools;

/// The option of env(1) that makes no signal ignored.
const DEFAULT_SIGNALS: &str = "--default-signal";

/// The command line argument that makes the program the process of a trial.
pub const TRIAL: &str = "--trial-of-the-suite";

/// Tasks of a trial: enough for a runtime with many threads, and what a bomb has to fill.
const TASKS: u64 = 300;
/// For a crowd.
const TASKS_OF_MANY: u64 = 4_000;
const MEMORY_BYTES: u64 = 1 << 30;

/// The prefix of the names of the suite's cgroups; the suite's process follows.
const PREFIX: &str = "conform-";

/// What is asked of a run.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The promises; empty: all.
    pub promises: Vec<&'static dyn Promise>,
    /// Only cases with such an id.
    pub case: Option<String>,
    /// How often each case of `end-kill` is played; others are played a third as often.
    pub runs: u32,
    /// Whether the rare is looked for.
    pub thorough: bool,
    /// For random moments.
    pub seed: u64,
    /// How many trials at a time.
    pub parallel: usize,
    /// The user that launchers run as.
    pub user: Option<u32>,
    /// Whether launchers have a terminal.
    pub terminal: bool,
    /// Whether launchers are executed in a container.
    pub container: bool,
}

/// A played case.
#[derive(Clone, Debug)]
pub struct Played {
    /// The promise.
    pub promise: &'static dyn Promise,
    /// The case.
    pub case: Case,
    /// What was seen.
    pub seen: Seen,
}

/// What came of one launcher.
#[derive(Debug)]
pub enum Outcome {
    /// It was played.
    Played {
        /// Its version, as it says.
        version: String,
        /// All trials, in the order of the promises.
        trials: Vec<Played>,
    },
    /// It was not, because something is missing.
    Skipped(String),
    /// It was not, because it does not start a program.
    Unusable(String),
}

/// Where trials are played.
#[derive(Debug)]
pub struct Suite {
    /// Controllers are enabled for as long as it is used.
    _base: Base,
    place: Guarded,
    limited: bool,
    tools: Tools,
}

impl Suite {
    /// Finds a cgroup to work in, and starts the guard that ends everything if this process dies.
    ///
    /// Errors: there is no such cgroup; not root; the payload is not where it has to be.
    pub fn open(payload: Option<&str>) -> anyhow::Result<Self> {
        anyhow::ensure!(
            nix::unistd::geteuid().is_root(),
            "the suite has to be run as root, for namespaces and cgroups of its own; launchers can \
             be run as an ordinary user with --user"
        );
        let tools = Tools::find(payload)?;
        let base = Base::find().map_err(|e: NoBase| anyhow::anyhow!("{e}"))?;
        let name = format!("{PREFIX}{}", OwnerId::own()?);
        let own = Base::given(base.cgroup().try_clone()?, base.limits().clone(), name);
        Ok(Self {
            limited: !matches!(base.limits(), LimitSource::None),
            place: Guarded::start(&own)?,
            tools,
            _base: base,
        })
    }

    /// Plays one launcher.
    pub fn play(&self, adapter: &Adapter, asked: &Asked) -> Outcome {
        if let Some(missing) = adapter::missing(adapter) {
            return Outcome::Skipped(missing);
        }
        let first = match self.first(adapter, asked) {
            Ok(ready_us) => ready_us,
            Err(why) => return Outcome::Unusable(why),
        };
        let mut waiting = VecDeque::new();
        for promise in &asked.promises {
            let mut plan = Plan {
                adapter,
                ready_us: first,
                runs: asked.runs,
                thorough: asked.thorough,
                random: ChaCha8Rng::seed_from_u64(asked.seed),
            };
            if promise.lacks(adapter).is_some() {
                continue;
            }
            // A container has a session and a group of its own for each command.
            if asked.container && promise.id() == "strangers" {
                continue;
            }
            for case in promise.cases(&mut plan) {
                let wanted = asked.case.as_ref().is_none_or(|id| *id == case.id);
                // Its counterpart without a launcher belongs to each case that has one.
                if wanted || case.way == Way::Bare {
                    waiting.push_back((*promise, case));
                }
            }
        }
        Outcome::Played {
            version: self.tools.version(adapter),
            trials: self.all(adapter, asked, waiting),
        }
    }

    /// Whether the launcher starts a program at all, and how long that takes.
    fn first(&self, adapter: &Adapter, asked: &Asked) -> Result<u64, String> {
        let script = "main: ready; live 200ms; exit 7".to_owned();
        let case = Case::new("first", 0, Payload::Script(script));
        let seen = self.trial(adapter, asked, &case);
        if let Some(trouble) = seen.trouble {
            return Err(trouble);
        }
        match (seen.ready_us, seen.executed_at_ready) {
            (None, _) => Err(format!(
                "it did not start the payload: {}",
                match (seen.returned, seen.errors.trim()) {
                    (None, "") => "it did nothing that could be seen".to_owned(),
                    (None, said) => said.replace('\n', "; "),
                    (Some(returned), said) => format!("{returned} {}", said.replace('\n', "; ")),
                }
            )),
            (Some(_), Some(false)) => Err(
                "it executes a copy of the payload, so the kernel cannot be asked who executes it"
                    .to_owned(),
            ),
            (Some(ready_us), _) => Ok(ready_us),
        }
    }

    fn all(
        &self,
        adapter: &Adapter,
        asked: &Asked,
        waiting: VecDeque<(&'static dyn Promise, Case)>,
    ) -> Vec<Played> {
        let waiting = Mutex::new(waiting.into_iter().enumerate().collect::<VecDeque<_>>());
        let played = Mutex::new(Vec::new());
        let next = || {
            waiting
                .lock()
                .ok()
                .and_then(|mut waiting| waiting.pop_front())
        };
        thread::scope(|scope| {
            for _ in 0..asked.parallel.max(1) {
                scope.spawn(|| {
                    while let Some((at, (promise, case))) = next() {
                        let seen = self.trial(adapter, asked, &case);
                        if let Ok(mut played) = played.lock() {
                            let one = Played {
                                promise,
                                case,
                                seen,
                            };
                            played.push((at, one));
                        }
                    }
                });
            }
        });
        let mut played = played.into_inner().unwrap_or_default();
        played.sort_by_key(|(at, _)| *at);
        played.into_iter().map(|(_, one)| one).collect()
    }

    /// One trial, in a process and a cgroup of its own.
    fn trial(&self, adapter: &Adapter, asked: &Asked, case: &Case) -> Seen {
        let trouble = |why: String| Seen {
            trouble: Some(why),
            ..Seen::default()
        };
        let bomb = matches!(&case.payload, Payload::Script(text) if text.contains("bomb"));
        if bomb && !self.limited {
            return trouble("no limit on tasks can be had here: no bomb is started".to_owned());
        }
        let order = self.tools.order(adapter, case, asked);
        let patience = case.patience_ms + case.settle_ms + order.start_ms + 60_000;
        let order = match serde_json::to_string(&order) {
            Ok(order) => order,
            Err(e) => return trouble(format!("the order: {e}")),
        };
        // Signals that this process ignores (by nohup, or in the background of a shell script)
        // would be ignored by launchers and payloads, too.
        let mut command = Command::new(self.tools.env());
        command
            .arg(DEFAULT_SIGNALS)
            .arg(self.tools.own())
            .args([TRIAL, order.as_str()])
            .stdin(Stdio::null());
        if self.limited {
            command.limit_memory(MEMORY_BYTES);
            command.limit_tasks(match case.crowd {
                0 => TASKS,
                _ => TASKS_OF_MANY,
            });
        }
        let deadline = now() + Duration::from_millis(patience);
        let (mut job, output) = match command.output(&self.place, deadline) {
            Ok(done) => done,
            Err(e) => return trouble(format!("could not play a trial: {e}")),
        };
        if output.completion.is_none() {
            let killed = job.kill();
            let proof = killed.map_or_else(|e| e.to_string(), |done| format!("{:?}", done.proof));
            return trouble(format!("the trial took more than {patience} ms ({proof})"));
        }
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let how = output.completion.map(|done| format!("{:?}", done.status));
            trouble(format!(
                "the process of the trial was ended by something else, perhaps by the launcher \
                 ({}){}{said}",
                how.unwrap_or_default(),
                if said.is_empty() { "" } else { ": " },
            ))
        })
    }
}
