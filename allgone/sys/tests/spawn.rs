//! A child that is started by an arbitrary host process: real processes, without privileges.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "the whole file is a test"
)]

mod support;

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use allgone_sys::pidfd;
use allgone_sys::spawn::{CLONE_PIDFD_AUTOKILL, ChildFailure, Entry, Plan, Step, spawn};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::wait::WaitStatus;

use support::{end, output, pipe, refuse, sh};

#[test]
fn a_program_runs_and_its_status_comes_back() {
    let shell = sh("exit 7");
    let spawned = spawn(&shell.plan()).unwrap();
    assert_eq!(end(&spawned), WaitStatus::Exited(spawned.pid, 7));
    assert_eq!(spawned.failure(), Ok(None));
    assert_eq!(spawned.entry, Entry::None);
}

#[test]
fn a_file_that_is_no_program_is_a_failure_of_exec() {
    let exe = File::open("/proc/self/status").unwrap();
    let argv = [c"x".to_owned()];
    let spawned = spawn(&Plan::new(exe.as_fd(), &argv)).unwrap();
    assert_eq!(end(&spawned), WaitStatus::Exited(spawned.pid, 127));
    let failure = spawned.failure().unwrap().unwrap();
    assert_eq!((failure.step, failure.errno), (Step::Exec, Errno::EACCES));
}

#[test]
fn the_step_that_fails_is_named_with_its_place_and_error() {
    let shell = sh("exit 0");
    let [first, second] = [c"/dev/null", c"/dev/full"].map(|path| {
        let path = path.to_str().unwrap();
        File::options().write(true).open(path).unwrap()
    });
    let tasks = [first.as_fd(), second.as_fd()];
    let spawned = spawn(&Plan {
        tasks: &tasks,
        ..shell.plan()
    })
    .unwrap();
    assert_eq!(end(&spawned), WaitStatus::Exited(spawned.pid, 127));
    // Signals are 0, and the write to /dev/null is 1.
    let expected = ChildFailure {
        step: Step::Tasks,
        index: 2,
        errno: Errno::ENOSPC,
    };
    assert_eq!(spawned.failure(), Ok(Some(expected)));
}

#[test]
fn descriptors_get_their_numbers_even_when_they_cross() {
    let shell = sh("echo hello >&5; read line <&4 || exit 3");
    let (read, write) = pipe();
    let null = File::open("/dev/null").unwrap();
    let inherit = [(null.as_fd(), 4), (write.as_fd(), 5), (null.as_fd(), 0)];
    let spawned = spawn(&Plan {
        inherit: &inherit,
        ..shell.plan()
    })
    .unwrap();
    assert_eq!(
        end(&spawned),
        WaitStatus::Exited(spawned.pid, 3),
        "descriptor 4 is /dev/null, at its end"
    );
    drop(write);
    assert_eq!(output(read), "hello\n");
}

/// Pipes with their numbers rotated by one, so that every target is the number of another source.
/// Each gets its own name.
#[test]
fn any_number_of_descriptors_arrives() {
    const MANY: usize = 40;
    let pipes: Vec<(OwnedFd, OwnedFd)> = (0..MANY).map(|_| pipe()).collect();
    let numbers: Vec<i32> = pipes
        .iter()
        .map(|(_, write)| support::number(write))
        .collect();
    let targets: Vec<i32> = (0..MANY).map(|at| numbers[(at + 1) % MANY]).collect();
    let inherit: Vec<_> = pipes
        .iter()
        .zip(&targets)
        .map(|((_, write), target)| (write.as_fd(), *target))
        .collect();
    let script: Vec<String> = targets
        .iter()
        .map(|target| format!("/bin/echo {target} > /proc/self/fd/{target}"))
        .collect();
    let shell = sh(&script.join("\n"));
    let spawned = spawn(&Plan {
        inherit: &inherit,
        ..shell.plan()
    })
    .unwrap();
    assert_eq!(end(&spawned), WaitStatus::Exited(spawned.pid, 0));
    for ((read, write), target) in pipes.into_iter().zip(targets) {
        drop(write);
        assert_eq!(output(read), format!("{target}\n"));
    }
}

#[test]
fn two_descriptors_for_one_number_are_refused() {
    let shell = sh("exit 0");
    let null = File::open("/dev/null").unwrap();
    let inherit = [(null.as_fd(), 4), (null.as_fd(), 4)];
    let refused = spawn(&Plan {
        inherit: &inherit,
        ..shell.plan()
    });
    assert_eq!(
        refused.unwrap_err().raw_os_error(),
        Some(Errno::EINVAL as i32)
    );
}

/// What the program has open, above what it was given: nothing, though the host has a descriptor
/// that is not close-on-exec.
fn nothing_leaks() {
    let careless = File::open("/dev/zero").unwrap();
    fcntl(&careless, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let shell = sh("for fd in /proc/$$/fd/*; do readlink $fd; done | grep -c /dev/zero >&7");
    let (read, write) = pipe();
    let inherit = [(write.as_fd(), 7), (write.as_fd(), 1)];
    let spawned = spawn(&Plan {
        inherit: &inherit,
        ..shell.plan()
    })
    .unwrap();
    assert_eq!(spawned.failure(), Ok(None));
    end(&spawned);
    drop(write);
    assert_eq!(output(read), "0\n");
    drop(careless);
}

#[test]
fn the_program_gets_no_other_descriptor() {
    nothing_leaks();
}

#[test]
fn the_program_gets_no_other_descriptor_where_close_range_is_refused() {
    // The filter holds for this thread, and for what it starts.
    refuse(nix::libc::SYS_close_range, Errno::EPERM);
    nothing_leaks();
}

#[test]
fn where_nothing_can_close_descriptors_that_is_a_failure() {
    refuse(nix::libc::SYS_close_range, Errno::EPERM);
    refuse(nix::libc::SYS_getdents64, Errno::EPERM);
    let shell = sh("exit 0");
    let spawned = spawn(&shell.plan()).unwrap();
    assert_eq!(end(&spawned), WaitStatus::Exited(spawned.pid, 127));
    let failure = spawned.failure().unwrap().unwrap();
    assert_eq!(
        (failure.step, failure.errno),
        (Step::CloseOthers, Errno::EPERM)
    );
}

#[test]
fn a_child_at_its_gate_holds_no_end_of_anything_else() {
    let shell = sh("exit 0");
    let (read, write) = pipe();
    let (gate, opener) = pipe();
    let spawned = spawn(&Plan {
        gate: Some(gate.as_fd()),
        ..shell.plan()
    })
    .unwrap();
    drop(write);
    // Only at its end once the child has closed its copy; a read that never returned would be the
    // defect.
    assert_eq!(
        support::output_within(&read, std::time::Duration::from_secs(20)),
        Some(String::new())
    );
    assert_eq!(pidfd::has_exited(spawned.pidfd.as_fd()), Ok(false));
    nix::unistd::write(&opener, b"g").unwrap();
    assert_eq!(end(&spawned), WaitStatus::Exited(spawned.pid, 0));
}

#[test]
fn privileges_can_be_renounced_without_a_change_of_user() {
    for asked in [false, true] {
        let shell = sh(
            "while read name value; do [ $name = NoNewPrivs: ] && echo $value; done < \
                /proc/$$/status >&7",
        );
        let (read, write) = pipe();
        let inherit = [(write.as_fd(), 7)];
        let spawned = spawn(&Plan {
            inherit: &inherit,
            no_new_privs: asked,
            ..shell.plan()
        })
        .unwrap();
        end(&spawned);
        drop(write);
        assert_eq!(output(read), if asked { "1\n" } else { "0\n" });
    }
}

#[test]
fn where_clone3_is_refused_the_older_call_does_it() {
    refuse(nix::libc::SYS_clone3, Errno::ENOSYS);
    let shell = sh("exit 7");
    let spawned = spawn(&shell.plan()).unwrap();
    assert_eq!(end(&spawned), WaitStatus::Exited(spawned.pid, 7));
    // A flag that the older call does not have is not left out.
    let refused = spawn(&Plan {
        clone_flags: CLONE_PIDFD_AUTOKILL,
        ..shell.plan()
    });
    assert_eq!(
        refused.unwrap_err().raw_os_error(),
        Some(Errno::ENOSYS as i32)
    );
}

#[test]
fn memory_is_never_shared_with_the_child() {
    let shell = sh("exit 0");
    for flag in [nix::libc::CLONE_VM, nix::libc::CLONE_FILES] {
        let refused = spawn(&Plan {
            clone_flags: flag.unsigned_abs().into(),
            ..shell.plan()
        });
        assert_eq!(
            refused.unwrap_err().raw_os_error(),
            Some(Errno::EINVAL as i32)
        );
    }
}

#[test]
fn the_tiny_init_holds_nothing_and_passes_the_status_on() {
    for refused in [false, true] {
        if refused {
            refuse(nix::libc::SYS_close_range, Errno::EPERM);
        }
        let (read, write) = pipe();
        let shell = sh("exec 7>&-; read line <&8; exit 5");
        let (hold, release) = pipe();
        let inherit = [(write.as_fd(), 7), (hold.as_fd(), 8)];
        let spawned = spawn(&Plan {
            inherit: &inherit,
            init: true,
            ..shell.plan()
        })
        .unwrap();
        drop(write);
        // The program has closed it, and the init never held it.
        assert_eq!(
            support::output_within(&read, std::time::Duration::from_secs(20)),
            Some(String::new())
        );
        drop(release);
        assert_eq!(end(&spawned), WaitStatus::Exited(spawned.pid, 5));
    }
}

#[test]
fn a_gate_holds_the_child_until_it_opens() {
    let shell = sh("exit 0");
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let spawned = spawn(&Plan {
        gate: Some(read.as_fd()),
        ..shell.plan()
    })
    .unwrap();
    assert_eq!(pidfd::has_exited(spawned.pidfd.as_fd()), Ok(false));
    nix::unistd::write(&write, b"g").unwrap();
    assert_eq!(end(&spawned), WaitStatus::Exited(spawned.pid, 0));
}

#[test]
fn an_environment_is_what_was_given() {
    let shell = sh("echo $GREETING >&7");
    let (read, write) = pipe();
    let envp = [CString::new("GREETING=hello").unwrap()];
    let inherit = [(write.as_fd(), 7)];
    let spawned = spawn(&Plan {
        envp: &envp,
        inherit: &inherit,
        ..shell.plan()
    })
    .unwrap();
    end(&spawned);
    drop(write);
    assert_eq!(output(read), "hello\n");
}
