//! Messages by which a kernel reports a fault, or says that it no longer looks for any.
//!
//! The second kind matters as much as the first: lockdep and its like say once that they turn
//! themselves off, and a machine that goes on after that has been checked by nothing.

/// A message by which a kernel reports a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it is called in messages.
    pub kind: &'static str,
    /// The console around it.
    pub excerpt: String,
}

/// What lockdep is called once it has turned itself off.
const LOCKDEP_OFF: &str = "lockdep turned itself off";

/// What the console prints, and what that is; the first that matches a line gives the name. Special
/// patterns come before general ones.
const FAULTS: [(&str, &str); 36] = [
    ("Kernel panic - not syncing", "panic"),
    ("KASAN: ", "KASAN report"),
    ("KCSAN: ", "KCSAN report"),
    ("KMSAN: ", "KMSAN report"),
    ("KFENCE: ", "KFENCE report"),
    ("UBSAN: ", "UBSAN report"),
    ("ODEBUG: ", "object debugging report"),
    // kernel/locking/lockdep.c. Each of these has set debug_locks to 0.
    ("trying to register non-static key", LOCKDEP_OFF),
    ("turning off the locking correctness validator", LOCKDEP_OFF),
    ("lockdep is turned off", LOCKDEP_OFF),
    ("looking up invalid subclass", LOCKDEP_OFF),
    ("BUG: MAX_LOCKDEP_", LOCKDEP_OFF),
    ("BUG: MAX_LOCK_DEPTH too low", LOCKDEP_OFF),
    ("BUG: MAX_STACK_TRACE_ENTRIES too low", LOCKDEP_OFF),
    ("possible circular locking dependency", "lockdep report"),
    ("possible recursive locking", "lockdep report"),
    ("possible irq lock inversion", "lockdep report"),
    ("inconsistent lock state", "lockdep report"),
    ("bad unlock balance", "lockdep report"),
    ("held lock freed", "lockdep report"),
    ("still held when returning to user space", "lockdep report"),
    ("Invalid wait context", "lockdep report"),
    // kernel/locking/spinlock_debug.c and mutex-debug.c: the magic, the owner, the CPU.
    ("bad magic", "lock debugging report"),
    ("already unlocked on CPU", "lock debugging report"),
    ("wrong owner on CPU", "lock debugging report"),
    ("suspicious RCU usage", "RCU usage report"),
    ("detected stalls on ", "RCU stall"),
    ("detected expedited stalls on ", "RCU stall"),
    ("self-detected stall on CPU", "RCU stall"),
    (
        "sleeping function called from invalid context",
        "sleep in atomic context",
    ),
    ("blocked for more than", "hung task"),
    ("soft lockup", "soft lockup"),
    ("hard LOCKUP", "hard lockup"),
    (
        "Slab disabled since SLUB metadata consistency check failed",
        "SLUB turned a cache's checks off",
    ),
    ("BUG: ", "oops"),
    ("WARNING: ", "kernel warning"),
];

/// Faults with common words: they must be at the start of a message.
const STARTS: [(&str, &str); 9] = [
    ("Oops:", "oops"),
    ("general protection fault", "oops"),
    ("kernel BUG at", "oops"),
    // mm/slub.c: "BUG kmalloc-64 (Not tainted): Poison overwritten".
    ("BUG ", "SLUB report"),
    // mm/kmemleak.c.
    ("kmemleak: Kmemleak disabled", "kmemleak turned itself off"),
    (
        "kmemleak: Kernel memory leak detector disabled",
        "kmemleak turned itself off",
    ),
    ("kmemleak: Memory pool empty", "kmemleak turned itself off"),
    ("kmemleak: Cannot insert", "kmemleak turned itself off"),
    // kernel/dma/debug.c.
    (
        "DMA-API: debugging out of memory - disabling",
        "DMA debugging turned itself off",
    ),
];

/// Lines of the console shown before and after a fault.
const BEFORE: usize = 3;
/// See [`BEFORE`].
pub(super) const AFTER: usize = 30;

/// The message of a console line, without its time stamp `[    1.234567] `.
fn message(line: &str) -> &str {
    match line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((stamp, text))
            if stamp
                .chars()
                .all(|c| c.is_ascii_digit() || " .T:C[]".contains(c)) =>
        {
            text
        }
        _ => line,
    }
}

/// What kind of fault a line of the console reports, if any.
#[must_use]
pub fn fault_in(line: &str) -> Option<&'static str> {
    let text = message(line);
    // A leak that is suspected; what it says of itself otherwise is information.
    if text.starts_with("kmemleak: ") && text.contains("new suspected memory leaks") {
        return Some("kmemleak report");
    }
    let starts = STARTS.iter().filter(|(words, _)| text.starts_with(words));
    let contains = FAULTS.iter().filter(|(words, _)| text.contains(words));
    starts.chain(contains).map(|(_, kind)| *kind).next()
}

/// The first fault of a console, the panic before all others, since it is why the machine ended.
#[must_use]
pub fn first_fault(console: &str) -> Option<Fault> {
    let lines: Vec<&str> = console.lines().collect();
    let found: Vec<(usize, &'static str)> = lines
        .iter()
        .enumerate()
        .filter_map(|(i, line)| Some((i, fault_in(line)?)))
        .collect();
    let (at, kind) = *found.first()?;
    let kind = found
        .iter()
        .map(|(_, kind)| *kind)
        .find(|kind| *kind == "panic")
        .unwrap_or(kind);
    let excerpt = lines[at.saturating_sub(BEFORE)..lines.len().min(at + AFTER)].join("\n");
    Some(Fault { kind, excerpt })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Consoles as kernels printed them (`fixtures/consoles`), and what the first fault in each is.
    const RECORDED: [(&str, &str, Option<&str>); 2] = [
        (
            "a lock that was never initialised",
            include_str!("../../fixtures/consoles/non-static-key.txt"),
            Some(LOCKDEP_OFF),
        ),
        (
            "a debug kernel's clean boot",
            include_str!("../../fixtures/consoles/clean-debug-boot.txt"),
            None,
        ),
    ];

    #[test]
    fn recorded_consoles_are_judged() {
        for (name, console, kind) in RECORDED {
            assert_eq!(first_fault(console).map(|f| f.kind), kind, "{name}");
        }
    }

    #[test]
    fn a_checker_that_turns_itself_off_is_a_fault() {
        for (line, kind) in [
            (
                "[   12.340000] INFO: trying to register non-static key.",
                LOCKDEP_OFF,
            ),
            (
                "[   12.340000] turning off the locking correctness validator.",
                LOCKDEP_OFF,
            ),
            ("[   12.340000] INFO: lockdep is turned off.", LOCKDEP_OFF),
            (
                "[   12.340000][    T1] BUG: MAX_LOCKDEP_ENTRIES too low!",
                LOCKDEP_OFF,
            ),
            ("[    1.2] BUG: MAX_LOCKDEP_KEYS too low!", LOCKDEP_OFF),
            ("[    1.2] BUG: MAX_LOCKDEP_CHAINS too low!", LOCKDEP_OFF),
            ("[    1.2] BUG: MAX_LOCK_DEPTH too low!", LOCKDEP_OFF),
            (
                "[    1.2] BUG: MAX_STACK_TRACE_ENTRIES too low!",
                LOCKDEP_OFF,
            ),
            ("[    1.2] BUG: looking up invalid subclass: 8", LOCKDEP_OFF),
            (
                "[    1.2] kmemleak: Kernel memory leak detector disabled",
                "kmemleak turned itself off",
            ),
            (
                "[    1.2] kmemleak: Memory pool empty, consider increasing \
                    CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE",
                "kmemleak turned itself off",
            ),
            (
                "[    1.2] ODEBUG: Out of memory. ODEBUG disabled",
                "object debugging report",
            ),
            (
                "[    1.2] BUG kmalloc-64 (Not tainted): Slab disabled since SLUB metadata \
                    consistency check failed",
                "SLUB report",
            ),
            (
                "[    1.2] DMA-API: debugging out of memory - disabling",
                "DMA debugging turned itself off",
            ),
        ] {
            assert_eq!(fault_in(line), Some(kind), "{line}");
        }
    }

    #[test]
    fn faults_are_found_and_named() {
        for (line, kind) in [
            (
                "[    0.912345] Kernel panic - not syncing: VFS: Unable to mount root fs",
                "panic",
            ),
            (
                "[    1.000000] BUG: kernel NULL pointer dereference, address: 0",
                "oops",
            ),
            ("[    1.000000][   T12] Oops: 0002 [#1] PREEMPT SMP", "oops"),
            (
                "[    1.000000] WARNING: possible circular locking dependency detected",
                "lockdep report",
            ),
            (
                "[    1.000000] WARNING: bad unlock balance detected!",
                "lockdep report",
            ),
            (
                "[    1.000000] BUG: spinlock bad magic on CPU#0, sh/41",
                "lock debugging report",
            ),
            (
                "[    1.000000] BUG: rwlock bad magic on CPU#1, swapper/1/0, 0000000061a2b000",
                "lock debugging report",
            ),
            (
                "[    1.000000] BUG: spinlock already unlocked on CPU#1, kworker/1:1/30",
                "lock debugging report",
            ),
            (
                "[    1.000000] WARNING: suspicious RCU usage",
                "RCU usage report",
            ),
            (
                "[    1.000000] BUG: KASAN: slab-use-after-free in cgroup_kill",
                "KASAN report",
            ),
            (
                "[    1.000000] BUG: KCSAN: data-race in cgroup_file_notify / cgroup_rm_file",
                "KCSAN report",
            ),
            (
                "[    1.000000] ODEBUG: init active (active state 0) object: 0000000061a2b000 \
                    object type: timer_list hint: cgroup_file_notify_timer+0x0/0x10",
                "object debugging report",
            ),
            (
                "[   81.0] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
                "kmemleak report",
            ),
            (
                "[   21.000000] BUG kmalloc-64 (Not tainted): Poison overwritten",
                "SLUB report",
            ),
            (
                "[   21.000000] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
                "RCU stall",
            ),
            (
                "[   21.0] rcu: INFO: rcu_preempt detected expedited stalls on CPUs: { 1-... }",
                "RCU stall",
            ),
            (
                "[    1.000000] BUG: sleeping function called from invalid context at x.c:1",
                "sleep in atomic context",
            ),
            (
                "[  121.000000] INFO: task a:1 blocked for more than 120 seconds.",
                "hung task",
            ),
            (
                "[    1.000000] WARNING: CPU: 0 PID: 1 at kernel/x.c:1 x+0x1/0x2",
                "kernel warning",
            ),
        ] {
            assert_eq!(fault_in(line), Some(kind), "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_no_faults() {
        for line in [
            "[    0.000000] Linux version 7.3-rc7",
            "[    0.5] Spectre V2 : Mitigation",
            "[    0.6] BUG_ON is compiled in",
            "[    0.7] printk: console [ttyS0] enabled",
            "[    0.1] kmemleak: Kernel memory leak detector initialized (mem pool: 15679)",
            "[    0.1] kasan: KernelAddressSanitizer initialized (generic)",
            "[    0.1] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
            "[    0.1] ... MAX_LOCKDEP_ENTRIES:     32768",
            "[    0.1]  memory used by lock dependency info: 6429 kB",
        ] {
            assert_eq!(fault_in(line), None, "{line}");
        }
    }

    #[test]
    fn a_panic_gives_the_name_and_the_first_fault_the_excerpt() {
        let console = "a\n\
            b\n\
            c\n\
            d\n\
            [ 1.0] BUG: kernel NULL pointer dereference\n\
            RIP: x\n\
            [ 1.1] Kernel panic - not syncing: Fatal\n";
        let fault = first_fault(console).unwrap();
        assert_eq!(fault.kind, "panic");
        assert!(
            fault.excerpt.starts_with("b\n") && fault.excerpt.contains("NULL pointer"),
            "{}",
            fault.excerpt
        );
    }
}
