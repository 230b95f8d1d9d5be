/*
 * The two frames of the wire: made and judged without a look at the world.
 */
#include "keywicket.h"

#include <string.h>

static uint8_t *put_octets(uint8_t *at, const void *octets, size_t length)
{
	memcpy(at, octets, length);
	return at + length;
}

static uint8_t *put_number(uint8_t *at, size_t number)
{
	*at++ = (uint8_t)(number >> 8);
	*at++ = (uint8_t)number;
	return at;
}

size_t encode_request(const struct request *request, const uint8_t nonce[NONCE_SIZE],
		      uint8_t frame[REQUEST_MAX])
{
	const int account = request->type == REQUEST_ACCOUNT;
	const struct {
		const char *text;
		size_t least, most;
	} fields[] = {
		{ request->service, 1, SERVICE_MAX },
		{ request->user, 1, USER_MAX },
		{ request->rhost, 0, RHOST_MAX },
		{ request->tty, 0, TTY_MAX },
		{ request->password, account ? 0 : 1, account ? 0 : PASSWORD_MAX },
	};
	uint8_t *at = frame + 4;

	*at++ = PROTOCOL_VERSION;
	*at++ = (uint8_t)request->type;
	at = put_octets(at, nonce, NONCE_SIZE);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const size_t length = strnlen(fields[i].text, fields[i].most + 1);

		if (length < fields[i].least || length > fields[i].most)
			return 0;
		at = put_number(at, length);
		at = put_octets(at, fields[i].text, length);
	}
	/* Of the four octets of the length the first two are never needed. */
	put_number(put_number(frame, 0), (size_t)(at - frame) - 4);
	return (size_t)(at - frame);
}

enum verdict decode_reply(const uint8_t *frame, size_t length, const uint8_t *request)
{
	const enum request_type type = request[5];
	uint8_t want[REPLY_SIZE - 1];
	uint8_t *at = put_number(put_number(want, 0), REPLY_SIZE - 4);

	*at++ = PROTOCOL_VERSION;
	*at++ = (uint8_t)(type | 0x80);
	put_octets(at, request + 6, NONCE_SIZE);
	if (length != REPLY_SIZE || memcmp(frame, want, sizeof(want)) != 0)
		return VERDICT_NONE;
	switch (frame[REPLY_SIZE - 1]) {
	case VERDICT_ALLOW:
		return VERDICT_ALLOW;
	case VERDICT_DENY:
		return VERDICT_DENY;
	case VERDICT_UNAVAILABLE:
		return VERDICT_UNAVAILABLE;
	case VERDICT_UNKNOWN:
		return type == REQUEST_ACCOUNT ? VERDICT_UNKNOWN : VERDICT_NONE;
	case VERDICT_EXPIRED:
		return type == REQUEST_ACCOUNT ? VERDICT_EXPIRED : VERDICT_NONE;
	}
	return VERDICT_NONE;
}
