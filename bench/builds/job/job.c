/*
 * job PROGRAM ARG...: runs a program, and ends as it does.
 * gcc ARG..., cc ARG...: runs the machine's.
 *
 * Where there is a $JOBS_LOG, a line is appended to that file when the program begins, and one when it has ended, be it that
 * it was killed: "b" or "e", CLOCK_MONOTONIC in ns, the process id of this one, and $JOBS_BUILD. A line is one write(2) to a
 * file opened with O_APPEND, so lines of processes side by side are whole. The time of a begin is taken before the program
 * is there, and that of an end when it was waited for: before a client can learn of the end, so two jobs that followed each
 * other on one token never overlap.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void note(int fd, char what, const char *build)
{
	struct timespec now;
	char line[128];
	int n;

	clock_gettime(CLOCK_MONOTONIC, &now);
	n = snprintf(line, sizeof line, "%c %lld %d %s\n", what, now.tv_sec * 1000000000LL + now.tv_nsec, getpid(), build);
	if (n >= (int)sizeof line || write(fd, line, n) != n)
		err(125, "JOBS_LOG");
}

static pid_t start(char *const *argv)
{
	pid_t child = vfork();

	if (child < 0)
		err(125, "vfork");
	if (child == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	return child;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/'), *path = getenv("JOBS_LOG"), *build = getenv("JOBS_BUILD");
	int fd, status;
	pid_t child;

	name = name ? name + 1 : argv[0];
	if (strcmp(name, "gcc") == 0 || strcmp(name, "cc") == 0)
		argv[0] = GCC;
	else if (argc < 2)
		errx(125, "usage: job PROGRAM ARG...");
	else
		argv++;
	if (!path || !build) {
		execvp(argv[0], argv);
		err(125, "%s", argv[0]);
	}
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		err(125, "%s", path);
	unsetenv("JOBS_LOG"); /* rustc links by cc, which is no other job */
	note(fd, 'b', build);
	child = start(argv);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			err(125, "waitpid");
	note(fd, 'e', build);
	if (WIFSIGNALED(status)) { /* end by the same signal, which may be one to be caught */
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
