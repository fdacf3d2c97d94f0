//! What the traced tier costs a program: the same work alone, under `--bare` and under `--tier
//! traced`, by turns, in one run.
//!
//! `cargo run --release --example price -- [LAUNCHER [ROUNDS]]`, on a machine that does nothing
//! else. `LAUNCHER` is the command as it is shipped (`sandbox/bench.sh` builds it).
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use allgone::sys::time::now;

/// A shell that starts five hundred programs, one after the other.
const LOOP: &str = "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done";

type Answer<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Answer<()> {
    let mut words = std::env::args().skip(1);
    let launcher = words.next().unwrap_or_else(|| "allgone".to_owned());
    let rounds: usize = words.next().map_or(Ok(21), |word| word.parse())?;
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("source.c");
    std::fs::write(&source, program())?;
    let source = source.display().to_string();
    let compile = ["cc", "-O2", "-c", &source, "-o", "/dev/null"];
    println!("{rounds} rounds by turns; median and slowest tenth in ms, ratio of the medians\n");
    println!("| | alone | `--bare` | `--tier traced` | traced / alone | stops |");
    println!("|---|---|---|---|---|---|");
    for (name, work) in [
        (
            "500 times `/bin/true` from a shell",
            &["sh", "-c", LOOP][..],
        ),
        ("a compilation (`cc -O2`)", &compile),
    ] {
        let ways: [&[&str]; 3] = [
            &[],
            &[&launcher, "run", "--bare", "--"],
            &[&launcher, "run", "--tier", "traced", "--"],
        ];
        let mut times = [const { Vec::new() }; 3];
        for round in 0..rounds + 1 {
            for (way, times) in ways.iter().zip(&mut times) {
                let took = run(&[way, work].concat())?;
                // The first round fills caches.
                if round > 0 {
                    times.push(took);
                }
            }
        }
        for times in &mut times {
            times.sort_unstable();
        }
        let mut line = format!("| {name} |");
        for times in &times {
            write!(line, " {:.1} ({:.1}) |", at(times, 5), at(times, 9))?;
        }
        let ratio = at(&times[2], 5) / at(&times[0], 5);
        println!(
            "{line} {ratio:.2} | {} |",
            stops(&launcher, work, dir.path())?
        );
    }
    Ok(())
}

fn run(words: &[&str]) -> Answer<Duration> {
    let began = now();
    let status = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .status()?;
    let took = now().since(began);
    if !status.success() {
        return Err(format!("{words:?}: {status}").into());
    }
    Ok(took)
}

/// So many tenths of the sorted times are at most this, in ms.
fn at(times: &[Duration], tenths: usize) -> f64 {
    let index = (times.len().saturating_sub(1)) * tenths / 10;
    times.get(index).map_or(0.0, Duration::as_secs_f64) * 1_000.0
}

/// How often processes of this work stop for the tracer.
fn stops(launcher: &str, work: &[&str], dir: &Path) -> Answer<String> {
    let report = dir.join("report").display().to_string();
    let traced = [
        launcher, "run", "--tier", "traced", "--report", &report, "--",
    ];
    run(&[&traced[..], work].concat())?;
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report)?)?;
    Ok(report["tracing"]["stops"].to_string())
}

/// Something to compile.
fn program() -> String {
    let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
    for number in 0..300 {
        text.push_str(&format!(
            "int f{number}(const char *s, int n) {{ int a[64] = {{0}}, i, x = n; \
             for (i = 0; i < n; i++) {{ a[i & 63] += s[i] * (i ^ {number}); \
             x = (x << 3) ^ a[(i * 7) & 63]; }} qsort(a, 64, sizeof *a, 0); \
             return x + (int)strlen(s) + a[x & 63]; }}\n"
        ));
    }
    text
}
