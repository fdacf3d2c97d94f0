//! Changes are undone, and what crashed runs left is removed.

use std::os::fd::AsFd;
use std::time::Duration;

use harness::host::delegation::{Delegation, EnableError};
use harness::host::name::{Owner, OwnerId, RunName};
use harness::host::named::Named;
use harness::host::{Layout, LimitSource, Paths, leftovers};
use harness::sys::fork;
use harness::trial::{Protection, Words};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use crate::support::{Outcome, end_of, ensure, options, search, text, worker};

pub(crate) fn leaf() -> Outcome {
    worker(|| {
        let base = search(&options()).map_err(text)?;
        let name = format!("{}.leaf", RunName::own().map_err(text)?);
        let cgroup = base.cgroup().create(&name).map_err(text)?;
        let outcome = worker(|| {
            cgroup.write("cgroup.procs", "0").map_err(text)?;
            let mut moved = Delegation::enable(&cgroup, true, &[], None).map_err(text)?;
            let leaf = cgroup.child("leaf").map_err(text)?;
            ensure(leaf.procs().map_err(text)?.pids.len() == 1, || {
                "not in the leaf".to_owned()
            })?;
            ensure(moved.lines().len() == 1, || format!("{:?}", moved.lines()))?;
            let failed = moved.undo();
            ensure(failed.is_empty() && moved.undo().is_empty(), || {
                format!("{failed:?}")
            })?;
            let back = cgroup.procs().map_err(text)?.pids.len();
            ensure(
                back == 1 && cgroup.children().map_err(text)?.next().is_none(),
                || "not taken back".to_owned(),
            )?;

            // A controller that is not there: refused, and the move to the leaf is undone.
            let refused = Delegation::enable(&cgroup, true, &["nonexistent"], None);
            ensure(matches!(refused, Err(EnableError::Cgroup(_))), || {
                format!("{refused:?}")
            })?;
            ensure(cgroup.children().map_err(text)?.next().is_none(), || {
                "the leaf is still there".to_owned()
            })?;

            // Another process is a member, too: nothing is moved.
            worker(|| {
                let refused = Delegation::enable(&cgroup, true, &[], None);
                ensure(
                    matches!(refused, Err(EnableError::Members { others: 1, .. })),
                    || format!("{refused:?}"),
                )
            })
        });
        base.cgroup().remove_child(&name).map_err(text)?;
        outcome
    })
}

/// A process dies in the leaf of a delegated cgroup: its guards, which moved there with it, undo
/// everything.
pub(crate) fn guards_take_back() -> Outcome {
    static WORDS: Words = Words {
        removed: "",
        left: "",
        guard: "",
    };
    let base = search(&options()).map_err(text)?;
    let name = format!("{}.delegated", RunName::own().map_err(text)?);
    let cgroup = base.cgroup().create(&name).map_err(text)?;
    let outcome = (|| {
        let dying = fork::worker(0, None, || {
            let dies = || -> Outcome {
                cgroup.write("cgroup.procs", "0").map_err(text)?;
                let protection = Protection::begin(None, 1, &WORDS).map_err(text)?;
                let moved = Delegation::enable(&cgroup, true, &[], Some(protection.journal()))
                    .map_err(text)?;
                let members = cgroup
                    .child("leaf")
                    .and_then(|leaf| leaf.procs())
                    .map_err(text)?;
                ensure(members.pids.len() == 3, || {
                    format!("{members:?} in the leaf")
                })?;
                ensure(moved.lines().len() == 1, || format!("{:?}", moved.lines()))?;
                nix::sys::signal::raise(Signal::SIGKILL).map_err(text)
            };
            i32::from(dies().is_err()) + 1
        });
        let status = end_of(dying.map_err(text)?.pidfd.as_fd())?;
        ensure(
            matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _)),
            || format!("{status:?}"),
        )?;
        let given_up = harness::sys::time::now() + Duration::from_secs(20);
        loop {
            let leaf = cgroup.path().join("leaf").exists();
            let members = cgroup.procs_recursive().map_err(text)?;
            if !leaf && members.is_empty() {
                return Ok(());
            }
            ensure(!given_up.has_passed(), || {
                format!("the leaf is there: {leaf}; members: {members:?}")
            })?;
            nix::poll::poll(&mut [], 2u8).map_err(text)?;
        }
    })();
    cgroup.remove_tree().map_err(|(_, e)| text(e))?;
    outcome
}

pub(crate) fn clean() -> Outcome {
    let base = search(&options()).map_err(text)?;
    // The processes that made these are gone by now.
    let mut ended = std::process::Command::new("/bin/true")
        .spawn()
        .map_err(text)?;
    let gone = RunName(OwnerId {
        pid: i32::try_from(ended.id()).map_err(text)?,
        start: 1,
        ..OwnerId::own().map_err(text)?
    });
    ended.wait().map_err(text)?;
    let dead = base.cgroup().create(&gone.to_string()).map_err(text)?;
    let site = dead
        .create("0")
        .and_then(|trial| trial.create("site"))
        .map_err(text)?;
    let alive = base
        .cgroup()
        .create(&format!("{}.alive", RunName::own().map_err(text)?))
        .map_err(text)?;
    let sleeper = fork::worker(0, Some(site.as_fd()), || {
        let forever = harness::sys::time::now() + Duration::from_secs(600);
        harness::sys::time::sleep_until(forever).map_or(1, |()| 0)
    });
    let sleeper = sleeper.map_err(|e| format!("fork: {e}"))?;
    if let LimitSource::V1 { pids, .. } = base.limits() {
        std::fs::create_dir_all(pids.path.join(gone.to_string()).join("0")).map_err(text)?;
    }

    // A named hierarchy that is not mounted any more, and that stays because it has a cgroup.
    let named = Named::mount(&gone.to_string());
    let hierarchy = match &named {
        Ok(named) => named.root().create("left").map(|_| 1).map_err(text)?,
        Err(_) => 0,
    };
    drop(named);

    let layout = Layout::read(&Paths::default()).map_err(text)?;
    let ours = |l: &leftovers::Leftover| {
        let path = l.path.display().to_string();
        path.ends_with(&gone.to_string()) || path == alive.path().display().to_string()
    };
    let found: Vec<_> = leftovers::find(&layout, None)
        .map_err(text)?
        .into_iter()
        .filter(ours)
        .collect();
    let cleaned = leftovers::clean(&found, Duration::from_secs(10));
    let status = end_of(sleeper.pidfd.as_fd())?;
    base.cgroup()
        .remove_child(
            alive
                .path()
                .file_name()
                .and_then(|n| n.to_str())
                .unwrap_or(""),
        )
        .map_err(text)?;

    ensure(
        matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _)),
        || format!("{status:?}"),
    )?;
    ensure(cleaned.failed.is_empty(), || {
        format!("{:?}", cleaned.failed)
    })?;
    ensure(
        cleaned.kept.iter().all(|l| l.owner == Owner::Alive) && cleaned.kept.len() == 1,
        || format!("{:?}", cleaned.kept),
    )?;
    let hierarchies = if matches!(base.limits(), LimitSource::V1 { .. }) {
        2
    } else {
        1
    };
    ensure(
        leftovers::of_run(&gone.to_string(), None)
            .map_err(text)?
            .is_empty(),
        || "the named hierarchy is still there".to_owned(),
    )?;
    ensure(cleaned.removed.len() == hierarchies + hierarchy, || {
        format!("{:?}", cleaned.removed)
    })?;
    ensure(
        cleaned.removed.iter().all(|(path, _)| !path.exists()),
        || "still there".to_owned(),
    )
}
