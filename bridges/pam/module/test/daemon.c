#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int new_socket(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address->sun_path))
		abort();
	memcpy(address->sun_path, path, strlen(path) + 1);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

int listener(const char *path, int queue)
{
	struct sockaddr_un address;
	int fd = new_socket(path, &address);

	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || chmod(path, 0666) != 0) {
		perror(path);
		exit(1);
	}
	if (queue >= 0 && listen(fd, queue) != 0)
		abort();
	return fd;
}

int connect_now(const char *path)
{
	struct sockaddr_un address;
	int fd = new_socket(path, &address);
	struct timeval once = { 0, 1 };

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &once, sizeof(once));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* say - false if nobody listens any more */
static bool say(int fd, const uint8_t *octets, size_t length)
{
	return send(fd, octets, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static void answer(int fd, const struct nature *n)
{
	uint8_t question[4096], reply[64] = { 0, 0, 0, 19, 1 };
	size_t got = 0, want = n->read > 0 ? (size_t)n->read - 1 : 4, length = 23;
	ssize_t r;

	while (got < want && (r = recv(fd, question + got, want - got, 0)) > 0) {
		got += (size_t)r;
		if (got == 4 && n->read == 0)
			want = 4 + ((size_t)question[2] << 8 | question[3]);
	}
	if (n->silent) {
		if (!n->hang_up)
			while (recv(fd, question, sizeof(question), 0) > 0)
				;
		return;
	}
	if (n->delay_ms > 0)
		usleep((unsigned)n->delay_ms * 1000);
	reply[5] = question[5] | 0x80;
	memcpy(reply + 6, question + 6, 16);
	reply[22] = n->verdict;
	if (n->flip > 0)
		reply[n->flip - 1] ^= 0x41;
	if (n->cut)
		length = (size_t)n->octets;
	if (n->dribble_ms > 0) {
		for (size_t i = 0; i < length && say(fd, reply + i, 1); i++)
			usleep((unsigned)n->dribble_ms * 1000);
		return;
	}
	say(fd, reply, length);
	memset(reply, 0, sizeof(reply));
	while (n->flood && say(fd, reply, sizeof(reply)))
		;
}

static void serve(int fd, const struct nature *n, int *questions)
{
	for (;;) {
		int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (conn < 0)
			continue;
		(*questions)++;
		answer(conn, n);
		close(conn);
	}
}

void daemon_run(const char *path, struct nature nature)
{
	int questions = 0;

	serve(listener(path, 128), &nature, &questions);
}

struct daemon daemon_start(const char *path, struct nature nature)
{
	struct daemon d;
	const pid_t parent = getpid();
	int fd = -1;

	d.questions = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (nature.uid == 0)
		fd = listener(path, 128);
	int ready[2];
	if (d.questions == MAP_FAILED || pipe(ready) != 0)
		abort();
	d.pid = fork();
	if (d.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		if (nature.uid != 0) {
			/* The kernel keeps who called listen. */
			fd = listener(path, -1);
			if (setresuid(nature.uid, nature.uid, nature.uid) != 0 || listen(fd, 128) != 0)
				_exit(1);
		}
		close(ready[0]);
		close(ready[1]);
		serve(fd, &nature, d.questions);
	}
	close(ready[1]);
	char end;
	ssize_t got;
	do { /* up to its end; there may be a storm of signals */
		got = read(ready[0], &end, 1);
	} while (got < 0 && errno == EINTR);
	if (got != 0)
		abort();
	close(ready[0]);
	if (fd >= 0)
		close(fd);
	return d;
}

int daemon_stop(struct daemon *d)
{
	const int questions = *d->questions;

	kill(d->pid, SIGKILL);
	while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
		;
	munmap(d->questions, sizeof(int));
	return questions;
}
