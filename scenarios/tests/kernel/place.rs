//! A site without a trial: for tests that need a victim in a certain state, or run a strategy
//! themselves.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use harness::cgroup::Cgroup;
use harness::expect::Plane;
use harness::host::{Layout, Paths, run_name};
use harness::param::ParamPoint;
use harness::sys::fork::{Worker, worker};
use harness::sys::ledger::Ledger;
use harness::trial::{Root, Site, SpawnPlan, Workload};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use scenarios::{Op, Script};

use super::common::{base, wait_until};

fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let run = run_name().expect("/proc is mounted");
    format!("{run}.{what}{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Cgroups as a trial has them. Their members are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    top: Cgroup,
    /// In the form that strategies and the diagnosis use.
    pub(crate) site: Site,
}

impl Place {
    pub(crate) fn make() -> Result<Self, String> {
        let made = || -> Result<Self, harness::cgroup::CgroupError> {
            let top = base().cgroup().create(&unique("place"))?;
            let control = top.create("control")?;
            let parent = top.create("trial")?;
            let cgroup = parent.create("site")?;
            Ok(Self {
                top,
                site: Site {
                    cgroup: cgroup.into(),
                    parent: parent.into(),
                    control: control.into(),
                    v1: None,
                    throttle: None,
                    setuid: None,
                    ledger: Ledger::create().expect("there is memory for a page"),
                    credentials: None,
                    outside: false,
                    plane: Plane::Kill,
                    params: ParamPoint::default(),
                },
            })
        };
        made().map_err(|e| e.to_string())
    }

    /// The file that limits the CPU time of all of it, with version 2 of the controller.
    pub(crate) fn cpu_limit(&self) -> Result<PathBuf, String> {
        let file = self.top.path().join("cpu.max");
        match file.exists() {
            true => Ok(file),
            false => Err(format!(
                "there is no {}: the cpu controller belongs to version 1, or is not enabled here \
                    (cgroup.subtree_control)",
                file.display()
            )),
        }
    }

    /// A process in the site that runs `body`, in a copy of this process.
    pub(crate) fn victim(&self, body: impl FnOnce() -> i32) -> Result<Worker, String> {
        worker(0, Some(self.site.cgroup.as_fd()), body).map_err(|e| format!("clone3: {e}"))
    }

    /// A process in the site that sleeps until it is killed.
    ///
    /// It runs its own code by now: before that all signals are blocked in it.
    pub(crate) fn sleeper(&self) -> Result<Worker, String> {
        let (hear, tell) = nix::unistd::pipe().map_err(|e| format!("pipe: {e}"))?;
        let worker = self.victim(|| match nix::unistd::write(&tell, b"s") {
            Ok(_) => sleep_for_ever(),
            Err(_) => 1,
        })?;
        drop(tell);
        match nix::unistd::read(&hear, &mut [0]) {
            Ok(1) => Ok(worker),
            other => Err(format!("the sleeper did not start: {other:?}")),
        }
    }

    /// An actor in the site that plays `blocks`. `change` changes its birth.
    pub(crate) fn actor<'t>(
        &'t self,
        workload: &'t Workload,
        change: impl FnOnce(&mut SpawnPlan<'t>),
    ) -> Result<Root, String> {
        let mut plan = SpawnPlan::new(&self.site, workload).map_err(|e| e.to_string())?;
        change(&mut plan);
        plan.spawn().map_err(|e| e.to_string())
    }
}

/// What an actor plays.
pub(crate) fn workload(blocks: Vec<Vec<Op>>) -> Result<Workload, String> {
    let script = Script::new(blocks).map_err(|e| e.to_string())?;
    scenarios::workload(&script).map_err(|e| e.to_string())
}

/// For the body of a victim.
pub(crate) fn sleep_for_ever() -> i32 {
    loop {
        nix::unistd::pause();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for cgroup in [&self.site.cgroup, &self.site.parent] {
            match cgroup.freeze(false) {
                // A test has removed it.
                Err(e) if matches!(e.errno(), Some(Errno::ENODEV | Errno::ENOENT)) => {}
                thawed => thawed.expect("an own cgroup can be thawed"),
            }
        }
        self.top.kill().expect("an own cgroup can be killed");
        wait_until("the place is empty", || {
            reap_all();
            // cgroup.kill spares processes without a first thread on many kernels.
            for pid in self
                .top
                .procs_recursive()
                .map(|members| members.pids)
                .unwrap_or_default()
            {
                match nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
                {
                    Ok(()) | Err(_) => {}
                }
            }
            self.top.events().is_ok_and(|events| !events.populated)
        })
        .expect("whoever was killed dies");
        reap_all();
        let top = self.top.try_clone().expect("a descriptor is left");
        top.remove_tree()
            .map_err(|(_, e)| e)
            .expect("an empty cgroup can be removed");
    }
}

/// Reaps every child that has ended.
pub(crate) fn reap_all() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            _ => {}
        }
    }
}

/// The state letter of a process.
pub(crate) fn state_of(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// An own directory in a v1 hierarchy; removed when dropped.
#[derive(Debug)]
pub(crate) struct V1Dir(PathBuf);

impl V1Dir {
    pub(crate) fn make(controller: &'static str) -> Result<Self, String> {
        let path = Self::own(controller)?.join(unique("v1"));
        std::fs::create_dir(&path).map_err(|e| format!("mkdir {}: {e}", path.display()))?;
        Ok(Self(path))
    }

    /// Removes a directory below this process's own in the hierarchy of `controller`.
    pub(crate) fn remove(controller: &'static str, name: &str) -> Result<(), String> {
        let path = Self::own(controller)?.join(name);
        std::fs::remove_dir(&path).map_err(|e| format!("rmdir {}: {e}", path.display()))
    }

    fn own(controller: &'static str) -> Result<PathBuf, String> {
        let layout = Layout::read(&Paths::default()).map_err(|e| e.to_string())?;
        layout
            .own_v1(controller)
            .map(|dir| dir.path)
            .map_err(|e| e.to_string())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, file: &str, value: &str) -> Result<(), String> {
        std::fs::write(self.0.join(file), value)
            .map_err(|e| format!("write {value:?} to {file}: {e}"))
    }

    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

impl Drop for V1Dir {
    fn drop(&mut self) {
        wait_until("the v1 directory can be removed", || {
            reap_all();
            std::fs::remove_dir(&self.0).is_ok()
        })
        .expect("an empty cgroup can be removed");
    }
}

/// A small file system in a mount namespace of its own that can be frozen. Thawed when dropped.
#[derive(Debug)]
pub(crate) struct FrozenFiles {
    dir: tempfile::TempDir,
    helper: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Each step waits for a line; the end of the input lets it go on to the end.
const STEPS: &str = r#"
truncate -s 16M "$1/image" && mkdir "$1/files" || exit 1
mkfs.ext4 -q -F -b 1024 -O has_journal "$1/image" || exit 1
mount -o loop "$1/image" "$1/files" || exit 1
fsfreeze -f "$1/files" && echo frozen || exit 1
read -r go
fsfreeze -u "$1/files"; echo thawed
read -r go
umount "$1/files"
"#;

impl FrozenFiles {
    pub(crate) fn make() -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut helper = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                STEPS,
                "sh",
            ])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("unshare: {e}"))?;
        let orders = helper.stdin.take();
        let answers = BufReader::new(helper.stdout.take().ok_or("no pipe")?);
        let mut files = Self {
            dir,
            helper,
            orders,
            answers,
        };
        files.hear("frozen")?;
        Ok(files)
    }

    fn hear(&mut self, expected: &str) -> Result<(), String> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .map_err(|e| e.to_string())?;
        if line.trim() == expected {
            Ok(())
        } else {
            Err(format!(
                "a loop mount could not be made or frozen (mkfs.ext4, mount -o loop, fsfreeze): \
                    {line:?}"
            ))
        }
    }

    /// A path in it, as other mount namespaces can open it.
    pub(crate) fn path(&self) -> PathBuf {
        let inside = self.dir.path().join("files/new");
        Path::new("/proc")
            .join(self.helper.id().to_string())
            .join("root")
            .join(inside.strip_prefix("/").unwrap_or(&inside))
    }

    /// The kernel thread of its journal, which belongs to this mount alone.
    pub(crate) fn journal(&self) -> Result<Pid, String> {
        use std::os::unix::fs::MetadataExt;

        let inside = self.path();
        let dir = inside.parent().ok_or("no directory")?;
        let device = std::fs::metadata(dir)
            .map_err(|e| format!("stat {}: {e}", dir.display()))?
            .dev();
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let link = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}"))
            .map_err(|e| e.to_string())?;
        let name = link
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let wanted = format!("jbd2/{name}-");
        let numbers = std::fs::read_dir("/proc").map_err(|e| e.to_string())?;
        let mut pids =
            numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        pids.find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.starts_with(&wanted))
        })
        .map(Pid::from_raw)
        .ok_or_else(|| format!("there is no thread {wanted}*"))
    }

    pub(crate) fn thaw(&mut self) -> Result<(), String> {
        let orders = self.orders.as_mut().ok_or("it was thawed before")?;
        orders.write_all(b"\n").map_err(|e| e.to_string())?;
        self.hear("thawed")
    }
}

impl Drop for FrozenFiles {
    fn drop(&mut self) {
        self.orders = None;
        // It may have been reaped together with the victims.
        match self.helper.wait() {
            Ok(_) | Err(_) => {}
        }
    }
}
