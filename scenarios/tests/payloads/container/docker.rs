//! What `docker run` gives a container on a machine without a configuration of its own, as data,
//! and the OCI description of a process in it. The conformance suite reads this file, too.
//!
//! Sources: the OCI runtime specification (config.md); Docker's documentation, "Runtime privilege
//! and Linux capabilities" and "Seccomp security profiles for Docker".

use serde_json::{Value, json};

/// All of it but the filter.
pub(super) fn defaults() -> std::io::Result<Value> {
    Ok(serde_json::from_str(include_str!("docker-defaults.json"))?)
}

/// The filter, without the member that says where it is from, which runc does not know.
pub(super) fn seccomp() -> std::io::Result<Value> {
    let mut profile: Value = serde_json::from_str(include_str!("docker-seccomp.json"))?;
    if let Some(members) = profile.as_object_mut() {
        members.remove("source");
    }
    Ok(profile)
}

/// A process of `uid` in it, which holds capabilities if it is root's.
pub(super) fn process(
    uid: u32,
    args: &[impl AsRef<str>],
    env: &[String],
    dir: &str,
) -> std::io::Result<Value> {
    let bounding = defaults()?["capabilities"].take();
    let held = if uid == 0 {
        bounding.clone()
    } else {
        json!([])
    };
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    Ok(json!({
        "terminal": false,
        "user": {"uid": uid, "gid": uid},
        "args": args,
        "env": env,
        "cwd": dir,
        "capabilities": {"bounding": bounding, "effective": held, "permitted": held},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 4096, "hard": 4096}],
    }))
}
