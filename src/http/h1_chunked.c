/* SPDX-License-Identifier: Apache-2.0 */
/* See h1_chunked.h. A byte at a time through the framing, which is small; whole slices through the data. */
#include "http/h1_chunked.h"

#include "http/head.h"

enum state {
	SIZE,
	EXTENSION,
	QUOTED,  /* within a quoted string of an extension */
	ESCAPED, /* after its backslash */
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER, /* at the beginning of a line */
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	END_LF,
	END,
};

#define DIGITS_MAX 16u

void rl_chunked_init(struct rl_chunked *chunked)
{
	*chunked = (struct rl_chunked){.state = SIZE};
}

static enum rl_err size_byte(struct rl_chunked *d, unsigned char c)
{
	int v = rl_hex_digit((char)c);

	if (v >= 0) {
		if (++d->digits > DIGITS_MAX || d->left > (uint64_t)INT64_MAX >> 4)
			return RL_ERR_PROTOCOL;
		d->left = d->left << 4 | (uint64_t)v;
		return RL_OK;
	}
	if (!d->digits || (c != ';' && c != '\r'))
		return RL_ERR_PROTOCOL;
	d->state = c == ';' ? EXTENSION : SIZE_LF;
	return RL_OK;
}

static bool token_byte(unsigned char c)
{
	return rl_header_name_ok(rl_str_make(&c, 1));
}

static enum rl_err extension_byte(struct rl_chunked *d, unsigned char c)
{
	if (++d->extension_bytes > RL_CHUNK_EXTENSIONS_MAX_BYTES)
		return RL_ERR_LIMIT;
	if (d->state == EXTENSION) {
		if (c == '\r')
			d->state = SIZE_LF;
		else if (c == '"')
			d->state = QUOTED;
		else if (c != ';' && c != '=' && !token_byte(c))
			return RL_ERR_PROTOCOL;
		return RL_OK;
	}
	if ((c < 0x20 && c != '\t') || c == 0x7F)
		return RL_ERR_PROTOCOL;
	if (d->state == ESCAPED)
		d->state = QUOTED;
	else if (c == '"')
		d->state = EXTENSION;
	else if (c == '\\')
		d->state = ESCAPED;
	return RL_OK;
}

static enum rl_err trailer_byte(struct rl_chunked *d, unsigned char c)
{
	if (++d->trailer_bytes > RL_CHUNK_TRAILERS_MAX_BYTES)
		return RL_ERR_LIMIT;
	if (d->state == TRAILER) {
		if (c == '\r') {
			d->state = END_LF;
			return RL_OK;
		}
		d->name_n = 0;
		d->state = TRAILER_NAME;
	}
	if (d->state == TRAILER_NAME) {
		if (c == ':' && d->name_n) {
			/* No field that the gateway knows may come behind the body: it could only mislead. */
			if (d->name_n < sizeof d->name && rl_field_find(rl_str_make(d->name, d->name_n)) != RL_H_OTHER)
				return RL_ERR_PROTOCOL;
			d->state = TRAILER_VALUE;
			return RL_OK;
		}
		if (!token_byte(c))
			return RL_ERR_PROTOCOL;
		if (d->name_n < sizeof d->name)
			d->name[d->name_n++] = (char)c;
		return RL_OK;
	}
	if (c == '\r')
		d->state = TRAILER_LF;
	else if ((c < 0x20 && c != '\t') || c == 0x7F)
		return RL_ERR_PROTOCOL;
	return RL_OK;
}

/* The states that wait for one certain byte. */
static enum rl_err fixed_byte(struct rl_chunked *d, unsigned char c)
{
	static const struct {
		uint8_t byte, next;
	} fixed[] = {
		[SIZE_LF] = {'\n', DATA},       [DATA_CR] = {'\r', DATA_LF}, [DATA_LF] = {'\n', SIZE},
		[TRAILER_LF] = {'\n', TRAILER}, [END_LF] = {'\n', END},
	};

	if (c != fixed[d->state].byte)
		return RL_ERR_PROTOCOL;
	if (d->state == SIZE_LF)
		d->digits = 0;
	d->state = d->state == SIZE_LF && !d->left ? TRAILER : fixed[d->state].next;
	return RL_OK;
}

static enum rl_err framing_byte(struct rl_chunked *d, unsigned char c)
{
	switch ((enum state)d->state) {
	case SIZE:
		return size_byte(d, c);
	case EXTENSION:
	case QUOTED:
	case ESCAPED:
		return extension_byte(d, c);
	case TRAILER:
	case TRAILER_NAME:
	case TRAILER_VALUE:
		return trailer_byte(d, c);
	case SIZE_LF:
	case DATA_CR:
	case DATA_LF:
	case TRAILER_LF:
	case END_LF:
		return fixed_byte(d, c);
	case DATA:
	case END:
		break;
	}
	return RL_ERR_PROTOCOL;
}

enum rl_err rl_chunked_next(struct rl_chunked *d, rl_str *in, rl_str *piece)
{
	while (in->n && d->state != END) {
		if (d->state == DATA) {
			*piece = rl_str_sub(*in, 0, d->left);
			*in = rl_str_sub(*in, piece->n, SIZE_MAX);
			d->left -= piece->n;
			if (!d->left)
				d->state = DATA_CR;
			return RL_OK;
		}
		enum rl_err err = framing_byte(d, (unsigned char)in->p[0]);
		if (err != RL_OK)
			return err;
		in->p++;
		in->n--;
	}
	return d->state == END ? RL_ERR_EOF : RL_ERR_AGAIN;
}
