/* pair PATH CLIENTS MILLISECONDS [SERVER]: how long a take and a return last.
 *
 * So many processes open PATH; when all have, each reads a byte and writes it back, once at least and again and again. It
 * prints, in nanoseconds for one such pair of all the clients' together: the time that passed, and the processor time that
 * process SERVER used, user and system. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { MAX = 64 };

/* What the processes share. Each counter has a cache line of its own. */
static struct {
	_Atomic int stop;
	struct {
		_Alignas(64) uint64_t n;
	} pairs[MAX];
} *shared;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(clockid_t clock)
{
	struct timespec t;
	if (clock_gettime(clock, &t) < 0)
		die("clock_gettime");
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* client says on ready that it has the file open, and begins at the end of start. */
static void client(const char *path, int me, int ready, int start)
{
	char token;
	uint64_t n = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(path);
	if (write(ready, "r", 1) != 1 || read(start, &token, 1) != 0)
		die("start");
	do {
		if (read(fd, &token, 1) != 1)
			die("take");
		if (write(fd, &token, 1) != 1)
			die("return");
		n++;
	} while (!atomic_load_explicit(&shared->stop, memory_order_relaxed));
	shared->pairs[me].n = n;
	_exit(0);
}

int main(int argc, char **argv)
{
	int ready[2], start[2], clients, ms, server;
	clockid_t server_clock = CLOCK_REALTIME;

	if (argc < 4 || (clients = atoi(argv[2])) < 1 || clients > MAX || (ms = atoi(argv[3])) < 1) {
		fprintf(stderr, "usage: pair PATH CLIENTS(1..%d) MILLISECONDS [SERVER]\n", MAX);
		return 2;
	}
	server = argc > 4 ? atoi(argv[4]) : 0;
	if (server && clock_getcpuclockid(server, &server_clock))
		die("the server's clock");
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || pipe(ready) < 0 || pipe(start) < 0)
		die("prepare");
	for (int i = 0; i < clients; i++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork");
		if (pid == 0) {
			close(start[1]);
			close(ready[0]);
			client(argv[1], i, ready[1], start[0]);
		}
	}
	close(ready[1]);
	for (int i = 0; i < clients; i++) {
		char c;
		if (read(ready[0], &c, 1) != 1)
			return 1; /* a client has said why */
	}
	double used = server ? now(server_clock) : 0, began = now(CLOCK_MONOTONIC);
	close(start[1]);
	struct timespec pause = {ms / 1000, ms % 1000 * 1000000L};
	nanosleep(&pause, NULL);
	atomic_store(&shared->stop, 1);
	for (int i = 0; i < clients; i++) {
		int status;
		if (wait(&status) < 0 || status != 0)
			return 1;
	}
	double passed = now(CLOCK_MONOTONIC) - began;
	if (server)
		used = now(server_clock) - used;
	uint64_t pairs = 0;
	for (int i = 0; i < clients; i++)
		pairs += shared->pairs[i].n;
	printf("%.0f %.0f\n", passed / pairs, used / pairs);
	return 0;
}
