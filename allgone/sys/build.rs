//! Compiles the guard's program with the compiler that compiles this crate: one `rustc`, no cargo,
//! no network, no other crate. It is linked by the linker that comes with the compiler, for either
//! architecture on any machine; where there is none, by the one that links this crate.
//!
//! If that cannot be, or the architecture is another, what is embedded is empty, and the guard says
//! so when it is started.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for watched in [
        "build.rs",
        "src/bare",
        "src/guard",
        "src/sched/attr.rs",
        "src/spawn/step.rs",
    ] {
        println!("cargo::rerun-if-changed={watched}");
    }
    println!("cargo::rustc-check-cfg=cfg(guard_program)");
    let (arch, os) = (
        variable("CARGO_CFG_TARGET_ARCH"),
        variable("CARGO_CFG_TARGET_OS"),
    );
    if os != "linux" || !["x86_64", "aarch64"].iter().any(|known| arch == *known) {
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR")).join("allgone-guard");
    let compiled = compile(&out, Linker::OfRustc)
        .or_else(|first| compile(&out, Linker::OfCrate).map_err(|then| [first, then]));
    match compiled {
        Ok(()) => println!("cargo::rustc-cfg=guard_program"),
        Err([first, then]) => {
            println!(
                "cargo::warning=could not compile the guard's program, so none is embedded: with \
                rust-lld: {first}; with the crate's linker: {then}"
            );
        }
    }
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_default()
}

/// What links the program.
#[derive(Clone, Copy)]
enum Linker {
    /// `rust-lld`, which rustup's toolchains have.
    OfRustc,
    /// What cargo was told, or else the C compiler.
    OfCrate,
}

impl Linker {
    /// No library, one static program; two segments, on page boundaries: fewer pages to map and to
    /// copy.
    fn arguments(self, rustc: &mut Command) {
        let both = ["-nostdlib", "-static"];
        let (own, lay_out): (&[&str], [&str; 3]) = match self {
            Self::OfRustc => {
                rustc.args(["-C", "linker=rust-lld", "-C", "linker-flavor=ld.lld"]);
                (
                    &["--no-pie"],
                    ["--build-id=none", "-znorelro", "--gc-sections"],
                )
            }
            Self::OfCrate => {
                if let Some(linker) = env::var_os("RUSTC_LINKER") {
                    let mut argument = OsString::from("linker=");
                    argument.push(linker);
                    rustc.arg("-C").arg(argument);
                }
                (
                    &["-nostartfiles", "-no-pie"],
                    ["-Wl,--build-id=none", "-Wl,-z,norelro", "-Wl,--gc-sections"],
                )
            }
        };
        for argument in both.iter().chain(own).chain(&lay_out) {
            rustc.arg("-C").arg(format!("link-arg={argument}"));
        }
    }
}

fn compile(out: &Path, linker: Linker) -> Result<(), String> {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args(["--crate-name", "allgone_guard", "--crate-type", "bin"])
        .args(["--cap-lints", "allow", "--edition", "2024"])
        .arg("--target")
        .arg(variable("TARGET"));
    for option in [
        "opt-level=2",
        "panic=abort",
        "debuginfo=0",
        "strip=symbols",
        "codegen-units=1",
        "lto=fat",
        "overflow-checks=off",
        "relocation-model=static",
        "target-feature=+crt-static",
        "force-unwind-tables=no",
        // With musl rustc brings its own start of a program, and this one has one.
        "link-self-contained=no",
    ] {
        rustc.args(["-C", option]);
    }
    linker.arguments(&mut rustc);
    rustc.arg("-o").arg(out).arg("src/guard/program/main.rs");
    let output = rustc
        .output()
        .map_err(|e| format!("could not run rustc: {e}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(text.lines().take(40).collect::<Vec<_>>().join(" | "));
    }
    fs::metadata(out).map_err(|e| format!("could not find {}: {e}", out.display()))?;
    Ok(())
}
