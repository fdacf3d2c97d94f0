//! From an adapter and a case to what the process of a trial is told.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

use super::{Asked, DEFAULT_SIGNALS};
use crate::adapter::{Adapter, Template, Values, fill, find, path};
use crate::payload::BARE_ENVIRONMENT;
use crate::trial::{Case, DIR, Order, Payload, Way};

/// How long a launcher may take to start a program.
const START_MS: u64 = 10_000;

/// The programs of the suite.
#[derive(Debug)]
pub struct Tools {
    own: PathBuf,
    payload: PathBuf,
    env: PathBuf,
    path: Vec<String>,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Tools {
    /// Finds them: the payload is beside this program, unless it is named.
    ///
    /// Errors: it is not there.
    pub(super) fn find(payload: Option<&str>) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("could not find this program")?;
        let payload = match payload {
            Some(path) => PathBuf::from(path),
            None => own.with_file_name("allgone-conform-payload"),
        };
        anyhow::ensure!(
            payload.is_file(),
            "{} is not there: it belongs beside {}, or has to be named with --payload",
            payload.display(),
            own.display()
        );
        let usable = |env: &PathBuf| {
            let tried = Command::new(env).args([DEFAULT_SIGNALS, "true"]).status();
            tried.is_ok_and(|status| status.success())
        };
        let env = find("env").filter(usable).context(
            "the suite needs env of GNU coreutils, since 8.31, for its option --default-signal",
        )?;
        let path = path().into_iter();
        Ok(Self {
            env,
            own,
            payload,
            path: path.map(|dir| dir.to_string_lossy().into_owned()).collect(),
        })
    }

    pub(super) fn env(&self) -> &std::path::Path {
        &self.env
    }

    pub(super) fn own(&self) -> &std::path::Path {
        &self.own
    }

    /// What the launcher says about its version: the first line that is not empty.
    pub(super) fn version(&self, adapter: &Adapter) -> String {
        let said = |words: &[String]| {
            let (program, args) = words.split_first()?;
            let output = Command::new(find(program)?).args(args).output().ok()?;
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            let line = text.lines().map(str::trim).find(|line| !line.is_empty());
            line.map(|line| line.chars().take(80).collect::<String>())
        };
        if !adapter.package.is_empty() {
            let words = ["dpkg-query", "-W", "-f", "${Package} ${Version}"].map(String::from);
            let words: Vec<String> = words.into_iter().chain([adapter.package.clone()]).collect();
            if let Some(line) = said(&words).filter(|line| !line.contains("no packages")) {
                return line;
            }
        }
        said(adapter.version.words()).unwrap_or_default()
    }

    /// The order for one trial.
    pub(super) fn order(&self, adapter: &Adapter, case: &Case, asked: &Asked) -> Order {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("conform-{}-{number}", std::process::id());
        let limit_ms = match case.way {
            Way::Limit(ms) => ms,
            Way::Run | Way::Bare => 0,
        };
        let bare = Template::of(["{program}", "{args}"]);
        let template = match case.way {
            Way::Run => &adapter.run,
            Way::Limit(_) => adapter.limit.as_ref().unwrap_or(&adapter.run),
            Way::Bare => &bare,
        };
        let program = match case.payload {
            Payload::Missing => format!("{DIR}/missing"),
            Payload::NotExecutable => format!("{DIR}/not-executable"),
            _ => format!("{DIR}/payload"),
        };
        let of = |number: u32, template: &Template| {
            let args = arguments(case, number);
            template.expand(&Values {
                program: &program,
                args: &args,
                id: &match case.crowd {
                    0 => id.clone(),
                    _ => format!("{id}-{number}"),
                },
                dir: DIR,
                limit_ms,
            })
        };
        let args = arguments(case, 0);
        let values = Values {
            program: &program,
            args: &args,
            id: &id,
            dir: DIR,
            limit_ms,
        };
        let all = |templates: &[Template]| match case.way {
            Way::Bare => Vec::new(),
            _ => templates.iter().map(|template| of(0, template)).collect(),
        };
        let file = |(name, text): (&String, &String)| {
            let name = match name.contains("{dir}") {
                true => fill(name, &values),
                false => format!("{DIR}/{name}"),
            };
            (name, fill(text, &values))
        };
        Order {
            before: all(&adapter.before),
            launch: (0..case.crowd.max(1)).map(|n| of(n, template)).collect(),
            stop: adapter.stop.as_ref().map(|stop| of(0, stop)),
            after: all(&adapter.after),
            files: adapter.files.iter().map(file).collect(),
            payload: self.payload.display().to_string(),
            path: self.path.clone(),
            user: asked.user,
            terminal: asked.terminal,
            container: asked.container,
            broker: adapter.broker,
            start_ms: START_MS,
            case: case.clone(),
        }
    }
}

/// The arguments of the payload.
fn arguments(case: &Case, number: u32) -> Vec<String> {
    let ready = match case.crowd {
        0 => format!("{DIR}/ready"),
        _ => format!("{DIR}/ready.{number}"),
    };
    let script = |text: &String| vec!["--ready-file".to_owned(), ready, text.clone()];
    match &case.payload {
        Payload::Script(text) => script(text),
        Payload::Bare(text) => {
            let mut all = vec![BARE_ENVIRONMENT.to_owned()];
            all.extend(script(text));
            all
        }
        Payload::Args(args) => args.clone(),
        Payload::Missing | Payload::NotExecutable => Vec::new(),
    }
}
