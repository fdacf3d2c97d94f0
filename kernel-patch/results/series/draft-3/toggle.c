/*
 * Switches the memory controller of a cgroup off and on, while io, which depends on it, stays on,
 * and processes in it run into memory.high: the file memory.events is removed and comes back while
 * events are generated.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BASE (64 << 20)
#define MORE (1 << 20)

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int ret = fd < 0 ? -1 : (int)write(fd, text, strlen(text));

	if (ret < 0)
		fprintf(stderr, "%s: %s: %s\n", path, text, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	int seconds = argc > 1 ? atoi(argv[1]) : 20, toggles = 0;
	time_t end = time(NULL) + seconds;
	pid_t kids[2];
	char high[32];

	if (mkdir("/sys/fs/cgroup/p", 0755) ||
	    put("/sys/fs/cgroup/p/cgroup.subtree_control", "+memory +io") ||
	    mkdir("/sys/fs/cgroup/p/c", 0755))
		return 1;
	for (int i = 0; i < 2; i++) {
		kids[i] = fork();
		if (!kids[i]) {
			put("/sys/fs/cgroup/p/c/cgroup.procs", "0");
			/* Much memory, so that a little more than memory.high isn't slowed down. */
			char *m = mmap(NULL, BASE + MORE, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			memset(m, 1, BASE);
			for (;;) {
				memset(m + BASE, 1, MORE);
				madvise(m + BASE, MORE, MADV_DONTNEED);
			}
		}
	}
	usleep(3000000);
	snprintf(high, sizeof(high), "%d", 2 * BASE);
	end = time(NULL) + seconds;
	while (time(NULL) < end) {
		if (put("/sys/fs/cgroup/p/c/memory.high", high))
			break;
		usleep(1000 + rand() % 30000);
		if (put("/sys/fs/cgroup/p/cgroup.subtree_control", "-memory"))
			break;
		usleep(rand() % 30000);
		if (put("/sys/fs/cgroup/p/cgroup.subtree_control", "+memory"))
			break;
		toggles++;
	}
	printf("%d times off and on\n", toggles);
	put("/sys/fs/cgroup/p/c/memory.high", high);
	usleep(500000);
	int fd = open("/sys/fs/cgroup/p/c/memory.events", O_RDONLY);
	char text[512] = "";

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
		puts(text);
	for (int i = 0; i < 2; i++) {
		kill(kids[i], SIGKILL);
		waitpid(kids[i], NULL, 0);
	}
	return toggles ? 0 : 1;
}
