/*
 * A world for the module in which every call can be made to fail: what libc and
 * libpam do for it (the linker's --wrap), and the daemon behind the socket.
 */
#ifndef WORLD_H
#define WORLD_H

#include "../keywicket.h"

#include <stdbool.h>
#include <sys/stat.h>

#define WORLD_FOLDERS 5

struct folder {
	const char *path;
	uid_t owner;
	mode_t mode;
};

struct world {
	/* What is there. */
	const char *service, *user, *rhost, *tty, *password;
	struct folder folders[WORLD_FOLDERS];
	uid_t caller, peer, user_uid;
	bool user_exists;
	int lookup_error, get_user, get_authtok;	/* what these return where it is no success */
	uint8_t verdict;
	void (*mangle)(uint8_t *reply, size_t *length);	/* what the daemon does to its right answer, or NULL */
	size_t most;		/* octets that one send or recv takes or gives; 0 is all */
	long recv_ms;		/* how long a recv takes */
	bool silent;		/* the daemon says nothing and does not hang up */
	bool storm;		/* EINTR every 10 ms, and nothing else */
	int foreign;		/* what ask_daemon returns without doing anything, where it is not 0 */
	int fail_at;		/* the number of the call that fails, or 0 */
	int fail_errno;

	/* What happened. */
	int calls;
	char failed[32];	/* the name of the call that failed */
	int sockets, closes, wipes, lines, messages;
	int64_t now_us, limit_us;	/* the clock; what was said how long a call may wait */
	unsigned int delay_us;	/* what the host is to wait after a failure */
	uint8_t sent[REQUEST_MAX];
	size_t sent_length, given;
	char log[1024];		/* the last line */
	char socket[200];	/* where it connected to */
	const char *module_argv[8];
	int module_argc;
};

extern struct world w;

/* world_new - everything is well: alain may sign in, and the clock stands at 100 s */
void world_new(void);

/* right_reply - what the protocol wants as the answer to what was sent */
size_t right_reply(uint8_t reply[REPLY_SIZE]);

#endif
