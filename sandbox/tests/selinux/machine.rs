//! The machine: its policy, processes and files with contexts of one's choice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A test, with its name.
pub(crate) type Named = (&'static str, fn());

/// Names the policy's file, in a machine that may have it loaded.
const POLICY: &str = "SELINUX_POLICY";
pub(crate) const SELINUXFS: &str = "/sys/fs/selinux";
/// The launcher's context, unless a test is about another.
pub(crate) const LAUNCHER: &str = "u:r:launcher_t:s0-s0:c0.c7";
/// Where files with contexts are.
pub(crate) const CASES: &str = "/tmp/cases";

/// Loads the policy and enforces it. Errors: this is not a machine for that.
pub(crate) fn prepare() -> Result<(), String> {
    let Some(policy) = std::env::var_os(POLICY) else {
        return Err(format!(
            "no {POLICY}: it takes a machine of the lab, `cargo lab test --suite selinux`"
        ));
    };
    let own = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    if own.trim_end_matches(['\0', '\n']) != "kernel" {
        // Never over a policy that something else has loaded.
        return Err(format!("SELinux is off or has a policy: {own:?}"));
    }
    leave_initramfs();
    let policy = fs::read(policy).unwrap();
    mount_selinuxfs();
    fs::write(format!("{SELINUXFS}/load"), policy).unwrap();
    enforce(true);
    fs::create_dir(CASES).unwrap();
    fs::set_permissions(CASES, PermissionsExt::from_mode(0o755)).unwrap();
    Ok(())
}

/// Gives this process, and all that it starts, a root that is a mount of its own: from the very
/// first one, in which a machine of the lab stays, there is no pivot_root(2) (before Linux 7.0).
fn leave_initramfs() {
    const ROOT: &str = "/mnt/root";
    let none = None::<&str>;
    fs::create_dir_all(ROOT).unwrap();
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some("/"), ROOT, none, bind, none).unwrap();
    std::env::set_current_dir(ROOT).unwrap();
    mount(Some("."), "/", none, MsFlags::MS_MOVE, none).unwrap();
    nix::unistd::chroot(".").unwrap();
}

pub(crate) fn mount_selinuxfs() {
    let (kind, none) = (Some("selinuxfs"), None::<&str>);
    mount(kind, SELINUXFS, kind, MsFlags::empty(), none).unwrap();
}

pub(crate) fn unmount_selinuxfs() {
    umount2(SELINUXFS, MntFlags::empty()).unwrap();
}

/// Makes that mount read-only, as containers have it, or writable again.
pub(crate) fn read_only_selinuxfs(on: bool) {
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    flags.set(MsFlags::MS_RDONLY, on);
    mount(None::<&str>, SELINUXFS, None::<&str>, flags, None::<&str>).unwrap();
}

/// A file system in memory of a kind that the policy has no label for.
pub(crate) fn mount_unlabeled(at: &str) {
    fs::create_dir_all(at).unwrap();
    let kind = Some("ramfs");
    mount(kind, at, kind, MsFlags::empty(), None::<&str>).unwrap();
}

pub(crate) fn enforce(on: bool) {
    let text = if on { "1" } else { "0" };
    fs::write(format!("{SELINUXFS}/enforce"), text).unwrap();
}

/// What the next exec, or the next file, of this thread has as its context. `None`: what the policy
/// says.
fn set(attribute: &str, context: Option<&str>) {
    let text = context.unwrap_or("\n");
    fs::write(format!("/proc/thread-self/attr/{attribute}"), text).unwrap();
}

/// A file below [`CASES`] with this context, which every user may read and execute.
pub(crate) fn labelled(name: &str, context: &str, bytes: &[u8]) -> String {
    let path = format!("{CASES}/{name}");
    set("fscreate", Some(context));
    let written = fs::write(&path, bytes);
    set("fscreate", None);
    written.unwrap();
    fs::set_permissions(Path::new(&path), PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// `allgone run ARGS`, of a launcher in this context, by root or an ordinary user.
pub(crate) fn start(context: &str, ordinary: bool, args: &[&str]) -> Child {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("allgone").arg("run").args(args);
    command.env("PATH", "/bin").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    if ordinary {
        command.uid(65_534).gid(65_534);
    }
    set("exec", Some(context));
    let child = command.spawn();
    set("exec", None);
    child.unwrap()
}

/// A closed run of a script, by [`LAUNCHER`].
pub(crate) fn closed(options: &[&str], script: &str) -> Said {
    closed_as(LAUNCHER, options, script)
}

/// The same by a launcher in this context.
pub(crate) fn closed_as(context: &str, options: &[&str], script: &str) -> Said {
    let fixed = ["--closed", "-t", "60s", "--ro", CASES];
    let program = ["--", "/bin/sh", "-c", script];
    let args = [&fixed, options, &program].concat();
    said(start(context, false, &args))
}

/// What a run said, to its end.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) errors: String,
}

pub(crate) fn said(mut child: Child) -> Said {
    drop(child.stdin.take());
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes).replace('\0', "");
        text.trim().to_owned()
    };
    Said {
        code: status.code().unwrap_or(-1),
        out: text(stdout),
        errors: text(stderr),
    }
}

impl Said {
    /// Ended well, and said this.
    pub(crate) fn is(&self, out: &str) {
        assert_eq!((self.code, self.out.as_str()), (0, out), "{self:?}");
    }

    /// Nothing ran, and one line has these words.
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{self:?}");
        assert_eq!(self.errors.lines().count(), 1, "{self:?}");
        for word in words {
            assert!(self.errors.contains(word), "no {word:?} in {self:?}");
        }
    }

    /// The program ran, and the policy refused it what it tried last.
    pub(crate) fn denied(&self) {
        assert!(self.code > 0 && self.code < 124, "{self:?}");
        assert!(self.errors.contains("Permission denied"), "{self:?}");
    }
}
