/*
 * The conversation with the daemon: one connection, one deadline for all of it.
 * Nothing is kept between calls, and no call waits but in the kernel with a limit
 * (SO_SNDTIMEO, SO_RCVTIMEO), so that numbers of descriptors do not matter.
 */
#define _GNU_SOURCE	/* struct ucred */
#include "keywicket.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/*
 * folder_owner - whose folder the socket stands in
 *
 * Whoever can change a folder on the way could answer in the daemon's place. So
 * every one belongs to root or to the caller, and the last may belong to the
 * daemon; only its owner can write to it. /tmp and its like, where everybody makes
 * entries and takes away his own alone, may stand above one of root or the caller.
 *
 * Returns 0, or -1 with *trouble and errno.
 */
static int folder_owner(const char *socket, uid_t *owner, const char **trouble)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *slash = socket, *next;
	int shared = 0;	/* the folder above is like /tmp */
	struct stat st;

	for (; slash != NULL; slash = next) {
		const size_t length = slash == socket ? 1 : (size_t)(slash - socket);
		int trusted;

		next = strchr(slash + 1, '/');
		memcpy(path, socket, length);
		path[length] = '\0';
		*trouble = "the daemon cannot be reached";
		if (stat(path, &st) < 0)
			return -1;
		*trouble = "somebody who is neither root nor the daemon could put a socket there";
		errno = 0;
		trusted = st.st_uid == 0 || st.st_uid == geteuid();
		if (!trusted && (shared || next != NULL))
			return -1;
		shared = (st.st_mode & (S_IWGRP | S_IWOTH)) != 0;
		if (shared && (next == NULL || (st.st_mode & S_ISVTX) == 0))
			return -1;
	}
	*owner = st.st_uid;
	return 0;
}

/* limit_wait - lets the next call of fd wait no longer than until the deadline */
static int limit_wait(int fd, int option, const struct timespec *deadline)
{
	struct timespec now;
	struct timeval left;
	int64_t us;

	if (clock_gettime(CLOCK_MONOTONIC, &now) < 0)
		return -1;
	us = (int64_t)(deadline->tv_sec - now.tv_sec) * 1000000 + (deadline->tv_nsec - now.tv_nsec) / 1000;
	if (us <= 0) {
		errno = ETIMEDOUT;	/* and 0 would be no limit */
		return -1;
	}
	left.tv_sec = (time_t)(us / 1000000);
	left.tv_usec = (suseconds_t)(us % 1000000);
	return setsockopt(fd, SOL_SOCKET, option, &left, sizeof(left));
}

/* failed - whether a call's -1 is an end; a signal of the host's is none */
static int failed(ssize_t result)
{
	if (result >= 0 || errno == EINTR)
		return 0;
	if (errno == EAGAIN)
		errno = ETIMEDOUT;	/* it waited until the deadline */
	return 1;
}

static int connect_to(int fd, const char *path, const struct timespec *deadline)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int result;

	memcpy(address.sun_path, path, strlen(path) + 1);
	do {
		if (limit_wait(fd, SO_SNDTIMEO, deadline) < 0)
			return -1;
		/* Connects at once or not at all: it can simply be called again. */
		result = connect(fd, (struct sockaddr *)&address, sizeof(address));
		if (failed(result))
			return -1;
	} while (result < 0);
	return 0;
}

static int send_all(int fd, const uint8_t *octets, size_t length, const struct timespec *deadline)
{
	while (length > 0) {
		ssize_t n;

		if (limit_wait(fd, SO_SNDTIMEO, deadline) < 0)
			return -1;
		n = send(fd, octets, length, MSG_NOSIGNAL);
		if (failed(n))
			return -1;
		if (n > 0) {
			octets += n;
			length -= (size_t)n;
		}
	}
	return 0;
}

/* receive_all - reads up to the end, and no more than size; how much, or -1 */
static ssize_t receive_all(int fd, uint8_t *octets, size_t size, const struct timespec *deadline)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n;

		if (limit_wait(fd, SO_RCVTIMEO, deadline) < 0)
			return -1;
		n = recv(fd, octets + got, size - got, MSG_WAITALL);
		if (failed(n))
			return -1;
		if (n == 0)
			break;
		if (n > 0)
			got += (size_t)n;
	}
	return (ssize_t)got;
}

/* open_daemon - a connection to the daemon and to nobody else, or -1 */
static int open_daemon(const char *path, const struct timespec *deadline, const char **trouble)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	uid_t owner;
	int fd, error;

	if (folder_owner(path, &owner, trouble) < 0)
		return -1;
	*trouble = "no socket can be made";
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	*trouble = "the daemon cannot be reached";
	if (connect_to(fd, path, deadline) == 0) {
		*trouble = "nobody knows who listens at the socket";
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
			*trouble = "who listens at the socket is neither root nor the owner of its folder";
			errno = 0;
			if (peer.uid == 0 || peer.uid == owner)
				return fd;
		}
	}
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

/* exchange - sends a frame and judges what comes back; errno is set for every trouble */
static enum verdict exchange(int fd, const uint8_t *frame, size_t length, const struct timespec *deadline,
			     const char **trouble)
{
	uint8_t reply[REPLY_SIZE + 1];	/* one more, to see octets that do not belong there */
	enum verdict verdict;
	ssize_t got;

	*trouble = "the daemon does not take the question";
	if (send_all(fd, frame, length, deadline) < 0)
		return VERDICT_NONE;
	*trouble = "the daemon does not answer";
	got = receive_all(fd, reply, sizeof(reply), deadline);
	if (got < 0)
		return VERDICT_NONE;
	*trouble = "the daemon hung up, or its answer is not one to this question";
	errno = 0;
	verdict = decode_reply(reply, (size_t)got, frame);
	if (verdict == VERDICT_UNAVAILABLE)
		*trouble = "the daemon cannot tell";
	else if (verdict != VERDICT_NONE)
		*trouble = NULL;
	return verdict;
}

enum verdict ask_daemon(const struct options *opt, const struct request *request, const char **trouble)
{
	enum verdict verdict = VERDICT_NONE;
	uint8_t frame[REQUEST_MAX], nonce[NONCE_SIZE];
	struct timespec deadline;
	size_t length;
	int fd, error;

	*trouble = "the system has no time or no randomness";
	/* Not waiting for randomness: that could take longer than the deadline. */
	if (clock_gettime(CLOCK_MONOTONIC, &deadline) < 0 ||
	    getrandom(nonce, sizeof(nonce), GRND_NONBLOCK) != (ssize_t)sizeof(nonce))
		return VERDICT_NONE;
	deadline.tv_sec += opt->timeout_s;
	length = encode_request(request, nonce, frame);
	if (length > 0) {
		fd = open_daemon(opt->socket, &deadline, trouble);
		if (fd >= 0) {
			verdict = exchange(fd, frame, length, &deadline, trouble);
			error = errno;
			close(fd);
			errno = error;
		}
	} else {
		*trouble = "the service, user, host, terminal or password is empty or too long";
		errno = 0;
		verdict = VERDICT_DENY;
	}
	explicit_bzero(frame, sizeof(frame));
	return verdict;
}
