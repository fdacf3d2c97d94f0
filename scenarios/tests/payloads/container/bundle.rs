//! What `runc` is told: an ordinary container, as `docker run` makes it on a machine without a
//! configuration of its own.
//!
//! Sources: the OCI runtime specification (config.md, config-linux.md); Docker's documentation,
//! "Runtime privilege and Linux capabilities" and "Seccomp security profiles for Docker".

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::tools;

/// Docker's default capabilities.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// What may run in it.
const TASKS: u64 = 200;
const MEMORY_BYTES: u64 = 512 << 20;

/// Where the executables are in it.
const TOOLS: &str = "/opt/tools";

/// Writes the bundle: a root that is read-only, made of this machine's programs.
pub(super) fn write(dir: &Path, name: &str) -> std::io::Result<()> {
    let root = dir.join("rootfs");
    for inner in ["proc", "sys", "dev", "tmp", "usr", "etc", "opt/tools"] {
        fs::create_dir_all(root.join(inner))?;
    }
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc",
            "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}),
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1777"]}),
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"]}),
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
    ];
    let bind = |from: &str, to: &str| {
        let options = ["rbind", "ro"];
        json!({"destination": to, "type": "bind", "source": from, "options": options})
    };
    mounts.push(bind(&tools::tools().display().to_string(), TOOLS));
    mounts.extend(["/usr", "/etc"].map(|path| bind(path, path)));
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let outer = Path::new("/").join(name);
        if let Ok(target) = fs::read_link(&outer) {
            std::os::unix::fs::symlink(target, root.join(name))?;
        } else if outer.is_dir() {
            fs::create_dir(root.join(name))?;
            mounts.push(bind(
                &outer.display().to_string(),
                &outer.display().to_string(),
            ));
        }
    }
    let kinds = ["pid", "ipc", "uts", "mount", "network"];
    let namespaces: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
    let config = json!({
        "ociVersion": "1.0.2",
        "process": process(0, &["reaper"]),
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "container",
        "mounts": mounts,
        "linux": {
            "cgroupsPath": format!("/{name}"),
            "namespaces": namespaces,
            "resources": {
                "devices": [{"allow": false, "access": "rwm"}],
                "pids": {"limit": TASKS},
                "memory": {"limit": MEMORY_BYTES},
            },
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
                "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                "/proc/sysrq-trigger"],
            "seccomp": seccomp(),
        },
    });
    fs::write(dir.join("config.json"), config.to_string())
}

/// A process in it.
pub(super) fn process(uid: u32, args: &[&str]) -> Value {
    let held: &[&str] = if uid == 0 { &CAPABILITIES } else { &[] };
    json!({
        "terminal": false,
        "user": {"uid": uid, "gid": uid},
        "args": args,
        "env": [format!("PATH={TOOLS}:/usr/bin:/bin")],
        "cwd": "/",
        "capabilities": {
            "bounding": CAPABILITIES,
            "effective": held,
            "permitted": held,
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 4096, "hard": 4096}],
    })
}

/// Docker's default profile.
fn seccomp() -> Value {
    let text = include_str!("docker-seccomp.json");
    let mut profile: Value = serde_json::from_str(text).expect("it is JSON");
    if let Some(fields) = profile.as_object_mut() {
        fields.remove("source");
    }
    profile
}
