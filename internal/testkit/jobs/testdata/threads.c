/*
 * For LD_PRELOAD: makes each thread a job that names itself "opt ..." or "lto ...", as rustc's do that hold a token, before
 * it does what it is for. Its slot is gone by then: a thread that has done its work may still be there when the next one
 * has its token.
 */
#define _GNU_SOURCE
#include "slot.h"
#include <dlfcn.h>
#include <pthread.h>

int pthread_setname_np(pthread_t thread, const char *name)
{
	int (*real)(pthread_t, const char *) = dlsym(RTLD_NEXT, "pthread_setname_np");
	const char *status = getenv("JOB_STATUS");

	if (strncmp(name, "opt ", 4) == 0 || strncmp(name, "lto ", 4) == 0) {
		int slot = take_slot(F_OFD_SETLK, F_OFD_SETLKW);

		work();
		if (status && atoi(status) != 0)
			_exit(atoi(status));
		close(slot);
	}
	return real(thread, name);
}
