/*
 * SPDX-License-Identifier: GPL-2.0
 *
 * kernel/cgroup/cgroup.c: the rate limit, tasks that enter and end, and removal.
 */

/* What the inlines below and kernfs.pml use. */
#ifdef NO_MB_TTWU
#define LOCALS_TTWU	bit slept[2];
#else
#define LOCALS_TTWU
#endif
#if W0 == EXCLUSIVE || W1 == EXCLUSIVE
#define LOCALS_WAKE	bit stop;
#else
#define LOCALS_WAKE
#endif
#ifdef PROP_LATE
#define LOCALS		LOCALS_TTWU LOCALS_WAKE bit told, first;
#else
#define LOCALS		LOCALS_TTWU LOCALS_WAKE
#endif

/*
 * From the lock on, cgroup.c:4803-4814; with patch 8 this is __cgroup_file_notify(). The increment of
 * on->event is in the same step, but where references are counted: that the owner goes on in between
 * would make the event come after the removal. kernfs_put() is in kernfs_notify() here.
 */
inline notify_now(me, next) {
	if
	:: atomic { file ->			/* cfile->lock */
		VALID(lock_initialised);
		notified_recently = 1; GET;
#ifdef PROP_LATE
		told = 1;
#endif
#ifdef PROP_MEMORY
	   }
	   atomic {
#endif
		NOTIFY_EVENT(me)
	   }
	   kernfs_notify(me, next)
	:: atomic { else ->
		VALID(lock_initialised);
#ifdef NO_RECHECK
		VALID(file);			/* kernfs_get(NULL), kernfs_notify(NULL) */
#endif
		FINISH(next)
	   }
	fi
}

/*
 * cgroup_file_notify(), cgroup.c:4787, after it has seen a file, cgroup.c:4792. notified_at is read
 * in the step that looks at the timer: a value that is older would only notify at once. With patch 1
 * the timer is armed under cfile->lock, if there is a file.
 */
inline cgroup_file_notify(me, next) {
	if
#ifdef PATCH1
	:: atomic { notified_recently && timer_pending -> FINISH(next) }
	:: atomic { notified_recently && !timer_pending -> skip }
	   atomic {				/* cfile->lock */
#ifndef NO_TIMER
#ifdef NO_ARM_CHECK
		timer_pending = 1;
#else
		timer_pending = timer_pending || file;
#endif
#endif
		FINISH(next)
	   }
#else
	:: atomic { notified_recently ->	/* cgroup.c:4797 */
		timer_pending = 1;		/* timer_reduce(), cgroup.c:4798 */
#ifndef COARSE
		skip
	   }
#endif
	   if
	   :: atomic { timer_pending -> FINISH(next) }	/* cgroup.c:4799 */
	   :: atomic { else -> skip }
	      notify_now(me, next)
	   fi
#ifdef COARSE
	   }
#endif
#endif
	:: atomic { else -> skip }
	   notify_now(me, next)
	fi
}

/*
 * cgroup_file_notify_timer(), cgroup.c:4505, from expire_timers(), time/timer.c:1766. If there is no
 * file it does nothing, as if the timer had been deleted.
 */
active proctype Softirq()
{
	LOCALS

end:	do
	:: atomic { timer_pending && file -> timer_pending = 0; timer_running = 1 }
	   cgroup_file_notify(SOFTIRQ, ENDS_TIMER)
	:: atomic { timer_pending && !file -> timer_pending = 0 }
	od
}

/*
 * css_update_populated(), cgroup.c:781, css_set_lock held; ancestors are left out. The store is
 * followed by smp_mb(), cgroup.c:816, and then the first look at the file is in the same step: only
 * rm_file() could come in between, and it has the same effect before.
 */
#ifdef NO_MB_POPULATED
#define SET_POPULATED(now)	populated_late = 1; populated_next = now
#else
#define SET_POPULATED(now)	populated = now		/* cgroup.c:793 */
#endif

/* cgroup_notify_populated() of patch 8 for an end; else cgroup_file_notify() */
#if defined(PATCH8) && defined(NO_BOUND)
#define PROMPT(now)	(!(now))
#elif defined(PATCH8)
#define PROMPT(now)	(!(now) && !depopulated_recently)
#else
#define PROMPT(now)	(false)
#endif
#ifdef NO_FILE_CHECK
#define LOOKS_AT_FILE	(false)
#else
#define LOOKS_AT_FILE	(!file)		/* a hierarchy of version 1, or removed */
#endif

inline css_update_populated(now, next) {
	if
	:: atomic { PROMPT(now) && LOOKS_AT_FILE -> SET_POPULATED(now); depopulated_recently = 1; FINISH(next) }
	:: atomic { PROMPT(now) && !(LOOKS_AT_FILE) ->
#ifdef PROP_BOUND
		assert(!depopulated_recently);
#endif
		SET_POPULATED(now); depopulated_recently = 1
	   }
	   notify_now(JOB, next)
	:: atomic { !PROMPT(now) && !file -> SET_POPULATED(now); FINISH(next) }
	:: atomic { !PROMPT(now) && file ->
#ifdef PROP_LATE
		first = !(now) && !depopulated_recently;
		if :: !(now) -> depopulated_recently = 1 :: else fi;
#endif
		SET_POPULATED(now)
	   }
	   cgroup_file_notify(JOB, next)
	fi;
#ifdef PROP_LATE
	/* The first end in an interval has been told when the task is dead. */
	d_step { assert(!first || told || !file); first = 0; told = 0 }
#endif
}

proctype Job(bit second)
{
	LOCALS

	/* clone3(CLONE_INTO_CGROUP): cgroup_css_set_fork() takes cgroup_mutex, and refuses a dead one */
	atomic { !cgroup_mutex && jobs_started == second -> cgroup_mutex = 1; jobs_started++;
#ifndef NO_DEAD_CHECK
		if :: dead -> cgroup_mutex = 0; jobs_done++; goto over :: else fi;
#endif
#ifdef PROP_LIVE
		assert(!deactivated);
#endif
	}
	/* cgroup_post_fork() -> css_set_move_task(), cgroup.c:904 */
	atomic { !css_set_lock -> css_set_lock = 1; live++; STEP("job %d enters", second);
		if :: tasks -> FINISH(ENTERED); goto runs :: else fi
	}
	css_update_populated(1, ENTERED);
runs:

	/* do_exit(): signal->live, exit.c:933; exit_notify(), exit.c:998: wait(2) may tell the owner */
#ifdef REPLAYABLE			/* ends when watcher 0 has seen it and sleeps: a program can see to that */
	blocked[0] && view[0] == 1;
#endif
	atomic { live--; STEP("job %d ends", second) }

	/* finish_task_switch() -> cgroup_task_dead() -> do_cgroup_task_dead(), cgroup.c:7164 */
	atomic { !css_set_lock -> css_set_lock = 1; tasks--;
		if :: tasks -> FINISH(LEFT); goto over :: else fi
	}
	css_update_populated(0, LEFT);
over:	skip
}

/* rmdir(2), by an owner that wait(2) has told, or that tries at any moment, or never */
active proctype Owner()
{
	LOCALS bit kept;

	if
	:: owner_done = 1; goto over		/* it may keep the cgroup */
#ifndef NO_RMDIR
	:: skip
#endif
	fi;
	/*
	 * cgroup_rmdir() -> cgroup_destroy_locked(): EBUSY while a task lives, cgroup.c:6330; then
	 * css_clear_dir() -> cgroup_rm_file(), cgroup.c:1728, cfile->lock
	 */
#ifdef NO_BUSY_CHECK
	atomic { !cgroup_mutex ->
#else
	atomic { !cgroup_mutex && !live ->
#endif
		cgroup_mutex = 1; dead = 1; kept = file; STEP("owner %d removes", 0);
#if defined(PATCH6) && !defined(NO_KEPT_REFERENCE)
		if :: kept -> GET :: else fi;
#endif
#if defined(PATCH6) && defined(NOTIFY_BEFORE)
		if :: kept -> NOTIFY_EVENT(OWNER) :: else fi;
#endif
		file = 0
	}
#if defined(PATCH6) && defined(NOTIFY_BEFORE)
	if
	:: atomic { kept -> skip }
	   kernfs_notify(OWNER, GOES_ON)
	:: atomic { else -> skip }
	fi;
#endif
	/* timer_delete_sync(); kernfs_remove_by_name() -> __kernfs_remove() */
	atomic { !timer_running -> timer_pending = 0;
#ifdef PROP_LIVE
		assert(!live);
#endif
		deactivated = 1			/* dir.c:1563 */
	}
	/* kernfs_drain(), dir.c:508: wait_event(), dir.c:537 */
#ifndef NO_DRAIN_WAIT
	do
	:: atomic { !actives -> drain_woken = 0; break }	/* of no use any more */
	:: atomic { else -> skip }
	   atomic { drain_woken -> drain_woken = 0 }
	od;
#endif
#if defined(PATCH5) && defined(WAKES)
	if	/* kernfs_drain_open_files(), file.c:804, with patch 5 */
	:: atomic { opens ->
#ifndef NO_EVENT_DRAIN
		ATOMIC_INC(OWNER)
#endif
	   }
#if defined(COARSE)
	   atomic { WAKE_AT_ONCE(1) }
#elif defined(WAKE_ONE_DRAIN)
	   wake_up(OWNER, 0)
#elif !defined(NO_WAKE_DRAINED)
	   wake_up(OWNER, 1)
#else
	   atomic { FLUSH(OWNER) }
#endif
	:: atomic { else -> skip }
	fi;
#endif
#ifdef PROP_MEMORY
	atomic { PUT };				/* unlinked; kernfs_put(), dir.c:1600 */
#endif
#if defined(PATCH6) && !defined(NOTIFY_BEFORE)
	if
	:: atomic { kept -> NOTIFY_EVENT(OWNER) }
	   kernfs_notify(OWNER, GOES_ON)
	:: atomic { else -> skip }
	fi;
#endif
	/*
	 * cgroup_unlock(). vfs_rmdir() -> shrink_dcache_parent(): IN_DELETE_SELF from
	 * dentry_unlink_inode(), dcache.c:474, unless the file is held open
	 */
	atomic { owner_done = 1; kept = 0; cgroup_mutex = 0;
		if
		:: !opens ->
			if :: watch[0] -> queued[0] = 1; watch[0] = 0 :: else fi;
			if :: watch[1] -> queued[1] = 1; watch[1] = 0 :: else fi
		:: else
		fi
	}
over:	skip
}
