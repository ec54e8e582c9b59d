/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of fields, methods and statuses, and the list of headers. A name is found
 * by its length first: no length has more than five names of the table, so that a
 * request of twenty headers costs about as many comparisons.
 */
#include "http/head.h"

#include <assert.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const rl_str field_names[RL_H_COUNT] = {[RL_H_OTHER] = RL_STR_INIT(""),
#define X(id, name) [RL_H_##id] = RL_STR_INIT(name),
					       RL_FIELDS(X)
#undef X
};

static const rl_str method_names[] = {[RL_METHOD_OTHER] = RL_STR_INIT("OTHER"),
#define X(id) [RL_METHOD_##id] = RL_STR_INIT(#id),
				      RL_METHODS(X)
#undef X
};

#define LENGTH_MAX 17u
#define SAME_LENGTH_MAX 5u

/* The fields of each length, closed by RL_H_OTHER; test_net_head sees to it that none is missing. */
static const uint8_t by_length[LENGTH_MAX + 1][SAME_LENGTH_MAX + 1] = {
	[2] = {RL_H_TE},
	[3] = {RL_H_VIA},
	[4] = {RL_H_HOST, RL_H_DATE},
	[6] = {RL_H_ACCEPT, RL_H_SERVER, RL_H_EXPECT, RL_H_COOKIE, RL_H_ORIGIN},
	[7] = {RL_H_TRAILER, RL_H_UPGRADE},
	[8] = {RL_H_LOCATION},
	[9] = {RL_H_X_API_KEY, RL_H_FORWARDED},
	[10] = {RL_H_CONNECTION, RL_H_USER_AGENT, RL_H_KEEP_ALIVE, RL_H_SET_COOKIE},
	[11] = {RL_H_RETRY_AFTER},
	[12] = {RL_H_CONTENT_TYPE, RL_H_X_REQUEST_ID},
	[13] = {RL_H_AUTHORIZATION, RL_H_CACHE_CONTROL},
	[14] = {RL_H_CONTENT_LENGTH, RL_H_X_SHOULD_RETRY, RL_H_RETRY_AFTER_MS, RL_H_SEC_FETCH_SITE},
	[15] = {RL_H_ACCEPT_ENCODING, RL_H_X_FORWARDED_FOR},
	[16] = {RL_H_CONTENT_ENCODING, RL_H_PROXY_CONNECTION},
	[17] = {RL_H_TRANSFER_ENCODING},
};

/* Bytes of a token (RFC 9110 §5.6.2). */
static const bool token_byte[256] = {
	['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true,         ['&'] = true,         ['\''] = true,
	['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true,         ['^'] = true,         ['_'] = true,
	['`'] = true, ['|'] = true, ['~'] = true, ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

/*
 * Names of the same length, eight bytes at a time: one is in lower case, and among bytes of a token the bit 0x20
 * makes no two alike but the cases of a letter ('^' and '~', '_' and DEL aside, which no known name holds).
 */
static bool same_name(const char *known, const char *name, size_t n)
{
	uint64_t a, b;

	for (; n >= 8; known += 8, name += 8, n -= 8) {
		memcpy(&a, known, 8);
		memcpy(&b, name, 8);
		if (a != (b | 0x2020202020202020u))
			return false;
	}
	for (; n; known++, name++, n--)
		if (*known != (*name | 0x20))
			return false;
	return true;
}

enum rl_field rl_field_find(rl_str name)
{
	if (name.n > LENGTH_MAX)
		return RL_H_OTHER;
	for (const uint8_t *f = by_length[name.n]; *f != RL_H_OTHER; f++)
		if (same_name(field_names[*f].p, name.p, name.n))
			return (enum rl_field) * f;
	return RL_H_OTHER;
}

rl_str rl_field_name(enum rl_field field)
{
	assert((unsigned)field < RL_H_COUNT);
	return field_names[field];
}

const struct rl_header *rl_headers_get(const struct rl_headers *headers, enum rl_field field)
{
	assert(field != RL_H_OTHER);
	for (uint32_t i = 0; i < headers->n; i++)
		if (headers->v[i].field == field)
			return &headers->v[i];
	return NULL;
}

rl_str rl_headers_value(const struct rl_headers *headers, enum rl_field field)
{
	const struct rl_header *h = rl_headers_get(headers, field);

	return h ? h->value : (rl_str){NULL, 0};
}

rl_str rl_headers_named(const struct rl_headers *headers, rl_str name)
{
	for (uint32_t i = 0; i < headers->n; i++)
		if (rl_str_ieq(headers->v[i].name, name))
			return headers->v[i].value;
	return rl_str_make(NULL, 0);
}

const struct rl_header *rl_headers_find(const struct rl_headers *headers, rl_str name)
{
	for (uint32_t i = 0; i < headers->n; i++)
		if (rl_str_ieq(headers->v[i].name, name))
			return &headers->v[i];
	return NULL;
}

#define HEADERS_CAP_MIN 16u

enum rl_err rl_headers_add(struct rl_headers *headers, struct rl_arena *arena, enum rl_field field, rl_str name,
			   rl_str value)
{
	if (headers->n == headers->cap) {
		/* The old array stays in the arena: headers are few, and the arena goes as a whole. */
		uint32_t cap = headers->cap ? headers->cap * 2 : HEADERS_CAP_MIN;
		struct rl_header *v;

		if (cap < headers->cap || !(v = rl_arena_alloc(arena, cap * sizeof *v)))
			return RL_ERR_NOMEM;
		if (headers->n)
			memcpy(v, headers->v, headers->n * sizeof *v);
		headers->v = v;
		headers->cap = cap;
	}
	headers->v[headers->n++] = (struct rl_header){
		.field = field,
		.name = field == RL_H_OTHER ? name : field_names[field],
		.value = value,
	};
	return RL_OK;
}

static bool value_byte_ok(unsigned char c)
{
	return (c >= 0x20 && c != 0x7F) || c == '\t';
}

#ifdef __SSE2__
static inline __m128i load(const char *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* 8 to 15 bytes in one register: the first eight and, overlapping them, the last. */
static inline __m128i load_short(rl_str s)
{
	return _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)(const void *)s.p),
				  _mm_loadl_epi64((const __m128i *)(const void *)(s.p + s.n - 8)));
}

/* The same of 4 to 7, twice. */
static inline __m128i load_shorter(rl_str s)
{
	uint32_t first, last;

	memcpy(&first, s.p, 4);
	memcpy(&last, s.p + s.n - 4, 4);
	return _mm_set_epi32((int)last, (int)first, (int)last, (int)first);
}

static inline bool value_bytes_ok(__m128i v)
{
	__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1F)), v);
	__m128i tab = _mm_cmpeq_epi8(v, _mm_set1_epi8('\t')), del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7F));

	return _mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), del)) == 0;
}

static inline __m128i within(__m128i v, char low, char high)
{
	return _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8((char)(low - 1))),
			     _mm_cmpgt_epi8(_mm_set1_epi8((char)(high + 1)), v));
}

/* Letters, digits and hyphens: what nearly all names are made of. */
static inline bool usual_name_bytes(__m128i v)
{
	__m128i letter = within(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 'z');
	__m128i other = _mm_or_si128(within(v, '0', '9'), _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));

	return _mm_movemask_epi8(_mm_or_si128(letter, other)) == 0xFFFF;
}

static bool usual_name(rl_str name)
{
	size_t i = 0;

	if (name.n < 8)
		return false;
	if (name.n < 16)
		return usual_name_bytes(load_short(name));
	for (; i + 16 <= name.n; i += 16)
		if (!usual_name_bytes(load(name.p + i)))
			return false;
	return i == name.n || usual_name_bytes(load(name.p + name.n - 16));
}
#else
static bool usual_name(rl_str name)
{
	(void)name;
	return false;
}
#endif

bool rl_media_is(rl_str value, rl_str wanted)
{
	return rl_str_ieq(rl_str_trim(rl_str_sub(value, 0, rl_str_find(value, ';'))), wanted);
}

bool rl_header_value_ok(rl_str value)
{
	size_t i = 0;

#ifdef __SSE2__
	if (value.n >= 8 && value.n < 16)
		return value_bytes_ok(load_short(value));
	if (value.n >= 4 && value.n < 8)
		return value_bytes_ok(load_shorter(value));
	for (; i + 16 <= value.n; i += 16)
		if (!value_bytes_ok(load(value.p + i)))
			return false;
	if (i && i < value.n) /* the rest once more with what came before it */
		return value_bytes_ok(load(value.p + value.n - 16));
#endif
	for (; i < value.n; i++)
		if (!value_byte_ok((unsigned char)value.p[i]))
			return false;
	return true;
}

bool rl_header_name_ok(rl_str name)
{
	if (usual_name(name))
		return true;
	for (size_t i = 0; i < name.n; i++)
		if (!token_byte[(unsigned char)name.p[i]])
			return false;
	return name.n > 0;
}

rl_str rl_method_name(enum rl_method method)
{
	assert((unsigned)method < sizeof method_names / sizeof method_names[0]);
	return method_names[method];
}

rl_str rl_http_version_name(enum rl_http_version version)
{
	static const rl_str names[] = {[RL_HTTP_NONE] = RL_STR_INIT(""),
#define X(id, name) [RL_HTTP_##id] = RL_STR_INIT(name),
				       RL_HTTP_VERSIONS(X)
#undef X
	};

	assert((unsigned)version < sizeof names / sizeof names[0]);
	return names[version];
}

/* RFC 9110 §15, RFC 6585, RFC 8470, and what providers send beyond them. */
#define STATUSES(X)                               \
	X(100, "Continue")                        \
	X(101, "Switching Protocols")             \
	X(103, "Early Hints")                     \
	X(200, "OK")                              \
	X(201, "Created")                         \
	X(202, "Accepted")                        \
	X(203, "Non-Authoritative Information")   \
	X(204, "No Content")                      \
	X(205, "Reset Content")                   \
	X(206, "Partial Content")                 \
	X(300, "Multiple Choices")                \
	X(301, "Moved Permanently")               \
	X(302, "Found")                           \
	X(303, "See Other")                       \
	X(304, "Not Modified")                    \
	X(307, "Temporary Redirect")              \
	X(308, "Permanent Redirect")              \
	X(400, "Bad Request")                     \
	X(401, "Unauthorized")                    \
	X(402, "Payment Required")                \
	X(403, "Forbidden")                       \
	X(404, "Not Found")                       \
	X(405, "Method Not Allowed")              \
	X(406, "Not Acceptable")                  \
	X(407, "Proxy Authentication Required")   \
	X(408, "Request Timeout")                 \
	X(409, "Conflict")                        \
	X(410, "Gone")                            \
	X(411, "Length Required")                 \
	X(412, "Precondition Failed")             \
	X(413, "Content Too Large")               \
	X(414, "URI Too Long")                    \
	X(415, "Unsupported Media Type")          \
	X(416, "Range Not Satisfiable")           \
	X(417, "Expectation Failed")              \
	X(421, "Misdirected Request")             \
	X(422, "Unprocessable Content")           \
	X(424, "Failed Dependency")               \
	X(425, "Too Early")                       \
	X(426, "Upgrade Required")                \
	X(428, "Precondition Required")           \
	X(429, "Too Many Requests")               \
	X(431, "Request Header Fields Too Large") \
	X(451, "Unavailable For Legal Reasons")   \
	X(500, "Internal Server Error")           \
	X(501, "Not Implemented")                 \
	X(502, "Bad Gateway")                     \
	X(503, "Service Unavailable")             \
	X(504, "Gateway Timeout")                 \
	X(505, "HTTP Version Not Supported")      \
	X(508, "Loop Detected")                   \
	X(511, "Network Authentication Required") \
	X(529, "Overloaded")

const char *rl_status_text(uint16_t status)
{
	switch (status) {
#define X(code, text) \
	case code:    \
		return text;
		STATUSES(X)
#undef X
	default:
		return "Unknown";
	}
}
