//! A closed run ends as any other: at its deadline, with the program's code, and when its launcher
//! is killed at any moment.

use std::process::Stdio;
use std::time::Duration;

use allgone::sys::time::{now, sleep_until};

use super::{closed, printed};
use crate::crash::moments;
use crate::ends::HOSTILE;
use crate::support::{allgone, cgroups, code, errors, users, within};

#[test]
fn hostile_programs_end_at_the_deadline() {
    for whose in users() {
        for (name, script) in HOSTILE {
            for preset in ["agent", "build"] {
                let options = ["--preset", preset, "-t", "300ms"];
                let output = closed(*whose, &options, script);
                let said = errors(&output);
                assert_eq!(code(&output), 124, "{whose:?} {name}: {said}");
            }
        }
    }
}

#[test]
fn the_launcher_is_killed_at_moments_spread_over_start_and_life() {
    let payload = "trap '' TERM INT HUP; (setsid sh -c 'sleep 1000 & sleep 1000' &); sleep 1000";
    let count = moments();
    for at in 0..count {
        for whose in users() {
            let fixed = [
                "--closed",
                "--env",
                "ALLGONE_MARK",
                "--",
                "sh",
                "-c",
                payload,
            ];
            let mut run = allgone(*whose, &fixed);
            run.command.stdin(Stdio::null()).stdout(Stdio::null());
            let mut child = run.command.spawn().unwrap();
            let number = child.id();
            // The start takes about 5 ms; the last third is life.
            let after = Duration::from_micros(9_000) * at / count;
            sleep_until(now() + after).unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            run.nothing_left();
            let removed = within(Duration::from_secs(1), || cgroups(number).is_empty());
            assert!(removed, "{whose:?} {after:?}: {:?}", cgroups(number));
        }
    }
}

#[test]
fn codes_and_signals_are_the_programs() {
    for whose in users() {
        for (script, expected) in [
            ("exit 3", 3),
            ("kill -9 $$", 128 + 9),
            ("kill -SEGV $$", 128 + 11),
            ("exec /nonexistent", 127),
            ("exec /etc/passwd", 126),
        ] {
            assert_eq!(
                code(&closed(*whose, &[], script)),
                expected,
                "{whose:?} {script}"
            );
        }
    }
}

#[test]
fn limits_hold_in_it_as_well() {
    for whose in users() {
        let output = closed(
            *whose,
            &["--nofile", "64", "--fsize", "1024"],
            "ulimit -n; ulimit -f",
        );
        assert_eq!(printed(&output), "64\n2", "{whose:?}");
    }
}
