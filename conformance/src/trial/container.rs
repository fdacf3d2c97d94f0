//! A launcher inside an ordinary container, started there as by `docker exec`.
//!
//! runc makes it, with the capabilities and the seccomp profile that Docker gives a container by
//! default, a PID namespace, and a cgroup file system that cannot be written to. Its first process
//! sleeps, as that of a container in which steps of a CI are executed.
//!
//! Sources: the OCI runtime specification (config.md, config-linux.md); Docker's documentation,
//! "Runtime privilege and Linux capabilities" and "Seccomp security profiles for Docker".

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use allgone::sys::pidfd;
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::processes::{self, Ended, Started, Streams};
use super::{DIR, Order};

#[path = "../../../scenarios/tests/payloads/container/docker.rs"]
mod docker;

const NAME: &str = "container";

/// How long runc may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts it; returns its first process, which has to live as long as it.
pub(super) fn start(order: &Order, ended: &mut Ended) -> Result<Started, String> {
    let dir = format!("{DIR}/{NAME}");
    write(Path::new(&dir), order).map_err(|e| format!("could not write {dir}: {e}"))?;
    let file = format!("{dir}/init");
    let words = [
        "run",
        "--detach",
        "--pid-file",
        &file,
        "--bundle",
        &dir,
        NAME,
    ];
    let quiet = Streams::quiet(&format!("{DIR}/commands"))?;
    processes::finish_with(&runc(&words), &as_root(order), ended, PATIENCE, quiet)?;
    started(&file, ended)
}

/// Executes a command in it; returns when it is executed.
pub(super) fn execute(
    words: &[String],
    order: &Order,
    ended: &mut Ended,
    streams: Streams,
    number: usize,
) -> Result<Started, String> {
    let [file, description] =
        ["pid", "process"].map(|name| format!("{DIR}/{NAME}/{name}.{number}"));
    process(order, words)
        .and_then(|process| fs::write(&description, process.to_string()))
        .map_err(|e| format!("could not write {description}: {e}"))?;
    let words = [
        "exec",
        "--detach",
        "--pid-file",
        &file,
        "--process",
        &description,
        NAME,
    ];
    processes::finish_with(&runc(&words), &as_root(order), ended, PATIENCE, streams)?;
    started(&file, ended)
}

fn runc(words: &[&str]) -> Vec<String> {
    let state = format!("{DIR}/{NAME}/state");
    let own = ["runc", "--root", &state];
    own.iter()
        .chain(words)
        .map(|word| (*word).to_owned())
        .collect()
}

fn as_root(order: &Order) -> Order {
    Order {
        user: None,
        ..order.clone()
    }
}

/// runc has ended, so this process, which is a subreaper, is the parent now.
fn started(file: &str, ended: &mut Ended) -> Result<Started, String> {
    let text = fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let pid: i32 = text.trim().parse().map_err(|e| format!("{file}: {e}"))?;
    let pidfd = match pidfd::open(Pid::from_raw(pid)) {
        Ok(pidfd) => pidfd,
        // It has ended already, and is not waited for any more.
        Err(_) if ended.of(pid).is_some() => File::open("/dev/null")
            .map_err(|e| format!("/dev/null: {e}"))?
            .into(),
        Err(e) => return Err(format!("pidfd_open: {e}")),
    };
    Ok(Started { pid, pidfd })
}

/// A root that is read-only, made of this machine's programs, in which the directory of the trial
/// is where it is outside.
fn write(dir: &Path, order: &Order) -> std::io::Result<()> {
    let root = dir.join("rootfs");
    for inner in ["proc", "sys", "dev", "tmp", "usr", "etc"] {
        fs::create_dir_all(root.join(inner))?;
    }
    let bind = |at: &str, options: &[&str]| {
        json!({"destination": at, "type": "bind",
        "source": at, "options": options})
    };
    let defaults = docker::defaults()?;
    let mut mounts: Vec<Value> = defaults["mounts"].as_array().cloned().unwrap_or_default();
    mounts.extend([
        bind("/usr", &["rbind", "ro"]),
        bind("/etc", &["rbind", "ro"]),
        bind(DIR, &["bind", "rw"]),
    ]);
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let outer = Path::new("/").join(name);
        if let Ok(target) = fs::read_link(&outer) {
            std::os::unix::fs::symlink(target, root.join(name))?;
        } else if outer.is_dir() {
            mounts.push(bind(&outer.display().to_string(), &["rbind", "ro"]));
        }
    }
    let seen = |dir: &&String| {
        ["/usr", "/bin", "/sbin"]
            .iter()
            .any(|at| dir.starts_with(at))
    };
    for dir in order.path.iter().filter(|dir| !seen(dir)) {
        if Path::new(dir).is_dir() {
            mounts.push(bind(dir, &["rbind", "ro"]));
        }
    }
    let sleep = ["sleep", "1000000"].map(String::from);
    let config = json!({
        "ociVersion": "1.0.2",
        "process": process(&as_root(order), &sleep)?,
        "root": {"path": "rootfs", "readonly": true},
        "hostname": NAME,
        "mounts": mounts,
        "linux": {
            "cgroupsPath": format!("/{NAME}"),
            "namespaces": defaults["namespaces"],
            "maskedPaths": defaults["maskedPaths"],
            "readonlyPaths": defaults["readonlyPaths"],
            "seccomp": docker::seccomp()?,
        },
    });
    fs::write(dir.join("config.json"), config.to_string())
}

fn process(order: &Order, args: &[String]) -> std::io::Result<Value> {
    let env = [
        format!("PATH={}", order.path.join(":")),
        format!("HOME={DIR}/home"),
        "LANG=C.UTF-8".to_owned(),
    ];
    docker::process(order.user.unwrap_or(0), args, &env, DIR)
}
