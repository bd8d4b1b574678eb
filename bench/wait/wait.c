/* wait PATH read|poll CLIENTS TURNS: many processes that wait for one token.
 *
 * The server at PATH has one token. The parent takes it, and so many children, each with PATH open for itself, wait for
 * it: blocked in read(2), or in poll(2) and then reading without blocking. "waiting" is printed when the last has begun
 * to, the server knows when it has arrived. At a line on standard input the token goes back, and from child to child
 * until there were so many turns. Then it prints turns, wake-ups and the nanoseconds of one turn. A wake-up is a return
 * from read(2) or poll(2), whether or not there was a token. It ends when standard input does. */
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

static struct {
	_Atomic long turns, wakes;
} *shared;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* waiter says on events that it is about to wait, and that the last turn was its own. */
static void waiter(const char *path, int polls, long last, int events)
{
	char token;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int fd = open(path, O_RDWR | O_CLOEXEC | (polls ? O_NONBLOCK : 0));
	if (fd < 0)
		die(path);
	if (write(events, "w", 1) != 1)
		die("pipe");
	for (;;) {
		struct pollfd readable = {fd, POLLIN, 0};
		if (polls && poll(&readable, 1, -1) < 0)
			die("poll");
		ssize_t n = read(fd, &token, 1);
		if (n < 0 && errno != EAGAIN)
			die("take");
		shared->wakes++;
		if (n != 1)
			continue;
		if (++shared->turns == last && write(events, "l", 1) != 1)
			die("pipe");
		if (write(fd, &token, 1) != 1)
			die("return");
	}
}

int main(int argc, char **argv)
{
	int events[2], clients, polls;
	long last;
	char c;

	if (argc != 5 || (clients = atoi(argv[3])) < 1 || (last = atol(argv[4])) < 1) {
		fprintf(stderr, "usage: wait PATH read|poll CLIENTS TURNS\n");
		return 2;
	}
	polls = strcmp(argv[2], "poll") == 0;
	int fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || read(fd, &c, 1) != 1)
		die(argv[1]);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || pipe(events) < 0)
		die("prepare");
	for (int i = 0; i < clients; i++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork"); /* the children end with their parent */
		if (pid == 0) {
			close(events[0]);
			waiter(argv[1], polls, last, events[1]);
		}
	}
	close(events[1]);
	for (int i = 0; i < clients; i++)
		if (read(events[0], &c, 1) != 1)
			return 1;
	puts("waiting");
	fflush(stdout);
	if (read(STDIN_FILENO, &c, 1) != 1)
		return 1;
	double began = now();
	if (write(fd, &c, 1) != 1)
		die("return");
	if (read(events[0], &c, 1) != 1)
		return 1;
	double passed = now() - began;
	long turns = shared->turns, wakes = shared->wakes;
	printf("%ld %ld %.0f\n", turns, wakes, passed / turns);
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
