/* What the kernel's part of a run costs: the system calls of `allgone run` in C, step by step.
 *
 *   floor RUNS CGROUP      RUNS of each variant by turns; cgroups are made in the directory CGROUP
 *
 * Each variant adds something to the one before. Of each: from before the first clone until the end
 * is known, and from the last call of the program until then. The program is this one, which writes
 * the time and exits. sandbox/bench.sh builds and calls it, sandbox/README.md has the table.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

enum { INIT = 1, CGROUP = 2, POLL = 4, MOUNTS = 8, HOLD = 16 };

static const struct { const char *name; int does; } VARIANTS[] = {
    {"clone3, exec, waitid", 0},
    {"and a PID namespace with an init", INIT},
    {"and mkdir and rmdir of a cgroup", INIT | CGROUP},
    {"and poll for signals, messages, time (--bare)", INIT | CGROUP | POLL},
    {"and mount, IPC and UTS namespaces, /proc, /tmp", INIT | CGROUP | POLL | MOUNTS},
    {"and the mounts held by the launcher (default)", INIT | CGROUP | POLL | MOUNTS | HOLD},
};
enum { COUNT = sizeof VARIANTS / sizeof *VARIANTS };

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static int must(int ret, const char *what) {
    if (ret < 0) {
        perror(what);
        exit(1);
    }
    return ret;
}

static pid_t clone3(uint64_t flags, int cgroup, int *pidfd) {
    struct clone_args args = {
        .flags = flags | CLONE_PIDFD, .pidfd = (uintptr_t)pidfd, .exit_signal = SIGCHLD};
    if (cgroup >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup;
    }
    return must(syscall(SYS_clone3, &args, sizeof args), "clone3");
}

static void program(int out, char **environment) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(out, 1);
    execve("/proc/self/exe", (char *[]){"stamp", NULL}, environment);
    _exit(127);
}

static void drain(int fd) {
    char room[512];
    if (read(fd, room, sizeof room) < 0) { /* It was another that woke. */
    }
}

static void init(int does, int above, const char *name, int socket, int signals, int out,
                 char **environment) {
    int cgroup = -1, main_pidfd;
    prctl(PR_SET_PDEATHSIG, SIGCONT);
    prctl(PR_SET_DUMPABLE, 0);
    if (does & CGROUP) {
        must(mkdirat(above, name, 0755), "mkdirat");
        cgroup = must(openat(above, name, O_DIRECTORY | O_CLOEXEC), "openat");
    }
    if (does & MOUNTS) {
        const unsigned long safe = MS_NOSUID | MS_NODEV;
        must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount");
        must(mount("proc", "/proc", "proc", safe | MS_NOEXEC, NULL), "mount");
        must(mount("tmpfs", "/tmp", "tmpfs", safe, "mode=1777"), "mount");
    }
    if (clone3(0, cgroup, &main_pidfd) == 0) program(out, environment);
    close(out);
    for (;;) {
        siginfo_t info;
        int flags = WEXITED | WSTOPPED | __WALL | (does & POLL ? WNOHANG : 0);
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, flags) < 0) break;
        if (!(does & POLL) || info.si_pid) continue;
        struct pollfd fds[] = {{socket, POLLIN, 0}, {signals, POLLIN, 0}};
        struct timespec limit = {30, 0};
        ppoll(fds, 2, &limit, NULL);
        if (fds[1].revents) drain(signals);
    }
    if (does & CGROUP) unlinkat(above, name, AT_REMOVEDIR);
    _exit(0);
}

/* One run: the two times. */
static void run(int does, int above, char **environment, double *whole, double *end) {
    int out[2], sockets[2] = {-1, -1}, bell = -1, signals = -1, pidfd = -1, held = -1;
    char name[64];
    uint64_t began = now(), ended, stamp;
    must(pipe2(out, O_CLOEXEC), "pipe2");
    snprintf(name, sizeof name, "floor-%d-%jx", getpid(), (uintmax_t)began);
    if (does & POLL) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        signals = must(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
        must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), "socketpair");
        bell = must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
    }
    uint64_t flags = does & INIT ? CLONE_NEWPID : 0;
    if (does & MOUNTS) flags |= CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
    if (clone3(flags, -1, &pidfd) == 0) {
        close(sockets[0]);
        if (does & INIT)
            init(does, above, name, sockets[1], signals, out[1], environment);
        program(out[1], environment);
    }
    close(sockets[1]);
    close(out[1]);
    if (does & HOLD) held = ioctl(pidfd, 0xff03 /* PIDFD_GET_MNT_NAMESPACE */, 0);
    while (does & POLL) {
        struct pollfd fds[] = {{pidfd, POLLIN, 0}, {bell, POLLIN, 0}, {signals, POLLIN, 0}};
        poll(fds, 3, 30000);
        if (fds[0].revents) break;
        if (fds[2].revents) drain(signals);
    }
    siginfo_t info;
    must(waitid(P_PIDFD, pidfd, &info, WEXITED | __WALL), "waitid");
    if (does & CGROUP) unlinkat(above, name, AT_REMOVEDIR); /* ENOENT: that is the second proof. */
    ended = now();
    close(held);
    *whole = (now() - began) / 1e3;
    if (read(out[0], &stamp, sizeof stamp) != sizeof stamp) must(-1, "read");
    *end = (ended - stamp) / 1e3;
    int all[] = {out[0], sockets[0], bell, signals, pidfd};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) close(all[i]);
}

static int less(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void summary(const char *key, double *times, int runs) {
    qsort(times, runs, sizeof *times, less);
    printf(", \"%s\": {\"median_us\": %.1f, \"p10_us\": %.1f, \"p99_us\": %.1f}", key,
           times[runs / 2], times[runs / 10], times[runs - 1 - runs / 100]);
}

int main(int argc, char **argv, char **environment) {
    if (strcmp(argv[0], "stamp") == 0) {
        uint64_t stamp = now();
        return write(1, &stamp, sizeof stamp) == sizeof stamp ? 0 : 1;
    }
    int runs = argc == 3 ? atoi(argv[1]) : 0;
    if (runs < 1) {
        fprintf(stderr, "usage: floor RUNS CGROUP\n");
        return 2;
    }
    int above = must(open(argv[2], O_DIRECTORY | O_CLOEXEC), argv[2]);
    double *whole = calloc(COUNT * runs, sizeof *whole), *end = calloc(COUNT * runs, sizeof *end);
    if (!whole || !end) must(-1, "calloc");
    for (int i = 0; i < runs; i++)
        for (int v = 0; v < COUNT; v++)
            run(VARIANTS[v].does, above, environment, &whole[v * runs + i], &end[v * runs + i]);
    for (int v = 0; v < COUNT; v++) {
        printf("{\"name\": \"%s\", \"n\": %d", VARIANTS[v].name, runs);
        summary("whole", &whole[v * runs], runs);
        summary("from_the_stamp_to_knowing", &end[v * runs], runs);
        printf("}\n");
    }
#ifdef __x86_64__
    /* In a virtual machine the hypervisor answers it, and a C library asks at every start. */
    unsigned a, b, c, d;
    uint64_t began = now();
    for (int i = 0; i < 100; i++) __cpuid_count(7, 0, a, b, c, d);
    printf("{\"name\": \"a CPUID instruction\", \"us\": %.2f}\n", (now() - began) / 1e5);
#endif
    return 0;
}
