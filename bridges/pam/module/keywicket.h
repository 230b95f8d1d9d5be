/*
 * What the parts of pam_keywicket share. The wire is described in
 * bridges/pam/doc.go; change its constants here and there together.
 */
#ifndef KEYWICKET_H
#define KEYWICKET_H

#include <security/pam_modules.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROTOCOL_VERSION 1

enum request_type {
	REQUEST_AUTHENTICATE = 1,
	REQUEST_ACCOUNT = 2,
};

/* The numbers are those of the wire. */
enum verdict {
	VERDICT_NONE = 0,	/* no answer, or one that is not well formed */
	VERDICT_ALLOW = 1,
	VERDICT_DENY = 2,
	VERDICT_UNAVAILABLE = 3,
	VERDICT_UNKNOWN = 4,	/* the last two answer an account request alone */
	VERDICT_EXPIRED = 5,
};

/* Octets. The limits of a field leave out the NUL at its end, which is not sent. */
#define NONCE_SIZE 16
#define SERVICE_MAX 64
#define USER_MAX 256
#define RHOST_MAX 256
#define TTY_MAX 64
#define PASSWORD_MAX 512	/* PAM_MAX_RESP_SIZE */
#define REQUEST_MAX \
	(4 + 2 + NONCE_SIZE + 5 * 2 + SERVICE_MAX + USER_MAX + RHOST_MAX + TTY_MAX + PASSWORD_MAX)
#define REPLY_SIZE (4 + 2 + NONCE_SIZE + 1)

/* What is asked. No string is NULL; all belong to somebody else. */
struct request {
	enum request_type type;
	const char *service, *user, *rhost, *tty, *password;
};

/* What stands behind the module in a PAM file. */
struct options {
	const char *socket;	/* absolute, fits into a struct sockaddr_un */
	int timeout_s;		/* 1 to 5: the whole exchange with the daemon */
	uid_t min_uid;		/* local users below it, and uid 0, are never sent */
	int debug;		/* tells the log more, and never a secret */
};

/*
 * parse_options - reads the module's arguments over the defaults
 *
 * Returns 0, or -1 after it told the log what is wrong.
 */
int parse_options(pam_handle_t *pamh, int argc, const char **argv, struct options *opt);

/*
 * encode_request - writes a request into frame
 *
 * Returns its length, or 0 if a field is shorter or longer than the wire takes:
 * nothing is ever cut.
 */
size_t encode_request(const struct request *request, const uint8_t nonce[NONCE_SIZE],
		      uint8_t frame[REQUEST_MAX]);

/*
 * decode_reply - the verdict of a frame of that length, as the answer to a request's
 *
 * VERDICT_NONE unless every octet is as the request, which encode_request made, wants it.
 */
enum verdict decode_reply(const uint8_t *frame, size_t length, const uint8_t *request);

/*
 * ask_daemon - one request, one reply, over one connection, within opt->timeout_s
 *
 * VERDICT_NONE if there is no answer to trust, VERDICT_DENY also for a request that
 * cannot be put. *trouble says in words what went wrong, or is NULL; errno goes with
 * it, and is 0 where it has nothing to add.
 */
enum verdict ask_daemon(const struct options *opt, const struct request *request,
			const char **trouble);

#endif
