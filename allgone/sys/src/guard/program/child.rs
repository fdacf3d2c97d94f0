//! A job's first process between fork and exec: a copy of the guard that becomes the program.
//!
//! As `spawn/child.rs` does it for a host, without a C library. It works on copies of the guard's
//! memory and descriptors, and tells the host directly what failed: through the report's pipe,
//! which closes by itself at exec.

use super::call::{self, Fd};
use super::oom::Spared;
use super::process;
use super::prompt::Prompt;
use super::raw::Errno;
use super::step::Step;
use super::wire::{self, Limit, Spawn};

/// A request to spawn, understood.
pub(crate) struct Request<'a> {
    spawn: Spawn,
    limits: &'a [u8],
    given: &'a [u8],
    text: &'a [u8],
    fds: &'a mut [Fd],
}

/// Where a descriptor is found in a request; see [`Spawn`].
pub(crate) const CHANNEL: usize = 0;
const REPORT: usize = 1;
pub(crate) const CGROUP: usize = 2;
const DIRECTORY: usize = 3;

impl<'a> Request<'a> {
    /// Reads it. `None`: it does not keep to the protocol.
    pub(crate) fn parse(bytes: &'a [u8], fds: &'a mut [Fd]) -> Option<Self> {
        let (spawn, rest) = wire::take::<Spawn>(bytes)?;
        let size = |count: u32, each: usize| usize::try_from(count).ok()?.checked_mul(each);
        let (limits, rest) = rest.split_at_checked(size(spawn.limits, size_of::<Limit>())?)?;
        let (given, text) = rest.split_at_checked(size(spawn.given, size_of::<i32>())?)?;
        let in_file = spawn.flags & wire::TEXT_FILE != 0;
        let length = usize::try_from(spawn.text).ok()?;
        let expected = wire::FIXED
            .checked_add(usize::from(in_file))?
            .checked_add(size(spawn.tasks, 1)?)?
            .checked_add(size(spawn.given, 1)?)?;
        let whole = if in_file {
            text.is_empty() && (1..=wire::TEXT_BYTES).contains(&length)
        } else {
            text.len() == length
        };
        (whole && fds.len() == expected).then_some(Self {
            spawn,
            limits,
            given,
            text,
            fds,
        })
    }

    pub(crate) fn fd(&self, place: usize) -> Fd {
        self.fds.get(place).copied().unwrap_or(-1)
    }

    /// The highest number of a descriptor.
    pub(crate) fn highest(&self) -> Fd {
        self.fds.iter().copied().max().unwrap_or(-1)
    }

    /// Whether the program's strings come in a file.
    fn in_file(&self) -> bool {
        self.spawn.flags & wire::TEXT_FILE != 0
    }

    /// Makes all steps; the last is exec. In the child only. `join`: it is not in its cgroup yet.
    /// `spared` and `prompt`: it has the guard's score adjustment and slice.
    pub(crate) fn run(mut self, join: bool, spared: Option<&Spared>, prompt: Option<&Prompt>) -> ! {
        let mut index = 0;
        let Err((step, errno)) = self.steps(join, spared, prompt, &mut index);
        let mut message = [step as u8; 9];
        message[1..5].copy_from_slice(&u32::to_ne_bytes(index));
        message[5..].copy_from_slice(&i32::to_ne_bytes(errno.0));
        // There is nobody else to tell.
        match call::write(self.fd(REPORT), &message) {
            Ok(_) | Err(_) => process::exit(127),
        }
    }

    fn steps(
        &mut self,
        join: bool,
        spared: Option<&Spared>,
        prompt: Option<&Prompt>,
        index: &mut u32,
    ) -> Result<core::convert::Infallible, (Step, Errno)> {
        let mut step = |kind: Step, done: Result<(), Errno>| {
            *index += 1;
            done.map_err(|errno| (kind, errno))
        };
        let spawn = self.spawn;
        let flag = |flag: u32| spawn.flags & flag != 0;
        // Nothing is handled in the guard, so this lets no handler run.
        step(Step::Signals, process::signal_mask(0))?;
        // Before it becomes another user, who may not.
        if let Some(spared) = spared {
            step(Step::OomScore, spared.give_back())?;
        }
        if let Some(prompt) = prompt {
            step(Step::Slice, prompt.give_back())?;
        }
        if join {
            step(Step::JoinCgroup, enter(self.fd(CGROUP)))?;
        }
        let tasks = wire::FIXED + usize::from(self.in_file());
        let first_given = tasks + spawn.tasks as usize;
        for place in tasks..first_given {
            step(Step::Tasks, call::write(self.fd(place), b"0").map(|_| ()))?;
        }
        if flag(wire::SESSION) {
            step(Step::Session, process::new_session())?;
        } else if flag(wire::GROUP) {
            step(Step::Group, process::new_group())?;
        }
        step(Step::Dir, process::change_dir(self.fd(DIRECTORY)))?;
        let text = step_value(Step::Exec, self.text_in_memory())?;
        step(Step::Descriptors, self.place(first_given))?;
        step(Step::CloseOthers, self.close_others())?;
        // Only now: a limit on descriptors might be below the numbers that were in use.
        step(Step::Rlimit, self.set_limits())?;
        if flag(wire::UMASK) {
            process::set_umask(spawn.umask);
        }
        if flag(wire::CREDENTIALS) {
            step(
                Step::Credentials,
                process::become_user(spawn.uid, spawn.gid),
            )?;
        }
        // As the user that it has become: whether it may.
        let (dir, text) = match wire::strings(text, u32::from(flag(wire::DIRECTORY))) {
            Some(split) => split,
            None => return Err((Step::Dir, Errno::BADMSG)),
        };
        if let Ok(dir) = core::ffi::CStr::from_bytes_until_nul(dir) {
            step(Step::Dir, process::change_dir_to(dir))?;
        }
        if flag(wire::CREDENTIALS | wire::NO_NEW_PRIVS) {
            step(Step::NoNewPrivs, process::no_new_privs())?;
        }
        step(Step::Exec, Err(execute(&spawn, text)))?;
        Err((Step::Exec, Errno::INVAL))
    }

    /// The strings, wherever they came.
    fn text_in_memory(&self) -> Result<&'a [u8], Errno> {
        if !self.in_file() {
            return Ok(self.text);
        }
        let length = self.spawn.text as usize;
        let at = call::view(self.fd(wire::FIXED), length)?;
        // SAFETY: a private view of that many bytes, which nothing unmaps. The host has sealed the
        // file, so it does not become shorter.
        Ok(unsafe { core::slice::from_raw_parts(at as *const u8, length) })
    }

    fn targets(&self) -> impl Iterator<Item = Fd> + 'a {
        let given: &'a [u8] = self.given;
        given
            .chunks_exact(size_of::<i32>())
            .filter_map(|number| wire::take::<i32>(number).map(|(number, _)| number))
    }

    fn is_target(&self, fd: Fd) -> bool {
        self.targets().any(|target| target == fd)
    }

    /// Gives the program its descriptors. What is needed still, and has a number that is given
    /// away, is copied out of the way first.
    fn place(&mut self, first_given: usize) -> Result<(), Errno> {
        for place in [REPORT].into_iter().chain(first_given..self.fds.len()) {
            let fd = self.fd(place);
            if self.is_target(fd) {
                let copy = self.copy_beside(fd)?;
                if let Some(slot) = self.fds.get_mut(place) {
                    *slot = copy;
                }
            }
        }
        for (place, target) in (first_given..).zip(self.targets()) {
            call::copy_to(self.fd(place), target)?;
        }
        Ok(())
    }

    fn copy_beside(&self, fd: Fd) -> Result<Fd, Errno> {
        let mut least = 0;
        loop {
            let copy = call::copy_above(fd, least)?;
            if !self.is_target(copy) {
                return Ok(copy);
            }
            call::close(copy);
            least = copy + 1;
        }
    }

    /// Closes all but the report and what the program was given: at once, so that no other job's
    /// channel is held by a process that takes its time, and whether it closes by itself or not.
    fn close_others(&self) -> Result<(), Errno> {
        let mut first = 0u32;
        loop {
            // The next number from `first` that is to stay.
            let kept = self.targets().chain([self.fd(REPORT)]);
            let kept = kept.filter_map(|fd| u32::try_from(fd).ok());
            let Some(next) = kept.filter(|fd| *fd >= first).min() else {
                break;
            };
            if first < next {
                closing(call::close_range(first, next - 1))?;
            }
            first = next + 1;
        }
        closing(call::close_range(first, u32::MAX))
    }

    fn set_limits(&self) -> Result<(), Errno> {
        let mut rest = self.limits;
        while let Some((limit, next)) = wire::take::<Limit>(rest) {
            process::limit(limit.resource, Some([limit.soft, limit.hard]))?;
            rest = next;
        }
        Ok(())
    }
}

/// A kernel before 5.9, or a seccomp policy, may refuse it; all that the guard has closes at exec.
fn closing(done: Result<(), Errno>) -> Result<(), Errno> {
    match done {
        Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        other => other,
    }
}

fn step_value<T>(step: Step, value: Result<T, Errno>) -> Result<T, (Step, Errno)> {
    value.map_err(|errno| (step, errno))
}

fn enter(cgroup: Fd) -> Result<(), Errno> {
    let procs = call::open(cgroup, c"cgroup.procs", call::WRITE_ONLY)?;
    call::write(procs, b"0").map(|_| ())
}

/// Tries the paths as execvp(3) does: what is not there, or may not be executed, is followed by the
/// next one. Returns only if none could be executed.
fn execute(spawn: &Spawn, text: &[u8]) -> Errno {
    let Some((paths, rest)) = wire::strings(text, spawn.paths) else {
        return Errno::BADMSG;
    };
    let Ok((argv, envp)) = pointers(spawn, rest) else {
        return Errno::BADMSG;
    };
    let mut answer = Errno::NOENT;
    for path in paths.split_inclusive(|byte| *byte == 0) {
        // SAFETY: a string with its zero byte, and two arrays of such that end in null.
        match unsafe { process::execute(path.as_ptr() as usize, argv, envp) } {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCES => answer = Errno::ACCES,
            other => return other,
        }
    }
    answer
}

/// The addresses of two arrays, of the arguments' and of the environment's addresses.
fn pointers(spawn: &Spawn, text: &[u8]) -> Result<(usize, usize), Errno> {
    let counts = spawn.args.checked_add(spawn.envs).ok_or(Errno::TOO_BIG)?;
    let slots = (counts as usize).checked_add(2).ok_or(Errno::TOO_BIG)?;
    let bytes = slots
        .checked_mul(size_of::<usize>())
        .ok_or(Errno::TOO_BIG)?;
    let at = call::memory(bytes)?;
    // SAFETY: that many zeroed words, which are this function's alone until exec.
    let room = unsafe { core::slice::from_raw_parts_mut(at as *mut usize, slots) };
    let args = spawn.args as usize;
    let mut strings = text.split_inclusive(|byte| *byte == 0);
    // One slot stays zero behind each of both.
    for (slot, room) in room.iter_mut().enumerate() {
        if slot != args && slot != slots - 1 {
            let string = strings.next().filter(|string| string.ends_with(&[0]));
            *room = string.ok_or(Errno::BADMSG)?.as_ptr() as usize;
        }
    }
    Ok((at, at + (args + 1) * size_of::<usize>()))
}
