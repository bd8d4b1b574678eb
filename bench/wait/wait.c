/* wait PATH read|poll|retry CLIENTS SERVER [TRIES]: many processes that wait for one token, for slices of time.
 *
 * The server at PATH has one token. The parent takes it, and so many children, each with PATH open for itself, wait for
 * it: blocked in read(2); in poll(2) and then reading without blocking; or reading without blocking again and again, at
 * regular intervals, all of them together TRIES times a second. "waiting" is printed when the last is about to.
 *
 * At a line on standard input, a number of milliseconds, the token goes back, and from child to child. Who blocks or polls
 * returns it at once; who tries again keeps it for as long as HELD tries of the others take, which so are in vain. The
 * first that takes it after the time keeps it for the next slice, and the parent prints, on one line: turns, reads,
 * wake-ups, the nanoseconds that passed, and those that process SERVER used, user and system. A turn is a return and the
 * next take. A read is a return from read(2), with a token or without, and so is a wake-up of one who blocks; of one who
 * polls it is a return from poll(2). If nobody takes the token within PATIENCE after the time, that is the end of the slice.
 * The program ends, after all of its children, when standard input does. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum way { READ, POLL, RETRY };

enum {
	HELD = 10,       /* tries */
	PATIENCE = 1000, /* milliseconds */
};

/* What the processes share. The times are written by the parent between slices, and by who ends one. */
static struct {
	_Atomic int failed, running;
	_Atomic long turns, reads, wakes;
	double began, until, passed, used;
} *shared;

static int events[2]; /* children to parent: one waits, one keeps the token, one has failed */
static int go_on[2];  /* parent to the child that keeps the token */
static clockid_t server_clock;

/* die ends the process, and with it the parent. What ends 10,000 at once is said once. */
static void die(const char *what)
{
	if (!shared || !atomic_exchange(&shared->failed, 1))
		perror(what);
	_exit(events[1] && write(events[1], "", 1) != 1 ? 2 : 1);
}

static double now(clockid_t clock)
{
	struct timespec t;
	if (clock_gettime(clock, &t) < 0)
		die("clock_gettime");
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static struct timespec timespec(double ns)
{
	return (struct timespec){ns / 1e9, (long long)ns % 1000000000};
}

/* tell writes one byte to a pipe. */
static void tell(int fd)
{
	if (write(fd, "", 1) != 1)
		die("pipe");
}

/* hear reads one byte of a pipe. It returns 0 at its end, or when something has failed. */
static int hear(int fd)
{
	char c;
	return read(fd, &c, 1) == 1 && !shared->failed;
}

/* end ends the slice, unless it has ended. */
static void end(double at)
{
	if (atomic_exchange(&shared->running, 0)) {
		shared->passed = at - shared->began;
		shared->used = now(server_clock) - shared->used;
	}
}

/* took counts the token that the caller has taken. After the slice it returns when the next one has begun. */
static void took(void)
{
	double at = now(CLOCK_MONOTONIC);
	shared->turns++;
	if (shared->running && at < shared->until)
		return;
	end(at);
	tell(events[1]);
	if (!hear(go_on[0]))
		_exit(1);
}

/* waiter waits and takes, again and again. One that tries does so every period nanoseconds, of which each of the others has
 * a share; the first time after phase. */
static void waiter(const char *path, enum way way, double phase, double period, double share)
{
	double next = now(CLOCK_MONOTONIC) + phase;
	char token;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int fd = open(path, O_RDWR | O_CLOEXEC | (way == READ ? 0 : O_NONBLOCK));
	if (fd < 0)
		die(path);
	tell(events[1]);
	for (;;) {
		struct pollfd readable = {fd, POLLIN, 0};
		if (way == POLL) {
			if (poll(&readable, 1, -1) < 0)
				die("poll");
			shared->wakes++;
		}
		if (way == RETRY) {
			struct timespec at = timespec(next);
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
			for (double t = now(CLOCK_MONOTONIC); next <= t;)
				next += period; /* the phases stay as they were */
			if (!shared->running)
				continue;
		}
		ssize_t n = read(fd, &token, 1);
		if (n < 0 && errno != EAGAIN)
			die("take");
		shared->reads++;
		if (way == READ)
			shared->wakes++;
		if (n != 1)
			continue;
		took();
		if (way == RETRY) {
			struct timespec held = timespec(HELD * share);
			nanosleep(&held, NULL);
		}
		if (write(fd, &token, 1) != 1)
			die("return");
	}
}

/* slice lets the token go round for so many milliseconds, and prints what came of it. */
static void slice(int ms, int fd, char token)
{
	static int kept = -1; /* by a child; -1: by the parent */
	struct pollfd event = {events[0], POLLIN, 0};

	if (kept == 0)
		kept = poll(&event, 1, 0) == 1 && hear(events[0]); /* one came after all */
	shared->turns = shared->reads = shared->wakes = 0;
	shared->used = now(server_clock);
	shared->began = now(CLOCK_MONOTONIC);
	shared->until = shared->began + ms * 1e6;
	shared->running = 1;
	if (kept > 0)
		tell(go_on[1]);
	else if (kept < 0 && write(fd, &token, 1) != 1)
		die("return");
	kept = poll(&event, 1, ms + PATIENCE) == 1;
	if (kept && !hear(events[0]))
		exit(1); /* a child has said why */
	end(now(CLOCK_MONOTONIC));
	printf("%ld %ld %ld %.0f %.0f\n", shared->turns, shared->reads, shared->wakes, shared->passed, shared->used);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int clients, server, tries, ms;
	enum way way = READ;
	char token;

	if (argc > 2)
		way = strcmp(argv[2], "poll") == 0 ? POLL : strcmp(argv[2], "retry") == 0 ? RETRY : READ;
	if (argc < 5 || (clients = atoi(argv[3])) < 1 || (server = atoi(argv[4])) < 1 ||
	    (tries = argc > 5 ? atoi(argv[5]) : 0) < (way == RETRY)) {
		fprintf(stderr, "usage: wait PATH read|poll|retry CLIENTS SERVER [TRIES]\n");
		return 2;
	}
	if (clock_getcpuclockid(server, &server_clock))
		die("the server's clock");
	int fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || read(fd, &token, 1) != 1)
		die(argv[1]);
	void *memory = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t *pids = calloc(clients, sizeof *pids);
	if (memory == MAP_FAILED || !pids || pipe(events) < 0 || pipe(go_on) < 0)
		die("prepare");
	shared = memory;
	double share = tries ? 1e9 / tries : 0;
	for (int i = 0; i < clients; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork"); /* the children end with their parent */
		if (pids[i] == 0) {
			close(events[0]);
			close(go_on[1]);
			waiter(argv[1], way, i * share, clients * share, share);
		}
	}
	close(events[1]);
	close(go_on[0]);
	for (int i = 0; i < clients; i++)
		if (!hear(events[0]))
			return 1; /* a child has said why */
	puts("waiting");
	fflush(stdout);
	while (scanf("%d", &ms) == 1)
		slice(ms, fd, token);
	for (int i = 0; i < clients; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
