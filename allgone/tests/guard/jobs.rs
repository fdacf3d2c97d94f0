//! What a guard says of jobs, and what a program gets.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use allgone::guard::{RefusedError, Request, Said};
use allgone::sys::pidfd;
use allgone::sys::spawn::{Credentials, Rlimit, Step};
use nix::errno::Errno;
use nix::sys::resource::Resource;
use nix::sys::signal::Signal;

use crate::Test;
use crate::base::{Base, PATIENCE, PREFIX, Shell, next, pid_of, strings, until};

pub(crate) const TESTS: &[Test] = &[
    ("the_end_of_a_job_is_told", the_end_of_a_job_is_told),
    ("the_last_orphan_is_told", the_last_orphan_is_told),
    ("what_a_program_gets", what_a_program_gets),
    (
        "what_fails_before_exec_is_told",
        what_fails_before_exec_is_told,
    ),
    (
        "a_request_may_be_large_and_not_too_large",
        a_request_may_be_large_and_not_too_large,
    ),
    ("a_frozen_job_ends_by_a_kill", a_frozen_job_ends_by_a_kill),
    (
        "a_job_in_cgroups_of_its_own_ends",
        a_job_in_cgroups_of_its_own_ends,
    ),
    (
        "a_removed_cgroup_is_unknown_and_not_empty",
        a_removed_cgroup_is_unknown_and_not_empty,
    ),
    ("a_thousand_jobs", a_thousand_jobs),
    (
        "a_guard_ends_with_its_last_user",
        a_guard_ends_with_its_last_user,
    ),
];

fn the_end_of_a_job_is_told() {
    let base = Base::must();
    let guard = base.guard();
    let mut shell = Shell::start(&guard, &base.cgroup, 1, "exit 3");
    let Said::Ended(ended) = shell.next() else {
        panic!("the end first")
    };
    assert_eq!(
        (ended.pid, ended.code, ended.status),
        (shell.spawned.pid.as_raw(), 1, 3)
    );
    assert!(ended.peak_bytes > 4096, "{ended:?}");
    assert!(matches!(shell.next(), Said::Empty(_)));
    assert!(!shell.cgroup.events().unwrap().populated);
    assert!(
        shell.spawned.channel.hear().unwrap().is_none(),
        "and nothing more"
    );
    assert!(!guard.has_died().unwrap());

    let mut shell = Shell::start(&guard, &base.cgroup, 2, "exec sleep 1000");
    assert_eq!(pid_of(&shell.spawned.pidfd), shell.spawned.pid.as_raw());
    pidfd::send_signal(shell.spawned.pidfd.as_fd(), Some(Signal::SIGTERM)).unwrap();
    let Said::Ended(ended) = shell.next() else {
        panic!("the end first")
    };
    assert_eq!(
        (ended.code, ended.status),
        (2, 15),
        "no signal is blocked in a program"
    );
}

fn the_last_orphan_is_told() {
    let base = Base::must();
    let guard = base.guard();
    // The orphan reads what nobody writes, until its fifo is opened.
    let fifo = format!("/tmp/allgone-guard-test-{}", std::process::id());
    let path = std::path::Path::new(&fifo);
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("setsid cat {fifo} & exit 0");
    let mut shell = Shell::start(&guard, &base.cgroup, 1, &script);
    assert!(matches!(shell.next(), Said::Ended(_)));
    assert!(shell.spawned.channel.hear().unwrap().is_none(), "one lives");
    assert!(shell.cgroup.events().unwrap().populated);
    let orphan = shell.cgroup.procs_recursive().unwrap().pids;
    drop(std::fs::File::options().write(true).open(path).unwrap());
    assert!(matches!(shell.next(), Said::Empty(_)));
    std::fs::remove_file(path).unwrap();
    let gone = || {
        orphan
            .iter()
            .all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
    };
    assert!(
        until(PATIENCE, || gone().then_some(())).is_some(),
        "orphans are reaped"
    );
}

fn limit(resource: Resource, soft: u64, hard: u64) -> Rlimit {
    Rlimit {
        resource,
        soft,
        hard,
    }
}

fn what_a_program_gets() {
    let base = Base::must();
    let guard = base.guard();
    let cgroup = base.cgroup.create(&format!("{PREFIX}1")).unwrap();
    let script = "echo $0 $1 $WORD; pwd; umask; ulimit -n; ulimit -c; id -u; cat <&7; cat <&0; \
                  grep -E 'SigBlk|NoNewPrivs|CapBnd' /proc/self/status; ls /proc/self/fd | wc -w; \
                  ps -o sid= -p $$ | tr -d ' '; echo $$";
    let (paths, argv) = (
        strings(&["/nowhere/sh", "/bin/sh"]),
        strings(&["sh", "-c", script, "zeroth", "first"]),
    );
    let envp = strings(&["WORD=word", "PATH=/usr/bin:/bin"]);
    let pipe = |text: &str| -> OwnedFd {
        let (read, write) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&write, text.as_bytes()).unwrap();
        read
    };
    let (output, its_output) = nix::unistd::pipe().unwrap();
    let (seven, zero) = (pipe("seven\n"), pipe("zero\n"));
    let request = Request {
        envp: &envp,
        dir: Some(c"/usr/bin/../bin"),
        fds: &[
            (seven.as_fd(), 7),
            (its_output.as_fd(), 1),
            (its_output.as_fd(), 2),
            (zero.as_fd(), 0),
        ],
        rlimits: &[
            limit(Resource::RLIMIT_NOFILE, 99, 100),
            limit(Resource::RLIMIT_CORE, 0, 0),
        ],
        umask: Some(0o027),
        credentials: Some(Credentials {
            uid: 65534,
            gid: 65534,
        }),
        ..Request::new(&paths, &argv)
    };
    let mut spawned = guard.spawn(cgroup.as_fd(), &request).unwrap();
    drop(its_output);
    let mut text = String::new();
    std::fs::File::from(output)
        .read_to_string(&mut text)
        .unwrap();
    let pid = spawned.pid.to_string();
    let expected = [
        "zeroth first word",
        "/usr/bin",
        "0027",
        "99",
        "0",
        "65534",
        "seven",
        "zero",
        "SigBlk:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ];
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..11], expected, "{text}");
    // 0, 1, 2, 7, and the one that `ls` opens.
    assert_eq!(lines[11..], ["5", &pid, &pid], "{text}");
    assert!(matches!(next(&mut spawned.channel), Said::Ended(_)));
}

fn what_fails_before_exec_is_told() {
    let base = Base::must();
    let guard = base.guard();
    let cgroup = base.cgroup.create(&format!("{PREFIX}1")).unwrap();
    let (nowhere, argv) = (strings(&["/nowhere/a", "/etc/passwd/b"]), strings(&["a"]));
    let fails = |request: &Request<'_>| match guard.spawn(cgroup.as_fd(), request) {
        Err(RefusedError::Child(failure)) => (failure.step, failure.errno),
        other => panic!("{other:?}"),
    };
    let request = Request::new(&nowhere, &argv);
    assert_eq!(fails(&request), (Step::Exec, Errno::ENOENT));
    let closed = strings(&["/etc/passwd", "/nowhere"]);
    assert_eq!(
        fails(&Request::new(&closed, &argv)),
        (Step::Exec, Errno::EACCES)
    );
    let dir = Request {
        dir: Some(c"/nowhere"),
        ..request
    };
    assert_eq!(fails(&dir), (Step::Dir, Errno::ENOENT));
    let stdin = std::io::stdin();
    let beyond = Request {
        fds: &[(stdin.as_fd(), 1 << 30)],
        ..request
    };
    assert_eq!(fails(&beyond).0, Step::Descriptors);
    let limits = Request {
        rlimits: &[limit(Resource::RLIMIT_NOFILE, 2, 1)],
        ..request
    };
    assert_eq!(fails(&limits), (Step::Rlimit, Errno::EINVAL));
    // A cgroup that is gone takes no process.
    let gone = base.cgroup.create(&format!("{PREFIX}2")).unwrap();
    base.cgroup.remove_child(&format!("{PREFIX}2")).unwrap();
    let refused = guard.spawn(gone.as_fd(), &request);
    assert!(
        matches!(
            refused,
            Err(RefusedError::Clone(Errno::ENODEV | Errno::ENOENT))
        ),
        "{refused:?}"
    );
    // And the guard goes on.
    let mut shell = Shell::start(&guard, &base.cgroup, 3, "exit 0");
    assert!(matches!(shell.next(), Said::Ended(_)));
}

fn a_request_may_be_large_and_not_too_large() {
    let base = Base::must();
    let guard = base.guard();
    let cgroup = base.cgroup.create(&format!("{PREFIX}1")).unwrap();
    let paths = strings(&["/bin/sh"]);
    let (output, its_output) = nix::unistd::pipe().unwrap();
    let long = "x".repeat(100_000);
    let mut argv = strings(&["sh", "-c", "echo $# ${#1} ${#9}", "sh"]);
    argv.extend(strings(&[long.as_str(); 9]));
    let request = Request {
        fds: &[(its_output.as_fd(), 1)],
        ..Request::new(&paths, &argv)
    };
    let mut spawned = guard.spawn(cgroup.as_fd(), &request).unwrap();
    drop(its_output);
    let mut text = String::new();
    std::fs::File::from(output)
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "9 100000 100000\n");
    assert!(matches!(next(&mut spawned.channel), Said::Ended(_)));
    // More than the kernel takes.
    let argv = vec![strings(&[&long]).remove(0); 100];
    let refused = guard.spawn(cgroup.as_fd(), &Request::new(&paths, &argv));
    let Err(RefusedError::Child(failure)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((failure.step, failure.errno), (Step::Exec, Errno::E2BIG));
    // More than the guard takes.
    let argv = vec![strings(&[&long]).remove(0); 200];
    let refused = guard.spawn(cgroup.as_fd(), &Request::new(&paths, &argv));
    assert!(
        matches!(refused, Err(RefusedError::TooLarge { .. })),
        "{refused:?}"
    );
    let stdin = std::io::stdin();
    let fds: Vec<_> = (10..300).map(|number| (stdin.as_fd(), number)).collect();
    let many = Request {
        fds: &fds,
        ..Request::new(&paths, &argv[..1])
    };
    let refused = guard.spawn(cgroup.as_fd(), &many);
    assert!(
        matches!(
            refused,
            Err(RefusedError::TooLarge {
                count: 295,
                most: 253,
                ..
            })
        ),
        "{refused:?}"
    );
}

fn a_frozen_job_ends_by_a_kill() {
    let base = Base::must();
    let guard = base.guard();
    let mut shell = Shell::start(
        &guard,
        &base.cgroup,
        1,
        "sleep 1000 & setsid sleep 1000 & wait",
    );
    shell.cgroup.freeze(true).unwrap();
    shell.cgroup.kill().unwrap();
    let Said::Ended(ended) = shell.next() else {
        panic!("the end first")
    };
    assert_eq!((ended.code, ended.status), (2, 9));
    assert!(matches!(shell.next(), Said::Empty(_)));
    // One that is frozen before it is born holds nobody up, and the guard's end ends it.
    let cgroup = base.cgroup.create(&format!("{PREFIX}2")).unwrap();
    cgroup.freeze(true).unwrap();
    std::thread::scope(|scope| {
        let (paths, argv) = (strings(&["/bin/true"]), strings(&["true"]));
        let (guard, cgroup) = (&guard, &cgroup);
        let frozen = scope.spawn(move || {
            guard
                .spawn(cgroup.as_fd(), &Request::new(&paths, &argv))
                .is_ok()
        });
        until(PATIENCE, || {
            cgroup.events().unwrap().populated.then_some(())
        })
        .unwrap();
        let mut shell = Shell::start(guard, &base.cgroup, 3, "exit 0");
        assert!(matches!(shell.next(), Said::Ended(_)));
        assert!(matches!(shell.next(), Said::Empty(_)));
        cgroup.kill().unwrap();
        // Killed on its way to exec: there is no failure to be told, and no program either.
        assert!(frozen.join().is_ok());
    });
}

fn a_job_in_cgroups_of_its_own_ends() {
    let base = Base::must();
    let guard = base.guard();
    let script = "mkdir -p $CGROUP/a/b; \
                  sh -c 'echo $$ > $CGROUP/a/b/cgroup.procs; exec sleep 1000' & \
                  until grep -q . $CGROUP/a/b/cgroup.procs; do :; done; exit 0";
    let mut shell = Shell::start(&guard, &base.cgroup, 1, script);
    assert!(matches!(shell.next(), Said::Ended(_)));
    assert!(shell.cgroup.events().unwrap().populated);
    shell.cgroup.kill().unwrap();
    assert!(matches!(shell.next(), Said::Empty(_)));
}

fn a_removed_cgroup_is_unknown_and_not_empty() {
    let base = Base::must();
    let guard = base.guard();
    let script = "until [ -e /tmp/allgone-guard-moved-$PPID ]; do sleep 0.01; done; exit 0";
    let mut shell = Shell::start(&guard, &base.cgroup, 1, script);
    // Somebody moves the process away and removes its cgroup.
    let pid = shell.spawned.pid.to_string();
    base.cgroup.write("cgroup.procs", &pid).unwrap();
    until(PATIENCE, || {
        base.cgroup.remove_child(&format!("{PREFIX}1")).ok()
    })
    .unwrap();
    let flag = format!("/tmp/allgone-guard-moved-{}", pid_of(&guard));
    std::fs::write(&flag, "").unwrap();
    assert!(matches!(shell.next(), Said::Ended(_)));
    let said = shell.next();
    std::fs::remove_file(&flag).unwrap();
    assert!(matches!(said, Said::Unknown(Errno::ENODEV)), "{said:?}");
}

fn a_thousand_jobs() {
    let base = Base::must();
    let guard = base.guard();
    let mut shells: Vec<Shell> = (0..1000)
        .map(|number| {
            Shell::start(
                &guard,
                &base.cgroup,
                number,
                "sleep 1000 & read never <&-; wait",
            )
        })
        .collect();
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid_of(&guard))).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    println!("the guard of 1 000 jobs has {resident} KiB resident");
    assert!(resident < 1024, "{status}");
    for shell in &shells {
        shell.cgroup.kill().unwrap();
    }
    for shell in &mut shells {
        assert!(matches!(shell.next(), Said::Ended(_)));
        assert!(matches!(shell.next(), Said::Empty(_)));
    }
    let members = base.cgroup.procs_recursive().unwrap().pids;
    assert_eq!(members.len(), 2, "the guard and its second");
}

fn a_guard_ends_with_its_last_user() {
    let base = Base::must();
    let guard = base.guard();
    let two = || base.cgroup.procs_recursive().unwrap().pids.len() == 2;
    until(PATIENCE, || two().then_some(())).unwrap();
    drop(guard);
    assert!(base.is_clear());
    // With jobs: they end.
    let guard = base.guard();
    let mut shell = Shell::start(&guard, &base.cgroup, 1, "setsid sleep 1000 & wait");
    drop(guard);
    base.wait_clear(PATIENCE);
    assert!(matches!(shell.next(), Said::Died));
}
