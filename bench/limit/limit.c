/* limit [--queue] PATH, limit --cuse [--queue] NAME: the least a program can do to answer for steve's token file: a
 * blocking read(2), a write(2) at once.
 *
 * It makes PATH by FUSE, or /dev/NAME by CUSE, says "ready", and serves until a signal or an unmount. Root only. Every
 * READ gets a token, every WRITE is taken; nothing is counted, nobody waits, nobody is looked up. What a take and a return
 * cost here is what the kernel and the scheduler cost. Options of the mount, INIT and the flags of an open file are those
 * of internal/fuseconn and internal/front/file.
 *
 * With --queue there is one token, and readers wait for it in the order in which they came: the least for a token that
 * goes round. It does not know POLL. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { YEAR = 365 * 24 * 60 * 60, PAGE = 4096 };

/* The kernel refuses to hand out requests to less than FUSE_MIN_READ_BUFFER. */
static char in[2 * FUSE_MIN_READ_BUFFER];

static struct {
	struct fuse_out_header header;
	union {
		char token;
		struct fuse_init_out init;
		struct {
			struct cuse_init_out init;
			char info[64];
		} cuse;
		struct fuse_open_out open;
		struct fuse_write_out write;
		struct fuse_attr_out attr;
	};
} out;

static int dev;
static const char *path; /* of the mount, or name of the CUSE device */
static int cuse;

/* The one token of --queue, and who waits for it: a ring. It has room for more than can be blocked. */
static int queues, token = 1;
static uint64_t queue[1 << 16];
static uint16_t first, last;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void end(int signal)
{
	(void)signal;
	if (!cuse) {
		umount2(path, MNT_DETACH);
		unlink(path);
	}
	_exit(0);
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

/* reply sends n bytes of out's body, or the negative error number n. It returns whether somebody still waited for it. */
static int reply(uint64_t unique, int n)
{
	out.header = (struct fuse_out_header){
		.len = sizeof out.header + (n > 0 ? n : 0), .error = n < 0 ? n : 0, .unique = unique,
	};
	if (write(dev, &out, out.header.len) >= 0)
		return 1;
	if (errno != ENOENT)
		die("write");
	return 0;
}

#define SILENT INT_MIN

static int taken(void)
{
	out.token = '+';
	return 1;
}

static int take(uint64_t unique, const struct fuse_read_in *read)
{
	if (!queues)
		return taken();
	if (token) {
		token = 0;
		return taken();
	}
	if (read->flags & O_NONBLOCK)
		return -EAGAIN;
	queue[last++] = unique;
	return SILENT;
}

/* give passes the token on to the first who still waits. */
static void give(void)
{
	while (first != last)
		if (reply(queue[first++], taken()))
			return;
	token = 1;
}

/* interrupt lets a waiter go. */
static void interrupt(uint64_t unique)
{
	uint16_t kept = first;
	int found = 0;

	for (uint16_t i = first; i != last; i++)
		if (queue[i] == unique)
			found = 1;
		else
			queue[kept++] = queue[i];
	last = kept;
	if (found)
		reply(unique, -EINTR);
}

/* answer fills in out's body, and returns its length, a negative error number, or SILENT where none is due now. */
static int answer(const struct fuse_in_header *header, const void *body)
{
	switch (header->opcode) {
	case FUSE_READ:
		return take(header->unique, body);
	case FUSE_WRITE:
		out.write = (struct fuse_write_out){.size = ((const struct fuse_write_in *)body)->size};
		return sizeof out.write;
	case FUSE_INIT: {
		const struct fuse_init_in *kernel = body;
		out.init = (struct fuse_init_out){
			.major = FUSE_KERNEL_VERSION, .minor = kernel->minor,
			.flags = kernel->flags & (FUSE_INIT_EXT | FUSE_MAX_PAGES),
			.max_background = 64, .congestion_threshold = 48,
			.max_write = PAGE, .time_gran = 1, .max_pages = 1,
		};
		return sizeof out.init;
	}
	case CUSE_INIT: {
		const struct cuse_init_in *kernel = body;
		out.cuse.init = (struct cuse_init_out){
			.major = FUSE_KERNEL_VERSION, .minor = kernel->minor, .max_read = PAGE, .max_write = PAGE,
		};
		/* The end of the text is part of it. */
		return sizeof out.cuse.init + snprintf(out.cuse.info, sizeof out.cuse.info, "DEVNAME=%s", path) + 1;
	}
	case FUSE_OPEN:
		out.open = (struct fuse_open_out){
			.fh = 1,
			.open_flags = FOPEN_DIRECT_IO | FOPEN_NONSEEKABLE | FOPEN_STREAM | FOPEN_NOFLUSH | FOPEN_PARALLEL_DIRECT_WRITES,
		};
		return sizeof out.open;
	case FUSE_GETATTR:
		out.attr = (struct fuse_attr_out){
			.attr_valid = YEAR,
			.attr = {.ino = 1, .size = 1, .mode = S_IFREG | 0600, .nlink = 1, .blksize = PAGE},
		};
		return sizeof out.attr;
	case FUSE_RELEASE:
	case FUSE_FLUSH:
		return 0;
	case FUSE_INTERRUPT:
		interrupt(((const struct fuse_interrupt_in *)body)->unique);
		return SILENT;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		return SILENT;
	}
	return -ENOSYS;
}

static void serve(void)
{
	for (;;) {
		if (read(dev, in, sizeof in) < 0) {
			if (errno == EINTR || errno == ENOENT || errno == EAGAIN)
				continue;
			if (errno == ENODEV)
				end(0);
			die("read");
		}
		const struct fuse_in_header *header = (const void *)in;
		int n = answer(header, header + 1);
		if (n != SILENT)
			reply(header->unique, n);
		if (header->opcode == CUSE_INIT)
			ready(); /* the device was made while that was written */
		if (queues && header->opcode == FUSE_WRITE)
			give();
	}
}

static void open_device(const char *name)
{
	dev = open(name, O_RDWR | O_CLOEXEC);
	if (dev < 0)
		die(name);
}

static void mount_file(void)
{
	char options[128];

	open_device("/dev/fuse");
	int node = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (node < 0)
		die(path);
	close(node);
	snprintf(options, sizeof options, "fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,allow_other", dev, S_IFREG);
	if (mount("limit", path, "fuse.limit", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0) {
		perror("mount");
		unlink(path);
		exit(1);
	}
	ready();
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++)
		if (strcmp(argv[i], "--cuse") == 0)
			cuse = 1;
		else if (strcmp(argv[i], "--queue") == 0)
			queues = 1;
		else
			break;
	if (i != argc - 1 || argv[i][0] == '-') {
		fprintf(stderr, "usage: limit [--queue] PATH | limit --cuse [--queue] NAME\n");
		return 2;
	}
	path = argv[i];
	signal(SIGTERM, end);
	signal(SIGINT, end);
	if (cuse)
		open_device("/dev/cuse"); /* its first request is CUSE_INIT */
	else
		mount_file();
	serve();
}
