/*
 * How long a login takes: pam_start, pam_authenticate and pam_end, over and over in
 * one process.
 *
 *   bench USER COUNT SERVICE PASSWORD [SERVICE PASSWORD...]
 *
 * Prints the best of some rounds, and its ratio to every other service.
 */
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 200, SERVICES = 8 };

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data)
{
	*responses = calloc((size_t)count, sizeof(**responses));
	for (int i = 0; i < count; i++)
		if (messages[i]->msg_style == PAM_PROMPT_ECHO_OFF)
			(*responses)[i].resp = strdup(data);
	return PAM_SUCCESS;
}

/* round_us - microseconds for one of so many logins */
static double round_us(const char *service, const char *user, char *password, int count)
{
	const struct pam_conv conv = { converse, password };
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < count; i++) {
		pam_handle_t *pamh = NULL;
		int rc = pam_start(service, user, &conv, &pamh);

		if (rc == PAM_SUCCESS)
			rc = pam_authenticate(pamh, 0);
		if (rc != PAM_SUCCESS) {
			fprintf(stderr, "%s: %s\n", service, pam_strerror(pamh, rc));
			exit(1);
		}
		pam_end(pamh, rc);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	return ((double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3) / count;
}

int main(int argc, char **argv)
{
	double best[SERVICES] = { 0 };
	const int services = (argc - 3) / 2;

	if (services < 1 || services > SERVICES)
		return 2;
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < services; i++) {
			/* Short rounds, and of a slow one a single login: in some of them nobody else has the processor. */
			const int count = best[i] > 20000 ? 1 : atoi(argv[2]);
			const double us = round_us(argv[3 + 2 * i], argv[1], argv[4 + 2 * i], count);

			if (round < 2 || us < best[i]) /* the first is to get warm */
				best[i] = us;
		}
	}
	for (int i = 0; i < services; i++) {
		printf("%-16s %8.0f us", argv[3 + 2 * i], best[i]);
		for (int j = 0; j < services; j++)
			printf("  %7.2f x %s", best[i] / best[j], argv[3 + 2 * j]);
		printf("\n");
	}
	return 0;
}
