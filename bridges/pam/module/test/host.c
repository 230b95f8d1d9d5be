/*
 * A program that signs somebody in, as sshd or sudo do: the real libpam and the real
 * module, against daemons that are right, wrong, slow, stopped or not there.
 *
 *   host MODULE FOLDER                all tests; FOLDER is empty and this user's own
 *   host MODULE FOLDER once USER      one login, for strace; prints what came of it
 *   host MODULE FOLDER daemon         a daemon that says yes, for the same
 *
 * FOLDER must not be writable by others.
 */
#define _GNU_SOURCE
#include "host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failures;

#define CHECK(holds, ...)                                               \
	do {                                                            \
		if (!(holds)) {                                         \
			failures++;                                     \
			fprintf(stderr, "%s:%d: ", __func__, __LINE__); \
			fprintf(stderr, __VA_ARGS__);                   \
			fprintf(stderr, "\n");                          \
		}                                                       \
	} while (0)

/* AddressSanitizer has its own allocator, which keeps what was freed for a while. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* ---- allocations, which are counted and can fail ---- */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

static _Atomic long allocations, failing_allocation, octets_in_use;

#ifndef __SANITIZE_ADDRESS__
static int no_memory(void)
{
	if (++allocations != failing_allocation)
		return 0;
	errno = ENOMEM;
	return 1;
}

static void *counted(void *p)
{
	if (p != NULL)
		octets_in_use += (long)malloc_usable_size(p);
	return p;
}

void *malloc(size_t size)
{
	return no_memory() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
	return no_memory() ? NULL : counted(__libc_calloc(count, size));
}

void *realloc(void *old, size_t size)
{
	const long before = old != NULL ? (long)malloc_usable_size(old) : 0;
	void *p = no_memory() ? NULL : counted(__libc_realloc(old, size));

	if (p != NULL)
		octets_in_use -= before;
	return p;
}

void free(void *p)
{
	if (p != NULL)
		octets_in_use -= (long)malloc_usable_size(p);
	__libc_free(p);
}
#endif

/* ---- the login ---- */

static const char *module, *folder;
static char socket_path[100], confdir[100];

/* What the person at the keyboard does. */
struct person {
	const char *password;	/* NULL: answers nothing */
	int conversation;	/* what it returns */
	int questions, messages;
};

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data)
{
	struct person *person = data;

	*responses = NULL;
	if (person->conversation != PAM_SUCCESS && messages[0]->msg_style == PAM_PROMPT_ECHO_OFF)
		return person->conversation;
	*responses = calloc((size_t)count, sizeof(**responses));
	if (*responses == NULL)
		return PAM_BUF_ERR;
	for (int i = 0; i < count; i++) {
		if (messages[i]->msg_style != PAM_PROMPT_ECHO_OFF) {
			person->messages++;
			continue;
		}
		person->questions++;
		if (person->password != NULL)
			(*responses)[i].resp = strdup(person->password);
	}
	return PAM_SUCCESS;
}

static int no_delay_flag;

static void no_delay(int result, unsigned us, void *data)
{
	(void)result, (void)us, (void)data;
	no_delay_flag++;
}

struct login {
	const char *service, *user, *rhost, *tty;
	struct person person;
	int flags;
	int account;
	pam_handle_t *pamh;	/* where it was started before */
};

static int start(struct login *l)
{
	const struct pam_conv conv = { converse, &l->person };
	union {
		void (*function)(int, unsigned, void *);
		const void *item;
	} delay = { .function = no_delay };
	int rc = pam_start_confdir(l->service, l->user, &conv, confdir, &l->pamh);

	if (rc != PAM_SUCCESS)
		return rc;
	pam_set_item(l->pamh, PAM_FAIL_DELAY, delay.item);
	if (l->rhost != NULL)
		pam_set_item(l->pamh, PAM_RHOST, l->rhost);
	if (l->tty != NULL)
		pam_set_item(l->pamh, PAM_TTY, l->tty);
	return PAM_SUCCESS;
}

static int go(struct login *l)
{
	return l->account ? pam_acct_mgmt(l->pamh, l->flags) : pam_authenticate(l->pamh, l->flags);
}

static int login(struct login *l)
{
	int rc = start(l);

	if (rc != PAM_SUCCESS) {
		if (l->pamh != NULL)
			pam_end(l->pamh, rc);
		return rc;
	}
	rc = go(l);
	pam_end(l->pamh, rc);
	l->pamh = NULL;
	return rc;
}

/* A user whom this host does not know, with a password. */
static struct login somebody(void)
{
	return (struct login){ .service = "three", .user = "nobody.of.this.host", .rhost = "192.0.2.7", .tty = "ssh",
			       .person = { .password = "kfmwtbrqhjaxpdnesgcy" } };
}

/* The same, with a module that waits no longer than a second. */
static struct login hurried(void)
{
	struct login l = somebody();

	l.service = "one";
	return l;
}

/* service - writes a PAM file */
static void service(const char *name, const char *text)
{
	char path[200];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", confdir, name);
	file = fopen(path, "w");
	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0) {
		perror(path);
		exit(1);
	}
}

static void services(void)
{
	char text[2000];
	const char *m = module, *s = socket_path;

	snprintf(text, sizeof(text), "auth required %s socket=%s timeout=1\naccount required %s socket=%s timeout=1\n", m, s, m, s);
	service("one", text);
	snprintf(text, sizeof(text), "auth required %s socket=%s\naccount required %s socket=%s\n", m, s, m, s);
	service("three", text);
	snprintf(text, sizeof(text), "auth required %s socket=%s use_first_pass\n", m, s);
	service("first", text);
	/* The first of the two cannot be asked; the second has the same password, and asks nobody. */
	snprintf(text, sizeof(text), "auth sufficient %s socket=/nowhere/pam.sock\nauth required %s socket=%s try_first_pass\n", m, m, s);
	service("both", text);
	snprintf(text, sizeof(text), "auth required %s socket=%s timeout=7\n", m, s);
	service("wrong", text);
	snprintf(text, sizeof(text), "auth required %s socket=%s/shared/pam.sock\n", m, folder);
	service("shared", text);
	snprintf(text, sizeof(text), "auth sufficient %s socket=%s\nauth required pam_permit.so\n", m, s);
	service("fallback", text);
}

/* In milliseconds: without waiting for the module's deadline of 3 s; and what no login may exceed. */
enum { AT_ONCE = 2899, IN_TIME = 4999 };

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* expect - a login, its result, and that it took from least to most milliseconds */
static void expect_in(struct login l, int want, int64_t least, int64_t most, const char *what)
{
	const int64_t begin = now_ms();
	const int rc = login(&l);
	const int64_t took = now_ms() - begin;

	CHECK(rc == want, "%s: %s, want %s", what, pam_strerror(NULL, rc), pam_strerror(NULL, want));
	CHECK(took >= least && took <= most, "%s: %lld ms, want %lld to %lld", what, (long long)took, (long long)least, (long long)most);
}

static void expect(struct login l, int want, const char *what)
{
	expect_in(l, want, 0, IN_TIME, what);
}

/* ---- tests ---- */

static void test_verdicts(void)
{
	struct login l = somebody();
	struct daemon d = daemon_start(socket_path, (struct nature){ .verdict = 1 });

	expect(l, PAM_SUCCESS, "yes");
	l.account = 1;
	expect(l, PAM_SUCCESS, "account, yes");
	l = somebody();
	l.service = "both";
	CHECK(login(&l) == PAM_SUCCESS && l.person.questions == 1, "%d questions for two modules", l.person.questions);
	l = somebody();
	l.service = "first";
	CHECK(login(&l) == PAM_AUTH_ERR && l.person.questions == 0, "use_first_pass asked for a password");
	l = somebody();
	l.service = "wrong";
	expect(l, PAM_SERVICE_ERR, "an option that is wrong");
	CHECK(daemon_stop(&d) == 3, "not three questions");
	d = daemon_start(socket_path, (struct nature){ .verdict = 2 });
	no_delay_flag = 0;
	expect(somebody(), PAM_AUTH_ERR, "no");
	CHECK(no_delay_flag == 1, "a refusal without a delay");
	l = somebody();
	l.account = 1;
	expect(l, PAM_PERM_DENIED, "account, no");
	daemon_stop(&d);
	d = daemon_start(socket_path, (struct nature){ .verdict = 3 });
	l = somebody();
	CHECK(login(&l) == PAM_AUTHINFO_UNAVAIL && l.person.messages == 1, "unavailable: %d messages", l.person.messages);
	l.flags = (int)PAM_SILENT;
	l.person.messages = 0;
	CHECK(login(&l) == PAM_AUTHINFO_UNAVAIL && l.person.messages == 0, "silent: %d messages", l.person.messages);
	daemon_stop(&d);
	d = daemon_start(socket_path, (struct nature){ .verdict = 5 });
	l = somebody();
	l.account = 1;
	expect(l, PAM_ACCT_EXPIRED, "expired");
	expect(somebody(), PAM_AUTHINFO_UNAVAIL, "expired is no answer to a password");
	daemon_stop(&d);
}

static void test_unasked(void)
{
	static char big[65537];
	static const struct {
		const char *user, *password;
		int conversation, want;
	} tries[] = {
		{ "root", "x", PAM_SUCCESS, PAM_USER_UNKNOWN },
		{ "daemon", "x", PAM_SUCCESS, PAM_USER_UNKNOWN },
		{ "nobody.of.this.host", NULL, PAM_SUCCESS, PAM_AUTH_ERR },
		{ "nobody.of.this.host", "", PAM_SUCCESS, PAM_AUTH_ERR },
		{ "nobody.of.this.host", "x", PAM_CONV_ERR, PAM_AUTH_ERR },
		{ "nobody.of.this.host", "x", PAM_CONV_AGAIN, PAM_AUTH_ERR },
		{ "nobody.of.this.host", "x", PAM_ABORT, PAM_AUTH_ERR },
		{ "nobody.of.this.host", "x", PAM_IGNORE, PAM_AUTH_ERR },
		{ "nobody.of.this.host", big, PAM_SUCCESS, PAM_AUTH_ERR },
		{ big, "x", PAM_SUCCESS, PAM_AUTH_ERR },
		{ "", "x", PAM_SUCCESS, PAM_AUTH_ERR },
	};
	struct daemon d = daemon_start(socket_path, (struct nature){ .verdict = 1 });
	struct login l;

	memset(big, 'x', sizeof(big) - 1);
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		l = somebody();
		l.user = tries[i].user;
		l.person.password = tries[i].password;
		l.person.conversation = tries[i].conversation;
		CHECK(login(&l) == tries[i].want, "try %zu", i);
		if (tries[i].want == PAM_USER_UNKNOWN)
			CHECK(l.person.questions == 0, "%s was asked for a password", l.user);
	}
	/* libpam turns the refusal into PAM_SYSTEM_ERR where it cannot tell the kernel's audit of such a name. */
	l = somebody();
	l.rhost = big;
	int rc = login(&l);
	CHECK(rc == PAM_AUTH_ERR || rc == PAM_SYSTEM_ERR, "a host of 64 KiB: %s", pam_strerror(NULL, rc));
	l = somebody();
	l.tty = big;
	rc = login(&l);
	CHECK(rc == PAM_AUTH_ERR || rc == PAM_SYSTEM_ERR, "a terminal of 64 KiB: %s", pam_strerror(NULL, rc));
	CHECK(daemon_stop(&d) == 0, "the daemon was asked");
}

static void test_away(void)
{
	struct login l = somebody();
	char path[200];
	int fd;

	unlink(socket_path);
	expect_in(somebody(), PAM_AUTHINFO_UNAVAIL, 0, AT_ONCE, "no socket");
	l.service = "fallback";
	expect_in(l, PAM_SUCCESS, 0, AT_ONCE, "the next module of the stack");
	fd = open(socket_path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	expect_in(somebody(), PAM_AUTHINFO_UNAVAIL, 0, AT_ONCE, "a file and no socket");
	unlink(socket_path);
	fd = listener(socket_path, -1);
	expect_in(somebody(), PAM_AUTHINFO_UNAVAIL, 0, AT_ONCE, "nobody listens");
	close(fd);
	l = somebody();
	l.service = "shared";
	expect_in(l, PAM_AUTHINFO_UNAVAIL, 0, AT_ONCE, "no folder");
	snprintf(path, sizeof(path), "%s/shared", folder);
	mkdir(path, 0700);
	chmod(path, 0777);
	snprintf(path, sizeof(path), "%s/shared/pam.sock", folder);
	struct daemon d = daemon_start(path, (struct nature){ .verdict = 1 });
	expect_in(l, PAM_AUTHINFO_UNAVAIL, 0, AT_ONCE, "a folder that everybody can change");
	CHECK(daemon_stop(&d) == 0, "it was asked all the same");
	if (geteuid() != 0)
		return;
	/* Another user's: it is not root, and the folder is root's. */
	d = daemon_start(socket_path, (struct nature){ .verdict = 1, .uid = 65534 });
	expect_in(somebody(), PAM_AUTHINFO_UNAVAIL, 0, AT_ONCE, "a daemon of somebody else's");
	for (int i = 0; i < 5000 && *d.questions == 0; i++) /* it is told a little later */
		usleep(1000);
	CHECK(daemon_stop(&d) == 1, "it was not even reached");
	d = daemon_start(socket_path, (struct nature){ .verdict = 1 });
	chmod(socket_path, 0600);
	if (fork() == 0) {
		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(2);
		l = somebody();
		_exit(login(&l) == PAM_AUTHINFO_UNAVAIL ? 0 : 1);
	}
	int status = -1;
	wait(&status);
	CHECK(status == 0, "no permission: %d", status);
	CHECK(daemon_stop(&d) == 0, "it was asked without permission");
}

static void test_slow(void)
{
	struct daemon d;
	int full[64], fd;

	d = daemon_start(socket_path, (struct nature){ .verdict = 1, .silent = true });
	expect_in(hurried(), PAM_AUTHINFO_UNAVAIL, 900, IN_TIME, "no answer");
	expect_in(somebody(), PAM_AUTHINFO_UNAVAIL, 2900, IN_TIME, "no answer, and no timeout said");
	kill(d.pid, SIGSTOP);
	expect_in(hurried(), PAM_AUTHINFO_UNAVAIL, 900, IN_TIME, "stopped");
	kill(d.pid, SIGCONT);
	daemon_stop(&d);
	d = daemon_start(socket_path, (struct nature){ .verdict = 1, .dribble_ms = 300 });
	expect_in(hurried(), PAM_AUTHINFO_UNAVAIL, 900, IN_TIME, "an octet now and then");
	daemon_stop(&d);
	/* A queue that is full, as of a stopped daemon with many logins. */
	unlink(socket_path);
	fd = listener(socket_path, 0);
	for (int i = 0; i < 64; i++)
		full[i] = connect_now(socket_path);
	expect_in(hurried(), PAM_AUTHINFO_UNAVAIL, 900, IN_TIME, "a full queue");
	for (int i = 0; i < 64; i++)
		close(full[i]);
	close(fd);
}

static void test_lies(void)
{
	struct daemon d;
	char what[50];

	for (int octets = 0; octets < 60; octets++) {
		snprintf(what, sizeof(what), "hangs up after %d octets", octets);
		d = daemon_start(socket_path, (struct nature){ .verdict = 1, .cut = true, .octets = octets });
		expect_in(somebody(), octets == 23 ? PAM_SUCCESS : PAM_AUTHINFO_UNAVAIL, 0, AT_ONCE, what);
		daemon_stop(&d);
	}
	for (int octets = 0; octets < 60; octets += 7) {
		snprintf(what, sizeof(what), "reads %d octets and hangs up", octets);
		d = daemon_start(socket_path, (struct nature){ .verdict = 1, .read = octets + 1, .silent = true, .hang_up = true });
		expect_in(somebody(), PAM_AUTHINFO_UNAVAIL, 0, AT_ONCE, what);
		daemon_stop(&d);
	}
	for (int octet = 0; octet < 23; octet++) {
		snprintf(what, sizeof(what), "octet %d is wrong", octet);
		d = daemon_start(socket_path, (struct nature){ .verdict = 1, .flip = octet + 1 });
		expect_in(somebody(), PAM_AUTHINFO_UNAVAIL, 0, AT_ONCE, what);
		daemon_stop(&d);
	}
	d = daemon_start(socket_path, (struct nature){ .verdict = 1, .flood = true });
	expect_in(somebody(), PAM_AUTHINFO_UNAVAIL, 0, AT_ONCE, "does not stop talking");
	daemon_stop(&d);
}

static void on_alarm(int number)
{
	(void)number;
}

static void test_signals(void)
{
	struct sigaction alarm_action = { .sa_handler = on_alarm }, before[NSIG] = { 0 }, after[NSIG] = { 0 };
	const struct itimerval storm = { { 0, 500 }, { 0, 500 } }, calm = { { 0, 0 }, { 0, 0 } };
	struct daemon d = daemon_start(socket_path, (struct nature){ .verdict = 1, .delay_ms = 300 });

	sigaction(SIGALRM, &alarm_action, NULL);
	for (int i = 1; i < NSIG; i++)
		sigaction(i, NULL, &before[i]);
	setitimer(ITIMER_REAL, &storm, NULL);
	expect(somebody(), PAM_SUCCESS, "a storm of signals");
	daemon_stop(&d);
	d = daemon_start(socket_path, (struct nature){ .verdict = 1, .silent = true });
	expect_in(hurried(), PAM_AUTHINFO_UNAVAIL, 900, IN_TIME, "a storm and no answer");
	setitimer(ITIMER_REAL, &calm, NULL);
	daemon_stop(&d);
	for (int i = 1; i < NSIG; i++) {
		sigaction(i, NULL, &after[i]);
		CHECK(before[i].sa_handler == after[i].sa_handler && before[i].sa_flags == after[i].sa_flags, "signal %d", i);
	}
}

/* open_descriptors - how many there are, the one that counts left out */
static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = -3; /* . and .. and dir */

	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void test_descriptors(void)
{
	struct rlimit old, limit;
	struct daemon d = daemon_start(socket_path, (struct nature){ .verdict = 1 });
	struct login l = somebody();
	int taken[4000], n = 0, rc, answered = 0;

	expect(l, PAM_SUCCESS, "first");	/* what libc keeps open is open now */
	getrlimit(RLIMIT_NOFILE, &old);
	limit = old;
	limit.rlim_cur = limit.rlim_max < 3000 ? limit.rlim_max : 3000;
	CHECK(limit.rlim_cur > 1100, "too few descriptors to try");
	setrlimit(RLIMIT_NOFILE, &limit);
	while (n < 1100 && (taken[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		n++;
	expect(l, PAM_SUCCESS, "descriptors above 1024");
	/* From none left to enough. */
	for (int left = 0; left < 6; left++) {
		l = somebody();
		CHECK(start(&l) == PAM_SUCCESS, "pam_start");
		while (n < 4000 && (taken[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
			n++;
		for (int i = 0; i < left; i++)
			close(taken[--n]);
		rc = go(&l);
		/* Without any, libpam cannot tell the kernel's audit either, and says PAM_SYSTEM_ERR. */
		CHECK(rc == PAM_SUCCESS || (rc == PAM_AUTHINFO_UNAVAIL && left < 3) || (rc == PAM_SYSTEM_ERR && left == 0), "%d descriptors left: %s", left, pam_strerror(NULL, rc));
		CHECK(left > 0 || rc != PAM_SUCCESS, "a yes without a descriptor");
		answered += rc == PAM_SUCCESS;
		pam_end(l.pamh, rc);
		for (int i = 0; i < 50; i++)
			close(taken[--n]);
	}
	CHECK(answered > 0, "never with enough of them");
	while (n > 0)
		close(taken[--n]);
	setrlimit(RLIMIT_NOFILE, &old);
	daemon_stop(&d);
}

/* Every allocation of a login fails, one after the other, libpam's and libc's too. */
static void test_memory(void)
{
	long total;
	int granted = 0;

	for (int verdict = 1; verdict <= 2; verdict++) {
		struct daemon d = daemon_start(socket_path, (struct nature){ .verdict = (uint8_t)verdict });
		struct login l = somebody();
		login(&l);
		allocations = 0;
		failing_allocation = 0;
		login(&l);
		total = allocations;
		CHECK(total > 20, "only %ld allocations", total);
		for (long at = 1; at <= total + 5; at++) {
			l = somebody();
			allocations = 0;
			failing_allocation = at;
			int rc = login(&l);
			failing_allocation = 0;
			CHECK(rc != PAM_IGNORE, "allocation %ld: PAM_IGNORE", at);
			CHECK(rc != PAM_SUCCESS || verdict == 1, "allocation %ld: a no became a yes", at);
			granted += rc == PAM_SUCCESS;
		}
		CHECK(login(&l) == (verdict == 1 ? PAM_SUCCESS : PAM_AUTH_ERR), "not as before");
		daemon_stop(&d);
	}
	CHECK(granted >= 5, "only %d logins that lost nothing", granted);
}

static void *some_logins(void *arg)
{
	struct login l = somebody();
	long wrong = 0;

	(void)arg;
	for (int i = 0; i < 100; i++)
		wrong += login(&l) != PAM_SUCCESS;
	return (void *)wrong;
}

static void test_forks_and_threads(void)
{
	struct daemon d = daemon_start(socket_path, (struct nature){ .verdict = 1 });
	struct login l = somebody();
	pthread_t threads[8];
	int status = -1;

	CHECK(start(&l) == PAM_SUCCESS, "pam_start");
	if (fork() == 0)
		_exit(go(&l) == PAM_SUCCESS ? 0 : 1);
	wait(&status);
	CHECK(status == 0, "in the child: %d", status);
	CHECK(go(&l) == PAM_SUCCESS, "in the parent, after it");
	pam_end(l.pamh, PAM_SUCCESS);
	for (int i = 0; i < 8; i++)
		CHECK(pthread_create(&threads[i], NULL, some_logins, NULL) == 0, "no thread");
	for (int i = 0; i < 8; i++) {
		void *wrong = NULL;
		pthread_join(threads[i], &wrong);
		CHECK(wrong == NULL, "thread %d: %ld logins failed", i, (long)wrong);
	}
	daemon_stop(&d);
}

/* loaded - whether the module is mapped into this process */
static int loaded(void)
{
	char line[1000];
	FILE *maps = fopen("/proc/self/maps", "re");
	int found = 0;

	while (fgets(line, sizeof(line), maps) != NULL)
		found |= strstr(line, "pam_keywicket") != NULL;
	fclose(maps);
	return found;
}

/* memory_has - whether the text, each letter one too high, is in memory that can be written */
static int memory_has(const char *shifted)
{
	char line[1000];
	unsigned long from, to;
	FILE *maps = fopen("/proc/self/maps", "re");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC), found = 0;
	const size_t length = strlen(shifted), size = 1 << 16;
	char *buffer = malloc(size);

	while (fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%lx-%lx", &from, &to) != 2 || strstr(line, " rw") == NULL)
			continue;
		for (; from < to; from += size - 32) {
			ssize_t n = pread(mem, buffer, to - from < size ? to - from : size, (off_t)from);
			for (ssize_t i = 0; i + (ssize_t)length <= n; i++) {
				size_t j = 0;
				while (j < length && buffer[i + (ssize_t)j] == shifted[j] - 1)
					j++;
				found += j == length;
			}
			memset(buffer, 0, size);
		}
	}
	free(buffer);
	close(mem);
	fclose(maps);
	return found;
}

/* A failed one, and one that nobody could answer, leave nothing of the password behind. */
static void test_leftovers(void)
{
	static const char shifted[] = "qwertyuiqwertyuiqwer";	/* only this stands in the program */

	for (int verdict = 0; verdict <= 3; verdict++) {
		struct daemon d = daemon_start(socket_path, (struct nature){ .verdict = (uint8_t)verdict });
		struct login l = somebody();
		char password[sizeof(shifted)];

		for (size_t i = 0; i < sizeof(shifted) - 1; i++)
			password[i] = (char)(shifted[i] - 1);
		password[sizeof(shifted) - 1] = '\0';
		l.person.password = password;
		login(&l);
		CHECK(memory_has(shifted) >= 1, "the search finds nothing, not even our own");
		explicit_bzero(password, sizeof(password));
		const int found = memory_has(shifted);
		CHECK(found == 0, "verdict %d: the password is in memory %d times", verdict, found);
		daemon_stop(&d);
	}
	CHECK(!loaded(), "the module is still there after pam_end");
}

/* 10,000 logins: not a descriptor and not an octet more than after the first hundred. */
static void test_many(void)
{
	struct daemon d = daemon_start(socket_path, (struct nature){ .verdict = 1 });
	struct login l = somebody();
	long before = 0;
	int descriptors = 0, wrong = 0;

	for (int i = 0; i < 10000; i++) {
		if (i == 100) {
			descriptors = open_descriptors();
			before = octets_in_use;
		}
		wrong += login(&l) != PAM_SUCCESS;
	}
	CHECK(wrong == 0, "%d were refused", wrong);
	CHECK(open_descriptors() == descriptors, "%d descriptors, %d before", open_descriptors(), descriptors);
	CHECK(octets_in_use == before, "%ld octets in use, %ld before", octets_in_use, before);
	CHECK(before > 0, "nothing was counted");
	CHECK(daemon_stop(&d) == 10000, "not 10,000 questions");
}

int main(int argc, char **argv)
{
	struct login l = somebody();

	if (argc < 3)
		return 2;
	module = argv[1];
	folder = argv[2];
	snprintf(socket_path, sizeof(socket_path), "%s/pam.sock", folder);
	snprintf(confdir, sizeof(confdir), "%s/pam.d", folder);
	mkdir(confdir, 0755);
	services();
	if (argc == 5 && strcmp(argv[3], "once") == 0) {
		l.user = argv[4];
		printf("%s\n", pam_strerror(NULL, login(&l)));
		return 0;
	}
	if (argc == 4 && strcmp(argv[3], "daemon") == 0) {
		daemon_run(socket_path, (struct nature){ .verdict = 1 });
		return 1;
	}
	test_verdicts();
	test_unasked();
	test_away();
	test_slow();
	test_lies();
	test_signals();
	test_descriptors();
	test_forks_and_threads();
	if (!SANITIZED) {
		test_leftovers();
		test_memory(); /* libpam forgets handles where it has no memory: behind what looks for them */
		test_many();
	}
	printf("host: %d failed\n", failures);
	return failures == 0 ? 0 : 1;
}
