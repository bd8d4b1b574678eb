/*
 * A slot is one byte of the file $SLOTS, locked: the first that nobody else has locked. Its taker also writes the byte, so
 * that the file is as long as there ever were slots taken at one time.
 *
 * That is exact. While one looks for a byte nobody else takes one, for that needs a lock far behind: all the bytes that it
 * finds taken were taken when it began, by others that run beside it.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { ENTRY = 1 << 20 };

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	if (value == NULL)
		errx(125, "no $%s", name);
	return value;
}

static int lock(int fd, int command, int type, off_t at)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };

	return fcntl(fd, command, &l);
}

/*
 * take_slot takes a slot until the descriptor that it returns is closed. The locks are those of setlk and setlkw: of the
 * process, by F_SETLK and F_SETLKW, or of the descriptor's open file, by F_OFD_SETLK and F_OFD_SETLKW.
 */
static int take_slot(int setlk, int setlkw)
{
	const char *file = variable("SLOTS");
	int fd = open(file, O_RDWR);
	off_t at = 0;

	if (fd < 0 || lock(fd, setlkw, F_WRLCK, ENTRY) < 0)
		err(125, "%s", file);
	while (lock(fd, setlk, F_WRLCK, at) < 0) {
		if (errno != EAGAIN && errno != EACCES)
			err(125, "%s", file);
		at++;
	}
	if (pwrite(fd, "x", 1, at) != 1 || lock(fd, setlk, F_UNLCK, ENTRY) < 0)
		err(125, "%s", file);
	return fd;
}

/* work waits until nobody has an exclusive flock(2) on the file $GATE, and then for $JOB_MS milliseconds. */
static void work(void)
{
	const char *gate = variable("GATE"), *ms = getenv("JOB_MS");
	int fd = open(gate, O_RDONLY);

	if (fd < 0)
		err(125, "%s", gate);
	while (flock(fd, LOCK_SH) < 0)
		if (errno != EINTR)
			err(125, "%s", gate);
	close(fd);
	usleep(1000 * (ms ? atoi(ms) : 0));
}
