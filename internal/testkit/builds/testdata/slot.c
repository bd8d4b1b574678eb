/*
 * slot PROGRAM ARG...: become PROGRAM, as one of those that are counted.
 * gcc ARG...: likewise, as GCC.
 * slot: be counted, wait until nobody has an exclusive flock(2) on the file $GATE, and then for $JOB_MS milliseconds.
 *
 * It locks one byte of the file $SLOTS, the first that no other process has locked, and the program keeps that lock until
 * it ends, however it ends: fcntl(2) locks survive execve(2), are not inherited by children, and are gone before the
 * parent can learn of the end. It also writes the byte, so that the file is as long as there ever were programs running
 * at one time.
 *
 * That is exact. While one looks for a byte nobody else takes one, for that needs a lock far behind: all the bytes that it
 * finds taken were taken when it began, by programs that run beside it.
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

static void take(const char *file)
{
	int fd = open(file, O_RDWR);
	off_t at = 0;

	if (fd < 0 || lock(fd, F_SETLKW, F_WRLCK, ENTRY) < 0)
		err(125, "%s", file);
	while (lock(fd, F_SETLK, F_WRLCK, at) < 0) {
		if (errno != EAGAIN && errno != EACCES)
			err(125, "%s", file);
		at++;
	}
	if (pwrite(fd, "x", 1, at) != 1 || lock(fd, F_SETLK, F_UNLCK, ENTRY) < 0)
		err(125, "%s", file);
}

static void wait_and_work(const char *gate, const char *ms)
{
	int fd = open(gate, O_RDONLY);

	if (fd < 0 || flock(fd, LOCK_SH) < 0)
		err(125, "%s", gate);
	usleep(1000 * atoi(ms));
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');

	take(variable("SLOTS"));
	if (strcmp(name ? name + 1 : argv[0], "gcc") == 0) {
		argv[0] = GCC;
		execv(GCC, argv);
		err(125, "%s", GCC);
	}
	if (argc < 2) {
		wait_and_work(variable("GATE"), variable("JOB_MS"));
		return 0;
	}
	execvp(argv[1], argv + 1);
	err(125, "%s", argv[1]);
}
