// SPDX-License-Identifier: GPL-2.0
/*
 * measure - how soon is it known that a cgroup is empty, and how often never?
 *
 * Prints one CSV line per trial. Detectors are interleaved within one boot, in
 * a random order per round. Needs cgroup v2 on /sys/fs/cgroup and root.
 *
 *   measure latency ROUNDS LIFETIME_US   lat,detector,lifetime_us,ns
 *   measure freeze ROUNDS TASKS          frz,detector,tasks,ns
 *   measure rmdir ROUNDS LOST_MS         rmd,detector,jobs,woken(0/1),ns
 *   measure storm SECONDS                stm,detector,wakeup_ns (since start)
 *
 * lat: from a stamp just before _exit() to the decision; frz: from the first
 * SIGKILL to the decision; rmd: from rmdir() to the watcher's decision, with
 * the job's end inside the interval in which its notification is held back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CG "/sys/fs/cgroup/measure"
#define MS 1000000LL

enum detector { PIDFD, WAITPID, EVENTS_POLL, EVENTS_INOTIFY, KILL_POLL, NR };
static const char *const names[] = {
	"pidfd-main", "waitpid", "cgroup-events-poll", "cgroup-events-inotify",
	"cgroup-kill-poll",
};

static volatile int64_t *stamp;
static bool have_kill_poll;
static int lost_ms = 2000;	/* an event that takes longer is lost */

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void die(const char *what)
{
	printf("error,%s,%s\n", what, strerror(errno));
	exit(1);
}

static int cgopen(const char *file, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), CG "/%s", file);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

/* 1, 0, or -1 for removed */
static int populated(int fd)
{
	char buf[128];
	ssize_t len = pread(fd, buf, sizeof(buf) - 1, 0);

	if (len < 0)
		return -1;
	buf[len] = 0;
	return strstr(buf, "populated 1") != NULL;
}

static pid_t spawn(int *pidfd)
{
	int cg = open(CG, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP | (pidfd ? CLONE_PIDFD : 0),
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cg,
	};
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		die("clone3");
	if (pid)
		close(cg);
	return pid;
}

static void job(long lifetime_us)
{
	struct timespec ts = { lifetime_us / 1000000,
			       lifetime_us % 1000000 * 1000 };

	if (lifetime_us)
		nanosleep(&ts, NULL);
	*stamp = now();
	_exit(0);
}

/* The cgroup is armed before the spawn; returns the time of the decision. */
static int64_t decide(enum detector d, int fd, int events, int pidfd, pid_t pid)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char buf[512];

	switch (d) {
	case WAITPID:
		waitpid(pid, NULL, 0);
		return now();
	case PIDFD:
		pfd.fd = pidfd;
		break;
	case EVENTS_POLL:
		pfd.events = POLLPRI;
		break;
	default:
		break;
	}

	for (;;) {
		int n = poll(&pfd, 1, 2000);

		if (n <= 0) {
			printf("missed,%s\n", names[d]);
			return now();
		}
		if (d == EVENTS_INOTIFY && read(fd, buf, sizeof(buf)) < 0)
			die("inotify read");
		if (d == EVENTS_POLL || d == EVENTS_INOTIFY) {
			if (populated(events))
				continue;
		}
		return now();
	}
}

static int arm(enum detector d, int *events)
{
	int fd = -1;

	*events = -1;
	if (d == EVENTS_POLL || d == EVENTS_INOTIFY) {
		*events = cgopen("cgroup.events", O_RDONLY);
		populated(*events);
		fd = *events;
	}
	if (d == EVENTS_INOTIFY) {
		fd = inotify_init1(IN_CLOEXEC);
		if (inotify_add_watch(fd, CG "/cgroup.events", IN_MODIFY) < 0)
			die("inotify_add_watch");
		populated(*events);
	}
	if (d == KILL_POLL)
		fd = cgopen("cgroup.kill", O_WRONLY);
	return fd;
}

static void disarm(int fd, int events)
{
	if (fd >= 0)
		close(fd);
	if (events >= 0 && events != fd)
		close(events);
}

static void cgremove(void)
{
	while (rmdir(CG)) {
		if (errno != EBUSY)
			die("rmdir");
		usleep(500);
	}
}

static void shuffle(int *order, int n)
{
	for (int i = n - 1; i > 0; i--) {
		int j = rand() % (i + 1), t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
}

static void probe(void)
{
	struct pollfd pfd = { .events = POLLIN };
	pid_t pid;

	mkdir(CG, 0755);
	pfd.fd = cgopen("cgroup.kill", O_WRONLY);
	pid = spawn(NULL);
	if (!pid) {
		pause();
		_exit(0);
	}
	have_kill_poll = poll(&pfd, 1, 0) == 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pfd.fd);
	cgremove();
}

static void latency(int rounds, long lifetime_us)
{
	for (int r = 0; r < rounds; r++) {
		int order[NR] = { 0, 1, 2, 3, 4 };

		shuffle(order, NR);
		for (int i = 0; i < NR; i++) {
			enum detector d = order[i];
			int fd, events, pidfd = -1;
			int64_t at;
			pid_t pid;

			if (d == KILL_POLL && !have_kill_poll)
				continue;
			if (mkdir(CG, 0755))
				die("mkdir");
			fd = arm(d, &events);
			pid = spawn(&pidfd);
			if (!pid)
				job(lifetime_us);
			/*
			 * Level-triggered: still empty until the child is in,
			 * and clone3() returns only after that.
			 */
			at = decide(d, fd, events, pidfd, pid);
			if (d != WAITPID)
				waitpid(pid, NULL, 0);
			printf("lat,%s,%ld,%lld\n", names[d], lifetime_us,
			       (long long)(at - *stamp));
			close(pidfd);
			disarm(fd, events);
			cgremove();
		}
	}
}

static void freeze(int rounds, int tasks)
{
	for (int r = 0; r < rounds; r++) {
		int order[] = { EVENTS_POLL, EVENTS_INOTIFY, KILL_POLL };

		shuffle(order, 3);
		for (int i = 0; i < 3; i++) {
			int fd, events, frz, ev;
			int64_t start, at;
			pid_t pids[tasks];
			char buf[128];

			if (order[i] == KILL_POLL && !have_kill_poll)
				continue;
			if (mkdir(CG, 0755))
				die("mkdir");
			for (int t = 0; t < tasks; t++) {
				pids[t] = spawn(NULL);
				if (!pids[t]) {
					for (;;)
						pause();
				}
			}
			frz = cgopen("cgroup.freeze", O_WRONLY);
			ev = cgopen("cgroup.events", O_RDONLY);
			if (write(frz, "1", 1) != 1)
				die("freeze");
			do {
				ssize_t n = pread(ev, buf, sizeof(buf) - 1, 0);

				buf[n > 0 ? n : 0] = 0;
				usleep(500);
			} while (!strstr(buf, "frozen 1"));
			usleep(50000);
			fd = arm(order[i], &events);

			start = now();
			for (int t = 0; t < tasks; t++)
				kill(pids[t], SIGKILL);
			at = decide(order[i], fd, events, -1, 0);
			printf("frz,%s,%d,%lld\n", names[order[i]], tasks,
			       (long long)(at - start));
			for (int t = 0; t < tasks; t++)
				waitpid(pids[t], NULL, 0);
			disarm(fd, events);
			close(frz);
			close(ev);
			cgremove();
		}
	}
}

/* Sleep until empty or removed; what only the timeout shows is lost. */
static void watcher(enum detector d, int ready)
{
	struct { int64_t at; int woken; } result = { 0, 1 };
	int events, fd = arm(d, &events), seen = 0, state;
	struct pollfd pfd = { fd, d == EVENTS_POLL ? POLLPRI : POLLIN, 0 };
	char buf[512];

	write(ready, "a", 1);
	for (;;) {
		int64_t before = now();
		int ms = seen ? lost_ms : 10000;
		int n = poll(&pfd, 1, ms);

		if (n <= 0 || now() - before >= ms * MS) {
			result.woken = 0;
			break;
		}
		if (d == EVENTS_INOTIFY && read(fd, buf, sizeof(buf)) < 0)
			die("inotify read");
		state = populated(events);
		if (state < 0 || (!state && seen))
			break;
		if (state && !seen) {
			seen = 1;
			write(ready, "p", 1);
		}
	}
	result.at = now();
	write(ready, &result, sizeof(result));
	_exit(0);
}

static void removal(int rounds)
{
	for (int r = 0; r < rounds; r++) {
		for (int i = 0; i < 4; i++) {
			enum detector d = i & 1 ? EVENTS_INOTIFY : EVENTS_POLL;
			struct { int64_t at; int woken; } result;
			int jobs = i & 2 ? 2 : 1, ready[2], gate[2];
			int64_t removed;
			pid_t pid, w;
			char c;

			if (mkdir(CG, 0755) || pipe2(ready, O_CLOEXEC) ||
			    pipe2(gate, O_CLOEXEC))
				die("setup");
			w = fork();
			if (!w) {
				close(gate[0]);
				close(gate[1]);
				watcher(d, ready[1]);
			}
			read(ready[0], &c, 1);
			for (int j = 0; j < jobs; j++) {
				pid = spawn(NULL);
				if (!pid) {
					close(gate[1]);
					if (!j)
						read(gate[0], &c, 1);
					_exit(0);
				}
				if (!j) {
					read(ready[0], &c, 1);
					close(gate[1]);
				}
				waitpid(pid, NULL, 0);
			}
			removed = now();
			cgremove();
			if (read(ready[0], &result, sizeof(result)) !=
			    sizeof(result))
				die("watcher");
			waitpid(w, NULL, 0);
			printf("rmd,%s,%d,%d,%lld\n", names[d], jobs,
			       result.woken, (long long)(result.at - removed));
			close(ready[0]);
			close(ready[1]);
			close(gate[0]);
		}
	}
}

static void storm(int seconds)
{
	for (int i = 0; i < 2; i++) {
		enum detector d = i ? KILL_POLL : EVENTS_POLL;
		struct epoll_event ev = { EPOLLET |
			(d == KILL_POLL ? EPOLLIN : EPOLLPRI), { 0 } };
		int fd, events, ep, nr = 0;
		static int64_t times[100000];
		int64_t start, end;
		pid_t pid;

		if (d == KILL_POLL && !have_kill_poll)
			continue;
		if (mkdir(CG, 0755))
			die("mkdir");
		fd = arm(d, &events);
		ep = epoll_create1(EPOLL_CLOEXEC);
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
		*stamp = 0;
		start = now();
		end = start + seconds * 1000 * MS;
		pid = fork();
		if (!pid) {
			while (now() < end) {
				pid = spawn(NULL);
				if (!pid)
					_exit(0);
				waitpid(pid, NULL, 0);
				*stamp += 1;
			}
			_exit(0);
		}
		while (now() < end) {
			if (epoll_wait(ep, &ev, 1, 50) > 0) {
				if (d == EVENTS_POLL)
					populated(events);
				if (nr < 100000)
					times[nr++] = now() - start;
			}
		}
		waitpid(pid, NULL, 0);
		printf("stmflips,%s,%d,%lld\n", names[d], seconds,
		       2 * (long long)*stamp);
		for (int j = 0; j < nr; j++)
			printf("stm,%s,%lld\n", names[d], (long long)times[j]);
		close(ep);
		disarm(fd, events);
		cgremove();
	}
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 20;

	if (argc < 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	srand(argc > 4 ? atoi(argv[4]) : 1);
	stamp = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	probe();
	printf("probe,cgroup-kill-poll,%d\n", have_kill_poll);
	if (!strcmp(argv[1], "latency"))
		latency(rounds, argc > 3 ? atol(argv[3]) : 0);
	else if (!strcmp(argv[1], "freeze"))
		freeze(rounds, argc > 3 ? atoi(argv[3]) : 10);
	else if (!strcmp(argv[1], "rmdir")) {
		if (argc > 3)
			lost_ms = atoi(argv[3]);
		removal(rounds);
	} else if (!strcmp(argv[1], "storm"))
		storm(rounds);
	else
		return 2;
	return 0;
}
