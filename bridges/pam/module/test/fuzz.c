/*
 * What libFuzzer tries: the parsers of what comes from outside. The first octet of
 * the input says which. Nothing may be read past its end (AddressSanitizer), and a
 * yes is only what is a yes to the octet.
 */
#include "../keywicket.h"

#include <security/pam_ext.h>
#include <stdlib.h>
#include <string.h>

/* The options' parser writes to the log; here there is none. */
void pam_syslog(const pam_handle_t *pamh, int priority, const char *format, ...)
{
	(void)pamh;
	(void)priority;
	(void)format;
}

static void must(int holds)
{
	if (!holds)
		abort();
}

static void try_reply(const uint8_t *data, size_t size)
{
	static const uint8_t nonce[NONCE_SIZE] = "0123456789abcde";
	uint8_t request[REQUEST_MAX], right[REPLY_SIZE] = { 0, 0, 0, 19, 1, 0x80 };
	const struct request ask = { .type = (size & 1) ? REQUEST_ACCOUNT : REQUEST_AUTHENTICATE,
				     .service = "s", .user = "u", .rhost = "", .tty = "", .password = (size & 1) ? "" : "p" };
	uint8_t *reply = malloc(size + 1); /* of that size to the octet, for AddressSanitizer */
	enum verdict verdict;

	must(reply != NULL && encode_request(&ask, nonce, request) > 0);
	memcpy(reply, data, size);
	verdict = decode_reply(reply, size, request);
	right[5] |= ask.type;
	memcpy(right + 6, nonce, NONCE_SIZE);
	if (size == REPLY_SIZE)
		right[22] = reply[22];
	must(verdict == VERDICT_NONE ||
	     (size == REPLY_SIZE && memcmp(reply, right, sizeof(right)) == 0 && verdict == reply[22] &&
	      verdict <= (ask.type == REQUEST_ACCOUNT ? VERDICT_EXPIRED : VERDICT_UNAVAILABLE)));
	free(reply);
}

/* Arguments, one a line. */
static void try_options(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *rest = text, *line;
	const char *argv[16];
	struct options opt;
	int argc = 0;

	must(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	while (argc < 16 && (line = strsep(&rest, "\n")) != NULL)
		argv[argc++] = line;
	if (parse_options(NULL, argc, argv, &opt) == 0)
		must(opt.socket[0] == '/' && strlen(opt.socket) < 108 && opt.timeout_s >= 1 && opt.timeout_s <= 5 &&
		     opt.min_uid != (uid_t)-1);
	free(text);
}

/* Five texts, one after the other, with a NUL between them. */
static void try_request(const uint8_t *data, size_t size)
{
	static const uint8_t nonce[NONCE_SIZE];
	uint8_t *frame = malloc(REQUEST_MAX);
	char *text = calloc(1, size + 5);
	const char *part[5];
	size_t at = 0, length;

	must(text != NULL && frame != NULL);
	memcpy(text, data, size);
	for (int i = 0; i < 5; i++) {
		part[i] = text + at;
		at += strlen(part[i]) + 1;
		if (at > size + 4)
			at = size + 4;
	}
	length = encode_request(&(struct request){ .type = (size & 1) ? REQUEST_ACCOUNT : REQUEST_AUTHENTICATE, .service = part[0],
						   .user = part[1], .rhost = part[2], .tty = part[3], .password = part[4] },
				nonce, frame);
	must(length <= REQUEST_MAX);
	must(length == 0 || length == 4 + ((size_t)frame[2] << 8 | frame[3]));
	free(text);
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0] % 3) {
	case 0:
		try_reply(data + 1, size - 1);
		break;
	case 1:
		try_options(data + 1, size - 1);
		break;
	default:
		try_request(data + 1, size - 1);
	}
	return 0;
}
