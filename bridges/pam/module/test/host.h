/* Daemons for host.c: one that is right, and what else could answer at a socket. */
#ifndef HOST_H
#define HOST_H

#include <security/pam_appl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct nature {
	uint8_t verdict;
	bool silent;		/* reads and says nothing */
	bool hang_up;		/* ... and closes, instead of waiting for the other side to */
	bool flood;		/* answers, and goes on with zeros */
	bool cut;		/* sends so many octets of the answer, with zeros behind it, and closes */
	int octets;
	int read;		/* octets of the question that it reads less one, 0: all of them */
	int flip;		/* the octet of the answer that is wrong, plus one */
	int delay_ms, dribble_ms;	/* before the answer; before each octet */
	uid_t uid;		/* who it runs as, if that is not us */
};

struct daemon {
	pid_t pid;
	int *questions;		/* shared with it */
};

/* daemon_start - returns once it listens */
struct daemon daemon_start(const char *path, struct nature nature);

/* daemon_stop - ends it, and returns how many connections it had */
int daemon_stop(struct daemon *d);

/* daemon_run - a daemon in this process, until it is killed */
void daemon_run(const char *path, struct nature nature);

/* listener - a socket with a queue of that length; -1: bound, and nobody listens */
int listener(const char *path, int queue);

/* connect_now - a connection, or -1 at once if the queue is full */
int connect_now(const char *path);

#endif
