/*
 * SPDX-License-Identifier: GPL-2.0
 *
 * The watchers: subscribe, read, wait, read.
 */

/* kernfs_fop_open(), file.c:598: the file's inode holds a reference on the node */
#define OPEN(label)	atomic { if :: deactivated -> goto label :: else -> opens++; GET fi }
/* kernfs_fop_release(), file.c:763, and the inode is dropped */
#define CLOSE		opens--; PUT

/*
 * read(2): kernfs_seq_start() takes an active reference, file.c:166; kernfs_seq_show() takes the
 * event, file.c:214, and then cgroup_events_show() reads the state, cgroup.c:3893.
 */
#ifndef LOADS_REORDERED
#define READ_FIRST(i)	changed[i] = 0
#define READ_SECOND(i)	view[i] = populated; STEP2("watcher %d reads %d", i, view[i])
#else
#define READ_FIRST(i)	view[i] = populated
#define READ_SECOND(i)	changed[i] = 0
#endif
#define GET_ACTIVE_READ(i, label)					\
	atomic { if :: deactivated -> goto label :: else -> actives++; READ_FIRST(i) fi }

/* poll(2): do_poll(), select.c:883 */
proctype Poller(byte i)
{
	bit mask;

	atomic { if :: deactivated -> goto gone :: else -> opens++; GET; changed[i] = 1;
		STEP("watcher %d opens", i) fi }
look:	GET_ACTIVE_READ(i, shut);
	atomic { READ_SECOND(i); PUT_ACTIVE }
again:
	/*
	 * kernfs_fop_poll(), file.c:866; kernfs_generic_poll(), file.c:848: poll_wait(), then of->event.
	 * Drain waits for the active reference, so joining the queue is in the step that takes it.
	 */
#if defined(NO_MB_POLL_WAIT)			/* the entry and the unlock are visible late */
	GET_ACTIVE(ready);
	if
	:: atomic { on_queue[i] -> skip }
	:: atomic { !on_queue[i] && !wq_lock -> wq_lock = 1 }
	   mask = changed[i];
	   atomic { on_queue[i] = 1; wq_lock = 0; PUT_ACTIVE; goto decide }
	fi;
#elif defined(NO_ACTIVE_CHECK) || defined(NO_DRAIN_WAIT)
#ifdef NO_ACTIVE_CHECK
	actives++;
#else
	GET_ACTIVE(ready);
#endif
	atomic { on_queue[i] || !wq_lock -> on_queue[i] = 1 }
#else
	atomic { deactivated || on_queue[i] || !wq_lock ->
		if
		:: deactivated -> goto ready
		:: else -> actives++; on_queue[i] = 1	/* and smp_mb(), poll.h:52 */
		fi
	}
#endif
	atomic { mask = changed[i]; PUT_ACTIVE }	/* file.c:854 */
decide:
	atomic { if :: mask -> mask = 0; goto ready :: else fi;

	/* poll_schedule_timeout(), select.c:234 */
#ifdef NO_MB_SLEEP
		mask = triggered[i]		/* read before the state is visible */
	}
	atomic { asleep[i] = 1; if :: mask -> mask = 0; goto woken :: else -> blocked[i] = 1; STEP("watcher %d sleeps", i) fi }
#else
		asleep[i] = 1			/* set_current_state(), select.c:239 */
	}
	atomic { if :: triggered[i] -> goto woken :: else -> blocked[i] = 1; STEP("watcher %d sleeps", i) fi }
#endif
end_asleep:
	!asleep[i];
woken:
#ifdef NO_MB_TRIGGERED				/* the store is visible after the next look */
	atomic { blocked[i] = 0; asleep[i] = 0; if :: deactivated -> goto ready :: else -> mask = changed[i] fi }
	triggered[i] = 0;
	goto decide;
#else
	/* smp_store_mb(), select.c:255 */
	atomic { blocked[i] = 0; asleep[i] = 0; triggered[i] = 0; goto again }
#endif
	/* poll_freewait(), and poll_initwait() of the next call, select.c:119 */
ready:	atomic { !wq_lock -> on_queue[i] = 0; triggered[i] = 0; mask = 0; goto look }

shut:	atomic { CLOSE }
gone:	atomic { view[i] = REMOVED; done[i] = 1 }
}

/* epoll with EPOLLEXCLUSIVE */
proctype Epoller(byte i)
{
	bit mask;

	atomic { if :: deactivated -> goto gone :: else -> opens++; GET; changed[i] = 1 fi }
	GET_ACTIVE(shut);			/* ep_insert() joins the queue and polls */
	on_queue[i] = 1;
	atomic { ep_ready[i] = changed[i] || ep_ready[i]; PUT_ACTIVE }
look:	GET_ACTIVE_READ(i, shut);
	atomic { READ_SECOND(i); PUT_ACTIVE }
wait:	if	/* epoll_wait(2) */
	:: atomic { ep_ready[i] -> ep_ready[i] = 0 }
	:: atomic { !ep_ready[i] -> ep_asleep[i] = 1; blocked[i] = 1 }
end_asleep:
	   !ep_asleep[i];
	   atomic { ep_ready[i] = 0; blocked[i] = 0 }
	fi;
	GET_ACTIVE(look);			/* ep_item_poll() */
	atomic { mask = changed[i]; PUT_ACTIVE;
		if
		:: mask -> mask = 0; ep_ready[i] = 1; goto look	/* level triggered */
		:: else -> goto wait
		fi
	}
shut:	atomic { on_queue[i] = 0; CLOSE }
gone:	atomic { view[i] = REMOVED; done[i] = 1 }
}

/* inotify, IN_MODIFY and IN_DELETE_SELF; inotify's own queue is taken as right */
proctype Inotify(byte i; bit holds)
{
	if :: atomic { holds -> skip } OPEN(gone) :: atomic { else -> skip } fi;
	/* inotify_add_watch(2): the path is looked up, then the mark is added; it pins the inode */
	atomic { if :: deactivated -> goto shut :: else -> GET fi }
	watch[i] = 1;
look:	if :: atomic { holds -> skip } :: atomic { else -> skip } OPEN(unwatch) fi;
	GET_ACTIVE_READ(i, close);
	atomic { READ_SECOND(i); PUT_ACTIVE; if :: holds -> goto read :: else fi }
	atomic { CLOSE }
read:
	/* read(2) of the inotify descriptor */
	if
	:: atomic { queued[i] -> queued[i] = 0; goto look }
	:: atomic { !queued[i] -> blocked[i] = 1; STEP("watcher %d sleeps", i) }
end_asleep:
	   queued[i];
	   atomic { queued[i] = 0; blocked[i] = 0; goto look }
	fi;

close:	atomic { if :: holds :: else -> CLOSE fi }
unwatch:
	atomic { watch[i] = 0; queued[i] = 0; PUT }
shut:	atomic { if :: holds -> CLOSE :: else fi }
gone:	atomic { view[i] = REMOVED; done[i] = 1 }
}
