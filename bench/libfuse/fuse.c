/* libfuse-fuse [--loop] PATH TOKENS: the stand-in of tokens.c as a regular file, by the low-level FUSE API.
 *
 * It makes PATH, says "ready", and serves until a signal or an unmount. Root only. */
#include "tokens.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { YEAR = 365 * 24 * 60 * 60 };

static void file_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = {.st_ino = ino, .st_mode = S_IFREG | 0600, .st_nlink = 1, .st_size = 1};

	(void)fi;
	fuse_reply_attr(req, &st, YEAR);
}

static void file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	tokens_open(req, fi);
}

static void file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino, (void)size, (void)off;
	tokens_read(req, fi);
}

static void file_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino, (void)buf, (void)off, (void)fi;
	tokens_write(req, size);
}

static void file_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *handle)
{
	(void)ino;
	tokens_poll(req, fi, handle);
}

static void file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	tokens_release(req, fi);
}

static const struct fuse_lowlevel_ops operations = {
	.getattr = file_getattr, .open = file_open, .read = file_read, .write = file_write, .poll = file_poll, .release = file_release,
};

int main(int argc, char **argv)
{
	char *options[] = {argv[0], "-o", "default_permissions,allow_other,fsname=libfuse", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, options);
	int status = 1;
	const char *path = arguments(argc, argv);

	if (!path)
		return 2;
	int node = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (node < 0) {
		perror(path);
		return 1;
	}
	close(node);
	struct fuse_session *session = fuse_session_new(&args, &operations, sizeof operations, NULL);
	if (session && fuse_set_signal_handlers(session) == 0) {
		if (fuse_session_mount(session, path) == 0) {
			ready();
			status = serve(session) < 0;
			fuse_session_unmount(session);
		}
		fuse_remove_signal_handlers(session);
	}
	if (session)
		fuse_session_destroy(session);
	unlink(path);
	return status;
}
