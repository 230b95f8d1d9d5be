/*
 * For comparison: a module that does nothing but ask testdata/trivial.go over the same
 * kind of socket, without a check of anything. Never install it.
 */
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/run/trivial.sock" };
	const char *user = NULL, *password = NULL;
	char question[1024] = { 0 }, answer = 0;
	int fd;

	(void)flags, (void)argc, (void)argv;
	if (pam_get_user(pamh, &user, NULL) != PAM_SUCCESS || pam_get_authtok(pamh, PAM_AUTHTOK, &password, NULL) != PAM_SUCCESS)
		return PAM_AUTH_ERR;
	strncpy(question, user, 256);
	strncpy(question + 256, password, 512);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    send(fd, question, 100, MSG_NOSIGNAL) == 100 && recv(fd, &answer, 1, 0) == 1)
		answer = answer == 1;
	close(fd);
	return answer == 1 ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	(void)pamh, (void)flags, (void)argc, (void)argv;
	return PAM_SUCCESS;
}
