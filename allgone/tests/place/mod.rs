//! A cgroup of its own for each test.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use allgone::cgroup::{Cgroup, remove_when_empty};
use allgone::host::Host;
use allgone::job::Command;
use allgone::layout::Paths;
use allgone::limits::LimitSource;
use allgone::spawn::Child;
use allgone::sys::time;
use allgone::{Base, ProcessSet};

/// This machine with a base of the test's own, which is removed with it.
pub(crate) struct Here(Host);

impl Deref for Here {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        if let Some(base) = self.0.base.take() {
            // A test that has failed may have left something, which its message is about.
            match base.cgroup().try_clone().and_then(remove_when_empty) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// This machine, if there is a cgroup v2 directory in which this process may make others.
pub(crate) fn host() -> Option<Here> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let host = Host::look(&Paths::default()).unwrap();
    let Ok(dir) = host.layout.own_v2() else {
        return ignored(&"this process is in no cgroup v2 directory that it can see");
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("allgone-test-{}-{number}", std::process::id());
    match Cgroup::open(dir).and_then(|own| own.create(&name)) {
        Ok(base) => {
            let base = Base::given(base, LimitSource::None, "allgone".to_owned());
            Some(Here(host.with_base(base)))
        }
        Err(e) => ignored(&e),
    }
}

/// Says why nothing is tested; a failure if the feature is required.
fn ignored(why: &dyn std::fmt::Display) -> Option<Here> {
    let required = std::env::var("HARNESS_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name == "cgroup2-write"),
        "cgroup2-write is required: {why}"
    );
    eprintln!("ignored: {why}");
    None
}

/// A set below the base.
pub(crate) struct Place {
    pub(crate) set: ProcessSet,
}

impl Place {
    pub(crate) fn make(host: &Host) -> Self {
        let base = host.base.as_ref().unwrap();
        let parent = base.cgroup().try_clone().unwrap();
        let set = ProcessSet::new(Arc::new(base.create().unwrap())).with_parent(Arc::new(parent));
        Self { set }
    }

    /// Kills what is left, reaps the child and removes the cgroup.
    pub(crate) fn clear(&self, child: &Child) {
        self.set.cgroup().kill().unwrap();
        let deadline = time::now() + Duration::from_secs(20);
        while matches!(child.try_reap(), Ok(None)) {
            assert!(!deadline.has_passed());
        }
        remove_when_empty(self.set.cgroup().try_clone().unwrap()).unwrap();
    }
}

/// A shell that runs `script`.
pub(crate) fn sh(script: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(script);
    shell
}
