//! What is found on this machine, and what is said about it.

use std::collections::BTreeMap;
use std::path::Path;

use allgone::limits::{Limit, V1Dirs, enforce};
use harness::host::bugs::{Presence, killed_at_birth};
use harness::host::features::{self, FEATURES};
use harness::host::name::RunName;
use harness::host::{LimitSource, Support};
use nix::errno::Errno;

use crate::support::{Outcome, ensure, host, options, own_leftovers, search, text, worker};

pub(crate) fn base_is_found() -> Outcome {
    worker(|| {
        let mut base = search(&options()).map_err(text)?;
        if let LimitSource::V1 { pids, .. } = base.limits() {
            let name = format!("{}.limit", RunName::own().map_err(text)?);
            let limit = pids.path.join(&name).join("7");
            std::fs::create_dir_all(&limit).map_err(text)?;
            let dirs = V1Dirs::of(base.limits(), &Path::new(&name).join("7"));
            enforce(base.limits(), &limit, dirs.as_ref(), Limit::Tasks(64)).map_err(text)?;
            let max = std::fs::read_to_string(limit.join("pids.max")).map_err(text)?;
            std::fs::remove_dir(&limit)
                .and_then(|()| std::fs::remove_dir(pids.path.join(&name)))
                .map_err(text)?;
            ensure(max == "64\n", || format!("pids.max is {max:?}"))?;
        }
        let changes = base.0.delegation.lines();
        let failed = base.0.delegation.undo();
        ensure(failed.is_empty(), || {
            format!("{changes:?} not taken back: {failed:?}")
        })?;
        let left = own_leftovers()?;
        ensure(left.is_empty(), || format!("left behind: {left:?}"))
    })
}

pub(crate) fn every_probe_answers() -> Outcome {
    worker(|| {
        let mut host = host();
        for feature in FEATURES.iter() {
            match feature
                .probe(&host.host)
                .map_err(|e| format!("{}: {e}", feature.name))?
            {
                Support::Available => {}
                Support::Missing { why, remedy } => {
                    ensure(!why.is_empty() && !remedy.is_empty(), || {
                        format!("{}: {why:?}, {remedy:?}", feature.name)
                    })?;
                }
            }
        }
        let failed = host.give_back();
        ensure(failed.is_empty(), || format!("{failed:?}"))?;
        let left = own_leftovers()?;
        ensure(left.is_empty(), || format!("left behind: {left:?}"))
    })
}

pub(crate) fn bug_is_decided() -> Outcome {
    worker(|| {
        let base = search(&options()).map_err(text)?;
        let first = killed_at_birth(base.cgroup()).map_err(text)?;
        let second = killed_at_birth(base.cgroup()).map_err(text)?;
        let decided = matches!(first, Presence::Present | Presence::Absent);
        ensure(decided && first == second, || {
            format!("{first:?}, then {second:?}")
        })
    })
}

pub(crate) fn clone3_hidden() -> Outcome {
    use seccompiler::{SeccompAction, SeccompFilter, apply_filter};
    worker(|| {
        let arch = std::env::consts::ARCH.try_into().map_err(text)?;
        // As container runtimes that do not know clone3: the call does not exist.
        let hidden = SeccompAction::Errno(Errno::ENOSYS as u32);
        let rules = BTreeMap::from([(nix::libc::SYS_clone3, vec![])]);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, hidden, arch).map_err(text)?;
        let program: seccompiler::BpfProgram = filter.try_into().map_err(text)?;
        apply_filter(&program).map_err(text)?;

        let mut host = host();
        ensure(host.host.base.is_some(), || format!("{:?}", host.no_base))?;
        let support = features::by_name("clone-into-cgroup")
            .map_err(text)?
            .probe(&host.host)
            .map_err(text)?;
        let Support::Missing { why, remedy } = support else {
            return Err("clone3 should be hidden".to_owned());
        };
        ensure(why.contains("ENOSYS") && remedy.contains("seccomp"), || {
            format!("{why}; {remedy}")
        })?;
        let base = host.host.base.as_ref().ok_or("no base")?;
        let bug = killed_at_birth(base.cgroup()).map_err(text)?;
        let failed = host.give_back();
        ensure(failed.is_empty(), || format!("{failed:?}"))?;
        ensure(matches!(bug, Presence::NotApplicable(_)), || {
            format!("{bug:?}")
        })
    })
}
