/*
 * SPDX-License-Identifier: GPL-2.0
 *
 * Who is told that a cgroup became empty, and that it is removed: process exit, "populated",
 * cgroup_file_notify() with its rate limit, kernfs_notify() with its work item, rmdir, drain,
 * poll(2), epoll and inotify. Two jobs, two watchers, one owner that removes.
 *
 * Lines are those of linux-source-7.3 7.3~rc7-1~exp1. README.md says what is left out, and which
 * patch each switch stands for. Switches: PATCH1, PATCH5, PATCH6, PATCH8 (none: the base); W0 and
 * W1, the watchers' kinds; PROP_*, what is asserted; and what `lab model` takes away.
 *
 * Memory: a store that is followed by a full barrier is one step. Where a barrier is taken away, or
 * the kernel has none, the store becomes visible at any time up to the next barrier or unlock. Loads
 * are in order, but for LOADS_REORDERED.
 */
#include "state.pml"
#include "kernfs.pml"
#include "cgroup.pml"
#include "watchers.pml"

#define IDLE(i, kind)	(done[i] || (blocked[i] && !queued[i] &&			\
			 (asleep[i] || ep_asleep[i] || INOTIFY(kind))))
/* Nothing will happen any more. */
#define QUIET		(jobs_done == 2 && owner_done && !timer_pending && !timer_running &&	\
			 !notify_queued && !working && !populated_late && !event_late[JOB] &&	\
			 !event_late[SOFTIRQ] && !event_late[OWNER] && IDLE(0, W0) && IDLE(1, W1))
/* What a read would say now. */
#define NOW		(deactivated -> REMOVED : populated)
#define KNOWS(i)	(view[i] == NOW || view[i] == UNREAD)

#define START(i, kind)							\
	if								\
	:: kind == NONE -> done[i] = 1					\
	:: kind == POLL -> run Poller(i)				\
	:: kind == EXCLUSIVE -> run Epoller(i)				\
	:: kind == INOTIFY_OPEN || kind == INOTIFY_PATH ->		\
		run Inotify(i, kind == INOTIFY_OPEN)			\
	fi

init
{
	atomic { START(0, W0); START(1, W1); run Job(0); run Job(1) }
#ifdef PROP_TIMER
	/* No timer of a file that may be freed: its css goes after the tasks, and a grace period. */
	atomic { jobs_done == 2 && owner_done && !timer_running ->
		assert(!deactivated || !timer_pending) }
#endif
end:	atomic {
		QUIET -> skip;
#ifdef PROP_END
		/* The worst kind: it sleeps, and believes that a job runs. */
		assert((view[0] != 1 && view[1] != 1) || NOW == 1);
#endif
#ifdef REACHES_REMOVED
		assert(!deactivated || view[0] != REMOVED);
#endif
#ifdef REACHES_EMPTY
		assert(deactivated || view[0] != 0);
#endif
#ifdef PROP_LOST
#if W0 == EXCLUSIVE && W1 == EXCLUSIVE
		/* Of two exclusive entries one is told; of the removal both. */
		assert(deactivated -> KNOWS(0) && KNOWS(1) : KNOWS(0) || KNOWS(1))
#else
		assert(KNOWS(0) && KNOWS(1))
#endif
#endif
	}
}
