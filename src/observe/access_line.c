/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See access_line.h. It runs once per request on a worker: no printf, numbers by hand,
 * and text that needs no escape (nearly all of it) is found sixteen bytes at a time and
 * copied whole. Room for the longest line is there before the first byte, so that `at`,
 * where the next byte goes, is handed from piece to piece and nothing is checked again.
 */
#include "observe/access_line.h"

#include <assert.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <netinet/in.h>

#include "base/clock.h"

/*
 * Escapes take six bytes at most: thirteen names, an address, a path and a text of the request, three an attempt; then the
 * fixed words and the numbers.
 */
_Static_assert(6 * (RL_LINE_PATH_MAX + 14 * RL_LINE_NAME_MAX + RL_LINE_TEXT_MAX) +
			       RL_LINE_ATTEMPTS_MAX * (6 * (2 * RL_LINE_NAME_MAX + RL_LINE_TEXT_MAX) + 512) + 4096 <
		       RL_LINE_MAX,
	       "a line always fits");

static inline char *put(char *at, const char *p, size_t n)
{
	memcpy(at, p, n);
	return at + n;
}

#define PUT(at, lit) ((at) = put((at), (lit), sizeof(lit) - 1))

static const char pairs[] =
	"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
	"49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
	"9899";

static inline size_t digits_of(uint64_t v)
{
	size_t n = 1;

	for (uint64_t limit = 10; v >= limit && n < 20; n++)
		limit = n < 19 ? limit * 10 : UINT64_MAX;
	return n;
}

/* The last `n` digits of v. */
static inline char *put_digits(char *at, uint64_t v, size_t n)
{
	char *end = at + n;

	for (; n >= 2; n -= 2, v /= 100)
		memcpy(at + n - 2, pairs + 2 * (v % 100), 2);
	if (n)
		*at = (char)('0' + v % 10);
	return end;
}

static char *put_u64(char *at, uint64_t v)
{
	if (v < 10) {
		*at = (char)('0' + v);
		return at + 1;
	}
	return put_digits(at, v, digits_of(v));
}

/* Microseconds as milliseconds with three decimals. */
static char *put_ms(char *at, uint64_t us)
{
	at = put_u64(at, us / 1000);
	PUT(at, ".");
	return put_digits(at, us % 1000, 3);
}

static inline bool plain_byte(unsigned char c)
{
	return (unsigned char)(c - 0x20) < 0x5F && c != '"' && c != '\\';
}

#ifdef __SSE2__
static inline bool plain_16(__m128i v)
{
	/* Signed: bytes from 0x80 on are below space too. */
	__m128i odd = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)), _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7F)));

	odd = _mm_or_si128(odd, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
	odd = _mm_or_si128(odd, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
	return !_mm_movemask_epi8(odd);
}

static inline __m128i load_16(const char *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline __m128i load_8(const char *p)
{
	return _mm_loadl_epi64((const __m128i *)(const void *)p);
}
#endif

/* Whether a JSON string may hold the bytes as they are: printable ASCII but quote and backslash. */
static inline bool is_plain(const char *p, size_t n)
{
#ifdef __SSE2__
	/* The last words overlap the ones before. */
	if (n >= 16) {
		for (size_t i = 0; i + 16 < n; i += 16)
			if (!plain_16(load_16(p + i)))
				return false;
		return plain_16(load_16(p + n - 16));
	}
	if (n >= 8)
		return plain_16(_mm_unpacklo_epi64(load_8(p), load_8(p + n - 8)));
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

/* A byte takes six when it is escaped; beyond its room the view fails instead of growing. */
__attribute__((noinline)) static char *put_escaped(char *at, rl_str s)
{
	struct rl_buf view = {.p = at, .cap = 6 * s.n + 2, .max_bytes = 6 * s.n + 2};

	rl_buf_json(&view, s);
	assert(rl_buf_ok(&view));
	return at + view.n;
}

/* A string, or null if there is none. */
static char *put_text(char *at, rl_str s, size_t max)
{
	s = cut(s, max);
	if (!s.n)
		return put(at, "null", 4);
	if (!is_plain(s.p, s.n))
		return put_escaped(at, s);
	*at++ = '"';
	rl_copy_short(at, s.p, s.n);
	at[s.n] = '"';
	return at + s.n + 1;
}

#define TEXT(at, key, text, max)                      \
	do {                                          \
		PUT((at), ",\"" key "\":");           \
		(at) = put_text((at), (text), (max)); \
	} while (0)
#define NUMBER(at, key, number)                 \
	do {                                    \
		PUT((at), ",\"" key "\":");     \
		(at) = put_u64((at), (number)); \
	} while (0)
#define FLAG(at, key, flag)                              \
	do {                                             \
		if (flag)                                \
			PUT((at), ",\"" key "\":true");  \
		else                                     \
			PUT((at), ",\"" key "\":false"); \
	} while (0)
/* 0 means that the moment was not reached. */
#define MOMENT(at, key, us)                        \
	do {                                       \
		PUT((at), ",\"" key "\":");        \
		if (us)                            \
			(at) = put_ms((at), (us)); \
		else                               \
			PUT((at), "null");         \
	} while (0)

/* IPv4, the usual case, by hand. */
static char *put_peer(char *at, const struct rl_addr *peer)
{
	char text[RL_ADDR_TEXT_MAX];
	struct sockaddr_in v4;

	PUT(at, ",\"peer\":");
	if (!peer) {
		PUT(at, "null");
	} else if (peer->sa.ss_family == AF_INET) {
		memcpy(&v4, &peer->sa, sizeof v4);
		uint32_t host = ntohl(v4.sin_addr.s_addr);

		for (int shift = 24; shift >= 0; shift -= 8) {
			at = put(at, shift == 24 ? "\"" : ".", 1);
			at = put_u64(at, host >> shift & 0xFF);
		}
		PUT(at, ":");
		at = put_u64(at, ntohs(v4.sin_port));
		PUT(at, "\"");
	} else {
		rl_addr_text(peer, text);
		at = put_text(at, rl_str_of(text), sizeof text);
	}
	return at;
}

/* The status, or null if none came. */
static char *put_status(char *at, uint16_t status)
{
	PUT(at, ",\"status\":");
	if (status)
		at = put_u64(at, status);
	else
		PUT(at, "null");
	return at;
}

static char *put_attempt(char *at, const struct rl_attempt_record *attempt)
{
	PUT(at, "{\"provider\":");
	at = put_text(at, attempt->provider, RL_LINE_NAME_MAX);
	TEXT(at, "model", attempt->model, RL_LINE_NAME_MAX);
	at = put_status(at, attempt->status);
	TEXT(at, "fault", attempt->fault ? rl_str_of(rl_fault_class_name(attempt->fault)) : RL_STR(""),
	     RL_LINE_NAME_MAX);
	TEXT(at, "reason", attempt->reason, RL_LINE_TEXT_MAX);
	PUT(at, ",\"start_ms\":");
	at = put_ms(at, attempt->start_us);
	MOMENT(at, "connect_ms", attempt->connect_us);
	MOMENT(at, "ttfb_ms", attempt->first_byte_us);
	MOMENT(at, "total_ms", attempt->total_us);
	FLAG(at, "reused", attempt->reused);
	FLAG(at, "maybe_billed", attempt->maybe_billed);
	PUT(at, "}");
	return at;
}

static char *put_attempts(char *at, const struct rl_record *record)
{
	size_t n = record->n_attempts < RL_LINE_ATTEMPTS_MAX ? record->n_attempts : RL_LINE_ATTEMPTS_MAX;

	NUMBER(at, "n_attempts", record->n_attempts);
	PUT(at, ",\"attempts\":[");
	for (size_t i = 0; i < n; i++) {
		at = put_attempt(at, &record->attempts[i]);
		*at++ = ',';
	}
	at -= n > 0;
	*at = ']';
	return at + 1;
}

static char *put_tokens(char *at, const struct rl_usage *usage)
{
	if (!usage->known) {
		PUT(at, ",\"tokens\":null");
		return at;
	}
	PUT(at, ",\"tokens\":{\"prompt\":");
	at = put_u64(at, usage->prompt_tokens);
	NUMBER(at, "completion", usage->completion_tokens);
	NUMBER(at, "cached", usage->cached_tokens);
	NUMBER(at, "cache_write", usage->cache_write_tokens);
	NUMBER(at, "reasoning", usage->reasoning_tokens);
	PUT(at, "}");
	return at;
}

/* Who asked for what. */
static char *put_request(char *at, const struct rl_record *record)
{
	rl_str path = record->path;
	size_t query = rl_str_find(path, '?');

	PUT(at, "{\"time\":\"");
	rl_clock_rfc3339(record->wall_us, at);
	at += RL_CLOCK_RFC3339_LEN;
	*at++ = '"';
	TEXT(at, "request_id", record->request_id, RL_LINE_NAME_MAX);
	TEXT(at, "upstream_request_id", record->upstream_request_id, RL_LINE_NAME_MAX);
	TEXT(at, "client", record->client, RL_LINE_NAME_MAX);
	at = put_peer(at, record->peer);
	TEXT(at, "http", record->http, RL_LINE_NAME_MAX);
	TEXT(at, "method", record->method, RL_LINE_NAME_MAX);
	/* A query may hold anything, keys too. */
	TEXT(at, "path", rl_str_sub(path, 0, query), RL_LINE_PATH_MAX);
	TEXT(at, "route", record->route, RL_LINE_NAME_MAX);
	TEXT(at, "operation", record->operation ? rl_str_of(rl_operation_name(record->operation)) : RL_STR(""),
	     RL_LINE_NAME_MAX);
	TEXT(at, "model_asked", record->model_asked, RL_LINE_NAME_MAX);
	TEXT(at, "alias", record->alias, RL_LINE_NAME_MAX);
	return at;
}

/* How it ended and who served it. */
static char *put_answer(char *at, const struct rl_record *record)
{
	TEXT(at, "provider", record->provider, RL_LINE_NAME_MAX);
	TEXT(at, "model", record->model, RL_LINE_NAME_MAX);
	at = put_status(at, record->status);
	TEXT(at, "outcome", rl_str_of(rl_outcome_name(record->outcome)), RL_LINE_NAME_MAX);
	TEXT(at, "error", record->fault ? rl_str_of(rl_fault_class_name(record->fault)) : RL_STR(""), RL_LINE_NAME_MAX);
	TEXT(at, "error_text", record->error, RL_LINE_TEXT_MAX);
	FLAG(at, "stream", record->stream);
	FLAG(at, "committed", record->committed);
	return at;
}

void rl_access_line(const struct rl_record *record, struct rl_buf *out)
{
	char *begin = rl_buf_reserve(out, RL_LINE_MAX), *at = begin;

	if (!begin)
		return;
	at = put_request(at, record);
	at = put_answer(at, record);
	at = put_attempts(at, record);
	NUMBER(at, "bytes_in", record->bytes_in);
	NUMBER(at, "bytes_out", record->bytes_out);
	NUMBER(at, "events", record->events);
	at = put_tokens(at, &record->usage);
	MOMENT(at, "ttfb_ms", record->first_byte_us);
	PUT(at, ",\"total_ms\":");
	at = put_ms(at, record->total_us);
	NUMBER(at, "overhead_us", record->overhead_us);
	PUT(at, "}\n");
	assert((size_t)(at - begin) <= RL_LINE_MAX);
	out->n += (size_t)(at - begin);
}
