/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sse.h. Two steps: `find_end` walks over the bytes once, with a state that
 * survives any cut, and finds where an event ends; `rl_sse_parse` then reads the
 * lines of the whole event. Only the piece's last, unfinished event is copied.
 *
 * Where an event ends does not depend on where the stream was cut. That takes a
 * rule for CR: a blank line's CR waits for its LF when the line before it ended
 * in LF, but after a lone CR ("\r\r") the event is complete at once, and an LF
 * that follows opens the raw text of the next event, where it means nothing.
 */
#include "frame/sse.h"

#include <assert.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define KEEP_BYTES 65536u /* a carry grown beyond this is given back once its event is done */

static const unsigned char bom[3] = {0xEF, 0xBB, 0xBF};

enum state {
	AT_STREAM, /* nothing but (part of) a byte order mark so far; `scanned` bytes of it */
	AT_EVENT,  /* before an event's first byte, the one before ended in a lone CR: an LF belongs to that */
	AT_LINE,   /* at the beginning of a line */
	IN_LINE,
	AFTER_CR,    /* a line ended in CR: LF may follow */
	AFTER_BLANK, /* a blank line's CR: LF may follow, the event ends in any case */
	FAILED,
};

void rl_sse_init(struct rl_sse *sse, size_t max_event_bytes)
{
	*sse = (struct rl_sse){.state = AT_STREAM};
	rl_buf_init(&sse->carry, max_event_bytes);
	rl_buf_init(&sse->joined, max_event_bytes);
}

void rl_sse_fini(struct rl_sse *sse)
{
	if (!sse)
		return;
	rl_buf_fini(&sse->carry);
	rl_buf_fini(&sse->joined);
}

/* Nonzero where a byte of v equals that of `pattern` (all bytes alike); exact for the lowest such byte. */
static inline uint64_t bytes_equal(uint64_t v, uint64_t pattern)
{
	const uint64_t low = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t x = v ^ pattern;

	return (x - low) & ~x & high;
}

/* The first CR or LF in [p, end), or end. One pass over both, or a stream of lone CRs would be read again and again. */
static const char *line_end(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, lf), _mm_cmpeq_epi8(v, cr)));

		if (mask)
			return p + __builtin_ctz(mask);
	}
#endif
	while (end - p >= 8) {
		uint64_t v;
		memcpy(&v, p, 8);
		if (bytes_equal(v, 0x0A0A0A0A0A0A0A0Au) | bytes_equal(v, 0x0D0D0D0D0D0D0D0Du))
			break;
		p += 8;
	}
	while (p < end && *p != '\n' && *p != '\r')
		p++;
	return p;
}

/* One byte outside a line's middle. Returns how much of it belongs to the event that ended (1 or 0), or -1: goes on. */
static int step(struct rl_sse *sse, unsigned char c)
{
	switch ((enum state)sse->state) {
	case AT_STREAM:
		if (c == bom[sse->scanned]) {
			if (++sse->scanned == sizeof bom)
				sse->state = AT_LINE;
			return -1;
		}
		if (sse->scanned == 0)
			break;
		/* What began like the mark is text: the line goes on with c. */
		sse->state = c == '\r' ? AFTER_CR : c == '\n' ? AT_LINE : IN_LINE;
		return -1;
	case AFTER_CR:
		if (c == '\r') {
			sse->state = AT_EVENT;
			return 1;
		}
		sse->state = c == '\n' ? AT_LINE : IN_LINE;
		return -1;
	case AFTER_BLANK:
		sse->state = AT_LINE;
		return c == '\n';
	case AT_EVENT:
		sse->state = AT_LINE;
		if (c == '\n')
			return -1;
		break;
	case IN_LINE:
		sse->state = c == '\r' ? AFTER_CR : AT_LINE;
		return -1;
	case AT_LINE:
	case FAILED:
		break;
	}
	if (c == '\n') {
		sse->state = AT_LINE;
		return 1;
	}
	sse->state = c == '\r' ? AFTER_BLANK : IN_LINE;
	return -1;
}

/* Length of the part of s that completes the event, or SIZE_MAX. */
static size_t find_end(struct rl_sse *sse, rl_str s)
{
	const char *p = s.p, *end = s.p + s.n;

	while (p < end) {
		if (sse->state == IN_LINE && (p = line_end(p, end)) == end)
			break;
		int belongs = step(sse, (unsigned char)*p);
		if (belongs >= 0)
			return (size_t)(p - s.p) + (size_t)belongs;
		p++;
	}
	return SIZE_MAX;
}

void rl_sse_feed(struct rl_sse *sse, rl_str piece)
{
	assert(sse->piece.n == 0);
	sse->piece = piece;
}

static enum rl_err fail(struct rl_sse *sse)
{
	sse->state = FAILED;
	return RL_ERR_LIMIT;
}

/* The event before, if it was carried, is over. */
static void drop_carry(struct rl_sse *sse)
{
	if (sse->carry.cap > KEEP_BYTES)
		rl_buf_fini(&sse->carry);
	if (sse->joined.cap > KEEP_BYTES)
		rl_buf_fini(&sse->joined);
	rl_buf_reset(&sse->carry);
	sse->carry_done = false;
}

/*
 * The usual event, one line of data and LF after LF, whole in the piece: two passes of memchr instead of a look at every
 * line. False: nothing has moved.
 */
static bool plain_event(struct rl_sse *sse, struct rl_sse_event *out)
{
	rl_str in = sse->piece;

	if (sse->state != AT_LINE || !sse->bom_done || sse->carry.n || !rl_str_starts(in, RL_STR("data:")))
		return false;
	const char *lf = memchr(in.p, '\n', in.n);

	if (!lf || lf + 1 == in.p + in.n || lf[1] != '\n' || memchr(in.p, '\r', (size_t)(lf - in.p)))
		return false;
	size_t n = (size_t)(lf - in.p), at = n > 5 && in.p[5] == ' ' ? 6 : 5;

	if (n + 2 > sse->carry.max_bytes)
		return false;
	*out = (struct rl_sse_event){.raw = rl_str_sub(in, 0, n + 2),
				     .data = rl_str_sub(in, at, n - at),
				     .has_data = true};
	sse->piece = rl_str_sub(in, n + 2, SIZE_MAX);
	return true;
}

enum rl_err rl_sse_next(struct rl_sse *sse, struct rl_sse_event *out)
{
	if (sse->state == FAILED)
		return RL_ERR_LIMIT;
	if (sse->carry_done)
		drop_carry(sse);
	if (!sse->piece.n)
		return RL_ERR_AGAIN;
	if (plain_event(sse, out))
		return RL_OK;

	size_t n = find_end(sse, sse->piece);
	rl_str raw = rl_str_sub(sse->piece, 0, n);

	sse->piece = rl_str_sub(sse->piece, raw.n, SIZE_MAX);
	if (n == SIZE_MAX || sse->carry.n) {
		rl_buf_add(&sse->carry, raw);
		if (!rl_buf_ok(&sse->carry))
			return fail(sse);
		if (n == SIZE_MAX)
			return RL_ERR_AGAIN;
		raw = rl_buf_str(&sse->carry);
		sse->carry_done = true;
	}
	if (raw.n > sse->carry.max_bytes)
		return fail(sse);

	bool marked = !sse->bom_done && rl_str_starts(raw, rl_str_make(bom, sizeof bom));

	sse->bom_done = true;
	if (rl_sse_parse(marked ? rl_str_sub(raw, sizeof bom, SIZE_MAX) : raw, &sse->joined, out) != RL_OK)
		return fail(sse);
	out->raw = raw;
	return RL_OK;
}

rl_str rl_sse_rest(const struct rl_sse *sse)
{
	return sse->carry_done ? (rl_str){NULL, 0} : rl_buf_str(&sse->carry);
}

static void add_data(struct rl_sse_event *event, struct rl_buf *joined, rl_str value)
{
	if (!event->has_data) {
		event->has_data = true;
		event->data = value;
		return;
	}
	if (!joined->n && event->data.n)
		rl_buf_add(joined, event->data);
	rl_buf_byte(joined, '\n');
	rl_buf_add(joined, value);
	event->data = rl_buf_str(joined);
}

static void read_line(struct rl_sse_event *event, struct rl_buf *joined, rl_str line)
{
	size_t colon = rl_str_find(line, ':');
	rl_str field = rl_str_sub(line, 0, colon);
	rl_str value = colon == SIZE_MAX ? (rl_str){line.p + line.n, 0} : rl_str_sub(line, colon + 1, SIZE_MAX);

	if (value.n && value.p[0] == ' ')
		value = rl_str_sub(value, 1, SIZE_MAX);
	if (rl_str_eq(field, RL_STR("data")))
		add_data(event, joined, value);
	else if (rl_str_eq(field, RL_STR("event")))
		event->name = value;
	else if (rl_str_eq(field, RL_STR("id")) && rl_str_find(value, '\0') == SIZE_MAX)
		event->id = value;
}

enum rl_err rl_sse_parse(rl_str raw, struct rl_buf *joined, struct rl_sse_event *out)
{
	const char *p = raw.p, *end = raw.p + raw.n;

	*out = (struct rl_sse_event){.raw = raw};
	rl_buf_reset(joined);
	while (p < end) {
		const char *eol = line_end(p, end);
		if (eol > p)
			read_line(out, joined, rl_str_make(p, (size_t)(eol - p)));
		p = eol < end ? eol + 1 : end;
	}
	return rl_buf_ok(joined) ? RL_OK : RL_ERR_LIMIT;
}
