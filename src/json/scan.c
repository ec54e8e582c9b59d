/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The validating scanner: see scan.h for what it accepts. One loop goes from value
 * to value; what is open is remembered as one closing bracket per level in a fixed
 * array, so depth costs neither stack nor heap. Each step takes the place where it
 * starts and returns the place behind what it read, or NULL after fail().
 */
#include "json/scan.h"

#include <assert.h>

#include "json/text_priv.h"

struct scan {
	const char *start, *end;
	const rl_str *keys;
	size_t n_keys;
	struct rl_json_span *out;
	struct rl_json_span *open; /* the wanted member whose value is being read */
	unsigned flags;
	unsigned depth;
	bool odd_string;     /* the string just read has an escape or a non-ASCII byte */
	bool lone_surrogate; /* some string has one */
	enum rl_err err;
	const char *bad, *what; /* where and why it failed */
	rl_str key;
	char closer[RL_JSON_DEPTH_MAX + 1]; /* per open level: the bracket that ends it; [0] is outside */
};

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

__attribute__((cold, noinline)) static const char *fail(struct scan *s, const char *at, const char *what)
{
	s->err = RL_ERR_SYNTAX;
	s->bad = at;
	s->what = what;
	return NULL;
}

__attribute__((cold, noinline)) static const char *fail_as(struct scan *s, enum rl_err err, const char *at,
							   const char *what)
{
	fail(s, at, what);
	s->err = err;
	return NULL;
}

/* At a byte that cannot stand here, or at the end of the text. */
__attribute__((cold, noinline)) static const char *fail_at(struct scan *s, const char *at, const char *what)
{
	return fail(s, at, at == s->end ? "unexpected end" : what);
}

/* --- strings --- */

/* The value of four hex digits at p, or -1. */
static int hex4(const char *p, const char *end)
{
	int value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = rl_hex_digit(p[i]);
		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

static const char *lone(struct scan *s, const char *p)
{
	s->lone_surrogate = true;
	if (s->flags & RL_JSON_WHOLE_SURROGATES)
		return fail(s, p, "surrogate escape without its partner");
	return p + 6;
}

/* p at the backslash of \uXXXX. Two halves of a pair are taken together. */
static const char *unicode_escape(struct scan *s, const char *p)
{
	int unit = hex4(p + 2, s->end);

	if (unit < 0)
		return fail(s, p, "expected four hex digits after \\u");
	if ((unit & 0xf800) != 0xd800)
		return p + 6;
	if (unit >= 0xdc00 || s->end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return lone(s, p);
	unit = hex4(p + 8, s->end);
	if (unit < 0)
		return fail(s, p + 6, "expected four hex digits after \\u");
	return (unit & 0xfc00) == 0xdc00 ? p + 12 : lone(s, p);
}

/* p at the backslash. */
static const char *escape(struct scan *s, const char *p)
{
	if (UNLIKELY(s->end - p < 2))
		return fail(s, s->end, "unterminated string");
	switch (p[1]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return p + 2;
	case 'u':
		return unicode_escape(s, p);
	default:
		return fail(s, p, "unknown escape in string");
	}
}

/* The first four bytes at p, the first one lowest; zero where the text has ended. */
static inline uint32_t load4(const char *p, const char *end)
{
	uint32_t v = 0;

	if (end - p >= 4)
		memcpy(&v, p, 4);
	else
		memcpy(&v, p, (size_t)(end - p));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap32(v);
#endif
	return v;
}

/*
 * Length of the well-formed sequence that v starts with, the first byte lowest; 0
 * when it is not UTF-8 (table 3-7 of the Unicode standard: no overlong form, no
 * surrogate, nothing above U+10FFFF). The first mask of each line asks for the form
 * of lead and trail bytes, the others for the forbidden ranges.
 */
static inline size_t utf8_length(uint32_t v)
{
	if ((v & 0x0000c0e0) == 0x000080c0)
		return v & 0x1e ? 2 : 0;
	if ((v & 0x00c0c0f0) == 0x008080e0)
		return (v & 0x200f) && (v & 0x200f) != 0x200d ? 3 : 0;
	if ((v & 0xc0c0c0f8) == 0x808080f0)
		return (v & 0x3007) && (!(v & 4) || !(v & 0x3003)) ? 4 : 0;
	return 0;
}

/* p at a non-ASCII byte; over it, what is like it, and plain bytes that stand alone between (spaces of a text). */
static const char *utf8_run(struct scan *s, const char *p)
{
	const char *end = s->end;

	for (;;) {
		size_t n = utf8_length(load4(p, end));
		if (UNLIKELY(!n))
			return fail(s, p, "not UTF-8");
		p += n;
		if (p < end && (signed char)*p < 0)
			continue;
		if (end - p < 2 || rl_json_is_special(p[0]) || (signed char)p[1] >= 0)
			return p;
		p++;
	}
}

#define WIDE 64       /* bytes that short_escapes() looks at together */
#define WIDE_PAUSE 32 /* see escapes() */

#ifdef __SSE2__
/* Bit i: byte i of 64. Kinds of bytes in strings, as far as short_escapes() must tell them apart. */
struct kinds {
	uint64_t slash;
	uint64_t common; /* what mostly stands behind a backslash: n, t, quote */
	uint64_t stop;   /* quote, control, non-ASCII */
};

static inline struct kinds kinds_of(const char *p)
{
	const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20),
		      n = _mm_set1_epi8('n'), t = _mm_set1_epi8('t');
	struct kinds k = {0, 0, 0};

#pragma GCC unroll 4
	for (unsigned at = 0; at < WIDE; at += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + at));
		__m128i quotes = _mm_cmpeq_epi8(v, quote);
		__m128i common = _mm_or_si128(quotes, _mm_or_si128(_mm_cmpeq_epi8(v, n), _mm_cmpeq_epi8(v, t)));

		k.slash |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, slash)) << at;
		k.common |= (uint64_t)(unsigned)_mm_movemask_epi8(common) << at;
		k.stop |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_or_si128(quotes, _mm_cmplt_epi8(v, space))) << at;
	}
	return k;
}

/*
 * Past plain bytes and the common escapes, without a branch for each: where they stand in a text can't be guessed, and
 * each wrong guess costs as much as 64 bytes do here. Stops at any other byte, at the backslash of any other escape, or
 * near the end of the text. The first backslash of several in a row has one behind it, which is not common: it stops
 * there, so each one before it begins an escape.
 */
static inline const char *short_escapes(const char *p, const char *end)
{
	while (end - p >= WIDE) {
		struct kinds k = kinds_of(p);
		uint64_t escaped = k.slash << 1;
		uint64_t stop = (k.stop & ~escaped) | (escaped & ~k.common) >> 1;

		if (stop)
			return p + __builtin_ctzll(stop);
		p += WIDE - (k.slash >> 63); /* an escape is not cut in two */
	}
	return p;
}
#else
static inline const char *short_escapes(const char *p, const char *end)
{
	(void)end;
	return p;
}
#endif

/*
 * p at a backslash; over its escape and, if that was a short one, over plain bytes and common escapes behind it. *pause:
 * so many more are taken one by one, since the last wide step did not get far.
 */
static inline const char *escapes(struct scan *s, const char *p, unsigned *pause)
{
	const char *behind = escape(s, p);

	if (UNLIKELY(!behind) || behind - p != 2)
		return behind;
	if (*pause) {
		--*pause;
		return behind;
	}
	p = short_escapes(behind, s->end);
	if (p - behind < WIDE)
		*pause = WIDE_PAUSE;
	return p;
}

/* p at a byte of a string that is not plain; returns behind the closing quote. */
static __attribute__((noinline)) const char *odd_string(struct scan *s, const char *p)
{
	unsigned pause = 0;

	s->odd_string = true;
	for (;;) {
		if (UNLIKELY(p == s->end))
			return fail(s, p, "unterminated string");
		if (*p == '"')
			return p + 1;
		if (*p == '\\')
			p = escapes(s, p, &pause);
		else if ((signed char)*p < 0)
			p = utf8_run(s, p);
		else
			return fail(s, p, "control character in string");
		if (UNLIKELY(!p))
			return NULL;
		p = rl_json_plain_run(p, s->end);
	}
}

/* p at the opening quote. */
static inline const char *string(struct scan *s, const char *p)
{
	p = rl_json_plain_run(p + 1, s->end);
	if (p < s->end && *p == '"')
		return p + 1;
	return odd_string(s, p);
}

const char *rl_json_string_end(const char *p, const char *end)
{
	struct scan s = {.end = end, .start = p, .flags = RL_JSON_LAX};

	p = rl_json_plain_run(p, end);
	if (p < end && *p == '"')
		return p;
	p = odd_string(&s, p);
	return p ? p - 1 : NULL;
}

/* --- numbers and literals --- */

static inline bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* To the first byte that is no digit. */
static inline const char *digits(const char *p, const char *end)
{
	for (; end - p >= 8; p += 8) {
		uint64_t v = rl_json_load64(p);
		/* A byte is a digit when its high nibble is 3, and still is after adding 6. A carry comes from
		 * a byte that is no digit itself, so the lowest mark is right. */
		uint64_t odd = ((v & 0xf0f0f0f0f0f0f0f0u) ^ 0x3030303030303030u) |
			       (((v + 0x0606060606060606u) & 0xf0f0f0f0f0f0f0f0u) ^ 0x3030303030303030u);
		if (odd)
			return p + (__builtin_ctzll(odd) >> 3);
	}
	while (p < end && is_digit(*p))
		p++;
	return p;
}

/* At least one digit at p. */
static inline const char *some_digits(struct scan *s, const char *p)
{
	if (UNLIKELY(p == s->end || !is_digit(*p)))
		return fail_at(s, p, "expected a digit");
	return digits(p + 1, s->end);
}

static const char *number(struct scan *s, const char *p)
{
	const char *end = s->end;

	if (*p == '-')
		p++;
	if (p < end && *p == '0') {
		p++;
		if (UNLIKELY(p < end && is_digit(*p)))
			return fail(s, p - 1, "number with a leading zero");
	} else {
		p = some_digits(s, p);
	}
	if (p && p < end && *p == '.')
		p = some_digits(s, p + 1);
	if (p && p < end && (*p | 0x20) == 'e') {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = some_digits(s, p);
	}
	return p;
}

static inline const char *literal(struct scan *s, const char *p, const char *word, size_t n)
{
	if (UNLIKELY((size_t)(s->end - p) < n || memcmp(p, word, n) != 0))
		return fail(s, p, "expected a value");
	return p + n;
}

/* A value that is neither array nor object. */
static const char *scalar(struct scan *s, const char *p)
{
	switch (rl_json_type_at(p)) {
	case RL_JSON_STRING:
		return string(s, p);
	case RL_JSON_NUMBER:
		return number(s, p);
	case RL_JSON_TRUE:
		return literal(s, p, "true", 4);
	case RL_JSON_FALSE:
		return literal(s, p, "false", 5);
	case RL_JSON_NULL:
		return literal(s, p, "null", 4);
	default:
		return fail(s, p, "expected a value");
	}
}

/* --- keys --- */

static const char *refuse_key(struct scan *s, const char *quote, const rl_str *wanted, const char *what)
{
	s->key = *wanted;
	return fail_as(s, RL_ERR_DUPLICATE, quote, what);
}

static void note_member(struct scan *s, size_t i, const char *quote, const char *value)
{
	s->open = &s->out[i];
	s->open->key_off = (size_t)(quote - s->start);
	s->open->off = (size_t)(value - s->start);
	s->open->type = value < s->end ? rl_json_type_at(value) : RL_JSON_NONE;
}

/* A key spelled with escapes or with letters beyond ASCII. */
__attribute__((noinline)) static const char *match_odd_key(struct scan *s, rl_str raw, const char *value)
{
	for (size_t i = 0; i < s->n_keys; i++) {
		if (s->flags & RL_JSON_STRICT_KEYS) {
			if (rl_json_key_resembles(raw, s->keys[i]))
				return refuse_key(s, raw.p - 1, &s->keys[i], "look-alike of a policy key");
		} else if (rl_json_key_is(raw, s->keys[i])) {
			note_member(s, i, raw.p - 1, value);
			break;
		}
	}
	return value;
}

/* Notes a top-level member if it is a wanted one. `raw`: the key without quotes, `value`: where its value starts. */
static const char *match_key(struct scan *s, rl_str raw, const char *value)
{
	bool strict = s->flags & RL_JSON_STRICT_KEYS;

	if (UNLIKELY(s->odd_string))
		return match_odd_key(s, raw, value);
	for (size_t i = 0; i < s->n_keys; i++) {
		rl_str wanted = s->keys[i];

		/* Most keys differ in length or in the first letter, whatever its case. */
		if (raw.n != wanted.n || ((raw.p[0] ^ wanted.p[0]) & ~0x20) != 0)
			continue;
		if (memcmp(raw.p, wanted.p, raw.n) == 0) {
			if (strict && s->out[i].type)
				return refuse_key(s, raw.p - 1, &s->keys[i], "duplicate key");
			note_member(s, i, raw.p - 1, value);
			break;
		}
		if (strict && rl_str_ieq(raw, wanted))
			return refuse_key(s, raw.p - 1, &s->keys[i], "look-alike of a policy key");
	}
	return value;
}

/* p where a key is due; returns where its value starts. */
static inline const char *key(struct scan *s, const char *p)
{
	const char *quote = p;

	if (UNLIKELY(p == s->end || *p != '"'))
		return fail_at(s, p, "expected a key");
	s->odd_string = false;
	p = string(s, p);
	if (UNLIKELY(!p))
		return NULL;
	rl_str raw = rl_str_make(quote + 1, (size_t)(p - quote - 2));

	p = rl_json_skip_space(p, s->end);
	if (UNLIKELY(p == s->end || *p != ':'))
		return fail_at(s, p, "expected ':'");
	p = rl_json_skip_space(p + 1, s->end);
	return s->depth == 1 && s->n_keys ? match_key(s, raw, p) : p;
}

/* --- the loop --- */

/*
 * A value ended at p: leaves the levels that end here and steps over the comma.
 * Returns where the next element or member is due, or the end of the outermost value.
 */
static inline const char *next(struct scan *s, const char *p)
{
	while (s->depth) {
		if (s->depth == 1 && s->open) {
			s->open->n = (size_t)(p - s->start) - s->open->off;
			s->open = NULL;
		}
		p = rl_json_skip_space(p, s->end);
		if (p < s->end && *p == ',')
			return rl_json_skip_space(p + 1, s->end);
		char closer = s->closer[s->depth];

		if (UNLIKELY(p == s->end || *p != closer))
			return fail_at(s, p, closer == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
		s->depth--;
		p++;
	}
	return p;
}

/* p at '{' or '['. Returns where what is inside starts, or behind it all when there is nothing inside. */
static inline const char *enter(struct scan *s, const char *p, bool *empty)
{
	if (UNLIKELY(s->depth == RL_JSON_DEPTH_MAX))
		return fail_as(s, RL_ERR_LIMIT, p, "nested too deep");
	/* In ASCII each closing bracket stands two places behind its opening one. */
	char closer = (char)(*p + 2);

	p = rl_json_skip_space(p + 1, s->end);
	*empty = p < s->end && *p == closer;
	if (*empty)
		return p + 1;
	s->closer[++s->depth] = closer;
	return p;
}

/* The value at p with all that is in it; returns behind it. */
static const char *walk(struct scan *s, const char *p)
{
	do {
		bool ended = true;

		if (s->closer[s->depth] == '}')
			p = key(s, p);
		if (UNLIKELY(!p))
			return NULL;
		if (UNLIKELY(p == s->end))
			return fail(s, p, "unexpected end");
		if (*p == '{' || *p == '[')
			p = enter(s, p, &ended);
		else
			p = scalar(s, p);
		if (p && ended)
			p = next(s, p);
	} while (p && s->depth);
	return p;
}

static void scan_text(struct scan *s)
{
	const char *p = rl_json_skip_space(s->start, s->end);

	if (s->end - p >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
		fail(s, p, "byte order mark");
		return;
	}
	p = walk(s, p);
	if (p)
		p = rl_json_skip_space(p, s->end);
	if (p && p < s->end)
		fail(s, p, "unexpected text behind the value");
}

/* Counting lines waits until there is someone to tell. */
__attribute__((cold, noinline)) static void describe(const struct scan *s, struct rl_json_error *error)
{
	const char *line = s->start;
	unsigned n_lines = 1;

	for (const char *p = s->start; p < s->bad; p++) {
		if (*p != '\n')
			continue;
		n_lines++;
		line = p + 1;
	}
	error->offset = (size_t)(s->bad - s->start);
	error->line = n_lines;
	error->column = (unsigned)(s->bad - line) + 1;
	error->what = s->what;
	error->key = s->key;
}

enum rl_err rl_json_scan(rl_str text, const rl_str *keys, size_t n_keys, unsigned flags, struct rl_json_span *out,
			 struct rl_json_error *error)
{
	struct scan s;

	assert(!n_keys || (keys && out));
	/* Not an initialiser: that would clear the levels too, which costs more than a small text. */
	s.start = text.n ? text.p : "";
	s.end = s.start + text.n;
	s.keys = keys;
	s.n_keys = n_keys;
	s.out = out;
	s.open = NULL;
	s.flags = flags;
	s.depth = 0;
	s.odd_string = s.lone_surrogate = false;
	s.err = RL_OK;
	s.what = NULL;
	s.key = rl_str_make(NULL, 0);
	s.closer[0] = 0;
	if (n_keys)
		memset(out, 0, n_keys * sizeof *out);
	scan_text(&s);
	assert(s.err || !s.open);
	if (s.err && n_keys)
		memset(out, 0, n_keys * sizeof *out);
	if (error) {
		if (s.err)
			describe(&s, error);
		error->lone_surrogate = s.lone_surrogate;
	}
	return s.err;
}
