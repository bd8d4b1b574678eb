/* A jobserver of the usual kind, on Debian's libfuse3: one thread, a count for each process, a queue of blocked reads, all
 * pollers woken when a token comes back.
 *
 * It stands in for jobservers that others have built so. It is nobody's code but this project's, and does less than
 * those: it writes nothing down, and has no limits and no controls. What it measures is the path through the library. As
 * the process counts the id that the library reports, a thread's: to look up the process behind it would cost more. */
#include "tokens.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A process, until it ends; for good in a loop that does not see that. */
struct process {
	pid_t pid;
	int held;
	int fd; /* watched for its end, or -1 */
	struct process *next;
};

/* A waiter is a blocked read, in the order of arrival. */
struct waiter {
	fuse_req_t req;
	struct waiter *next, **link;
};

/* A file is an open one, with what a poll left there to be woken by. */
struct file {
	struct fuse_pollhandle *handle;
	struct file *next, **link;
};

enum { BUCKETS = 4096 };

int available;
static struct process *processes[BUCKETS];
static struct waiter *waiters, **waiters_end = &waiters;
static struct file *files;

static void *allocate(size_t size)
{
	void *p = calloc(1, size);
	if (!p)
		abort();
	return p;
}

static struct process *process_of(fuse_req_t req)
{
	pid_t pid = fuse_req_ctx(req)->pid;
	struct process **bucket = &processes[pid % BUCKETS], *p;

	for (p = *bucket; p; p = p->next)
		if (p->pid == pid)
			return p;
	p = allocate(sizeof *p);
	*p = (struct process){.pid = pid, .next = *bucket};
	p->fd = watch_process(pid, p);
	return *bucket = p;
}

/* grant answers a read with a token, which stays if the caller is gone. */
static void grant(fuse_req_t req)
{
	struct process *p = process_of(req);

	if (fuse_reply_buf(req, "+", 1) < 0)
		return;
	p->held++;
	available--;
}

/* take_out takes a waiter from the queue and returns its request. */
static fuse_req_t take_out(struct waiter *w)
{
	fuse_req_t req = w->req;

	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	else
		waiters_end = w->link;
	free(w);
	return req;
}

static void interrupted(fuse_req_t req, void *data)
{
	take_out(data);
	fuse_reply_err(req, EINTR);
}

void tokens_read(fuse_req_t req, struct fuse_file_info *fi)
{
	if (available > 0) {
		grant(req);
		return;
	}
	if (fi->flags & O_NONBLOCK) {
		fuse_reply_err(req, EAGAIN);
		return;
	}
	if (fuse_req_interrupted(req)) {
		fuse_reply_err(req, EINTR);
		return;
	}
	struct waiter *w = allocate(sizeof *w);
	*w = (struct waiter){.req = req, .link = waiters_end};
	*waiters_end = w;
	waiters_end = &w->next;
	fuse_req_interrupt_func(req, interrupted, w);
}

/* give makes n tokens available, to those who wait. */
static void give(int n)
{
	available += n;
	while (available > 0 && waiters)
		grant(take_out(waiters));
	if (available == 0)
		return;
	for (struct file *f = files; f; f = f->next) {
		if (!f->handle)
			continue;
		fuse_lowlevel_notify_poll(f->handle);
		fuse_pollhandle_destroy(f->handle);
		f->handle = NULL;
	}
}

void ended(struct process *p)
{
	struct process **link = &processes[p->pid % BUCKETS];

	while (*link != p)
		link = &(*link)->next;
	*link = p->next;
	close(p->fd);
	if (p->held > 0)
		give(p->held);
	free(p);
}

/* A process returns what it holds, and no more. */
void tokens_write(fuse_req_t req, size_t size)
{
	struct process *p = process_of(req);
	int n = size < (size_t)p->held ? (int)size : p->held;

	if (n == 0) {
		fuse_reply_err(req, size ? ENOSPC : 0);
		return;
	}
	p->held -= n;
	fuse_reply_write(req, n);
	give(n);
}

void tokens_poll(fuse_req_t req, struct fuse_file_info *fi, struct fuse_pollhandle *handle)
{
	struct file *f = (struct file *)fi->fh;

	if (handle) {
		if (f->handle)
			fuse_pollhandle_destroy(f->handle);
		f->handle = handle;
	}
	fuse_reply_poll(req, POLLOUT | (available > 0 ? POLLIN : 0));
}

/* The library of Debian 12 has no name for FOPEN_STREAM and FOPEN_PARALLEL_DIRECT_WRITES. */
void tokens_open(fuse_req_t req, struct fuse_file_info *fi)
{
	struct file *f = allocate(sizeof *f);

	*f = (struct file){.next = files, .link = &files};
	if (files)
		files->link = &f->next;
	files = f;
	fi->fh = (uintptr_t)f;
	fi->direct_io = fi->nonseekable = fi->noflush = 1;
	fuse_reply_open(req, fi);
}

void tokens_release(fuse_req_t req, struct fuse_file_info *fi)
{
	struct file *f = (struct file *)fi->fh;

	*f->link = f->next;
	if (f->next)
		f->next->link = f->link;
	if (f->handle)
		fuse_pollhandle_destroy(f->handle);
	free(f);
	fuse_reply_err(req, 0);
}
