/*
 * The module alone, in the world of world.c. Every branch is taken (contrib/check-pam
 * asks gcov), and every call that can fail has failed.
 */
#define _GNU_SOURCE
#include "world.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int pam_sm_authenticate(pam_handle_t *, int, int, const char **);
int pam_sm_acct_mgmt(pam_handle_t *, int, int, const char **);
int pam_sm_setcred(pam_handle_t *, int, int, const char **);

static int failures, checks;

#define CHECK(holds, ...)                                         \
	do {                                                      \
		checks++;                                         \
		if (!(holds)) {                                   \
			failures++;                               \
			fprintf(stderr, "%s:%d: ", __func__, __LINE__); \
			fprintf(stderr, __VA_ARGS__);             \
			fprintf(stderr, "\n");                    \
		}                                                 \
	} while (0)

static int flags_of_call;

static pam_handle_t *handle(void)
{
	return (pam_handle_t *)&w;
}

/* finish - what holds after every call, whatever came of it */
static int finish(int rc)
{
	CHECK(w.sockets == w.closes, "%d sockets, %d closed", w.sockets, w.closes);
	CHECK(w.sent_length == 0 || w.wipes > 0, "the frame was not wiped");
	CHECK(rc != PAM_IGNORE, "PAM_IGNORE");
	return rc;
}

static int authenticate(void)
{
	return finish(pam_sm_authenticate(handle(), flags_of_call, w.module_argc, w.module_argv));
}

static int account(void)
{
	return finish(pam_sm_acct_mgmt(handle(), flags_of_call, w.module_argc, w.module_argv));
}

static void option(const char *text)
{
	w.module_argv[w.module_argc++] = text;
}

static void test_request(void)
{
	static const char want[] =
		"\0\0\0\x45\x01\x01\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf"
		"\0\4sshd\0\5alain\0\x9" "192.0.2.7\0\3ssh\0\x14kfmwtbrqhjaxpdnesgcy";
	static const char account_want[] =
		"\0\0\0\x28\x01\x02\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf"
		"\0\7dovecot\0\5alain\0\0\0\0\0\0";

	world_new();
	CHECK(authenticate() == PAM_SUCCESS, "not let in");
	CHECK(w.sent_length == sizeof(want) - 1 && memcmp(w.sent, want, sizeof(want) - 1) == 0, "other octets");
	CHECK(strcmp(w.socket, "/run/keywicket/pam.sock") == 0, "another socket");
	CHECK(w.lines == 0 && w.messages == 0, "it talks: %s", w.log);
	world_new();
	w.service = "dovecot";
	w.rhost = w.tty = NULL;
	CHECK(account() == PAM_SUCCESS, "not let in");
	CHECK(w.sent_length == sizeof(account_want) - 1 && memcmp(w.sent, account_want, sizeof(account_want) - 1) == 0,
	      "other octets");
	CHECK(pam_sm_setcred(handle(), 0, 0, NULL) == PAM_SUCCESS, "setcred");
}

static void test_verdicts(void)
{
	static const int authenticate_want[] = { PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL };
	static const int account_want[] = { PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, PAM_PERM_DENIED, PAM_AUTHINFO_UNAVAIL,
					    PAM_USER_UNKNOWN, PAM_ACCT_EXPIRED };

	for (int v = 0; v < 256; v++) {
		world_new();
		w.verdict = (uint8_t)v;
		int want = v < 4 ? authenticate_want[v] : PAM_AUTHINFO_UNAVAIL;
		int rc = authenticate();
		CHECK(rc == want, "verdict %d: %d, want %d", v, rc, want);
		CHECK(w.messages == (want == PAM_AUTHINFO_UNAVAIL), "verdict %d: %d messages", v, w.messages);
		CHECK(w.lines == (want == PAM_AUTHINFO_UNAVAIL), "verdict %d: %d lines", v, w.lines);
		/* A refusal is delayed, an inability is not: the next module is to be asked at once. */
		CHECK((w.delay_us > 0) == (v == VERDICT_DENY) && w.delay_us <= 1500000, "verdict %d: delay of %u us", v, w.delay_us);
		world_new();
		w.verdict = (uint8_t)v;
		want = v < 6 ? account_want[v] : PAM_AUTHINFO_UNAVAIL;
		rc = account();
		CHECK(rc == want, "account, verdict %d: %d, want %d", v, rc, want);
		world_new();
		w.verdict = (uint8_t)v;
		flags_of_call = (int)PAM_SILENT;
		authenticate();
		flags_of_call = 0;
		CHECK(w.messages == 0, "verdict %d: told somebody in spite of PAM_SILENT", v);
	}
	/* One that is none of the enum's, as after a mistake in another file. */
	world_new();
	w.foreign = 99;
	CHECK(authenticate() == PAM_AUTHINFO_UNAVAIL && account() == PAM_AUTHINFO_UNAVAIL, "a verdict that there is not");
}

static size_t mangle_at, mangle_length;
static uint8_t mangle_with;

static void change_one(uint8_t *reply, size_t *length)
{
	(void)length;
	reply[mangle_at] ^= mangle_with;
}

static void change_length(uint8_t *reply, size_t *length)
{
	(void)reply;
	*length = mangle_length;
}

/* Every single octet of the right answer in every wrong way, every other length, in one piece and in many. */
static void test_lies(void)
{
	for (mangle_at = 0; mangle_at < REPLY_SIZE - 1; mangle_at++) {
		for (int with = 1; with < 256; with++) {
			world_new();
			mangle_with = (uint8_t)with;
			w.mangle = change_one;
			int rc = authenticate();
			CHECK(rc == PAM_AUTHINFO_UNAVAIL, "octet %zu changed by %d: %d", mangle_at, with, rc);
		}
	}
	for (mangle_length = 0; mangle_length <= 2 * REPLY_SIZE; mangle_length++) {
		for (w.most = 0; w.most < 5;) {
			const size_t most = w.most;
			world_new();
			w.most = most;
			w.mangle = change_length;
			int rc = authenticate();
			CHECK(rc == (mangle_length == REPLY_SIZE ? PAM_SUCCESS : PAM_AUTHINFO_UNAVAIL),
			      "%zu octets, %zu at a time: %d", mangle_length, most, rc);
			w.most = most + 1;
		}
	}
}

/* text - length letters, until the next call for the same place */
static const char *text(int place, size_t length)
{
	static char texts[5][70000];

	memset(texts[place], 'x', length);
	texts[place][length] = '\0';
	return texts[place];
}

static void test_lengths(void)
{
	static const size_t most[] = { SERVICE_MAX, USER_MAX, RHOST_MAX, TTY_MAX, PASSWORD_MAX };
	static const size_t more[] = { 0, 1, 65536 };

	for (int field = 0; field < 5; field++) {
		for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
			const char **fields[] = { &w.service, &w.user, &w.rhost, &w.tty, &w.password };
			world_new();
			*fields[field] = text(field, most[field] + more[i]);
			int rc = authenticate();
			CHECK(rc == (more[i] == 0 ? PAM_SUCCESS : PAM_AUTH_ERR), "field %d, %zu more: %d", field, more[i], rc);
			CHECK(more[i] == 0 || w.sockets == 0, "field %d: asked", field);
			if (field == 4)
				continue;
			world_new();
			*fields[field] = text(field, most[field] + more[i]);
			rc = account();
			CHECK(rc == (more[i] == 0 ? PAM_SUCCESS : PAM_PERM_DENIED), "account, field %d: %d", field, rc);
		}
	}
	world_new();
	w.service = text(0, SERVICE_MAX);
	w.user = text(1, USER_MAX);
	w.rhost = text(2, RHOST_MAX);
	w.tty = text(3, TTY_MAX);
	w.password = text(4, PASSWORD_MAX);
	CHECK(authenticate() == PAM_SUCCESS && w.sent_length == REQUEST_MAX, "all of them: %zu octets", w.sent_length);
	world_new();
	w.service = "";
	CHECK(authenticate() == PAM_AUTH_ERR && w.sockets == 0, "a service without a name");
}

static void test_unasked(void)
{
	static const struct {
		const char *name;
		uid_t uid;
		const char *option;
		bool exists, asked;
	} users[] = {
		{ "root", 0, NULL, true, false },
		{ "toor", 0, "min_uid=0", true, false },
		{ "daemon", 1, NULL, true, false },
		{ "last", 999, NULL, true, false },
		{ "first", 1000, NULL, true, true },
		{ "daemon", 1, "min_uid=1", true, true },
		{ "high", 4294967294, "min_uid=4294967294", true, true },
		{ "first", 1000, "min_uid=1001", true, false },
		{ "nobody here", 0, NULL, false, true },
	};

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		for (int phase = 0; phase < 2; phase++) {
			world_new();
			w.user = users[i].name;
			w.user_uid = users[i].uid;
			w.user_exists = users[i].exists;
			if (users[i].option != NULL)
				option(users[i].option);
			int rc = phase == 0 ? authenticate() : account();
			CHECK(rc == (users[i].asked ? PAM_SUCCESS : PAM_USER_UNKNOWN), "%s: %d", w.user, rc);
			CHECK(w.sockets == users[i].asked, "%s: %d sockets", w.user, w.sockets);
			CHECK(w.messages == 0 && w.lines == 0, "%s: told somebody", w.user);
		}
	}
	world_new();
	w.lookup_error = ERANGE;
	CHECK(authenticate() == PAM_AUTHINFO_UNAVAIL && w.sockets == 0 && w.lines == 1, "a lookup that fails");
}

static void test_passwords(void)
{
	static const struct {
		const char *user, *password;
		int get_user, get_authtok;
	} tries[] = {
		{ "alain", NULL, PAM_SUCCESS, PAM_SUCCESS },
		{ "alain", "", PAM_SUCCESS, PAM_SUCCESS },
		{ "alain", "x", PAM_SUCCESS, PAM_CONV_ERR },
		{ "alain", NULL, PAM_SUCCESS, PAM_AUTHTOK_ERR },
		{ NULL, "x", PAM_SUCCESS, PAM_SUCCESS },
		{ "", "x", PAM_SUCCESS, PAM_SUCCESS },
		{ "alain", "x", PAM_CONV_ERR, PAM_SUCCESS },
		{ "alain", "x", PAM_IGNORE, PAM_SUCCESS },
		{ "alain", "x", PAM_SUCCESS, PAM_IGNORE },
	};

	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		world_new();
		w.user = tries[i].user;
		w.password = tries[i].password;
		w.get_user = tries[i].get_user;
		w.get_authtok = tries[i].get_authtok;
		int rc = authenticate();
		CHECK(rc == PAM_AUTH_ERR && w.sockets == 0, "try %zu: %d, %d sockets", i, rc, w.sockets);
	}
	world_new();
	w.user = NULL;
	CHECK(account() == PAM_USER_UNKNOWN && w.sockets == 0, "an account without a user");
	world_new();
	w.user = "";
	CHECK(account() == PAM_USER_UNKNOWN && w.sockets == 0, "an account without a name");
	/* What sshd says for users that it does not know is a password like any other. */
	world_new();
	w.password = "\b\n\r\177INCORRECT\b\n\r\177";
	w.verdict = VERDICT_DENY;
	CHECK(authenticate() == PAM_AUTH_ERR && w.messages == 0, "sshd's junk");
}

static void test_options(void)
{
	static char long_path[200] = "socket=/";
	static const char *const good[] = { "socket=/run/keywicket/pam.sock", "timeout=1", "timeout=5", "timeout=0003",
					    "min_uid=0", "min_uid=1000", "use_first_pass", "try_first_pass", "debug" };
	static const char *const bad[] = { "", "socket", "socket=", "socket=run/pam.sock", "Socket=/x", long_path,
					   "timeout", "timeout=", "timeout=0", "timeout=6", "timeout=-1", "timeout=+1",
					   "timeout=3s", "timeout= 3", "timeout=1.5", "timeout=99999999999999999999999",
					   "min_uid=", "min_uid=x", "min_uid=-1", "min_uid=4294967295", "min_uid=1000 ",
					   "debug=1", "nodebug", "use_first_pass=yes", "nullok", "min_uid=1000:" };

	memset(long_path + 8, 'x', 107); /* 108 octets: the NUL does not fit */
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		world_new();
		option(good[i]);
		CHECK(authenticate() == PAM_SUCCESS, "%s", good[i]);
		world_new();
		option(good[i]);
		CHECK(account() == PAM_SUCCESS, "%s", good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		world_new();
		option("debug");
		option(bad[i]);
		CHECK(authenticate() == PAM_SERVICE_ERR && w.sockets == 0, "\"%s\"", bad[i]);
		CHECK(w.lines == 1 && strstr(w.log, bad[i]) != NULL, "\"%s\" is not in the log: %s", bad[i], w.log);
		world_new();
		option(bad[i]);
		CHECK(account() == PAM_SERVICE_ERR && w.sockets == 0, "\"%s\"", bad[i]);
	}
	world_new();
	w.peer = 0; /* /run is root's */
	option("socket=/run/other.sock");
	CHECK(authenticate() == PAM_SUCCESS && strcmp(w.socket, "/run/other.sock") == 0, "socket=");
}

static void test_debug(void)
{
	world_new();
	option("debug");
	CHECK(authenticate() == PAM_SUCCESS && w.lines == 1, "%d lines", w.lines);
	world_new();
	option("debug");
	w.user_uid = 0;
	CHECK(authenticate() == PAM_USER_UNKNOWN && w.lines == 1, "%d lines", w.lines);
}

/* Folders, from the top, and whether the module asks somebody who listens in the last one. */
static void test_folders(void)
{
	static const struct {
		uid_t caller, peer;
		struct folder folders[WORLD_FOLDERS];
		bool asked;
	} tries[] = {
		{ 0, 990, { { "/", 0, 0755 }, { "/run", 0, 0755 }, { "/run/keywicket", 990, 0755 } }, true },
		{ 0, 0, { { "/", 0, 0755 }, { "/run", 0, 0755 }, { "/run/keywicket", 990, 0755 } }, true },
		{ 0, 991, { { "/", 0, 0755 }, { "/run", 0, 0755 }, { "/run/keywicket", 990, 0755 } }, false },
		{ 0, 1000, { { "/", 0, 0755 }, { "/run", 0, 0755 }, { "/run/keywicket", 0, 0755 } }, false },
		{ 0, 990, { { "/", 0, 0755 }, { "/run", 0, 0755 }, { "/run/keywicket", 990, 0775 } }, false },
		{ 0, 990, { { "/", 0, 0755 }, { "/run", 0, 0755 }, { "/run/keywicket", 990, 0757 } }, false },
		{ 0, 990, { { "/", 0, 0755 }, { "/run", 0, 0755 }, { "/run/keywicket", 990, 01777 } }, false },
		{ 0, 990, { { "/", 0, 0755 }, { "/run", 0, 0775 }, { "/run/keywicket", 990, 0755 } }, false },
		{ 0, 990, { { "/", 0, 0755 }, { "/run", 0, 01777 }, { "/run/keywicket", 990, 0755 } }, false },
		{ 0, 0, { { "/", 0, 0755 }, { "/run", 0, 01777 }, { "/run/keywicket", 0, 0755 } }, true },
		{ 1000, 1000, { { "/", 0, 0755 }, { "/run", 0, 01777 }, { "/run/keywicket", 1000, 0755 } }, true },
		{ 1000, 1000, { { "/", 0, 0755 }, { "/run", 1000, 0755 }, { "/run/keywicket", 1000, 0755 } }, true },
		{ 0, 1000, { { "/", 0, 0755 }, { "/run", 1000, 0755 }, { "/run/keywicket", 1000, 0755 } }, false },
		{ 0, 0, { { "/", 1000, 0755 }, { "/run", 0, 0755 }, { "/run/keywicket", 0, 0755 } }, false },
		{ 0, 0, { { "/", 0, 0755 }, { "/run", 0, 0755 } }, false },
	};

	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		world_new();
		w.caller = tries[i].caller;
		w.peer = tries[i].peer;
		memcpy(w.folders, tries[i].folders, sizeof(w.folders));
		int rc = authenticate();
		CHECK(rc == (tries[i].asked ? PAM_SUCCESS : PAM_AUTHINFO_UNAVAIL), "try %zu: %d", i, rc);
		CHECK((w.sent_length > 0) == tries[i].asked, "try %zu: %zu octets were sent", i, w.sent_length);
		CHECK(w.lines == !tries[i].asked, "try %zu: %d lines", i, w.lines);
	}
}

static void test_time(void)
{
	for (int seconds = 1; seconds <= 5; seconds++) {
		char timeout[] = "timeout=?";

		timeout[8] = (char)('0' + seconds);
		for (int kind = 0; kind < 4; kind++) {
			world_new();
			option(timeout);
			w.silent = kind == 0;
			w.storm = kind == 1;
			if (kind == 2) {
				w.most = 1;
				w.recv_ms = 1000;
			}
			if (kind == 3)
				w.recv_ms = 1000 * seconds + 1;
			int rc = authenticate();
			CHECK(rc == PAM_AUTHINFO_UNAVAIL, "kind %d: %d", kind, rc);
			CHECK(w.now_us >= (100 + seconds) * 1000000LL - 1000000 && w.now_us <= (100 + seconds) * 1000000LL + 10000,
			      "kind %d, %d s: ended at %lld us", kind, seconds, (long long)w.now_us);
			CHECK(strstr(w.log, "timed out") != NULL, "kind %d: %s", kind, w.log);
		}
	}
	world_new();
	w.recv_ms = 2999; /* for the answer; the end comes with it or not at all */
	w.most = 0;
	CHECK(authenticate() == PAM_AUTHINFO_UNAVAIL, "an answer whose end comes late");
}

/* Every call that the module makes fails, one after the other. */
static void test_every_call_fails(void)
{
	static const int errors[] = { EMFILE, ENOMEM, EIO, EINTR, EAGAIN, EPIPE, ECONNREFUSED, EACCES, 0 };
	int total;

	for (int phase = 0; phase < 2; phase++) {
		world_new();
		CHECK((phase == 0 ? authenticate() : account()) == PAM_SUCCESS, "phase %d", phase);
		total = w.calls;
		CHECK(total > 15, "only %d calls", total);
		for (int at = 1; at <= total; at++) {
			for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
				world_new();
				w.fail_at = at;
				w.fail_errno = errors[e];
				int rc = phase == 0 ? authenticate() : account();
				const bool harmless =
					strcmp(w.failed, "close") == 0 ||
					(errors[e] == EINTR && (strcmp(w.failed, "connect") == 0 || strcmp(w.failed, "send") == 0 ||
								strcmp(w.failed, "recv") == 0));
				CHECK(w.failed[0] != '\0', "call %d did not come", at);
				if (strcmp(w.failed, "getpwnam_r") == 0 && errors[e] == 0)
					continue; /* that is a user whom nobody knows */
				CHECK((rc == PAM_SUCCESS) == harmless, "call %d, %s, fails with %d: %d", at, w.failed, errors[e], rc);
			}
		}
	}
	/* Telling the owner fails, which changes nothing. */
	world_new();
	w.verdict = VERDICT_UNAVAILABLE;
	authenticate();
	total = w.calls;
	world_new();
	w.verdict = VERDICT_UNAVAILABLE;
	w.fail_at = total;
	CHECK(authenticate() == PAM_AUTHINFO_UNAVAIL && strcmp(w.failed, "pam_prompt") == 0, "%s", w.failed);
}

static void *on_own_stack(void *arg)
{
	(void)arg;
	authenticate();
	return NULL;
}

/* No password is left where the module worked: its stack is searched afterwards. */
static void test_wiped(void)
{
	enum { SIZE = 1 << 20 };
	static const int fail[] = { 0, 20 };
	char *stack = aligned_alloc(4096, SIZE);
	char password[] = "KFMWTBRQHJAXPDNESGCY"; /* not the one that stands in the program */

	for (size_t i = 0; i < sizeof(fail) / sizeof(fail[0]); i++) {
		pthread_attr_t attr;
		pthread_t thread;

		memset(stack, 0, SIZE);
		world_new();
		w.password = password;
		w.fail_at = fail[i];
		w.fail_errno = EIO;
		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, stack, SIZE);
		CHECK(pthread_create(&thread, &attr, on_own_stack, NULL) == 0, "no thread");
		pthread_join(thread, NULL);
		pthread_attr_destroy(&attr);
		CHECK(w.wipes == 1, "%d wipes", w.wipes);
		CHECK(memmem(stack, SIZE, password + 4, 12) == NULL, "the password is on the stack");
	}
	free(stack);
}

/* With an argument the stack is not searched: AddressSanitizer and valgrind forbid to look there. */
int main(int argc, char **argv)
{
	(void)argv;
	test_request();
	test_verdicts();
	test_lies();
	test_lengths();
	test_unasked();
	test_passwords();
	test_options();
	test_debug();
	test_folders();
	test_time();
	test_every_call_fails();
	if (argc == 1)
		test_wiped();
	printf("%d checks, %d failed\n", checks, failures);
	return failures == 0 && checks > 10000 ? 0 : 1;
}
