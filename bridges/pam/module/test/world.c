#define _GNU_SOURCE
#include "world.h"

#include <errno.h>
#include <pwd.h>
#include <security/pam_appl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

struct world w;

enum { DESCRIPTOR = 2000 };

void world_new(void)
{
	w = (struct world){
		.service = "sshd",
		.user = "alain",
		.rhost = "192.0.2.7",
		.tty = "ssh",
		.password = "kfmwtbrqhjaxpdnesgcy",
		.folders = {
			{ "/", 0, S_IFDIR | 0755 },
			{ "/run", 0, S_IFDIR | 0755 },
			{ "/run/keywicket", 990, S_IFDIR | 0755 },
		},
		.peer = 990,
		.user_uid = 1000,
		.user_exists = true,
		.verdict = VERDICT_ALLOW,
		.now_us = 100000000,
	};
}

/* fails - counts a call, and says whether it is the one to fail */
static bool fails(const char *name)
{
	if (++w.calls != w.fail_at)
		return false;
	snprintf(w.failed, sizeof(w.failed), "%s", name);
	errno = w.fail_errno;
	return true;
}

/* must - a test of what the module may never do, in the middle of its work */
static void must(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "the module broke a rule: %s\n", what);
		abort();
	}
}

int __wrap_stat(const char *path, struct stat *st)
{
	if (fails("stat"))
		return -1;
	for (int i = 0; i < WORLD_FOLDERS; i++) {
		if (w.folders[i].path != NULL && strcmp(path, w.folders[i].path) == 0) {
			memset(st, 0, sizeof(*st));
			st->st_uid = w.folders[i].owner;
			st->st_mode = w.folders[i].mode;
			return 0;
		}
	}
	errno = ENOENT;
	return -1;
}

uid_t __wrap_geteuid(void)
{
	return w.caller;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	must(id == CLOCK_MONOTONIC, "the clock is not the monotonic one");
	if (fails("clock_gettime"))
		return -1;
	ts->tv_sec = w.now_us / 1000000;
	ts->tv_nsec = w.now_us % 1000000 * 1000;
	return 0;
}

ssize_t __wrap_getrandom(void *octets, size_t length, unsigned int flags)
{
	(void)flags;
	if (fails("getrandom"))
		return -1;
	for (size_t i = 0; i < length; i++)
		((uint8_t *)octets)[i] = (uint8_t)(0xa0 + i);
	return (ssize_t)length;
}

int __wrap_socket(int domain, int type, int protocol)
{
	must(domain == AF_UNIX && type == (SOCK_STREAM | SOCK_CLOEXEC) && protocol == 0, "another kind of socket");
	if (fails("socket"))
		return -1;
	w.sockets++;
	return DESCRIPTOR;
}

int __wrap_close(int fd)
{
	must(fd == DESCRIPTOR && w.closes < w.sockets, "it closes what is not open");
	w.closes++;
	return fails("close") ? -1 : 0;
}

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
	const struct timeval *tv = value;

	must(fd == DESCRIPTOR && level == SOL_SOCKET && size == sizeof(*tv), "another option of the socket");
	must(option == SO_SNDTIMEO || option == SO_RCVTIMEO, "another option of the socket");
	must(tv->tv_usec >= 0 && tv->tv_usec < 1000000, "microseconds out of range");
	w.limit_us = tv->tv_sec * 1000000 + tv->tv_usec;
	must(w.limit_us > 0 && w.limit_us <= 5000000, "a wait without a limit, or with one that is too long");
	return fails("setsockopt") ? -1 : 0;
}

/* waits - whether a call comes back without success after a wait */
static bool waits(long ms)
{
	must(w.limit_us > 0, "a call without a limit");
	if (w.storm) {
		w.now_us += 10000;
		errno = EINTR;
		return true;
	}
	if (ms * 1000 > w.limit_us) {
		w.now_us += w.limit_us;
		errno = EAGAIN;
		return true;
	}
	w.now_us += ms * 1000;
	return false;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
	const struct sockaddr_un *un = (const void *)address;

	must(fd == DESCRIPTOR && size == sizeof(*un) && un->sun_family == AF_UNIX, "another address");
	must(memchr(un->sun_path, 0, sizeof(un->sun_path)) != NULL, "a path without end");
	snprintf(w.socket, sizeof(w.socket), "%s", un->sun_path);
	return fails("connect") || waits(0) ? -1 : 0;
}

int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
	struct ucred *peer = value;

	must(fd == DESCRIPTOR && level == SOL_SOCKET && option == SO_PEERCRED && *size == sizeof(*peer), "not SO_PEERCRED");
	if (fails("getsockopt"))
		return -1;
	*peer = (struct ucred){ .pid = 1, .uid = w.peer, .gid = w.peer };
	return 0;
}

ssize_t __wrap_send(int fd, const void *octets, size_t length, int flags)
{
	must(fd == DESCRIPTOR && (flags & MSG_NOSIGNAL) != 0, "a send that can raise SIGPIPE");
	if (fails("send") || waits(0))
		return -1;
	if (w.most > 0 && length > w.most)
		length = w.most;
	must(length <= sizeof(w.sent) - w.sent_length, "more was sent than a request has");
	memcpy(w.sent + w.sent_length, octets, length);
	w.sent_length += length;
	return (ssize_t)length;
}

size_t right_reply(uint8_t reply[REPLY_SIZE])
{
	static const uint8_t head[] = { 0, 0, 0, 19, 1 };

	memcpy(reply, head, sizeof(head));
	reply[5] = w.sent[5] | 0x80;
	memcpy(reply + 6, w.sent + 6, NONCE_SIZE);
	reply[22] = w.verdict;
	return REPLY_SIZE;
}

ssize_t __wrap_recv(int fd, void *octets, size_t length, int flags)
{
	uint8_t reply[2 * REPLY_SIZE] = { 0 };
	size_t size = right_reply(reply);

	must(fd == DESCRIPTOR && (flags & ~MSG_WAITALL) == 0, "other flags of recv");
	if (fails("recv") || waits(w.silent ? 60000 : w.recv_ms))
		return -1;
	if (w.mangle != NULL)
		w.mangle(reply, &size);
	if (w.most > 0 && length > w.most)
		length = w.most;
	if (length > size - w.given)
		length = size - w.given;
	memcpy(octets, reply + w.given, length);
	w.given += length;
	return (ssize_t)length;
}

void __wrap_explicit_bzero(void *octets, size_t length)
{
	memset(octets, 0, length);
	__asm__ volatile("" : : "r"(octets) : "memory");
	w.wipes++;
}

int __wrap_getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size, struct passwd **result)
{
	must(strcmp(name, w.user) == 0 && size >= 1024, "another user is looked up");
	(void)buffer;
	*result = NULL;
	if (fails("getpwnam_r"))
		return w.fail_errno;
	if (w.lookup_error != 0)
		return w.lookup_error;
	*entry = (struct passwd){ .pw_uid = w.user_uid };
	*result = w.user_exists ? entry : NULL;
	return 0;
}

enum verdict __real_ask_daemon(const struct options *opt, const struct request *request, const char **trouble);

enum verdict __wrap_ask_daemon(const struct options *opt, const struct request *request, const char **trouble)
{
	return w.foreign == 0 ? __real_ask_daemon(opt, request, trouble) : (enum verdict)w.foreign;
}

int __wrap_pam_get_user(pam_handle_t *pamh, const char **user, const char *prompt)
{
	must(pamh == (pam_handle_t *)&w && prompt == NULL, "another prompt for the user");
	if (fails("pam_get_user"))
		return PAM_BUF_ERR;
	*user = w.user;
	return w.get_user;
}

int __wrap_pam_get_authtok(pam_handle_t *pamh, int item, const char **authtok, const char *prompt)
{
	must(pamh == (pam_handle_t *)&w && item == PAM_AUTHTOK && prompt == NULL, "another prompt for the password");
	if (fails("pam_get_authtok"))
		return PAM_BUF_ERR;
	*authtok = w.password;
	return w.get_authtok;
}

int __wrap_pam_get_item(const pam_handle_t *pamh, int item, const void **found)
{
	must(pamh == (const pam_handle_t *)&w, "another handle");
	if (fails("pam_get_item"))
		return PAM_SYSTEM_ERR;
	switch (item) {
	case PAM_SERVICE:
		*found = w.service;
		return PAM_SUCCESS;
	case PAM_USER:
		*found = w.user;
		return PAM_SUCCESS;
	case PAM_RHOST:
		*found = w.rhost;
		return PAM_SUCCESS;
	case PAM_TTY:
		*found = w.tty;
		return PAM_SUCCESS;
	}
	must(false, "it looks at an item that is not its business");
	return PAM_BAD_ITEM;
}

void __wrap_pam_syslog(const pam_handle_t *pamh, int priority, const char *format, ...)
{
	va_list args;

	(void)pamh;
	(void)priority;
	va_start(args, format);
	vsnprintf(w.log, sizeof(w.log), format, args);
	va_end(args);
	must(w.password == NULL || *w.password == '\0' || strstr(w.log, w.password) == NULL, "the log has the password");
	w.lines++;
}

int __wrap_pam_fail_delay(pam_handle_t *pamh, unsigned int us)
{
	(void)pamh;
	if (fails("pam_fail_delay"))
		return PAM_SYSTEM_ERR;
	w.delay_us = us;
	return PAM_SUCCESS;
}

int __wrap_pam_prompt(pam_handle_t *pamh, int style, char **response, const char *format, ...)
{
	(void)pamh;
	must(style == PAM_ERROR_MSG && response == NULL && strchr(format, '%') == NULL, "another text for the owner");
	w.messages++;
	return fails("pam_prompt") ? PAM_CONV_ERR : PAM_SUCCESS;
}
