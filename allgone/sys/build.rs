//! Compiles the guard's program with the compiler that compiles this crate: one `rustc`, no cargo,
//! no network, no other crate.
//!
//! If that cannot be, or the architecture is another, what is embedded is empty, and the guard says
//! so when it is started.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for watched in ["build.rs", "src/bare", "src/guard", "src/spawn/step.rs"] {
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
    match compile(&out) {
        Ok(()) => println!("cargo::rustc-cfg=guard_program"),
        Err(why) => {
            println!(
                "cargo::warning=could not compile the guard's program, so none is embedded: {why}"
            );
        }
    }
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_default()
}

fn compile(out: &Path) -> Result<(), String> {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args([
            "--crate-name",
            "allgone_guard",
            "--cap-lints",
            "allow",
            "--edition",
            "2024",
            "--crate-type",
            "bin",
        ])
        .arg("--target")
        .arg(variable("TARGET"))
        .args([
            "-C",
            "opt-level=2",
            "-C",
            "panic=abort",
            "-C",
            "debuginfo=0",
            "-C",
            "strip=symbols",
        ])
        .args([
            "-C",
            "codegen-units=1",
            "-C",
            "lto=fat",
            "-C",
            "overflow-checks=off",
        ])
        .args([
            "-C",
            "relocation-model=static",
            "-C",
            "target-feature=+crt-static",
        ])
        .args(["-C", "force-unwind-tables=no"]);
    for argument in ["-nostdlib", "-nostartfiles", "-static", "-no-pie"] {
        rustc.arg("-C").arg(format!("link-arg={argument}"));
    }
    // Two segments, on page boundaries: fewer pages to map and to copy.
    for argument in ["-Wl,--build-id=none", "-Wl,-z,norelro", "-Wl,--gc-sections"] {
        rustc.arg("-C").arg(format!("link-arg={argument}"));
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut argument = OsString::from("linker=");
        argument.push(linker);
        rustc.arg("-C").arg(argument);
    }
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
