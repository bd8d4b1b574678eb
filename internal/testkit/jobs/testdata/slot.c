/*
 * slot: a job, which has a slot, works, and ends with $JOB_STATUS.
 * slot PROGRAM ARG...: become PROGRAM, which then has a slot. Where there is a $GATE, be a job first, and fail like one.
 * gcc ARG...: likewise, as GCC. Where there is a $GATE, only to compile, which is what has an argument -c.
 *
 * The slot is kept until the program ends, however it ends: fcntl(2) locks of a process survive execve(2), are not inherited
 * by children, and are gone before the parent can learn of the end.
 */
#include "slot.h"

static int compiles(char **argv)
{
	for (; *argv; argv++)
		if (strcmp(*argv, "-c") == 0)
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/'), *gate = getenv("GATE"), *status = getenv("JOB_STATUS");
	int gcc = strcmp(name ? name + 1 : argv[0], "gcc") == 0;

	if (!gcc || !gate || compiles(argv)) {
		take_slot(F_SETLK, F_SETLKW);
		if (gate || (!gcc && argc < 2))
			work();
		if (status && atoi(status) != 0)
			return atoi(status);
	}
	if (gcc) {
		argv[0] = GCC;
		execv(GCC, argv);
		err(125, "%s", GCC);
	}
	if (argc < 2)
		return 0;
	execvp(argv[1], argv + 1);
	err(125, "%s", argv[1]);
}
