/* SPDX-License-Identifier: Apache-2.0 */
/* See eventstream.h. */
#include "frame/eventstream.h"

#include <zlib.h>

#define PRELUDE_BYTES 12u
#define SUM_BYTES 4u
#define LEAST_BYTES (PRELUDE_BYTES + SUM_BYTES)

/* Types of header values; those with a length of their own have two bytes of it. */
enum value_type {
	VALUE_TRUE,
	VALUE_FALSE,
	VALUE_BYTE,
	VALUE_I16,
	VALUE_I32,
	VALUE_I64,
	VALUE_BYTES,
	VALUE_STRING,
	VALUE_TIME,
	VALUE_UUID,
	VALUE_TYPES
};

static const uint8_t value_bytes[VALUE_TYPES] = {
	[VALUE_BYTE] = 1, [VALUE_I16] = 2, [VALUE_I32] = 4, [VALUE_I64] = 8, [VALUE_TIME] = 8, [VALUE_UUID] = 16,
};

void rl_eventstream_init(struct rl_eventstream *stream, size_t max_event_bytes)
{
	*stream = (struct rl_eventstream){.name = ""};
	rl_carry_init(&stream->carry, max_event_bytes);
	rl_buf_init(&stream->made, max_event_bytes);
}

void rl_eventstream_fini(struct rl_eventstream *stream)
{
	rl_carry_fini(&stream->carry);
	rl_buf_fini(&stream->made);
}

static uint32_t read32(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void write32(char *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (char)(v >> (24 - 8 * i) & 0xFF);
}

static uint32_t sum_of(const char *p, size_t n)
{
	return (uint32_t)crc32_z(0, (const unsigned char *)p, n);
}

/* --- reading --- */

/* The headers that say what a message is. */
struct said {
	rl_str message_type, event_type, exception_type, error_code, error_message;
};

static void note(struct said *said, rl_str name, rl_str value)
{
	const struct {
		rl_str name;
		rl_str *to;
	} known[] = {
		{RL_STR(":message-type"), &said->message_type},     {RL_STR(":event-type"), &said->event_type},
		{RL_STR(":exception-type"), &said->exception_type}, {RL_STR(":error-code"), &said->error_code},
		{RL_STR(":error-message"), &said->error_message},
	};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (rl_str_eq(name, known[i].name))
			*known[i].to = value;
}

/* The first n bytes off *rest; p == NULL: it has fewer. */
static rl_str cut(rl_str *rest, size_t n)
{
	rl_str part = rl_str_sub(*rest, 0, n);

	if (part.n < n)
		return (rl_str){NULL, 0};
	*rest = rl_str_make(rest->p + n, rest->n - n);
	return part;
}

/* One header off *rest. False: it is none. */
static bool read_header(rl_str *rest, struct said *said)
{
	rl_str length = cut(rest, 1);
	rl_str name = length.p ? cut(rest, (unsigned char)length.p[0]) : length;
	rl_str type = name.p ? cut(rest, 1) : name;

	if (!type.p || (unsigned char)type.p[0] >= VALUE_TYPES)
		return false;
	size_t n = value_bytes[(unsigned char)type.p[0]];
	bool string = type.p[0] == VALUE_STRING;

	if (string || type.p[0] == VALUE_BYTES) {
		length = cut(rest, 2);
		if (!length.p)
			return false;
		n = (size_t)((unsigned char)length.p[0] << 8 | (unsigned char)length.p[1]);
	}
	rl_str value = cut(rest, n);

	if (value.p && string)
		note(said, name, value);
	return value.p != NULL;
}

/* Its name into the stream's buffer, where it stays until the next one. */
static rl_str exception_name(struct rl_eventstream *stream, const struct said *said)
{
	rl_str word = said->exception_type.n ? said->exception_type : said->error_code;
	size_t mark = sizeof RL_EVENTSTREAM_EXCEPTION - 1;

	word = rl_str_sub(word, 0, RL_EVENTSTREAM_NAME_MAX);
	memcpy(stream->name, RL_EVENTSTREAM_EXCEPTION, mark);
	if (word.n)
		memcpy(stream->name + mark, word.p, word.n);
	return rl_str_make(stream->name, mark + word.n);
}

static enum rl_err read_message(struct rl_eventstream *stream, rl_str raw, struct rl_sse_event *out)
{
	size_t header_bytes = read32(raw.p + 4);
	rl_str headers = rl_str_sub(raw, PRELUDE_BYTES, header_bytes);
	struct said said = {.message_type = {NULL, 0}};

	if (sum_of(raw.p, raw.n - SUM_BYTES) != read32(raw.p + raw.n - SUM_BYTES))
		return RL_ERR_SYNTAX;
	while (headers.n)
		if (!read_header(&headers, &said))
			return RL_ERR_SYNTAX;
	*out = (struct rl_sse_event){
		.raw = raw,
		.name = said.event_type,
		.data = rl_str_sub(raw, PRELUDE_BYTES + header_bytes, raw.n - LEAST_BYTES - header_bytes),
	};
	out->has_data = out->data.n > 0;
	if (rl_str_eq(said.message_type, RL_STR("event")) || !said.message_type.n)
		return RL_OK;
	out->name = exception_name(stream, &said);
	out->has_data = true;
	if (out->data.n)
		return RL_OK;
	rl_buf_reset(&stream->made);
	RL_BUF_LIT(&stream->made, "{\"message\":");
	rl_buf_json(&stream->made, said.error_message);
	RL_BUF_LIT(&stream->made, "}");
	out->data = rl_buf_str(&stream->made);
	return rl_buf_ok(&stream->made) ? RL_OK : RL_ERR_LIMIT;
}

/* Length of the message that begins with these bytes, of which there are PRELUDE_BYTES. */
static enum rl_err message_bytes(const struct rl_carry *carry, const char *prelude, size_t *total)
{
	uint32_t n = read32(prelude), headers = read32(prelude + 4);

	if (sum_of(prelude, 8) != read32(prelude + 8) || n < LEAST_BYTES || headers > n - LEAST_BYTES)
		return RL_ERR_SYNTAX;
	*total = n;
	return n > carry->held.max_bytes ? RL_ERR_LIMIT : RL_OK;
}

/* Moves bytes of the piece behind what is held, until that is `n` bytes long. */
static bool fill(struct rl_carry *carry, size_t n)
{
	size_t lacks = n > carry->held.n ? n - carry->held.n : 0;
	rl_str part = rl_str_sub(carry->piece, 0, lacks);

	rl_buf_add(&carry->held, part);
	carry->piece = rl_str_sub(carry->piece, part.n, SIZE_MAX);
	return carry->held.n >= n;
}

enum rl_err rl_eventstream_next(struct rl_eventstream *stream, struct rl_sse_event *out)
{
	struct rl_carry *carry = &stream->carry;
	size_t total = 0;
	rl_str raw;

	if (carry->failed)
		return carry->failed;
	rl_carry_begin(carry);
	if (!carry->piece.n)
		return RL_ERR_AGAIN;
	if ((carry->held.n || carry->piece.n < PRELUDE_BYTES) && !fill(carry, PRELUDE_BYTES))
		return rl_buf_ok(&carry->held) ? RL_ERR_AGAIN : rl_carry_fail(carry, RL_ERR_LIMIT);
	enum rl_err err = message_bytes(carry, carry->held.n ? carry->held.p : carry->piece.p, &total);

	if (err)
		return rl_carry_fail(carry, err);
	assert(carry->held.n < total);
	if (carry->held.n + carry->piece.n < total)
		return rl_carry_keep(carry);
	err = rl_carry_take(carry, total - carry->held.n, &raw);
	if (!err)
		err = read_message(stream, raw, out);
	return err ? rl_carry_fail(carry, err) : RL_OK;
}

enum rl_err rl_eventstream_last(const struct rl_eventstream *stream)
{
	if (stream->carry.failed)
		return stream->carry.failed;
	return rl_carry_rest(&stream->carry).n ? RL_ERR_SYNTAX : RL_ERR_AGAIN;
}

/* --- writing --- */

static void add_header(struct rl_buf *out, rl_str name, rl_str value)
{
	assert(name.n < 256 && value.n <= UINT16_MAX);
	rl_buf_byte(out, (char)name.n);
	rl_buf_add(out, name);
	rl_buf_byte(out, VALUE_STRING);
	rl_buf_byte(out, (char)(value.n >> 8));
	rl_buf_byte(out, (char)(value.n & 0xFF));
	rl_buf_add(out, value);
}

size_t rl_eventstream_open(struct rl_buf *out, rl_str name)
{
	static const char blank[PRELUDE_BYTES];
	rl_str mark = RL_STR(RL_EVENTSTREAM_EXCEPTION);
	bool exception = rl_str_starts(name, mark);
	size_t at = out->n;

	rl_buf_add(out, rl_str_make(blank, sizeof blank));
	if (exception)
		add_header(out, RL_STR(":exception-type"), rl_str_sub(name, mark.n, RL_EVENTSTREAM_NAME_MAX));
	else
		add_header(out, RL_STR(":event-type"), rl_str_sub(name, 0, RL_EVENTSTREAM_NAME_MAX));
	add_header(out, RL_STR(":content-type"), RL_STR("application/json"));
	add_header(out, RL_STR(":message-type"), exception ? RL_STR("exception") : RL_STR("event"));
	if (rl_buf_ok(out))
		write32(out->p + at + 4, (uint32_t)(out->n - at - PRELUDE_BYTES));
	return at;
}

void rl_eventstream_close(struct rl_buf *out, size_t at)
{
	static const char blank[SUM_BYTES];

	rl_buf_add(out, rl_str_make(blank, sizeof blank));
	if (!rl_buf_ok(out))
		return;
	size_t n = out->n - at;

	assert(n >= LEAST_BYTES && n <= UINT32_MAX);
	write32(out->p + at, (uint32_t)n);
	write32(out->p + at + 8, sum_of(out->p + at, 8));
	write32(out->p + at + n - SUM_BYTES, sum_of(out->p + at, n - SUM_BYTES));
}
