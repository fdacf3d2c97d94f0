//! The order of two moments that a supervisor must distinguish, and the answers of rmdir.

use std::fs;

use allgone_sys::pidfd::has_exited;
use allgone_sys::time::now;
use anyhow::Result;
use nix::errno::Errno;
use std::os::fd::AsFd;

use crate::Answer;
use crate::site::{Line, OwnCgroup, ns_between, reap};

/// Which comes first, the parent's `waitid` or `populated 0`.
pub(crate) fn ask(own: &OwnCgroup, tries: usize) -> Result<Vec<Answer>> {
    let mut reaped = Answer::new("order", "populated when waitid has returned");
    let mut emptied = Answer::new("order", "pidfd when populated is 0");
    for _ in 0..tries {
        let group = own.group()?;
        let child = group.spawn(|| 0)?;
        reap(&child)?;
        let at = now();
        reaped.tries += 1;
        if group.populated()? {
            reaped.count("still 1");
            reaped
                .samples_ns
                .push(ns_between(at, group.spin_until_empty()?));
        } else {
            reaped.count("already 0");
        }
        group.remove()?;

        let group = own.group()?;
        let gate = Line::new()?;
        let child = group.spawn(|| i32::from(gate.take().is_err()))?;
        gate.stamp();
        group.spin_until_empty()?;
        emptied.tries += 1;
        emptied.count(if has_exited(child.pidfd.as_fd())? {
            "already exited"
        } else {
            "not yet exited"
        });
        reap(&child)?;
        group.remove()?;
    }
    Ok(vec![reaped, emptied])
}

/// What rmdir answers when the last process has just been reaped, is a zombie, or lives.
pub(crate) fn ask_rmdir(own: &OwnCgroup, tries: usize) -> Result<Vec<Answer>> {
    let mut answers = [
        Answer::new("rmdir", "after waitid"),
        Answer::new("rmdir", "beside a zombie"),
        Answer::new("rmdir", "with a live process"),
    ];
    for _ in 0..tries {
        for (case, answer) in answers.iter_mut().enumerate() {
            let group = own.group()?;
            let gate = Line::new()?;
            let child = group.spawn(|| i32::from(gate.take().is_err()))?;
            match case {
                0 => {
                    gate.stamp();
                    reap(&child)?;
                }
                1 => {
                    gate.stamp();
                    while !has_exited(child.pidfd.as_fd())? {}
                }
                _ => {}
            }
            let populated = group.populated()?;
            let before = now();
            let result = fs::remove_dir(&group.path);
            answer.tries += 1;
            answer.samples_ns.push(ns_between(before, now()));
            let removed = result.is_ok();
            answer.count(
                match (result.map_err(|error| error.raw_os_error()), populated) {
                    (Ok(()), false) => "removed, populated 0 before",
                    (Ok(()), true) => "removed, populated 1 before",
                    (Err(Some(code)), false) if code == Errno::EBUSY as i32 => {
                        "EBUSY, populated 0 before"
                    }
                    (Err(Some(code)), true) if code == Errno::EBUSY as i32 => {
                        "EBUSY, populated 1 before"
                    }
                    _ => "another error",
                },
            );
            if case == 2 {
                gate.stamp();
            }
            if case > 0 {
                reap(&child)?;
            }
            if !removed {
                group.remove()?;
            }
        }
    }
    Ok(answers.into())
}
