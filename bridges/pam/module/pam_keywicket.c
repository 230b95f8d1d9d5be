/*
 * pam_keywicket - asks the Keywicket daemon whether somebody may sign in
 *
 * It lives in sshd, sudo and login: no thread, no child, no signal handler, nothing
 * that is kept between calls. Whatever is not an explicit yes of the daemon is a no,
 * or an inability that lets the administrator's stack ask somebody else.
 */
#include "keywicket.h"

#include <errno.h>
#include <pwd.h>
#include <security/pam_ext.h>
#include <string.h>
#include <syslog.h>

#define REFUSAL_DELAY_US 1000000	/* as over RADIUS; libpam adds some chance to it */
#define EXPORT __attribute__((visibility("default")))	/* PAM_EXTERN is only "extern" */

static int empty(const char *text)
{
	return text == NULL || *text == '\0';
}

/*
 * local_user - whether the name is that of root or of a system account of this host
 *
 * They sign in without us: root's way in must not depend on the daemon. It goes by
 * the number, so another name for uid 0 is root's too. A name that this host does not
 * know may be an account of Keywicket's.
 *
 * Returns PAM_SUCCESS for whoever may be sent to the daemon, PAM_USER_UNKNOWN for
 * whoever may not, PAM_AUTHINFO_UNAVAIL if that cannot be told.
 */
static int local_user(pam_handle_t *pamh, const struct options *opt, const char *user)
{
	struct passwd entry, *found = NULL;
	char strings[16384];
	const int error = getpwnam_r(user, &entry, strings, sizeof(strings), &found);

	if (error != 0) {
		errno = error;
		pam_syslog(pamh, LOG_ERR, "who the user is on this host cannot be looked up: %m");
		return PAM_AUTHINFO_UNAVAIL;
	}
	if (found != NULL && (found->pw_uid == 0 || found->pw_uid < opt->min_uid)) {
		if (opt->debug)
			pam_syslog(pamh, LOG_DEBUG, "root and system accounts are not asked about");
		return PAM_USER_UNKNOWN;
	}
	return PAM_SUCCESS;
}

/* get_text - an item of PAM's; one that is not set is empty */
static int get_text(pam_handle_t *pamh, int item, const char **text)
{
	const void *found = NULL;
	const int rc = pam_get_item(pamh, item, &found);

	*text = found != NULL ? found : "";
	return rc;
}

/* ask - the daemon's verdict; what cannot be decided is told to the log and the owner */
static enum verdict ask(pam_handle_t *pamh, int flags, const struct options *opt, struct request *request)
{
	const char *trouble = "PAM does not say what it knows of the service";
	enum verdict verdict = VERDICT_NONE;

	errno = 0;
	if (get_text(pamh, PAM_SERVICE, &request->service) == PAM_SUCCESS &&
	    get_text(pamh, PAM_RHOST, &request->rhost) == PAM_SUCCESS &&
	    get_text(pamh, PAM_TTY, &request->tty) == PAM_SUCCESS)
		verdict = ask_daemon(opt, request, &trouble);
	if (trouble != NULL)
		pam_syslog(pamh, LOG_ERR, "%s: %s%s%s", opt->socket, trouble, errno != 0 ? ": " : "",
			   errno != 0 ? strerror(errno) : "");
	if (opt->debug)
		pam_syslog(pamh, LOG_DEBUG, "%s: the verdict is %d", opt->socket, (int)verdict);
	if ((verdict == VERDICT_NONE || verdict == VERDICT_UNAVAILABLE) && ((unsigned int)flags & PAM_SILENT) == 0)
		pam_error(pamh, "App passwords cannot be checked at the moment.");
	return verdict;
}

/*
 * authenticate - whether this is an app password of this user's for this service
 *
 *   PAM_SUCCESS           the daemon said yes
 *   PAM_AUTH_ERR          wrong, expired, unknown user (not told apart); no password, an
 *                         empty one, a conversation that was broken off: all unasked
 *   PAM_AUTHINFO_UNAVAIL  nobody can tell: the daemon is absent, late or garbled
 *   PAM_USER_UNKNOWN      root or a system account: unasked
 *   PAM_SERVICE_ERR       the module's options are wrong
 */
static int authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	struct request request = { .type = REQUEST_AUTHENTICATE };
	struct options opt;
	int rc;

	if (parse_options(pamh, argc, argv, &opt) < 0)
		return PAM_SERVICE_ERR;
	rc = pam_get_user(pamh, &request.user, NULL);
	if (rc != PAM_SUCCESS || empty(request.user))
		return PAM_AUTH_ERR;
	rc = local_user(pamh, &opt, request.user);
	if (rc != PAM_SUCCESS)
		return rc;
	/* The one that was typed for a module before us, or else a new one. libpam owns and wipes it. */
	rc = pam_get_authtok(pamh, PAM_AUTHTOK, &request.password, NULL);
	if (rc != PAM_SUCCESS || empty(request.password))
		return PAM_AUTH_ERR;
	switch (ask(pamh, flags, &opt, &request)) {	/* no default: the compiler names a verdict that is forgotten */
	case VERDICT_ALLOW:
		return PAM_SUCCESS;
	case VERDICT_DENY:
		/* Asks libpam to wait when all modules are done, should they fail. We never sleep. */
		(void)pam_fail_delay(pamh, REFUSAL_DELAY_US);
		return PAM_AUTH_ERR;
	case VERDICT_UNAVAILABLE:
	case VERDICT_UNKNOWN:
	case VERDICT_EXPIRED:
	case VERDICT_NONE:
		break;
	}
	return PAM_AUTHINFO_UNAVAIL;
}

/*
 * account - whether this user's account lets him in, however he proved who he is
 *
 *   PAM_SUCCESS           the daemon said yes
 *   PAM_PERM_DENIED       disabled
 *   PAM_ACCT_EXPIRED      expired
 *   PAM_USER_UNKNOWN      the daemon does not know the user; root, system accounts and
 *                         no user at all: unasked
 *   PAM_AUTHINFO_UNAVAIL, PAM_SERVICE_ERR   as above
 */
static int account(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	struct request request = { .type = REQUEST_ACCOUNT, .password = "" };
	struct options opt;
	int rc;

	if (parse_options(pamh, argc, argv, &opt) < 0)
		return PAM_SERVICE_ERR;
	rc = get_text(pamh, PAM_USER, &request.user);
	if (rc != PAM_SUCCESS || empty(request.user))
		return PAM_USER_UNKNOWN;
	rc = local_user(pamh, &opt, request.user);
	if (rc != PAM_SUCCESS)
		return rc;
	switch (ask(pamh, flags, &opt, &request)) {
	case VERDICT_ALLOW:
		return PAM_SUCCESS;
	case VERDICT_DENY:
		return PAM_PERM_DENIED;
	case VERDICT_UNKNOWN:
		return PAM_USER_UNKNOWN;
	case VERDICT_EXPIRED:
		return PAM_ACCT_EXPIRED;
	case VERDICT_UNAVAILABLE:
	case VERDICT_NONE:
		break;
	}
	return PAM_AUTHINFO_UNAVAIL;
}

EXPORT int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	return authenticate(pamh, flags, argc, argv);
}

EXPORT int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	return account(pamh, flags, argc, argv);
}

/* There are no credentials to set, and nothing that could fail. */
EXPORT int pam_sm_setcred(pam_handle_t *pamh __attribute__((unused)), int flags __attribute__((unused)),
			  int argc __attribute__((unused)), const char **argv __attribute__((unused)))
{
	return PAM_SUCCESS;
}
