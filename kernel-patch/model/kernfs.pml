/*
 * SPDX-License-Identifier: GPL-2.0
 *
 * fs/kernfs: active references, kernfs_notify() with its work item, and the wait queue of pollers.
 */

/* kernfs_get_active(), dir.c:462 */
#define GET_ACTIVE(label)	atomic { if :: deactivated -> goto label :: else -> actives++ fi }

/* kernfs_put_active(), dir.c:482, with wake_up_all(&root->deactivate_waitq) */
#ifndef NO_WAKE_DRAINER
#define PUT_ACTIVE	actives--; if :: deactivated && !actives -> drain_woken = 1 :: else fi
#else
#define PUT_ACTIVE	actives--
#endif

/*
 * wake_up_interruptible(), or with `all` wake_up_interruptible_all(): sched/wait.c:119 and 93. What
 * it does to one watcher doesn't depend on the other one, so both are in one step.
 */

/* pollwake() -> __pollwake(), select.c:182: triggered */
#define POLLWAKE(k)	if :: on_queue[k] -> triggered[k] = 1 :: else fi
/* try_to_wake_up(), sched/core.c:4315: smp_mb__after_spinlock(), then the state */
#define TTWU(k)		if :: on_queue[k] -> asleep[k] = 0 :: else fi
/* The same without that barrier: the state is read before `triggered` is visible. */
#define TTWU_EARLY(k)	slept[k] = on_queue[k] && asleep[k]
#define TTWU_LATE(k)	if :: slept[k] -> asleep[k] = 0; slept[k] = 0 :: else fi

/*
 * ep_poll_callback() of an exclusive entry, eventpoll.c: it counts as woken only if a task slept in
 * epoll_wait(2), and then the walk ends (wait.c:112). epoll's own locks are taken as right.
 */
#define EP_CALLBACK(k, all)						\
	if								\
	:: on_queue[k] && !stop -> ep_ready[k] = 1;			\
		if							\
		:: ep_asleep[k] -> ep_asleep[k] = 0; stop = !(all)	\
		:: else							\
		fi							\
	:: else								\
	fi

#if W0 == EXCLUSIVE && W1 == EXCLUSIVE
/* Two exclusive entries stand in the queue in any order. */
#define WAKE_EXCLUSIVE(all)						\
	if								\
	:: true -> EP_CALLBACK(0, all); EP_CALLBACK(1, all); stop = 0	\
	:: true -> EP_CALLBACK(1, all); EP_CALLBACK(0, all); stop = 0	\
	fi
#elif W0 == EXCLUSIVE
#define WAKE_EXCLUSIVE(all)	EP_CALLBACK(0, all); stop = 0
#elif W1 == EXCLUSIVE
#define WAKE_EXCLUSIVE(all)	EP_CALLBACK(1, all); stop = 0
#else
#define WAKE_EXCLUSIVE(all)	skip
#endif

#if W0 == POLL && W1 == POLL
#define EACH_POLLER(what)	what(0); what(1)
#elif W0 == POLL
#define EACH_POLLER(what)	what(0)
#elif W1 == POLL
#define EACH_POLLER(what)	what(1)
#else
#define EACH_POLLER(what)	skip
#endif

#ifdef COARSE			/* one step: nothing happens between a wake-up's parts */
#define WAKE_AT_ONCE(all)	EACH_POLLER(POLLWAKE); EACH_POLLER(TTWU); WAKE_EXCLUSIVE(all)
#endif

#ifdef WAKES
inline wake_up(me, all) {
#ifdef POLLERS
#ifdef NO_WMB_POLLWAKE
	atomic { !wq_lock -> wq_lock = 1;
#else
	atomic { !wq_lock -> wq_lock = 1;	/* smp_wmb(), select.c:194 */
		if :: on_queue[0] || on_queue[1] -> FLUSH(me) :: else fi;
#endif
#ifdef NO_MB_TTWU
		EACH_POLLER(TTWU_EARLY)
	}
	d_step { EACH_POLLER(POLLWAKE) }
	d_step { EACH_POLLER(TTWU_LATE); wq_lock = 0; FLUSH(me) }
#else
		EACH_POLLER(POLLWAKE)
	}
#ifdef NO_TTWU
	d_step { wq_lock = 0; FLUSH(me) }
#else
	d_step { EACH_POLLER(TTWU); wq_lock = 0; FLUSH(me) }
#endif
#endif
#endif
#if W0 == EXCLUSIVE || W1 == EXCLUSIVE
	atomic { WAKE_EXCLUSIVE(all) }
#endif
}

/* A waker that looks at the queue without its lock: waitqueue_active(). */
inline wake_up_if_active(me, all) {
#ifdef MB_WAKER
	d_step { FLUSH(me) }
#endif
	if
	:: atomic { on_queue[0] || on_queue[1] -> skip }
	   wake_up(me, all)
	:: d_step { else -> skip }
	fi
}
#endif

/*
 * kernfs_notify(), file.c:978: the increment of on->event, file.c:991, then the wake-up, then the
 * work. `next` says what its caller does then, in the same step.
 */
#define NOTIFY_EVENT(me)						\
	VALID(count);							\
	if :: opens -> ATOMIC_INC(me) :: else fi
#if defined(NO_EVENT_NOTIFY) || defined(WAKE_BEFORE_EVENT)
#undef NOTIFY_EVENT
#define NOTIFY_EVENT(me)	skip
#endif

inline kernfs_notify(me, next) {
#if defined(COARSE)
	atomic { WAKE_AT_ONCE(0);
#else
#if defined(WAKES) && defined(WAITQUEUE_ACTIVE)
	wake_up_if_active(me, 0);
#elif defined(WAKES) && !defined(NO_WAKE_NOTIFY)
	wake_up(me, 0);				/* file.c:992 */
#endif
	atomic {				/* kernfs_notify_lock, file.c:997 */
#endif
		FLUSH(me);
#ifdef WAKE_BEFORE_EVENT
		INCREMENT;
#endif
#if defined(INOTIFIERS) && !defined(NO_WORK)
		if
		:: !notify_queued ->
#ifndef NO_QUEUE_REFERENCE
			GET;			/* kernfs_get(), file.c:999 */
#endif
			notify_queued = 1
		:: else
		fi;
#endif
#ifdef PROP_MEMORY
	}
	atomic { PUT;				/* the caller's reference */
#endif
		FINISH(next)
	}
}

#ifdef INOTIFIERS
/* kernfs_notify_workfn(), file.c:905; fsnotify() to the inode, its directory, its superblock */
active proctype Work()
{
end:	do
	:: d_step { notify_queued -> working = 1;
		VALID(count);
#ifndef LATE_DEQUEUE
		notify_queued = 0;		/* file.c:919 */
#endif
#ifndef COARSE
		skip
	   }
#endif
#ifdef LATE_DEQUEUE
	   d_step {
		if :: watch[0] -> queued[0] = 1 :: else fi;
		if :: watch[1] -> queued[1] = 1 :: else fi
	   }
#endif
#ifndef COARSE
	   d_step {				/* file.c:940-967 */
#endif
#ifdef LATE_DEQUEUE
		notify_queued = 0;
#else
		if :: watch[0] -> queued[0] = 1 :: else fi;
		if :: watch[1] -> queued[1] = 1 :: else fi;
#endif
#ifndef NO_QUEUE_REFERENCE
		PUT;				/* file.c:967 */
#endif
		working = 0
	   }
	od
}
#endif
