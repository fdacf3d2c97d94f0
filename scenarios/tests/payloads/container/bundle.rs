//! What `runc` is told: an ordinary container, as `docker run` makes it on a machine without a
//! configuration of its own.
//!
//! Sources: the OCI runtime specification (config.md, config-linux.md); Docker's documentation,
//! "Runtime privilege and Linux capabilities" and "Seccomp security profiles for Docker".

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::docker;
use crate::tools;

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
    let defaults = docker::defaults()?;
    let mut mounts: Vec<Value> = defaults["mounts"].as_array().cloned().unwrap_or_default();
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
    let config = json!({
        "ociVersion": "1.0.2",
        "process": process(0, &["reaper"])?,
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "container",
        "mounts": mounts,
        "linux": {
            "cgroupsPath": format!("/{name}"),
            "namespaces": defaults["namespaces"],
            "resources": {
                "devices": [{"allow": false, "access": "rwm"}],
                "pids": {"limit": TASKS},
                "memory": {"limit": MEMORY_BYTES},
            },
            "maskedPaths": defaults["maskedPaths"],
            "readonlyPaths": defaults["readonlyPaths"],
            "seccomp": docker::seccomp()?,
        },
    });
    fs::write(dir.join("config.json"), config.to_string())
}

/// A process in it.
pub(super) fn process(uid: u32, args: &[&str]) -> std::io::Result<Value> {
    docker::process(uid, args, &[format!("PATH={TOOLS}:/usr/bin:/bin")], "/")
}
