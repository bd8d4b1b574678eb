/* What the programs fuse.c and cuse.c have in common. */
#define FUSE_USE_VERSION 31
#include <fuse3/cuse_lowlevel.h>
#include <fuse3/fuse_lowlevel.h>

/* In tokens.c. Each of these answers the request. */
void tokens_open(fuse_req_t req, struct fuse_file_info *fi);
void tokens_read(fuse_req_t req, struct fuse_file_info *fi);
void tokens_write(fuse_req_t req, size_t size);
void tokens_poll(fuse_req_t req, struct fuse_file_info *fi, struct fuse_pollhandle *handle);
void tokens_release(fuse_req_t req, struct fuse_file_info *fi);

extern int available; /* tokens that nobody holds */

struct process;

/* ended takes back what a process held, and forgets it. */
void ended(struct process *p);

/* In loop.c. arguments takes those of either program, [--loop] PATH-or-NAME TOKENS, and returns the second; NULL, after a
 * word on how to use it, if they are wrong. */
const char *arguments(int argc, char **argv);

/* watch_process makes the loop call ended when the process has. It returns a descriptor, -1 if nothing is watched. */
int watch_process(pid_t pid, struct process *p);

/* ready tells whoever started the program that the token file is there. */
void ready(void);

/* serve answers until a signal or an unmount. It returns less than 0 if that failed. */
int serve(struct fuse_session *session);
