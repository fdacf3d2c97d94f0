//! What happened, as JSON: `--report FILE|FD`. `report.schema.json` beside this crate's manifest is
//! the published form.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use allgone::SysError;
use allgone::sys::descriptor;
use allgone::sys::spawn::launch::{Launch, Need};
use allgone::sys::spawn::results::{MainEnd, Results};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};

use crate::closed::explain::Denials;
use crate::end::{Ending, Exit, Proof};
use crate::error::RunError;
use crate::options::Options;
use crate::plan::Plan;
use crate::tier::Tier;

/// The version of report and events. It grows when a reader of the one before would misread it.
pub const VERSION: u32 = 1;

/// What was asked for, and what was made of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) options: &'a Options,
    pub(crate) plan: &'a Plan,
    pub(crate) launch: &'a Launch<'a>,
    pub(crate) results: &'a Results,
    /// Stronger tiers that do not work here.
    pub(crate) refused: &'a [(Tier, RunError)],
    /// What `--explain` has found.
    pub(crate) denials: Option<&'a Denials>,
}

/// An open report.
#[derive(Debug)]
pub(crate) struct Report {
    file: File,
    path: PathBuf,
}

impl Report {
    /// Opens it before anything is started. Errors: it cannot be.
    pub(crate) fn open(options: &Options) -> Result<Option<Self>, RunError> {
        let Some(target) = &options.report else {
            return Ok(None);
        };
        let path = PathBuf::from(target);
        let number = target.to_str().and_then(|text| text.parse::<u16>().ok());
        let file = match number.map(i32::from) {
            Some(number) => {
                let failed = |e| SysError::plain("use the descriptor of --report", e);
                let copy = descriptor::copy(number).map_err(failed)?;
                if number > 2 {
                    descriptor::close_at_exec(number).map_err(failed)?;
                }
                File::from(copy)
            }
            None => File::create(&path).map_err(|source| RunError::Report {
                path: path.clone(),
                source: source.into(),
            })?,
        };
        Ok(Some(Self { file, path }))
    }

    /// Writes it. Errors: a full disk, a reader that is gone.
    pub(crate) fn write(mut self, document: &Value) -> Result<(), RunError> {
        let written = self.file.write_all(format!("{document:#}\n").as_bytes());
        written.map_err(|source| RunError::Report {
            path: self.path,
            source: source.into(),
        })
    }
}

/// The report.
pub(crate) fn document(
    parts: Parts<'_>,
    ending: &Ending,
    answer: &Result<Exit, RunError>,
) -> Value {
    let Parts {
        options,
        plan,
        launch,
        results,
        refused,
        denials,
    } = parts;
    let (exit_code, error) = match answer {
        Ok(Exit::Code(code)) => (i32::from(*code), None),
        Ok(Exit::Signal(signal)) => (128 + signal, None),
        Err(e) => (i32::from(e.exit_code()), Some(e)),
    };
    json!({
        "version": VERSION,
        "tier": plan.tier.name(),
        "lacks": plan.tier.lacks(),
        "refused": refused_of(refused),
        "tracing": tracing_of(plan, results),
        "program": program_of(options),
        "exit_code": exit_code,
        "error": error.map(ToString::to_string),
        "error_kind": error.map(RunError::kind),
        "user": options.user.map(|user| json!({"uid": user.uid, "gid": user.gid})),
        "main": end_of(ending.main),
        "ended_by": ending.cause.name(),
        "sigkill_needed": ending.killed,
        "wall_ms": ending.took().as_secs_f64() * 1_000.0,
        "usage": usage(),
        "proof": proof_of(&ending.proof),
        "oom_kills": ending.oom_kills,
        "memory_peak_bytes": ending.memory_peak_bytes,
        "closed": plan.closed.as_ref().map(|closed| json!({
            "by": closed.by(),
            "what": closed.describe(),
            "outside": closed.outside(),
            "denied": denials.map(denied),
        })),
        "asked": asked(options, plan, launch, results, ending),
        "steps": steps(launch, results),
    })
}

/// What was refused, with what would allow it.
fn denied(denials: &Denials) -> Value {
    let each = denials.all.iter().map(|(denial, count)| {
        json!({
            "call": denial.call,
            "subject": denial.subject,
            "error": Errno::from_raw(denial.errno).to_string(),
            "lock": denial.advice.lock,
            "option": denial.advice.option,
            "count": count,
        })
    });
    let all: Vec<_> = each.collect();
    json!({"all": all, "further": denials.further})
}

/// The report when nothing of the program has run.
pub(crate) fn refusal(options: &Options, refused: &[(Tier, RunError)], error: &RunError) -> Value {
    json!({
        "version": VERSION,
        "tier": null,
        "lacks": [],
        "refused": refused_of(refused),
        "tracing": null,
        "program": program_of(options),
        "exit_code": error.exit_code(),
        "error": error.to_string(),
        "error_kind": error.kind(),
        "user": null,
        "main": null,
        "ended_by": null,
        "sigkill_needed": false,
        "wall_ms": null,
        "usage": null,
        "oom_kills": null,
        "memory_peak_bytes": null,
        "closed": null,
        "proof": {"proved": true, "started": false},
        "asked": [],
        "steps": [],
    })
}

/// Program and arguments; bytes that are no UTF-8 are replaced.
fn program_of(options: &Options) -> Vec<std::borrow::Cow<'_, str>> {
    let words = options.program.iter();
    words.map(|word| word.to_string_lossy()).collect()
}

/// How main ended.
pub(crate) fn end_of(end: Option<MainEnd>) -> Value {
    match end {
        None => Value::Null,
        Some(end) if end.code == libc::CLD_EXITED => json!({"exit": end.status}),
        Some(end) => json!({"signal": end.status, "core": end.code == libc::CLD_DUMPED}),
    }
}

/// The proof.
pub(crate) fn proof_of(proof: &Proof) -> Value {
    match proof {
        Proof::Removed(path) => json!({
            "proved": true, "init": "reaped", "cgroup": path.display().to_string(), "removed": true,
        }),
        Proof::Reaped(why) => json!({
            "proved": true, "init": "reaped", "cgroup": null, "why_no_cgroup": why,
        }),
        Proof::NoneLeft => json!({
            "proved": true, "init": "reaped", "tracees": 0, "children": 0,
        }),
        Proof::Unproved(why) => json!({"proved": false, "why": why}),
    }
}

fn refused_of(refused: &[(Tier, RunError)]) -> Value {
    let each = refused.iter();
    each.map(|(tier, why)| json!({"tier": tier.name(), "why": why.to_string()}))
        .collect()
}

/// What the tracing cost.
fn tracing_of(plan: &Plan, results: &Results) -> Value {
    if plan.tier != Tier::Traced {
        return Value::Null;
    }
    let (stops, births) = results.traced();
    json!({"stops": stops, "births": births})
}

/// Of everything that was reaped, by init and here.
fn usage() -> Value {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return Value::Null;
    };
    json!({
        "user_us": usage.user_time().num_microseconds(),
        "system_us": usage.system_time().num_microseconds(),
        "max_rss_kib": usage.max_rss(),
        "voluntary_switches": usage.voluntary_context_switches(),
        "involuntary_switches": usage.involuntary_context_switches(),
    })
}

/// What was asked for, with what enforced it. A required thing that could not be had is an error,
/// so only `--best-effort` leaves something here that nothing enforced.
fn asked(
    options: &Options,
    plan: &Plan,
    launch: &Launch<'_>,
    results: &Results,
    ending: &Ending,
) -> Value {
    let in_cgroup = matches!(ending.proof, Proof::Removed(_));
    let mut asked = Vec::new();
    let mut say = |option: &str, by: Option<&str>| {
        asked.push(json!({"option": option, "enforced": by.is_some(), "by": by}));
    };
    if options.timeout.is_some() {
        say("timeout", Some("init and launcher"));
    }
    if options.cpu_time.is_some() {
        let by = match plan.tier {
            Tier::Traced => Some("clocks of the traced processes"),
            Tier::Namespace | Tier::Cgroup => in_cgroup.then_some("cpu.stat of the cgroup"),
        };
        say("cpu-time", by);
    }
    if options.lease.is_some() {
        say("lease", Some("init"));
    }
    let user = [
        ("user", options.user.is_some()),
        ("user-range", options.user_range.is_some()),
    ];
    // A range is asked for by its own name.
    if let Some((name, _)) = user.into_iter().rfind(|(_, asked)| *asked) {
        say(name, Some("setresuid"));
    }
    for name in plan.limit_names() {
        say(name, Some("setrlimit"));
    }
    for (name, file) in plan.group_limits.enforced() {
        let file = launch
            .is_written(results, file)
            .then(|| file.to_string_lossy());
        say(name, file.as_deref());
    }
    for (name, why) in &plan.group_limits.missing {
        asked.push(json!({"option": name, "enforced": false, "by": null, "why": why}));
    }
    Value::Array(asked)
}

fn steps(launch: &Launch<'_>, results: &Results) -> Value {
    let lines = launch.describe().into_iter().enumerate();
    lines
        .map(|(index, (call, need))| {
            let result = results.step(index);
            json!({
                "call": call,
                "required": need == Need::Required,
                "made": result.is_some(),
                "error": result.and_then(|result| result.error).map(|errno| errno.to_string()),
                "us": result.map(|result| result.took_ns / 1_000),
            })
        })
        .collect()
}
