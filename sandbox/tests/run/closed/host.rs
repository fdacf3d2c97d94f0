//! The host sees nothing: a fanotify mark on each of its file systems counts what a closed run
//! creates, changes, deletes and renames there. Everything that it tries to make bears a name that
//! nothing else on the machine has, so events of others do not count.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;

use super::{Shared, closed};
use crate::support::{Marks, Whose, code, errors, has, users};

/// Marks on the host's file systems.
fn marks_on(paths: &[&str]) -> Marks {
    let marks = Marks::new();
    for path in paths.iter().filter(|path| Path::new(path).exists()) {
        match marks.add(Path::new(path)) {
            // A file system without file handles.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENODEV | Errno::EXDEV) => {}
            Err(e) => panic!("{path}: {e}"),
        }
    }
    marks
}

/// How many events since the last time have `name` in them.
fn count(marks: &Marks, name: &str) -> usize {
    let events = marks.events();
    events
        .iter()
        .filter(|event| event.name.contains(name))
        .count()
}

/// Where a machine has file systems.
const HOST: &[&str] = &[
    "/", "/tmp", "/var/tmp", "/run", "/dev", "/dev/shm", "/home", "/root", "/sys",
];

/// What a program could do that wants to leave something. `%N` is the name, `%V` a directory with
/// files that every user may change.
const EVERYTHING: &str = r#"
    for dir in / /usr /usr/bin /etc /tmp /var /var/tmp /run /dev /dev/shm /proc /proc/sys /root \
        /home /mnt /srv /opt /sys /sys/fs/cgroup "$HOME" "$PWD" %V; do
        (echo x > "$dir/%N"; mkdir "$dir/%N.d"; ln -s / "$dir/%N.l"; mkfifo "$dir/%N.f"
         mknod "$dir/%N.n" b 8 0; touch "$dir/%N.t"; cp /bin/sh "$dir/%N.s"; chmod 6755 "$dir/%N.s"
         ln %V/%N.file "$dir/%N.h"; mv %V/%N.file "$dir/%N.m"; cp %V/%N.file "$dir/%N.c"
         rm -rf "$dir/%N.d") 2> /dev/null
    done
    (echo x >> %V/%N.file; true > %V/%N.file; rm -f %V/%N.file; chmod 600 %V/%N.file
     touch %V/%N.file
     truncate -s 0 %V/%N.file; mv %V/%N.file %V/%N.other; rm -rf %V) 2> /dev/null
    (mount -t tmpfs none %V; mount --bind /tmp %V; umount /usr
     mount -o remount,rw /usr) 2> /dev/null
    (cd ..; cd ..; echo x > %N; cd /proc/1/root && echo x > %N; cd /proc/1/cwd && echo x > %N
     cd /proc/self/root && echo x > %N) 2> /dev/null
    perl -e 'chdir "/tmp"; for (1..10000) { mkdir "%N" or last; chdir "%N" or last }' 2> /dev/null
    dd if=/dev/zero of=/tmp/%N.big bs=65536 2> /dev/null
    echo done > "$HOME/%N" 2> /dev/null
    exit 0
"#;

#[test]
fn the_host_sees_nothing_of_a_closed_run() {
    // A mark on a file system takes CAP_SYS_ADMIN; what the run may do does not depend on it.
    if !has("root", nix::unistd::geteuid().is_root()) {
        return;
    }
    let name = format!("allgone-mark-{}", std::process::id());
    let dir = Shared::new();
    let victim = dir.file(&format!("{name}.file"), "as it was\n");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o666)).unwrap();
    let text = dir.text();
    let script = EVERYTHING.replace("%N", &name).replace("%V", &text);
    let marks = marks_on(&[HOST, &[&text]].concat());
    count(&marks, &name);
    for whose in users() {
        for preset in ["agent", "judge", "build"] {
            let shown = ["--preset", preset, "--space", "64M", "--ro", &text];
            let whole = ["--preset", preset, "--space", "64M", "--host-root"];
            let host_network = ["--net", "host", "--space", "64M", "--ro", &text];
            let mut ways = vec![&shown[..], &whole[..]];
            if preset == "agent" {
                ways.push(&host_network[..]);
            }
            for options in ways {
                let output = closed(*whose, options, &script);
                let said = errors(&output);
                // 125: this kernel has no Landlock scopes.
                let refused = code(&output) == 125 && options.contains(&"host");
                assert!(
                    code(&output) == 0 || refused,
                    "{whose:?} {options:?}: {said}"
                );
                assert_eq!(count(&marks, &name), 0, "{whose:?} {options:?}");
            }
        }
    }
    assert_eq!(std::fs::read(&victim).unwrap(), b"as it was\n");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&text), "{mounts}");
    // The same without a closed run is seen, so that nothing seen means nothing done.
    let plain = std::process::Command::new("sh")
        .args([
            "-c",
            &format!("cd {text} && echo x >> {name}.file && mkdir {name}.d"),
        ])
        .status();
    assert!(plain.unwrap().success());
    assert!(count(&marks, &name) >= 2);
    let open = crate::support::allgone(
        Whose::Own,
        &[
            "--bare",
            "--",
            "sh",
            "-c",
            &format!("echo x > {text}/{name}.open"),
        ],
    );
    assert_eq!(open.code(), 0);
    assert!(
        count(&marks, &name) >= 1,
        "a run that is not closed is seen"
    );
}

/// Says of a message queue, a set of semaphores, shared memory, a POSIX queue and a POSIX segment
/// whether there is one of `%N`, or with `%F` whether it can be made; with `%R` it removes them.
const IPC: &str = r#"
    my ($key, $name, $file) = (%K, "%N", "/dev/shm/%N");
    my ($flags, $open, $remove) = (%F ? 01600 : 0, %F ? 0102 : 0, %R);
    my ($msg, $sem) = (msgget($key, $flags), semget($key, 1, $flags));
    my ($shm, $queue) = (shmget($key, 4096, $flags), syscall(%OPEN, $name, $open, 0600, 0));
    open(my $made, ">", $file) if %F;
    print join " ", (map { defined $_ ? 1 : 0 } $msg, $sem, $shm), $queue >= 0 ? 1 : 0,
        -e $file ? 1 : 0;
    if ($remove) {
        msgctl($msg, 0, 0); semctl($sem, 0, 0, 0); shmctl($shm, 0, 0);
        syscall(%UNLINK, $name); unlink $file;
    }
"#;

fn ipc(name: &str, make: bool, remove: bool) -> String {
    use nix::libc::{SYS_mq_open, SYS_mq_unlink};
    let bit = |on: bool| if on { "1" } else { "0" };
    let key = 0x0a12_0000 + (std::process::id() & 0xffff);
    let script = IPC
        .replace("%K", &key.to_string())
        .replace("%N", name)
        .replace("%F", bit(make))
        .replace("%R", bit(remove))
        .replace("%OPEN", &SYS_mq_open.to_string())
        .replace("%UNLINK", &SYS_mq_unlink.to_string());
    format!("exec perl -e '{script}'")
}

#[test]
fn queues_and_shared_memory_of_a_run_are_not_the_hosts() {
    let name = format!("allgone-ipc-{}", std::process::id());
    let here = |make, remove| {
        let script = ipc(&name, make, remove);
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert_eq!(here(false, false), "0 0 0 0 0");
    for whose in users() {
        let output = closed(*whose, &[], &ipc(&name, true, false));
        assert_eq!(super::printed(&output), "1 1 1 1 1", "{whose:?}");
        assert_eq!(here(false, false), "0 0 0 0 0", "{whose:?}");
    }
    // What the host has is seen, so that nothing seen means that there is nothing.
    assert_eq!(here(true, false), "1 1 1 1 1");
    let found = users().iter().map(|whose| {
        let output = closed(*whose, &[], &ipc(&name, false, false));
        super::printed(&output)
    });
    let found: Vec<_> = found.collect();
    assert_eq!(here(false, true), "1 1 1 1 1");
    assert_eq!(here(false, false), "0 0 0 0 0");
    assert!(found.iter().all(|found| found == "0 0 0 0 0"), "{found:?}");
}

/// Plants what is hoped to be followed on the way out: by `--rw` (`%R`), and by `--keep` of
/// /tmp/keep. `%V` is the victim outside.
const PLANTED: &str = r#"
    mkdir /tmp/keep
    for dir in %R /tmp/keep; do
        (ln -s %V "$dir/%N-link"; echo x > "$dir/%N-link"; ln %V "$dir/%N-hard"
         ln -s / "$dir/%N-root"; echo x > "$dir/%N-root/%N-out"; mkfifo "$dir/%N-fifo"
         mknod "$dir/%N-disk" b 8 0; cp /bin/sh "$dir/%N-sh"; chmod 4755 "$dir/%N-sh"
         chmod 2755 "$dir/%N-sh"; chmod 6755 "$dir"; mkdir -m 2755 "$dir/%N-dir"
         echo x > "$dir/../%N-out"; mv "$dir" "$dir.%N-out"; mount -t tmpfs none "$dir"
         perl -e 'chdir shift; for (1..40) { mkdir "%N-deep" or last; chdir "%N-deep" }' "$dir"
         perl -e 'use Fcntl; sysopen(F, shift, O_CREAT|O_WRONLY, 06755)' "$dir/%N-open"
        ) 2> /dev/null
    done
    dd if=/dev/zero of=/tmp/keep/%N-big bs=1M count=100 2> /dev/null
    ls -A /tmp/keep > /dev/null
    exit 0
"#;

/// Whether something below has a set-id bit, a special kind, or leads elsewhere.
fn odd(dir: &Path, links: bool, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let facts = path.symlink_metadata().unwrap();
        let kind = facts.file_type();
        let plain = kind.is_file() || kind.is_dir() || (links && kind.is_symlink());
        let set_id = !kind.is_symlink() && facts.permissions().mode() & 0o6000 != 0;
        let fifo = std::os::unix::fs::FileTypeExt::is_fifo(&kind) && links;
        if set_id || !(plain || fifo) {
            found.push(format!(
                "{path:?} {kind:?} {:o}",
                facts.permissions().mode()
            ));
        }
        if kind.is_dir() {
            odd(&path, links, found);
        }
    }
}

#[test]
fn what_is_planted_for_rw_and_keep_is_followed_nowhere() {
    if !has("root", nix::unistd::geteuid().is_root()) {
        return;
    }
    for whose in users() {
        let name = format!("allgone-plant-{}-{whose:?}", std::process::id());
        let (shared, kept, victim) = (Shared::new(), Shared::new(), Shared::new());
        let outside = victim.file(&format!("{name}-victim"), "as it was\n");
        std::fs::set_permissions(victim.path(), PermissionsExt::from_mode(0o777)).unwrap();
        std::fs::set_permissions(&outside, PermissionsExt::from_mode(0o666)).unwrap();
        shared.give_for(*whose);
        kept.give_for(*whose);
        let dest = kept.path().join("copy");
        let (rw, outside_text) = (shared.text(), outside.to_str().unwrap());
        let script = PLANTED
            .replace("%N", &name)
            .replace("%R", &rw)
            .replace("%V", outside_text);
        let keep = format!("/tmp/keep={}", dest.display());
        let (ro, marks) = (victim.text(), marks_on(&[HOST, &[&rw]].concat()));
        let options = ["--rw", &rw, "--keep", &keep, "--ro", &ro, "--space", "32M"];
        let output = closed(*whose, &options, &script);
        // What was not copied is said: links, and a file system full of zeroes.
        let said = errors(&output);
        assert!(matches!(code(&output), 0 | 125), "{whose:?}: {said}");
        let events = marks.events();
        for part in ["-victim", "-out"] {
            let part = format!("{name}{part}");
            let seen = events.iter().filter(|event| event.name.contains(&part));
            let seen: Vec<_> = seen.map(ToString::to_string).collect();
            assert!(seen.is_empty(), "{whose:?}: {seen:?}");
        }
        // The marks see what is allowed.
        let link = format!("{name}-link");
        assert!(
            events.iter().any(|event| event.name == link),
            "{whose:?}: {said}"
        );
        assert_eq!(std::fs::read(&outside).unwrap(), b"as it was\n");
        let mut found = Vec::new();
        odd(&shared.path(), true, &mut found);
        odd(&kept.path(), false, &mut found);
        assert!(found.is_empty(), "{whose:?}: {found:?}");
    }
}
