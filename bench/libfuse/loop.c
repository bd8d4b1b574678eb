/* Either of two loops: one around epoll(7), as under libevent, which sees the end of processes too; or with --loop the
 * library's own, which knows requests only. */
#include "tokens.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>

static int watch = -1; /* an epoll, -1 with --loop */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

const char *arguments(int argc, char **argv)
{
	int own = argc == 4 && strcmp(argv[1], "--loop") == 0;

	if (argc != 3 + own || (available = atoi(argv[argc - 1])) < 1) {
		fprintf(stderr, "usage: %s [--loop] PATH-or-NAME TOKENS\n", argv[0]);
		return NULL;
	}
	if (!own && (watch = epoll_create1(EPOLL_CLOEXEC)) < 0)
		die("epoll_create1");
	return argv[argc - 2];
}

static void watch_for(int fd, void *data)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};
	if (epoll_ctl(watch, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl");
}

int watch_process(pid_t pid, struct process *p)
{
	int fd = watch < 0 ? -1 : pidfd_open(pid, 0); /* which refuses threads */
	if (fd >= 0)
		watch_for(fd, p);
	return fd;
}

void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static int serve_events(struct fuse_session *session)
{
	struct fuse_buf buffer = {.mem = NULL};
	struct epoll_event events[16];

	watch_for(fuse_session_fd(session), session);
	while (!fuse_session_exited(session)) {
		int n = epoll_wait(watch, events, sizeof events / sizeof *events, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr != session) {
				ended(events[i].data.ptr);
				continue;
			}
			int got = fuse_session_receive_buf(session, &buffer);
			if (got > 0)
				fuse_session_process_buf(session, &buffer);
			else if (got != -EINTR && got != -EAGAIN)
				return got;
		}
	}
	free(buffer.mem);
	return 0;
}

int serve(struct fuse_session *session)
{
	return watch < 0 ? fuse_session_loop(session) : serve_events(session);
}
