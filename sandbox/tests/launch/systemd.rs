//! A real systemd as PID 1 of a namespace, in a tree of cgroups of its own: a service of it starts
//! runs in scopes.

use std::fs;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use allgone::sys::spawn::launch::remove_cgroup;
use nix::sys::signal::{Signal, kill};
use sandbox::end::Proof;
use sandbox::launch::{Completion, Launch, LaunchError, Run, Started, Status};
use sandbox::tier::Tier;

use crate::host::parent;
use crate::support::{
    Needs, Test, alive, ended, has, launcher, mark, nothing_left, own_cgroup, shell, soon, within,
};

pub(crate) const TESTS: &[Test] = &[
    ("systemd::a_cgroup_that_is_named", a_cgroup_that_is_named),
    ("systemd::where_there_is_none", where_there_is_none),
];

pub(crate) const NEEDY: &[(Needs, Test)] = &[(
    Needs::Systemd,
    ("systemd::a_scope_for_each_run", a_scope_for_each_run),
)];

fn a_cgroup_that_is_named() {
    let refused = shell("true").option("cgroup", "/usr").tier(Tier::Namespace);
    let mut run = refused.spawn(launcher()).unwrap();
    let told = run.wait(soon()).unwrap_err().to_string();
    assert!(told.contains("no cgroup"), "{told}");
    let above = own_cgroup().map(|own| own.join(format!("test-{}", mark())));
    let made = above
        .as_ref()
        .is_some_and(|dir| fs::create_dir(dir).is_ok());
    if !has("cgroup2-write", made) {
        return;
    }
    let above = above.unwrap();
    let named = shell("exit 3").option("cgroup", above.to_str().unwrap());
    let over = ended(named.tier(Tier::Namespace).spawn(launcher()).unwrap());
    assert_eq!(over.status, Status::Exited(3));
    match over.proof {
        Proof::Removed(path) => assert_eq!(path.parent(), Some(above.as_path())),
        other => panic!("{other:?}"),
    }
    fs::remove_dir(above).unwrap();
}

fn where_there_is_none() {
    if Path::new("/run/systemd/private").exists() {
        return;
    }
    let mut run = shell("true")
        .option("cgroup", "systemd")
        .spawn(launcher())
        .unwrap();
    match run.wait(soon()).unwrap_err() {
        LaunchError::Refused { kind, why } => {
            assert_eq!(kind, "systemd");
            assert!(why.contains("no systemd"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

/// A target that wants one service, which is this program.
const TARGET: &str = "[Unit]\nDefaultDependencies=no\nWants=probe.service\n";
const SERVICE: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n\
                       Environment=LAUNCH_ROLE=in-systemd\nExecStart=/mnt/probe\n";

fn a_scope_for_each_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for made in ["units", "shared", "cgroups"] {
        fs::create_dir(path(made)).unwrap();
    }
    fs::write(path("units/probe.target"), TARGET).unwrap();
    fs::write(path("units/probe.service"), SERVICE).unwrap();
    fs::copy("/proc/self/exe", path("shared/probe")).unwrap();
    let own = own_cgroup().unwrap();
    let name = format!("test-systemd-{}", mark());
    let cgroup = own.join(&name);
    fs::create_dir(&cgroup).unwrap();
    // systemd begins where nothing else is, or that could pass on no controllers.
    let script = "set -e; cd \"$1\"; echo $$ > \"$2/cgroup.procs\"; \
        exec unshare --cgroup --mount -- sh -c '\
        mount -t cgroup2 none cgroups; \
        mkdir cgroups/outer; echo $$ > cgroups/outer/cgroup.procs; \
        exec bwrap --as-pid-1 --unshare-pid --unshare-ipc --unshare-uts --unshare-net \
            --ro-bind / / --proc /proc --dev /dev --tmpfs /run --tmpfs /tmp \
            --bind cgroups /sys/fs/cgroup --bind shared /mnt --ro-bind units /etc/systemd/system \
            --setenv container bwrap --cap-add ALL \
            sh -c \"echo 0 > /sys/fs/cgroup/cgroup.procs; \
                exec /lib/systemd/systemd --system --unit=probe.target --log-target=console\"'";
    let log = File::create(path("log")).unwrap();
    let mut systemd = Command::new("sh")
        .args(["-c", script, "sh"])
        .args([dir.path(), &cgroup])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let done = path("shared/done");
    let told = within(Duration::from_secs(120), || done.exists());
    fs::write(cgroup.join("cgroup.kill"), "1").unwrap();
    systemd.wait().unwrap();
    let above = File::open(&own).unwrap();
    let name = std::ffi::CString::new(name).unwrap();
    let removed = within(Duration::from_secs(10), || {
        remove_cgroup(above.as_fd(), &name).is_ok()
    });
    assert!(removed, "{cgroup:?}");
    let log = || fs::read_to_string(path("log")).unwrap();
    assert!(told, "the service has not ended: {}", log());
    assert_eq!(fs::read_to_string(done).unwrap(), "good", "{}", log());
}

/// The life of the service: says how it went in a file.
pub(crate) fn service() {
    let answer = match std::panic::catch_unwind(in_scopes) {
        Ok(()) => "good".to_owned(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("bad: {}", text.unwrap_or("see the log"))
        }
    };
    // In one step, because the other side looks for it.
    fs::write("/mnt/doing", answer).unwrap();
    fs::rename("/mnt/doing", "/mnt/done").unwrap();
}

/// A run that has to start.
fn begun(run: &mut Run) -> &Started {
    let has = matches!(run.started(soon()), Ok(Some(_)));
    assert!(
        has,
        "it has not started: {:?}; {}",
        run.wait(soon()),
        passed_on()
    );
    run.started(soon()).unwrap().unwrap()
}

/// Which controllers come down to scopes.
fn passed_on() -> String {
    let files = [
        "cgroup.controllers",
        "cgroup.subtree_control",
        "cgroup.procs",
        "system.slice/cgroup.controllers",
        "system.slice/cgroup.subtree_control",
    ];
    let told = files.map(|file| {
        let text = fs::read_to_string(Path::new("/sys/fs/cgroup").join(file));
        format!("{file}: {:?}", text.unwrap_or_default())
    });
    told.join(", ")
}

/// The scope of a run, by its cgroup.
fn scope_of(started: &Started) -> PathBuf {
    let cgroup = started.cgroup.as_ref().unwrap();
    let scope = cgroup.parent().unwrap().to_owned();
    assert_eq!(scope.extension().unwrap(), "scope", "{cgroup:?}");
    scope
}

fn in_scopes() {
    let payload = "trap '' TERM; (setsid sleep 1000 &); sleep 1000";
    let launch = |script: &str| shell(script).option("cgroup", "systemd");
    for tier in [Tier::Namespace, Tier::Cgroup] {
        // While it runs: what systemd says of it.
        let mark = mark();
        let mut run = launch(payload)
            .tier(tier)
            .env("ALLGONE_MARK", &mark)
            .spawn(launcher())
            .unwrap();
        let scope = scope_of(begun(&mut run));
        let unit = scope.file_name().unwrap().to_str().unwrap();
        let show = Command::new("systemctl")
            .args(["show", "-p", "Delegate", "-p", "ActiveState", unit])
            .output()
            .unwrap();
        let shown = String::from_utf8(show.stdout).unwrap();
        assert!(shown.contains("Delegate=yes"), "{unit}: {shown}");
        assert!(shown.contains("ActiveState=active"), "{unit}: {shown}");
        run.kill().unwrap();
        let over = ended(run);
        match &over.proof {
            Proof::Removed(path) => assert_eq!(path.parent(), Some(scope.as_path())),
            other => panic!("{other:?}"),
        }
        assert_eq!(alive(&mark), Vec::<String>::new());
        assert!(
            within(Duration::from_secs(10), || !scope.exists()),
            "{scope:?}"
        );

        // Its launcher is killed: init removes the cgroup, systemd the scope.
        let mark = self::mark();
        let mut run = launch(payload)
            .tier(tier)
            .env("ALLGONE_MARK", &mark)
            .spawn(launcher())
            .unwrap();
        let started = begun(&mut run);
        let scope = scope_of(started);
        kill(parent(started.init), Signal::SIGKILL).unwrap();
        nothing_left(&mark);
        assert!(
            within(Duration::from_secs(10), || !scope.exists()),
            "{scope:?}"
        );
    }
    for limit in &LIMITS {
        limited(limit);
    }
}

/// A limit on all of a run.
struct Limit {
    set: fn(Launch) -> Launch,
    controller: &'static str,
    /// The file that has it, and what stands in that.
    file: &'static str,
    value: &'static str,
    /// A program that goes beyond it, and what shows that it could not.
    script: &'static str,
    shown: Shown,
}

/// What shows that a program was limited.
enum Shown {
    /// Its end.
    End(fn(&Completion) -> bool),
    /// A count in a file of its cgroup, behind this key, is not 0 any more. It does not end.
    NotNone(&'static str, &'static str),
}

const LIMITS: [Limit; 3] = [
    Limit {
        set: |run| run.pids(20),
        controller: "pids",
        file: "pids.max",
        value: "20",
        script: "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; exit 4",
        // "Cannot fork".
        shown: Shown::End(|over| over.status == Status::Exited(2)),
    },
    Limit {
        set: |run| run.memory_bytes(48 << 20),
        controller: "memory",
        file: "memory.max",
        value: "50331648",
        script: "x=0123456789abcdef; while :; do x=$x$x; done",
        shown: Shown::End(|over| over.report["oom_kills"].as_u64() > Some(0)),
    },
    Limit {
        set: |run| run.cpu_thousandths(250),
        controller: "cpu",
        file: "cpu.max",
        value: "25000 100000",
        script: "while :; do :; done",
        shown: Shown::NotNone("cpu.stat", "nr_throttled "),
    },
];

/// A controller that the tree has is passed on to the scope, and what it limits is limited; one
/// that it has not is refused.
fn limited(limit: &Limit) {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
    let mut controllers = controllers.split_whitespace();
    let has = controllers.any(|controller| controller == limit.controller);
    let launch = |script: &str| {
        let run = shell(script).option("cgroup", "systemd").wait_main();
        (limit.set)(run)
    };
    let mut run = launch("sleep 1000").spawn(launcher()).unwrap();
    if !has {
        let refused = run.wait(soon()).unwrap_err().to_string();
        assert!(refused.contains("subtree_control"), "{refused}");
        return;
    }
    let cgroup = begun(&mut run).cgroup.clone();
    let cgroup = cgroup.unwrap();
    assert_eq!(cgroup.parent().unwrap().extension().unwrap(), "scope");
    let found = fs::read_to_string(cgroup.join(limit.file)).unwrap();
    assert_eq!(found.trim_end(), limit.value);
    run.kill().unwrap();
    let over = ended(run);
    assert_eq!(over.report["asked"][0]["enforced"], true, "{}", over.report);

    let mut run = launch(limit.script).spawn(launcher()).unwrap();
    match limit.shown {
        Shown::End(held) => {
            let over = ended(run);
            assert!(held(&over), "{}: {}", limit.file, over.report);
        }
        Shown::NotNone(file, key) => {
            let cgroup = begun(&mut run).cgroup.clone();
            let file = cgroup.unwrap().join(file);
            let shown = within(Duration::from_secs(30), || {
                let text = fs::read_to_string(&file).unwrap();
                let count = text.lines().find_map(|line| line.strip_prefix(key));
                count.is_some_and(|count| count != "0")
            });
            assert!(shown, "{file:?}: {:?}", fs::read_to_string(&file));
            run.kill().unwrap();
            ended(run);
        }
    }
}
