//! The project's programs, built static, so that they run where there is no C library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// The target: the machine's own, with the C library linked in. A musl target is not needed.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where they are built, below the workspace's root.
const TARGET_DIR: &str = "target/static";

/// Programs of the workspace that an image can have: package and program.
const KNOWN: [(&str, &str); 2] = [("lab-probe", "lab-probe"), ("scenarios", "scenario")];

/// Integration tests of the project that can be run in a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Suite {
    /// Every scenario with everything that is registered (package scenarios, test kernel).
    Kernel,
    /// The guard of jobs, its host and their deaths (package allgone, test guard).
    Guard,
    /// Closed runs under enforcing SELinux (package sandbox, test selinux).
    Selinux,
}

impl Suite {
    const fn package(self) -> &'static str {
        match self {
            Self::Kernel => "scenarios",
            Self::Guard => "allgone",
            Self::Selinux => "sandbox",
        }
    }

    /// The name of the test.
    #[must_use]
    pub const fn test(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Guard => "guard",
            Self::Selinux => "selinux",
        }
    }
}

/// What was built.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The PID 1.
    pub init: PathBuf,
    /// Name in `/bin` and place here.
    pub tools: BTreeMap<String, PathBuf>,
}

/// The workspace's root: the directory above the current one, or else above this package, that has
/// `kernel-patch/config`.
///
/// # Errors
/// When neither has.
pub fn workspace_root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("cannot determine the current directory")?;
    here.ancestors()
        .chain(Path::new(env!("CARGO_MANIFEST_DIR")).ancestors())
        .find(|dir| dir.join("kernel-patch/config").is_dir() && dir.join("Cargo.toml").is_file())
        .map(Path::to_path_buf)
        .context(
            "cannot find the workspace (a directory with Cargo.toml and kernel-patch/config): \
            run `lab` inside it",
        )
}

impl Programs {
    /// Builds init and those of `wanted` that the lab knows, in `target/static`, away from other
    /// builds. What a machine does not need is not built. With `LAB_PROGRAMS=DIR` in the
    /// environment those of that directory are taken as they are.
    ///
    /// # Errors
    /// When cargo fails, or the workspace or the directory lacks one of them.
    pub fn build(wanted: &[&str]) -> Result<Self> {
        if let Some(dir) = std::env::var_os("LAB_PROGRAMS") {
            return Self::ready(Path::new(&dir), wanted);
        }
        let root = workspace_root()?;
        let mut programs = vec!["lab-init"];
        let mut packages = vec!["lab"];
        for (package, program) in KNOWN.iter().filter(|(_, program)| wanted.contains(program)) {
            packages.push(package);
            programs.push(program);
        }
        let mut cargo = cargo(&root);
        cargo.args(["build", "--release", "--quiet"]);
        for package in packages {
            cargo.args(["--package", package]);
        }
        for program in &programs {
            cargo.args(["--bin", program]);
        }
        process::output(&mut cargo).context("cannot build the static programs of the image")?;
        let built = root.join(TARGET_DIR).join(TARGET).join("release");
        let tools = programs
            .iter()
            .skip(1)
            .map(|name| ((*name).to_owned(), built.join(name)))
            .collect();
        Ok(Self {
            init: built.join("lab-init"),
            tools,
        })
    }

    /// Programs that were built before.
    fn ready(dir: &Path, wanted: &[&str]) -> Result<Self> {
        let place = |name: &str| {
            let path = dir.join(name);
            anyhow::ensure!(
                path.is_file(),
                "LAB_PROGRAMS names {}, which has no `{name}`: static builds of the project's \
                    programs are needed there",
                dir.display()
            );
            Ok(path)
        };
        let known = KNOWN.iter().filter(|(_, program)| wanted.contains(program));
        Ok(Self {
            init: place("lab-init")?,
            tools: known
                .map(|(_, program)| Ok(((*program).to_owned(), place(program)?)))
                .collect::<Result<_>>()?,
        })
    }

    /// Builds suites of integration tests as static programs, away from other builds. Returns them
    /// in the order asked for.
    ///
    /// # Errors
    /// When cargo fails, or does not say where a program is.
    pub fn build_suites(suites: &[Suite]) -> Result<Vec<PathBuf>> {
        let mut cargo = cargo(&workspace_root()?);
        cargo.args(["test", "--no-run", "--release", "--quiet"]);
        cargo.args(["--message-format", "json"]);
        for suite in suites {
            cargo.args(["--package", suite.package(), "--test", suite.test()]);
        }
        let text = process::text(&mut cargo)?;
        let program = |suite: &Suite| {
            let executable = |line: &str| {
                let message: serde_json::Value = serde_json::from_str(line).ok()?;
                let is_it = message["target"]["name"] == suite.test();
                message["executable"]
                    .as_str()
                    .filter(|_| is_it)
                    .map(PathBuf::from)
            };
            text.lines().find_map(executable).with_context(|| {
                format!(
                    "cargo does not say where the test {} of {} is",
                    suite.test(),
                    suite.package()
                )
            })
        };
        suites.iter().map(program).collect()
    }

    /// The place here of the program called `name`.
    ///
    /// # Errors
    /// When the workspace has no such program.
    pub fn tool(&self, name: &str) -> Result<&Path> {
        self.tools.get(name).map(PathBuf::as_path).with_context(|| {
            let known: Vec<&str> = KNOWN.iter().map(|(_, program)| *program).collect();
            format!(
                "the lab knows no program `{name}`, only {}; add a file with --with PATH",
                known.join(", ")
            )
        })
    }
}

/// cargo, building static programs away from other builds.
fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_BUILD_TARGET", TARGET)
        .env("CARGO_TARGET_DIR", TARGET_DIR);
    cargo
}

/// The shared libraries and the loader that a program needs, as `ldd(1)` resolves them here; none
/// for a static one.
///
/// # Errors
/// When one is missing here.
pub fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let Ok(text) = process::text(Command::new("ldd").arg(program)) else {
        // `ldd` fails on static programs.
        return Ok(Vec::new());
    };
    parse_ldd(&text).with_context(|| format!("cannot put {} into the image", program.display()))
}

fn parse_ldd(text: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in text.lines() {
        if line.contains("not found") {
            anyhow::bail!("a shared library is missing: {}", line.trim());
        }
        let path = line.split_whitespace().find(|word| word.starts_with('/'));
        libraries.extend(path.map(PathBuf::from));
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_programs_are_taken_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lab-init"), "").unwrap();
        assert!(
            Programs::ready(dir.path(), &["own-program"])
                .unwrap()
                .tools
                .is_empty()
        );
        let error = Programs::ready(dir.path(), &["scenario"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("no `scenario`"), "{error}");
    }

    #[test]
    fn ldd_is_read() {
        let text = "\tlinux-vdso.so.1 (0x7)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 \
            (0x7)\n\t/lib64/ld-linux-x86-64.so.2 (0x7)\n";
        let found = parse_ldd(text).unwrap();
        assert_eq!(
            found,
            [
                Path::new("/lib/x86_64-linux-gnu/libc.so.6"),
                Path::new("/lib64/ld-linux-x86-64.so.2")
            ]
        );
        assert!(parse_ldd("\tstatically linked\n").unwrap().is_empty());
        assert!(parse_ldd("\tlibx.so => not found\n").is_err());
    }
}
