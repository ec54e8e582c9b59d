/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See access_line.h. It runs once per request on a worker: no printf, numbers by hand,
 * and text that needs no escape (nearly all of it) is found sixteen bytes at a time and
 * copied whole.
 */
#include "observe/access_line.h"

#include <assert.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <netinet/in.h>

#include "base/clock.h"

/* Escapes take six bytes at most: nine names, a path and a text of the request, three an attempt; then the fixed words. */
_Static_assert(6 * (RL_LINE_PATH_MAX + 9 * RL_LINE_NAME_MAX + RL_LINE_TEXT_MAX) +
			       RL_LINE_ATTEMPTS_MAX * (6 * (2 * RL_LINE_NAME_MAX + RL_LINE_TEXT_MAX) + 512) + 4096 <
		       RL_LINE_MAX,
	       "a line always fits");

static inline void put(struct rl_buf *out, const char *p, size_t n)
{
	if (__builtin_expect(n > out->cap - out->n, 0)) {
		rl_buf_add(out, rl_str_make(p, n));
		return;
	}
	memcpy(out->p + out->n, p, n);
	out->n += n;
}

#define PUT(out, lit) put((out), (lit), sizeof(lit) - 1)

/* The last `n` digits of v, right in their place: a detour through a local array costs more than the digits. */
static inline void put_digits(struct rl_buf *out, uint64_t v, size_t n)
{
	char *at = rl_buf_reserve(out, n);

	if (!at)
		return;
	out->n += n;
	for (; n > 1; v /= 10)
		at[--n] = (char)('0' + v % 10);
	at[0] = (char)('0' + v % 10);
}

static void put_u64(struct rl_buf *out, uint64_t v)
{
	size_t n = 1;

	for (uint64_t rest = v; rest >= 10; rest /= 10)
		n++;
	put_digits(out, v, n);
}

/* Microseconds as milliseconds with three decimals. */
static void put_ms(struct rl_buf *out, uint64_t us)
{
	put_u64(out, us / 1000);
	PUT(out, ".");
	put_digits(out, us % 1000, 3);
}

static inline bool plain_byte(unsigned char c)
{
	return (unsigned char)(c - 0x20) < 0x5F && c != '"' && c != '\\';
}

/* Whether a JSON string may hold the bytes as they are: printable ASCII but quote and backslash. */
static bool is_plain(const char *p, size_t n)
{
#ifdef __SSE2__
	for (; n >= 16; p += 16, n -= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		/* Signed: bytes from 0x80 on are below space too. */
		__m128i odd =
			_mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)), _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7F)));

		odd = _mm_or_si128(odd, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
		odd = _mm_or_si128(odd, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
		if (_mm_movemask_epi8(odd))
			return false;
	}
#endif
	for (size_t i = 0; i < n; i++)
		if (!plain_byte((unsigned char)p[i]))
			return false;
	return true;
}

/* At most `max` bytes of s, whole characters where it is UTF-8. */
static rl_str cut(rl_str s, size_t max)
{
	if (s.n <= max)
		return s;
	for (size_t back = 0; back < 3 && ((unsigned char)s.p[max] & 0xC0) == 0x80; back++)
		max--;
	return rl_str_sub(s, 0, max);
}

/* A string, or null if there is none. */
static void put_text(struct rl_buf *out, rl_str s, size_t max)
{
	s = cut(s, max);
	if (!s.n) {
		PUT(out, "null");
	} else if (is_plain(s.p, s.n)) {
		char *at = rl_buf_reserve(out, s.n + 2);
		if (!at)
			return;
		at[0] = '"';
		memcpy(at + 1, s.p, s.n);
		at[s.n + 1] = '"';
		out->n += s.n + 2;
	} else {
		rl_buf_json(out, s);
	}
}

#define TEXT(out, key, text, max)               \
	do {                                    \
		PUT((out), ",\"" key "\":");    \
		put_text((out), (text), (max)); \
	} while (0)
#define NUMBER(out, key, number)             \
	do {                                 \
		PUT((out), ",\"" key "\":"); \
		put_u64((out), (number));    \
	} while (0)
#define FLAG(out, key, flag)                              \
	do {                                              \
		if (flag)                                 \
			PUT((out), ",\"" key "\":true");  \
		else                                      \
			PUT((out), ",\"" key "\":false"); \
	} while (0)
/* 0 means that the moment was not reached. */
#define MOMENT(out, key, us)                 \
	do {                                 \
		PUT((out), ",\"" key "\":"); \
		if (us)                      \
			put_ms((out), (us)); \
		else                         \
			PUT((out), "null");  \
	} while (0)

/* IPv4, the usual case, by hand. */
static void put_peer(struct rl_buf *out, const struct rl_addr *peer)
{
	char text[RL_ADDR_TEXT_MAX];
	struct sockaddr_in v4;

	PUT(out, ",\"peer\":");
	if (!peer) {
		PUT(out, "null");
	} else if (peer->sa.ss_family == AF_INET) {
		memcpy(&v4, &peer->sa, sizeof v4);
		uint32_t host = ntohl(v4.sin_addr.s_addr);

		for (int shift = 24; shift >= 0; shift -= 8) {
			put(out, shift == 24 ? "\"" : ".", 1);
			put_u64(out, host >> shift & 0xFF);
		}
		PUT(out, ":");
		put_u64(out, ntohs(v4.sin_port));
		PUT(out, "\"");
	} else {
		rl_addr_text(peer, text);
		put_text(out, rl_str_of(text), sizeof text);
	}
}

/* The status, or null if none came. */
static void put_status(struct rl_buf *out, uint16_t status)
{
	PUT(out, ",\"status\":");
	if (status)
		put_u64(out, status);
	else
		PUT(out, "null");
}

static void put_attempt(struct rl_buf *out, const struct rl_attempt_record *attempt)
{
	PUT(out, "{\"provider\":");
	put_text(out, attempt->provider, RL_LINE_NAME_MAX);
	TEXT(out, "model", attempt->model, RL_LINE_NAME_MAX);
	put_status(out, attempt->status);
	TEXT(out, "fault", attempt->fault ? rl_str_of(rl_fault_class_name(attempt->fault)) : RL_STR(""),
	     RL_LINE_NAME_MAX);
	TEXT(out, "reason", attempt->reason, RL_LINE_TEXT_MAX);
	PUT(out, ",\"start_ms\":");
	put_ms(out, attempt->start_us);
	MOMENT(out, "connect_ms", attempt->connect_us);
	MOMENT(out, "ttfb_ms", attempt->first_byte_us);
	MOMENT(out, "total_ms", attempt->total_us);
	FLAG(out, "reused", attempt->reused);
	FLAG(out, "maybe_billed", attempt->maybe_billed);
	PUT(out, "}");
}

static void put_attempts(struct rl_buf *out, const struct rl_record *record)
{
	size_t n = record->n_attempts < RL_LINE_ATTEMPTS_MAX ? record->n_attempts : RL_LINE_ATTEMPTS_MAX;

	NUMBER(out, "n_attempts", record->n_attempts);
	PUT(out, ",\"attempts\":[");
	for (size_t i = 0; i < n; i++) {
		if (i)
			PUT(out, ",");
		put_attempt(out, &record->attempts[i]);
	}
	PUT(out, "]");
}

static void put_tokens(struct rl_buf *out, const struct rl_usage *usage)
{
	if (!usage->known) {
		PUT(out, ",\"tokens\":null");
		return;
	}
	PUT(out, ",\"tokens\":{\"prompt\":");
	put_u64(out, usage->prompt_tokens);
	NUMBER(out, "completion", usage->completion_tokens);
	NUMBER(out, "cached", usage->cached_tokens);
	NUMBER(out, "cache_write", usage->cache_write_tokens);
	NUMBER(out, "reasoning", usage->reasoning_tokens);
	PUT(out, "}");
}

/* Who asked for what. */
static void put_request(struct rl_buf *out, const struct rl_record *record)
{
	rl_str path = record->path;
	size_t query = rl_str_find(path, '?');
	char time[RL_CLOCK_RFC3339_LEN + 1];

	rl_clock_rfc3339(record->wall_us, time);
	PUT(out, "{\"time\":\"");
	put(out, time, RL_CLOCK_RFC3339_LEN);
	PUT(out, "\"");
	TEXT(out, "request_id", record->request_id, RL_LINE_NAME_MAX);
	TEXT(out, "upstream_request_id", record->upstream_request_id, RL_LINE_NAME_MAX);
	TEXT(out, "client", record->client, RL_LINE_NAME_MAX);
	put_peer(out, record->peer);
	TEXT(out, "http", record->http, RL_LINE_NAME_MAX);
	TEXT(out, "method", record->method, RL_LINE_NAME_MAX);
	/* A query may hold anything, keys too. */
	TEXT(out, "path", rl_str_sub(path, 0, query), RL_LINE_PATH_MAX);
	TEXT(out, "route", record->route, RL_LINE_NAME_MAX);
	TEXT(out, "operation", record->operation ? rl_str_of(rl_operation_name(record->operation)) : RL_STR(""),
	     RL_LINE_NAME_MAX);
	TEXT(out, "model_asked", record->model_asked, RL_LINE_NAME_MAX);
	TEXT(out, "alias", record->alias, RL_LINE_NAME_MAX);
}

/* How it ended and who served it. */
static void put_answer(struct rl_buf *out, const struct rl_record *record)
{
	TEXT(out, "provider", record->provider, RL_LINE_NAME_MAX);
	TEXT(out, "model", record->model, RL_LINE_NAME_MAX);
	put_status(out, record->status);
	TEXT(out, "outcome", rl_str_of(rl_outcome_name(record->outcome)), RL_LINE_NAME_MAX);
	TEXT(out, "error", record->fault ? rl_str_of(rl_fault_class_name(record->fault)) : RL_STR(""),
	     RL_LINE_NAME_MAX);
	TEXT(out, "error_text", record->error, RL_LINE_TEXT_MAX);
	FLAG(out, "stream", record->stream);
	FLAG(out, "committed", record->committed);
}

void rl_access_line(const struct rl_record *record, struct rl_buf *out)
{
	put_request(out, record);
	put_answer(out, record);
	put_attempts(out, record);
	NUMBER(out, "bytes_in", record->bytes_in);
	NUMBER(out, "bytes_out", record->bytes_out);
	NUMBER(out, "events", record->events);
	put_tokens(out, &record->usage);
	MOMENT(out, "ttfb_ms", record->first_byte_us);
	PUT(out, ",\"total_ms\":");
	put_ms(out, record->total_us);
	NUMBER(out, "overhead_us", record->overhead_us);
	PUT(out, "}\n");
}
