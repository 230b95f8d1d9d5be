/*
 * The module's arguments. They are written by the administrator, who shall see a
 * mistake: what is not understood is an error, and never left out in silence.
 */
#include "keywicket.h"

#include <security/pam_ext.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>
#include <syslog.h>

/* value - what stands behind "name=" in arg, or NULL */
static const char *value(const char *arg, const char *name)
{
	const size_t length = strlen(name);

	return strncmp(arg, name, length) == 0 ? arg + length : NULL;
}

/* number - reads digits alone; 0, or -1 if it is none between least and most */
static int number(const char *text, uint32_t least, uint32_t most, uint32_t *result)
{
	uint64_t sum = 0;

	if (*text == '\0')
		return -1;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		sum = sum * 10 + (uint64_t)(*text - '0');
		if (sum > most)
			return -1;
	}
	if (sum < least)
		return -1;
	*result = (uint32_t)sum;
	return 0;
}

/* parse_one - 0, or -1 if there is no such option or not with such a value */
static int parse_one(const char *arg, struct options *opt)
{
	const char *text;
	uint32_t n;

	if ((text = value(arg, "socket=")) != NULL) {
		opt->socket = text;
		return *text == '/' && strlen(text) < sizeof(((struct sockaddr_un *)0)->sun_path) ? 0 : -1;
	}
	if ((text = value(arg, "timeout=")) != NULL) {
		if (number(text, 1, 5, &n) < 0)
			return -1;
		opt->timeout_s = (int)n;
		return 0;
	}
	if ((text = value(arg, "min_uid=")) != NULL) {
		if (number(text, 0, UINT32_MAX - 1, &n) < 0)
			return -1;
		opt->min_uid = n;
		return 0;
	}
	if (strcmp(arg, "debug") == 0) {
		opt->debug = 1;
		return 0;
	}
	/* Both are for pam_get_authtok, which looks for them by itself. */
	return strcmp(arg, "use_first_pass") == 0 || strcmp(arg, "try_first_pass") == 0 ? 0 : -1;
}

int parse_options(pam_handle_t *pamh, int argc, const char **argv, struct options *opt)
{
	*opt = (struct options){
		.socket = "/run/keywicket/pam.sock",
		.timeout_s = 3,
		.min_uid = 1000,
	};
	for (int i = 0; i < argc; i++) {
		if (parse_one(argv[i], opt) < 0) {
			pam_syslog(pamh, LOG_ERR,
				   "the option \"%s\" is not known, or its value is not right; see pam_keywicket(8)",
				   argv[i]);
			return -1;
		}
	}
	return 0;
}
