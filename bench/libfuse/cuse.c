/* libfuse-cuse [--loop] NAME TOKENS: the stand-in of tokens.c as the character device /dev/NAME, by the low-level CUSE API.
 *
 * It says "ready" when the device is there, and serves until a signal. Root only. */
#include "tokens.h"

#include <stdio.h>

static void device_init_done(void *data)
{
	(void)data;
	ready();
}

static void device_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)size, (void)off;
	tokens_read(req, fi);
}

static void device_write(fuse_req_t req, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)buf, (void)off, (void)fi;
	tokens_write(req, size);
}

static const struct cuse_lowlevel_ops operations = {
	.init_done = device_init_done, .open = tokens_open, .read = device_read, .write = device_write, .poll = tokens_poll,
	.release = tokens_release,
};

int main(int argc, char **argv)
{
	char *options[] = {argv[0], "-f", "-s", NULL}; /* in the foreground, with one thread */
	const char *name = arguments(argc, argv);
	char text[64];
	const char *info[] = {text};
	const struct cuse_info device = {.dev_info_argc = 1, .dev_info_argv = info};
	int threads;

	if (!name)
		return 2;
	if (snprintf(text, sizeof text, "DEVNAME=%s", name) >= (int)sizeof text) {
		fprintf(stderr, "libfuse-cuse: %s is too long\n", name);
		return 2;
	}
	struct fuse_session *session = cuse_lowlevel_setup(3, options, &device, &operations, &threads, NULL);
	if (!session)
		return 1;
	int status = serve(session) < 0;
	cuse_lowlevel_teardown(session);
	return status;
}
