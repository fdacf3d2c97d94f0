//! Many runs in flight from one process: none is lost, the end of each is proved, and each takes
//! little memory, however large the host is.
//!
//! 64 of them, or as many as `LAUNCH_RUNS` says. Memory is what a cgroup is charged with, in which
//! the whole host is, and what `MemAvailable` loses, which means something only on a machine that
//! does nothing else. Both are printed. The bound is for the command as it is shipped, to which
//! `LAUNCH_PROGRAM` is the path: a build for tests has more pages to copy.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use allgone::layout::{Layout, Paths};
use sandbox::end::Proof;
use sandbox::launch::{Launch, Launcher, Program, Status, Stream};

use crate::support::{Test, alive, host as this_as_host, mark, soon};

pub(crate) const TESTS: &[Test] = &[
    ("many::none_is_lost", none_is_lost),
    ("many::the_host_is_large", the_host_is_large),
];

/// What each may take, in KiB.
const EACH_KIB: u64 = 512;

fn wanted() -> Option<u64> {
    let count = std::env::var("LAUNCH_RUNS").ok();
    count.map(|count| count.parse().unwrap())
}

fn none_is_lost() {
    play(0);
}

fn the_host_is_large() {
    play(512);
}

/// A cgroup that is charged for memory, if one may be made.
fn charged() -> Option<(PathBuf, &'static str)> {
    let layout = Layout::read(&Paths::default()).unwrap();
    let (above, file) = match layout.own_v1("memory") {
        Ok(dir) => (dir.path, "memory.usage_in_bytes"),
        Err(_) => (layout.own_v2().ok()?, "memory.current"),
    };
    let group = above.join(format!("launch-test-{}", mark()));
    fs::create_dir(&group).ok()?;
    if group.join(file).exists() {
        return Some((group, file));
    }
    fs::remove_dir(&group).unwrap();
    None
}

fn play(ballast_mib: u64) {
    // One after the other: each would count the other's memory as its own.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mark = mark();
    let group = charged();
    let mut host = this_as_host("many");
    host.env("LAUNCH_BALLAST", ballast_mib.to_string())
        .env("ALLGONE_MARK", &mark)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some((group, file)) = &group {
        host.env("LAUNCH_CHARGED", group.join(file));
    }
    let mut child = host.spawn().unwrap();
    if let Some((group, _)) = &group {
        fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
    }
    // It begins when this is closed.
    drop(child.stdin.take());
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    print!("{said}");
    assert_eq!(alive(&mark), Vec::<String>::new());
    if let Some((group, _)) = group {
        fs::remove_dir(group).unwrap();
    }
}

fn available_kib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// The host's life.
pub(crate) fn host() {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    let mib: usize = std::env::var("LAUNCH_BALLAST").unwrap().parse().unwrap();
    let ballast = vec![1u8; mib << 20];
    let charged = std::env::var_os("LAUNCH_CHARGED");
    let charged_kib = || -> Option<u64> {
        let text = fs::read_to_string(charged.as_ref()?).unwrap();
        Some(text.trim().parse::<u64>().unwrap() / 1024)
    };
    let count = wanted().unwrap_or(64);
    let shipped = std::env::var_os("LAUNCH_PROGRAM");
    let program = shipped
        .clone()
        .map_or(Program::This, |it| Program::At(it.into()));
    let launcher = Launcher::start(&program).unwrap();
    let sleeper = Launch::builder("sleep")
        .arg("1000")
        .stdin(Stream::Null)
        .stdout(Stream::Null)
        .stderr(Stream::Null);
    // What the first one brings into memory belongs to all.
    let mut first = sleeper.spawn(&launcher).unwrap();
    first.started(soon()).unwrap().unwrap();
    let (before, before_charged) = (available_kib(), charged_kib());
    let mut runs: Vec<_> = (0..count)
        .map(|_| sleeper.spawn(&launcher).unwrap())
        .collect();
    for run in &mut runs {
        let tier = run.started(soon()).unwrap().expect("it starts").tier;
        assert_eq!(tier, first.started(soon()).unwrap().unwrap().tier);
    }
    let each = before.saturating_sub(available_kib()) / count;
    let each_charged = charged_kib().zip(before_charged);
    let each_charged = each_charged.map(|(now, then)| now.saturating_sub(then) / count);
    let mut said = format!("{count} runs, host of {mib} MiB: {each} KiB each by MemAvailable");
    if let Some(charged) = each_charged {
        said += &format!(", {charged} KiB by its memory cgroup");
        assert!(shipped.is_none() || charged <= EACH_KIB, "{said}");
    }
    assert!(shipped.is_none() || each <= EACH_KIB, "{said}");
    // One ends by a signal, the others are killed.
    first.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    for run in &runs {
        run.kill().unwrap();
    }
    for run in std::iter::once(&mut first).chain(&mut runs) {
        let over = run.wait(soon()).unwrap().expect("it ends");
        assert!(
            !matches!(over.proof, Proof::Unproved(_)),
            "{:?}",
            over.proof
        );
    }
    let status = first.try_wait().unwrap().unwrap().status;
    assert!(
        matches!(status, Status::Signaled { signal: 15, .. }),
        "{status:?}"
    );
    assert_eq!(ballast.last(), (mib > 0).then_some(&1));
    println!("{said}; {} ends proved", count + 1);
    std::io::stdout().flush().unwrap();
}
