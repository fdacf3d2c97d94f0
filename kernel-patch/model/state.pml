/*
 * SPDX-License-Identifier: GPL-2.0
 *
 * The state that is shared, and the machine: time, stores that become visible late, wake-ups that
 * have another reason.
 */

/* The watchers' kinds. */
#define NONE		0	/* watches nothing */
#define POLL		1	/* poll(2) on the open file */
#define EXCLUSIVE	2	/* epoll with EPOLLEXCLUSIVE on the open file */
#define INOTIFY_OPEN	3	/* inotify; keeps the file open and reads through that */
#define INOTIFY_PATH	4	/* inotify; opens the file for each read */
#ifndef W0
#define W0		POLL
#endif
#ifndef W1
#define W1		NONE
#endif

#define INOTIFY(kind)	((kind) == INOTIFY_OPEN || (kind) == INOTIFY_PATH)
#if W0 == POLL || W1 == POLL
#define POLLERS
#endif
#if defined(POLLERS) || W0 == EXCLUSIVE || W1 == EXCLUSIVE
#define WAKES		/* something can be on the wait queue */
#endif
#if INOTIFY(W0) || INOTIFY(W1)
#define INOTIFIERS
#endif

#ifdef PROP_ALL
#define PROP_LOST
#define PROP_TIMER
#define PROP_BOUND
#define PROP_LIVE
#endif

/* cgroup: cgroup_mutex, css_set_lock, !CSS_ONLINE */
bit cgroup_mutex, css_set_lock, dead;
byte live;			/* tasks with signal->live, which rmdir(2) sees */
byte tasks;			/* tasks on the css_set's list */
bit populated;			/* nr_populated_csets */
bit populated_late, populated_next;	/* a store to it that isn't visible yet */

/*
 * struct cgroup_file of cgroup.events, with its timer. Time is in bits: "recent" means that
 * time_in_range(jiffies, last, last + CGROUP_FILE_NOTIFY_MIN_INTV) holds. An interval may end, and a
 * timer fire, at any moment after it began.
 */
#ifdef NO_FILE			/* a hierarchy of version 1 */
bit file = 0, lock_initialised = 0;
#else
bit file = 1, lock_initialised = 1;	/* cfile->kn is set */
#endif
bit notified_recently;		/* cfile->notified_at */
bit depopulated_recently;	/* cgrp->depopulated_at of patch 8 */
bit timer_pending, timer_running;

/* The kernfs node: active references, the open node, the list of the work item */
byte actives;
bit deactivated, drain_woken;
byte opens;			/* open files: attr.open is set while there are any */
bit changed[2];			/* of->event != on->event, for each watcher's open file */
bit event_late[3];		/* an atomic_inc(&on->event) that isn't visible yet, by context */
bit notify_queued, working;	/* attr.notify_next and the work; kernfs_notify_workfn() runs */

/* Where a notification comes from */
#define JOB		0	/* a task that enters or is dead; css_set_lock is held */
#define SOFTIRQ		1	/* the timer's function */
#define OWNER		2	/* rmdir(2) */

/* What the caller of cgroup_file_notify() does next, in the step in which that ends */
#define GOES_ON		0
#define ENDS_TIMER	1
#define ENTERED		2
#define LEFT		3
#define FINISH(next)							\
	if								\
	:: next == GOES_ON						\
	:: next == ENDS_TIMER -> timer_running = 0			\
	:: next == ENTERED -> tasks++; css_set_lock = 0; cgroup_mutex = 0; FLUSH_POPULATED	\
	:: next == LEFT -> jobs_done++; css_set_lock = 0; FLUSH_POPULATED	\
	fi

/* Wait queue on->poll and its sleepers; `asleep` is the task's state, TASK_INTERRUPTIBLE */
bit wq_lock, on_queue[2], triggered[2], asleep[2];
bit ep_ready[2], ep_asleep[2];

/* inotify: a mark on the inode, an event in the group's queue */
bit watch[2], queued[2];

/* What a watcher has read last: 0 or 1 ("populated"), or ENODEV */
#define REMOVED		2
#define UNREAD		3
byte view[2] = UNREAD;
bit blocked[2];			/* it is in schedule() */
bit done[2];
byte jobs_started, jobs_done;
bit owner_done;

/* References on the node, where they are counted: that of the tree to begin with */
#ifdef PROP_MEMORY
byte count = 1;
#define GET		count++
#define PUT		count--
#define VALID(what)	assert(what)
#else
#define GET		skip
#define PUT		skip
#define VALID(what)	skip
#endif

/* A step of the outside world, for `lab model --steps` and lab-probe replay */
#define STEP(text, n)		printf(text, n); printf("\n")
#define STEP2(text, n, m)	printf(text, n, m); printf("\n")

/* An inotify watcher never looks at of->event, so a value of it would only make more states. */
#if W0 == POLL || W0 == EXCLUSIVE
#define INCREMENT_0	changed[0] = 1
#else
#define INCREMENT_0	skip
#endif
#if W1 == POLL || W1 == EXCLUSIVE
#define INCREMENT_1	changed[1] = 1
#else
#define INCREMENT_1	skip
#endif
#define INCREMENT	INCREMENT_0; INCREMENT_1

#ifdef RELAXED_ATOMIC
/* atomic_inc() orders nothing (so on arm64): visible at the latest after a barrier or an unlock */
#define ATOMIC_INC(me)	event_late[me] = 1
#define FLUSH(me)	if :: event_late[me] -> event_late[me] = 0; INCREMENT :: else fi
#else
#define ATOMIC_INC(me)	INCREMENT
#define FLUSH(me)	skip
#endif
#ifdef NO_MB_POPULATED
#define FLUSH_POPULATED	if :: populated_late -> populated = populated_next; populated_late = 0 :: else fi
#else
#define FLUSH_POPULATED	skip
#endif

active proctype Machine()
{
end:	do
	/* depopulated_at isn't later than notified_at. */
	:: d_step { notified_recently -> notified_recently = 0; depopulated_recently = 0 }
#if defined(PATCH8) || defined(PROP_LATE)
	:: d_step { depopulated_recently -> depopulated_recently = 0 }
#endif
#ifdef RELAXED_ATOMIC
	:: d_step { event_late[JOB] -> FLUSH(JOB) }
	:: d_step { event_late[SOFTIRQ] -> FLUSH(SOFTIRQ) }
	:: d_step { event_late[OWNER] -> FLUSH(OWNER) }
#endif
#ifdef NO_MB_POPULATED
	:: d_step { populated_late -> FLUSH_POPULATED }
#endif
#ifdef SPURIOUS
#if W0 == POLL
	:: d_step { asleep[0] && !triggered[0] -> asleep[0] = 0 }
#endif
#if W1 == POLL
	:: d_step { asleep[1] && !triggered[1] -> asleep[1] = 0 }
#endif
#endif
	od
}
