/* limit PATH: the least a program can do to answer for steve's FUSE file: a blocking read(2), a write(2) at once.
 *
 * Every READ gets a token, every WRITE is taken; nothing is counted, nobody waits, nobody is looked up. What a take and a
 * return cost here is what the kernel and the scheduler cost. Options of the mount, INIT and the flags of an open file are
 * those of internal/fuseconn and internal/front/file. It makes PATH, and serves until a signal or an unmount. Root only. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <signal.h>
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
		struct fuse_open_out open;
		struct fuse_write_out write;
		struct fuse_attr_out attr;
	};
} out;

static const char *path;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void end(int signal)
{
	(void)signal;
	umount2(path, MNT_DETACH);
	unlink(path);
	_exit(0);
}

#define SILENT INT_MIN

/* answer fills in out's body, and returns its length, a negative error number, or SILENT where none is due. */
static int answer(const struct fuse_in_header *header, const void *body)
{
	switch (header->opcode) {
	case FUSE_READ:
		out.token = '+';
		return 1;
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
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return SILENT;
	}
	return -ENOSYS;
}

int main(int argc, char **argv)
{
	char options[128];

	if (argc != 2) {
		fprintf(stderr, "usage: limit PATH\n");
		return 2;
	}
	path = argv[1];
	int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		die("/dev/fuse");
	int node = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (node < 0)
		die(path);
	close(node);
	signal(SIGTERM, end);
	signal(SIGINT, end);
	snprintf(options, sizeof options, "fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,allow_other", dev, S_IFREG);
	if (mount("limit", path, "fuse.limit", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0) {
		perror("mount");
		unlink(path);
		return 1;
	}
	puts("ready");
	fflush(stdout);
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
		if (n == SILENT)
			continue;
		out.header = (struct fuse_out_header){
			.len = sizeof out.header + (n > 0 ? n : 0), .error = n < 0 ? n : 0, .unique = header->unique,
		};
		if (write(dev, &out, out.header.len) < 0 && errno != ENOENT)
			die("write");
	}
}
