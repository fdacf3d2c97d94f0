//! The requirements of the lab on this machine, what is installed, and the one command that
//! installs the rest.

use std::path::{Path, PathBuf};

/// Something that must be installed.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// A program on the path, or a file.
    pub what: What,
    /// The Debian package that has it.
    pub package: &'static str,
    /// What it is for.
    pub why: &'static str,
}

/// How a need is recognised.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// A program along `PATH`.
    Program(&'static str),
    /// A program along `PATH` that the project's tests start, and which is put into their machine
    /// for that.
    TestProgram(&'static str),
    /// A header, in one of the compiler's directories.
    Header(&'static str),
    /// A static library.
    StaticLibrary(&'static str),
}

/// Everything that any command of the lab uses.
pub const NEEDS: [Need; 27] = [
    need(
        What::Program("qemu-system-x86_64"),
        "qemu-system-x86",
        "boots kernels",
    ),
    need(
        What::Program("setpriv"),
        "util-linux",
        "ends QEMU when the lab dies",
    ),
    need(
        What::Program("apt-get"),
        "apt",
        "fetches sources and images, signatures checked",
    ),
    need(What::Program("dpkg-deb"), "dpkg", "unpacks packages"),
    need(What::Program("tar"), "tar", "unpacks sources"),
    need(What::Program("xz"), "xz-utils", "unpacks sources"),
    need(
        What::Program("cargo"),
        "cargo",
        "builds the static programs of the image (rustup's is as good)",
    ),
    need(What::Program("gcc"), "gcc", "builds kernels"),
    need(What::Program("make"), "make", "builds kernels"),
    need(What::Program("flex"), "flex", "builds Kconfig"),
    need(What::Program("bison"), "bison", "builds Kconfig"),
    need(What::Program("bc"), "bc", "builds kernels (timeconst)"),
    need(What::Program("perl"), "perl", "builds kernels, checkpatch"),
    need(What::Program("patch"), "patch", "applies series"),
    need(
        What::Program("zstd"),
        "zstd",
        "compresses the records that `lab scenarios` keeps",
    ),
    need(
        What::Program("secilc"),
        "secilc",
        "builds the policy of the tests under SELinux",
    ),
    need(What::Header("gelf.h"), "libelf-dev", "builds objtool"),
    need(
        What::Header("openssl/opensslv.h"),
        "libssl-dev",
        "builds certificates' tools, where a configuration has them",
    ),
    need(
        What::StaticLibrary("libc.a"),
        "libc6-dev",
        "links static programs and kernel selftests",
    ),
    test_program("sh", "dash"),
    test_program("cat", "coreutils"),
    test_program("mkdir", "coreutils"),
    test_program("mount", "mount"),
    test_program("prlimit", "util-linux"),
    test_program("setsid", "util-linux"),
    test_program("sleep", "coreutils"),
    test_program("unshare", "util-linux"),
];

/// The keyring without which nothing can be verified.
pub const KEYRING_PACKAGE: &str = "debian-archive-keyring";

const fn need(what: What, package: &'static str, why: &'static str) -> Need {
    Need { what, package, why }
}

const fn test_program(name: &'static str, package: &'static str) -> Need {
    need(
        What::TestProgram(name),
        package,
        "started by tests in a machine",
    )
}

impl Need {
    /// Where it is, if it is there.
    #[must_use]
    pub fn found(&self) -> Option<PathBuf> {
        let (name, dirs) = match self.what {
            What::Program(name) | What::TestProgram(name) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                (name, std::env::split_paths(&path).collect::<Vec<_>>())
            }
            What::Header(name) => (name, under("include")),
            What::StaticLibrary(name) => (name, under("lib")),
        };
        dirs.into_iter()
            .map(|dir| dir.join(name))
            .find(|path| path.is_file())
    }

    /// Its name in tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.what {
            What::Program(name)
            | What::TestProgram(name)
            | What::Header(name)
            | What::StaticLibrary(name) => name,
        }
    }
}

fn under(kind: &str) -> Vec<PathBuf> {
    let usr = Path::new("/usr").join(kind);
    vec![usr.join("x86_64-linux-gnu"), usr]
}

/// The packages that are missing, each once.
#[must_use]
pub fn missing(needs: &[Need], found: impl Fn(&Need) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<&'static str> = needs
        .iter()
        .filter(|need| !found(need))
        .map(|need| need.package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// The command that installs packages.
#[must_use]
pub fn install_command(packages: &[&str]) -> String {
    format!(
        "apt-get install --yes --no-install-recommends {}",
        packages.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_leads_to_its_package() {
        let needs = [
            need(What::Program("no-such-program"), "some-package", "a test"),
            need(What::Program("sh"), "dash", "a test"),
        ];
        let packages = missing(&needs, |need| need.found().is_some());
        assert_eq!(packages, ["some-package"]);
        assert!(install_command(&packages).ends_with(" some-package"));
    }

    #[test]
    fn a_package_is_asked_for_once() {
        let packages = missing(&NEEDS, |_| false);
        assert_eq!(packages.iter().filter(|name| **name == "tar").count(), 1);
        assert!(packages.is_sorted());
    }
}
