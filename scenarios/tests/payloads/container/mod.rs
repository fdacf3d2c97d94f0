//! Each payload in an ordinary container: no namespace may be made, no cgroup written to. The
//! launcher is started in it as by `docker exec`, and what is left is counted from outside.

mod bundle;
mod docker;
mod table;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use allgone::layout::{Layout, Paths};
use allgone::sys::pidfd;
use allgone::sys::time::{now, sleep_until};
use allgone::sys::wait::{Whose, waitid};
use harness::trial::Beside;
use libtest_mimic::Trial;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use crate::cells::{Played, cell};
use crate::expected::{not_alone, refused_in_container};
use crate::keeper::alive;
use crate::payload::{Payload, ids};
use crate::seats::Seat;
use crate::tools;
use crate::totals::Tally;

pub(crate) use table::table;

/// How long the members of a container may take to die.
const CLEAN: Duration = Duration::from_secs(10);
/// How long a command may take that was given [`LIFE`].
const ENOUGH: Duration = Duration::from_secs(10);
/// What a program is given for its life.
const LIFE: &str = "0.3";
/// An ordinary user.
const USER: u32 = 1_000;

/// One test for each payload, and for some one for each launcher beside this one; `first` is the
/// place of the first among all.
pub(crate) fn tests(first: usize) -> Vec<Trial> {
    let of = |(turn, id): (usize, &'static str)| {
        cell(first + turn, format!("container::{id}"), move |counts| {
            if let Some(why) = not_alone(id) {
                return Ok(Played::Not(why.to_owned()));
            }
            in_container(|container| payload(container, turn, id, counts))
        })
    };
    let mut tests: Vec<Trial> = ids().enumerate().map(of).collect();
    tests.extend(table::tests(first + tests.len()));
    tests
}

/// The first process of a container: reaps what becomes its child.
pub(crate) fn reaper() -> ExitCode {
    loop {
        match waitid(Whose::Any, WaitPidFlag::WEXITED | WaitPidFlag::__WALL) {
            Ok(_) => {}
            // None yet: new ones come from outside.
            Err(_) => match sleep_until(now() + Duration::from_millis(5)) {
                Ok(()) | Err(_) => {}
            },
        }
    }
}

/// Those that are not in use.
static POOL: Mutex<Vec<Container>> = Mutex::new(Vec::new());

fn in_container(
    test: impl FnOnce(&Container) -> Result<Vec<String>, String>,
) -> Result<Played, String> {
    if !nix::unistd::geteuid().is_root() {
        let why = "needs root: it makes containers with runc";
        return Ok(Played::Not(why.to_owned()));
    }
    if Command::new("runc").arg("--version").output().is_err() {
        return Ok(Played::Not("needs runc (Debian: runc)".to_owned()));
    }
    let free = POOL.lock().unwrap().pop();
    let container = match free {
        Some(container) => container,
        None => Container::start()?,
    };
    let answer = test(&container);
    container.end_all()?;
    POOL.lock().unwrap().push(container);
    answer.map(Played::With)
}

/// Ends all containers. To be called when no test runs any more.
pub(crate) fn end() {
    POOL.lock().unwrap().clear();
}

/// A running container.
#[derive(Debug)]
struct Container {
    name: String,
    dir: tempfile::TempDir,
    init: i32,
    procs: PathBuf,
}

impl Container {
    fn start() -> Result<Self, String> {
        let name = allgone::base::unique_name("payloads-").map_err(|e| e.to_string())?;
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        bundle::write(dir.path(), &name).map_err(|e| e.to_string())?;
        let log = dir.path().join("log");
        let status = runc(dir.path())
            .args(["run", "--detach", "--pid-file"])
            .arg(dir.path().join("pid"))
            .arg("--bundle")
            .args([dir.path().as_os_str(), name.as_ref()])
            .stderr(File::create(&log).map_err(|e| e.to_string())?)
            .status();
        let said = || fs::read_to_string(&log).unwrap_or_default();
        let pid = fs::read_to_string(dir.path().join("pid")).unwrap_or_default();
        let init: i32 = match (status, pid.trim().parse()) {
            (Ok(status), Ok(init)) if status.success() => init,
            (status, _) => return Err(format!("runc run: {status:?}: {}", said())),
        };
        let mut container = Self {
            name,
            dir,
            init,
            procs: PathBuf::new(),
        };
        container.procs = container.find_procs()?;
        Ok(container)
    }

    /// Where the members of its cgroup are listed.
    fn find_procs(&self) -> Result<PathBuf, String> {
        let own = fs::read_to_string(format!("/proc/{}/cgroup", self.init));
        let own = own.map_err(|e| e.to_string())?;
        let layout = Layout::read(&Paths::default()).map_err(|e| e.to_string())?;
        let of = |line: &str| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let mount = match controllers {
                "" => layout.v2()?,
                _ => layout
                    .v1("pids")
                    .filter(|_| controllers.split(',').any(|c| c == "pids"))?,
            };
            let file = mount
                .point
                .join(path.strip_prefix('/')?)
                .join("cgroup.procs");
            path.ends_with(&self.name).then_some(file)
        };
        own.lines()
            .find_map(of)
            .ok_or_else(|| format!("runc made no cgroup {}: {own}", self.name))
    }

    /// Runs a command in it, as `docker exec`; returns exit code and standard error.
    fn exec(&self, uid: u32, args: &[&str]) -> Result<(i32, String), String> {
        let status = self
            .start_in(uid, args)?
            .wait()
            .map_err(|e| e.to_string())?;
        let errors = fs::read_to_string(self.dir.path().join("errors"));
        let errors = errors.map_err(|e| e.to_string())?;
        Ok((status.code().unwrap_or(-1), errors))
    }

    /// The same; returns who is left when the command has ended. Then all is ended, for what is
    /// left may keep `runc` itself from ending.
    fn exec_and_end(&self, uid: u32, args: &[&str]) -> Result<Vec<String>, String> {
        let file = self.dir.path().join("command");
        match fs::remove_file(&file) {
            Ok(()) | Err(_) => {}
        }
        let mut runc = self.start_in(uid, args)?;
        let enough = now() + ENOUGH;
        let mut command = None;
        while !enough.has_passed() && command.is_none() {
            let ended = runc.try_wait().map_err(|e| e.to_string())?.is_some();
            let text = fs::read_to_string(&file).unwrap_or_default();
            command = text.trim().parse().ok().map(Pid::from_raw);
            if ended {
                break;
            }
            sleep_until(now() + Duration::from_millis(2)).map_err(|e| e.to_string())?;
        }
        let command = command.ok_or("runc exec started nothing")?;
        match pidfd::open(command) {
            Ok(command) => {
                let mut ended = [PollFd::new(command.as_fd(), PollFlags::POLLIN)];
                let left = PollTimeout::try_from(enough.remaining()).unwrap_or(PollTimeout::MAX);
                poll(&mut ended, left).map_err(|e| e.to_string())?;
            }
            // It has ended, and `runc` has reaped it.
            Err(Errno::ESRCH) => {}
            Err(e) => return Err(format!("pidfd_open: {e}")),
        }
        let left = self.left()?;
        self.end_all()?;
        runc.wait().map_err(|e| e.to_string())?;
        Ok(left)
    }

    fn start_in(&self, uid: u32, args: &[&str]) -> Result<Child, String> {
        let path = |name: &str| self.dir.path().join(name);
        let said = |e: std::io::Error| e.to_string();
        let process = bundle::process(uid, args).map_err(said)?;
        fs::write(path("process.json"), process.to_string()).map_err(said)?;
        runc(self.dir.path())
            .args(["exec", "--process"])
            .arg(path("process.json"))
            .arg("--pid-file")
            .arg(path("command"))
            .arg(&self.name)
            .stderr(File::create(path("errors")).map_err(said)?)
            .spawn()
            .map_err(said)
    }

    /// Who is alive in it besides its first process: by its cgroup and by its PID namespace.
    fn left(&self) -> Result<Vec<String>, String> {
        let procs = fs::read_to_string(&self.procs).map_err(|e| e.to_string())?;
        let mut pids: BTreeSet<i32> = procs.lines().filter_map(|line| line.parse().ok()).collect();
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid"));
        let own = namespace(&self.init.to_string()).map_err(|e| e.to_string())?;
        for entry in fs::read_dir("/proc").map_err(|e| e.to_string())?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Ok(pid) = name.parse()
                && namespace(&name).is_ok_and(|namespace| namespace == own)
            {
                pids.insert(pid);
            }
        }
        pids.remove(&self.init);
        Ok(pids.into_iter().filter_map(alive).collect())
    }

    /// Ends all but its first process. Meanwhile nothing can fork, or a bomb would outrun this.
    fn end_all(&self) -> Result<(), String> {
        let limit = self.procs.with_file_name("pids.max");
        let set = |value: &str| fs::write(&limit, value).map_err(|e| format!("{limit:?}: {e}"));
        let before = fs::read_to_string(&limit).map_err(|e| format!("{limit:?}: {e}"))?;
        set("1")?;
        let ended = self.end_all_that_are();
        set(before.trim())?;
        ended
    }

    fn end_all_that_are(&self) -> Result<(), String> {
        let deadline = now() + CLEAN;
        loop {
            let left = self.left()?;
            if left.is_empty() {
                return Ok(());
            }
            if deadline.has_passed() {
                return Err(format!("could not end {left:?}"));
            }
            let pids = left
                .iter()
                .filter_map(|line| line.split(' ').next()?.parse().ok());
            for pid in pids.map(Pid::from_raw) {
                match kill(pid, Signal::SIGKILL) {
                    Ok(()) | Err(_) => {}
                }
            }
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let ended = runc(self.dir.path())
            .args(["delete", "--force", &self.name])
            .status();
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("could not end the container {}", self.name);
        }
    }
}

/// `runc` with a state of its own.
fn runc(dir: &Path) -> Command {
    let mut command = Command::new("runc");
    command.arg("--root").arg(dir.join("state"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// One payload by the traced tier. What was not as expected.
fn payload(
    container: &Container,
    turn: usize,
    id: &'static str,
    counts: &mut Tally,
) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    for (payload, by_itself, user) in runs(turn, id) {
        let timeout: &[&str] = if by_itself {
            &[]
        } else {
            &["--timeout", timeout_of(&payload)]
        };
        let problems = launch(container, user, &payload, timeout, counts)?;
        if !problems.is_empty() {
            wrong.push(format!(
                "user {user} {timeout:?}: {}\n{}",
                problems.join("; "),
                payload.text
            ));
        }
    }
    Ok(wrong)
}

/// What is played of it, whether it ends by itself, and by whom.
fn runs(turn: usize, id: &'static str) -> Vec<(Payload, bool, u32)> {
    let users = [0, USER];
    // One that asks for something waits for ever where nothing is outside.
    let asks = |payload: &Payload| payload.beside != Beside::Nobody;
    let ends = Payload::that_ends(id).filter(|payload| !asks(payload));
    let stays = Payload::that_stays(id);
    let stays = (stays.clone(), stays.ends && !asks(&stays) && ends.is_none());
    let ends = ends.map(|payload| (payload.clone(), payload.ends));
    if let Some(rounds) = tools::rounds() {
        let both: Vec<_> = ends.into_iter().chain([stays]).collect();
        let turns = both.iter().cycle().take(rounds as usize);
        return turns
            .flat_map(|(payload, by_itself)| users.map(|user| (payload.clone(), *by_itself, user)))
            .collect();
    }
    // Now and then: most of what ends by itself is at its end, in any tier.
    let ends = ends.filter(|_| turn.is_multiple_of(3));
    let both = ends.into_iter().chain([stays]).enumerate();
    both.map(|(at, (payload, by_itself))| (payload, by_itself, users[(turn + at) % 2]))
        .collect()
}

/// A short one only for what it ends.
fn timeout_of(payload: &Payload) -> &'static str {
    let ends = refused_in_container(payload).is_some() || payload.ends && payload.code.is_some();
    match (ends, payload.busy) {
        (true, _) => "25s",
        (false, true) => "150ms",
        (false, false) => "300ms",
    }
}

fn launch(
    container: &Container,
    user: u32,
    payload: &Payload,
    timeout: &[&str],
    counts: &mut Tally,
) -> Result<Vec<String>, String> {
    let _seat = Seat::take(payload.busy);
    let mut args = vec!["allgone", "run", "--report", "2"];
    args.extend(timeout);
    args.extend(["--", "actor", "--deadline=30s", &payload.text]);
    let (code, errors) = container.exec(user, &args)?;
    let left = container.left()?;
    let lives = if timeout.is_empty() || payload.ends {
        payload.code
    } else {
        None
    };
    let (expected, why) = match refused_in_container(payload) {
        Some((code, why)) => (code, Some(why)),
        None => (lives.unwrap_or(124), None),
    };
    let user = if user == 0 {
        "root"
    } else {
        "an ordinary user"
    };
    let counts = counts.entry(format!("traced in a container, {user}"));
    let counts = counts.or_default();
    counts.runs += 1;
    counts.exceptions += u32::from(why.is_some());
    let mut problems = Vec::new();
    if !left.is_empty() {
        counts.survivors += 1;
        problems.push(format!("survivors {left:?}"));
        container.end_all()?;
    }
    let start = errors.find("{\n").unwrap_or(errors.len());
    let report: serde_json::Value = serde_json::from_str(&errors[start..]).unwrap_or_default();
    if code != expected || report["tier"] != "traced" || report["proof"]["proved"] != true {
        counts.otherwise += 1;
        problems.push(format!("exit code {code} and not {expected}: {errors}"));
    }
    Ok(problems)
}
