//! Ways out that are known, each tried by a program in a closed run.

use std::os::unix::fs::PermissionsExt;

use nix::libc;

use super::{Shared, closed, printed};
use crate::support::{Whose, code, errors, has, users};

/// A system call in perl, with what the kernel has to answer.
struct Try {
    call: String,
    errno: i32,
}

fn attempt(number: libc::c_long, args: &str, errno: i32) -> Try {
    let call = format!("t({number}, {args})");
    Try { call, errno }
}

/// Prints each call that is not answered as it has to be.
fn script(tries: &[Try]) -> String {
    let lines = tries.iter().map(|Try { call, errno }| {
        let name = call.replace(['"', '$', '\\'], "");
        format!(
            "$! = 0; $r = {call}; print \"{name}: $r \", $!+0, \"\\n\" \
             unless $r == -1 && $! == {errno};"
        )
    });
    let lines: Vec<_> = lines.collect();
    format!(
        "exec perl -e 'sub t {{ my ($n, @a) = @_; syscall($n, @a) }} {} print \"end\\n\"'",
        lines.join(" ")
    )
}

/// What every preset refuses.
fn always() -> Vec<Try> {
    let no = libc::EPERM;
    let new_user = libc::CLONE_NEWUSER;
    vec![
        attempt(libc::SYS_mount, "\"none\", \"/tmp\", \"tmpfs\", 0, 0", no),
        attempt(libc::SYS_umount2, "\"/usr\", 2", no),
        attempt(libc::SYS_pivot_root, "\"/tmp\", \"/tmp\"", no),
        attempt(libc::SYS_chroot, "\"/tmp\"", no),
        attempt(libc::SYS_fsopen, "\"tmpfs\", 0", no),
        attempt(libc::SYS_open_tree, "-100, \"/usr\", 1", no),
        attempt(libc::SYS_mount_setattr, "-100, \"/usr\", 0, 0, 0", no),
        attempt(libc::SYS_unshare, &new_user.to_string(), no),
        attempt(libc::SYS_unshare, &libc::CLONE_NEWNS.to_string(), no),
        attempt(libc::SYS_setns, "0, 0", no),
        attempt(
            libc::SYS_clone,
            &format!("{}, 0, 0, 0, 0", new_user | libc::SIGCHLD),
            no,
        ),
        attempt(libc::SYS_clone3, "0, 0", libc::ENOSYS),
        attempt(libc::SYS_bpf, "0, 0, 0", no),
        attempt(libc::SYS_perf_event_open, "0, 0, -1, -1, 0", no),
        attempt(libc::SYS_io_uring_setup, "8, 0", no),
        attempt(libc::SYS_userfaultfd, "1", no),
        attempt(libc::SYS_keyctl, "0, -3, 0", no),
        attempt(libc::SYS_add_key, "\"user\", \"x\", \"y\", 1, -3", no),
        attempt(libc::SYS_open_by_handle_at, "0, 0, 0", no),
        attempt(libc::SYS_pidfd_getfd, "0, 0, 0", no),
        attempt(libc::SYS_quotactl, "0, 0, 0, 0", no),
        attempt(libc::SYS_kexec_load, "0, 0, 0, 0", no),
        attempt(libc::SYS_init_module, "0, 0, 0", no),
        // Init: another user's or not dumpable, and beyond a Landlock scope.
        attempt(libc::SYS_prlimit64, "1, 7, 0, pack(\"QQ\", 0, 0)", no),
        attempt(libc::SYS_ioctl, &format!("0, {}, \"x\"", libc::TIOCSTI), no),
        attempt(libc::SYS_ioctl, &format!("0, {}, \"x\"", 0x541c), no),
        // With bits above the 32 that the kernel looks at.
        attempt(
            libc::SYS_ioctl,
            &format!("0, {}, \"x\"", (1i64 << 40) | 0x5412),
            no,
        ),
        // A device node, and a file of another interface's numbers (x32).
        attempt(libc::SYS_mknodat, "-100, \"/tmp/disk\", 060600, 0x700", no),
        attempt(0x4000_0000 | libc::SYS_getpid, "0", libc::ENOSYS),
        attempt(1_000, "0", libc::ENOSYS),
    ]
}

/// Families of sockets that container defaults let through and that kernel bugs of 2026 were in,
/// and others that reach past a network namespace.
fn families() -> Vec<Try> {
    let none = libc::EAFNOSUPPORT;
    let netlink = libc::AF_NETLINK;
    let of = |family: i32, protocol: i32| {
        attempt(libc::SYS_socket, &format!("{family}, 3, {protocol}"), none)
    };
    let mut all: Vec<_> = [
        libc::AF_ALG,
        libc::AF_RXRPC,
        libc::AF_VSOCK,
        libc::AF_PACKET,
        libc::AF_XDP,
        libc::AF_CAN,
        libc::AF_TIPC,
        libc::AF_KEY,
        libc::AF_BLUETOOTH,
    ]
    .map(|family| of(family, 0))
    .into();
    for protocol in [
        libc::NETLINK_XFRM,
        libc::NETLINK_NETFILTER,
        libc::NETLINK_CRYPTO,
        2,
    ] {
        all.push(of(netlink, protocol));
    }
    all
}

#[test]
fn system_calls_that_lead_out_are_refused() {
    let mut tries = always();
    tries.extend(families());
    let tracing = [
        attempt(libc::SYS_ptrace, "16, 1, 0, 0", libc::EPERM),
        attempt(libc::SYS_ptrace, "0, 0, 0, 0", libc::EPERM),
        attempt(libc::SYS_process_vm_readv, "1, 0, 0, 0, 0, 0", libc::EPERM),
        attempt(libc::SYS_process_vm_writev, "1, 0, 0, 0, 0, 0", libc::EPERM),
    ];
    let (all, build) = (tries, always());
    for whose in users() {
        for (preset, tries) in [("agent", &all), ("judge", &all), ("build", &build)] {
            let output = closed(*whose, &["--preset", preset], &script(tries));
            assert_eq!(printed(&output), "end", "{whose:?} {preset}");
        }
        let output = closed(*whose, &[], &script(&tracing));
        assert_eq!(printed(&output), "end", "{whose:?}");
    }
}

#[test]
fn presets_differ_as_they_say() {
    let traceme = format!(
        "exec perl -e 'exit(syscall({}, 0, 0, 0, 0) != 0)'",
        libc::SYS_ptrace
    );
    let internet = "exec perl -MSocket -e 'socket(my $s, AF_INET, SOCK_STREAM, 0) or exit $!'";
    let local = "exec perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0) or exit $!'";
    for whose in users() {
        let run = |preset, script| code(&closed(*whose, &["--preset", preset], script));
        assert_eq!(run("build", &traceme), 0, "{whose:?}");
        assert_eq!(run("agent", &traceme), 1, "{whose:?}");
        assert_eq!(run("agent", internet), 0, "{whose:?}");
        assert_eq!(run("judge", internet), libc::EAFNOSUPPORT, "{whose:?}");
        assert_eq!(run("judge", local), 0, "{whose:?}");
    }
}

#[test]
fn files_that_lead_out_are_refused() {
    let script = "n=0; for file in /proc/1/root/etc /proc/1/cwd/etc /proc/1/fd /proc/1/mem \
                  /proc/1/environ /proc/kcore /dev/mem /dev/sda /dev/vda /dev/kmsg \
                  /sys/fs/cgroup /sys/kernel; do \
                  if (ls $file && head -c 1 $file) > /dev/null 2>&1 || \
                  (ls $file/. > /dev/null 2>&1); \
                  then echo $file; fi; done; \
                  for file in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/1/mem \
                  /proc/sys/vm/drop_caches /proc/1/oom_score_adj \
                  /proc/sys/user/max_user_namespaces \
                  /proc/sys/kernel/hostname; do \
                  if sh -c \"echo 1 > $file\" 2> /dev/null; then echo written $file; fi; done; \
                  kill -9 1 2> /dev/null && echo killed; ls /proc | grep -c '^[0-9]'";
    for whose in users() {
        let said = printed(&closed(*whose, &[], script));
        let (processes, rest) = match said.rsplit_once('\n') {
            Some((rest, last)) => (last, rest),
            None => (said.as_str(), ""),
        };
        assert_eq!(rest, "", "{whose:?}");
        // Init, the shell, ls and grep.
        assert!(processes.parse::<u32>().unwrap() <= 4, "{whose:?}: {said}");
    }
}

#[test]
fn no_privilege_is_left_and_none_comes_by_exec() {
    let dir = Shared::new();
    let id = dir.path().join("id");
    std::fs::copy("/usr/bin/id", &id).unwrap();
    // As another user's with a set-user-id bit, it would change the user.
    std::fs::set_permissions(&id, std::fs::Permissions::from_mode(0o6755)).unwrap();
    let (dir, id) = (dir.text(), id.display());
    let script = format!(
        "test $({id} -u) = $(id -ru) && test $({id} -g) = $(id -rg) || echo changed; \
         grep -h -e ^Cap -e NoNewPrivs /proc/self/status | tr -d '\\n\\t'; ulimit -Hc; \
         id -G | wc -w"
    );
    for whose in users() {
        let said = printed(&closed(*whose, &["--ro", &dir], &script));
        let (said, groups) = said.split_once('\n').unwrap();
        let caps: String = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
            .map(|name| format!("{name}:0000000000000000"))
            .concat();
        let core = said.strip_prefix(&format!("{caps}NoNewPrivs:1"));
        assert!(matches!(core, Some("0" | "1")), "{whose:?}: {said}");
        if *whose == Whose::Own && nix::unistd::geteuid().is_root() {
            assert_eq!(groups, "1");
        }
    }
}

#[test]
fn root_becomes_another_user_for_each_run() {
    if !has("root", nix::unistd::geteuid().is_root()) {
        return;
    }
    let run = || printed(&closed(Whose::Own, &[], "id -u; id -g"));
    let (first, second) = (run(), run());
    assert_ne!(first, second);
    for id in first.lines().chain(second.lines()) {
        assert!(id.parse::<u32>().unwrap() >= 30_000, "{id}");
    }
    let chosen = closed(Whose::Own, &["--user", "1234:1235"], "id -u; id -g; id -G");
    assert_eq!(printed(&chosen), "1234\n1235\n1235");
    for user in ["0", "0:1", "1:0"] {
        let refused = closed(Whose::Own, &["--user", user], "true");
        assert_eq!(code(&refused), 125, "{user}");
        assert!(errors(&refused).contains("root"), "{}", errors(&refused));
    }
}

/// A program for x86-64 that makes a system call of i386's interface, and then ends well.
#[cfg(target_arch = "x86_64")]
fn of_i386() -> Vec<u8> {
    // mov eax, 20 (getpid); int 0x80; xor edi, edi; mov eax, 60 (exit); syscall
    let code = [
        0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05,
    ];
    let mut file = vec![0u8; 120];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &[2, 0, 62, 0, 1]);
    put(24, &0x40_0078_u64.to_le_bytes());
    put(32, &[64]);
    put(52, &[64, 0, 56, 0, 1]);
    put(64, &[1, 0, 0, 0, 5]);
    put(80, &0x40_0000_u64.to_le_bytes());
    put(88, &0x40_0000_u64.to_le_bytes());
    put(96, &136u64.to_le_bytes());
    put(104, &136u64.to_le_bytes());
    put(112, &0x1000_u64.to_le_bytes());
    file.extend(code);
    file
}

#[cfg(target_arch = "x86_64")]
#[test]
fn another_interface_to_the_kernel_ends_the_program() {
    let dir = Shared::new();
    let program = dir.path().join("program");
    std::fs::write(&program, of_i386()).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Without the filter it ends well, unless this kernel has no such interface.
    let plain = std::process::Command::new(&program).status().unwrap();
    let program = program.to_str().unwrap();
    for whose in users() {
        let output = closed(*whose, &["--ro", program], &format!("{program}; echo $?"));
        let said = printed(&output);
        if plain.success() {
            assert_eq!(
                said.lines().next_back(),
                Some("159"),
                "{whose:?}: {}",
                errors(&output)
            );
        } else {
            assert_ne!(said, "0", "{whose:?}");
        }
    }
}

#[test]
fn messages_and_shared_memory_are_its_own() {
    use nix::libc::{IPC_CREAT, IPC_RMID, SYS_shmctl, SYS_shmget};
    // A segment of the host's, with a key that the program knows.
    let key = 0x0a11_0000 + (std::process::id() & 0xffff);
    let host = |script: &str| {
        let output = std::process::Command::new("perl")
            .args(["-e", script])
            .output();
        String::from_utf8_lossy(&output.unwrap().stdout)
            .trim()
            .to_owned()
    };
    let id = host(&format!(
        "print syscall({SYS_shmget}, {key}, 4096, {})",
        IPC_CREAT | 0o666
    ));
    let find = format!("exec perl -e 'print syscall({SYS_shmget}, {key}, 0, 0)'");
    let found: Vec<_> = users()
        .iter()
        .map(|whose| printed(&closed(*whose, &[], &find)))
        .collect();
    let seen = host(&format!("print syscall({SYS_shmget}, {key}, 0, 0)"));
    host(&format!("syscall({SYS_shmctl}, {id}, {IPC_RMID}, 0)"));
    assert_eq!(seen, id);
    assert!(found.iter().all(|found| found == "-1"), "{found:?}");
}

#[test]
fn a_further_filter_refuses_more_and_allows_nothing() {
    let dir = Shared::new();
    let number = u32::try_from(libc::SYS_uname).unwrap();
    let file = dir.path().join("filter");
    // Loads the number; uname fails with error 99, the rest is allowed.
    let program: [(u16, u8, u8, u32); 4] = [
        (0x20, 0, 0, 0),
        (0x15, 0, 1, number),
        (0x06, 0, 0, libc::SECCOMP_RET_ERRNO | 99),
        (0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let bytes = program.iter().flat_map(|(code, jt, jf, k)| {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.extend([*jt, *jf]);
        bytes.extend(k.to_ne_bytes());
        bytes
    });
    std::fs::write(&file, bytes.collect::<Vec<u8>>()).unwrap();
    let tries = [
        attempt(libc::SYS_uname, "\"x\" x 400", 99),
        attempt(libc::SYS_unshare, "0", libc::EPERM),
    ];
    let path = file.to_str().unwrap();
    for whose in users() {
        let output = closed(*whose, &["--seccomp", path], &script(&tries));
        assert_eq!(printed(&output), "end", "{whose:?}");
    }
    std::fs::write(&file, "no filter").unwrap();
    let output = closed(Whose::Own, &["--seccomp", path], "true");
    assert_eq!(code(&output), 125);
    assert!(errors(&output).contains("no filter"), "{}", errors(&output));
}
