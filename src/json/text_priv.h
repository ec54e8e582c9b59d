/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the validating scanner and the trusting readers share: fast steps over
 * plain string bytes and white space, and the comparison of keys. Every step takes
 * [p, end) and returns a pointer in it or end; none reads a byte at or behind end.
 * SSE2 is part of x86-64; elsewhere eight bytes at a time are tested in a word.
 */
#ifndef RL_JSON_TEXT_PRIV_H
#define RL_JSON_TEXT_PRIV_H

#include "base/slice.h"
#include "json/scan.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define RL_JSON_ONES 0x0101010101010101u
#define RL_JSON_TOPS 0x8080808080808080u

static inline uint64_t rl_json_load64(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = __builtin_bswap64(word);
#endif
	return word;
}

/*
 * The top bit of each byte of `word` that is zero. Borrows can add marks, but only
 * above a true one, so the lowest mark is right; the callers use no other.
 */
static inline uint64_t rl_json_zero_bytes(uint64_t word)
{
	return (word - RL_JSON_ONES) & ~word & RL_JSON_TOPS;
}

static inline uint64_t rl_json_eq_bytes(uint64_t word, char c)
{
	return rl_json_zero_bytes(word ^ (RL_JSON_ONES * (unsigned char)c));
}

/* The top bit of the first byte that ends a plain run: '"', '\\', a control character or non-ASCII. */
static inline uint64_t rl_json_special_bytes(uint64_t word)
{
	return rl_json_eq_bytes(word, '"') | rl_json_eq_bytes(word, '\\') |
	       ((word - RL_JSON_ONES * 0x20) & RL_JSON_TOPS) | (word & RL_JSON_TOPS);
}

static inline bool rl_json_is_special(char c)
{
	return c == '"' || c == '\\' || (signed char)c < 0x20;
}

/* Past the bytes of a string that need no look: to the first quote, backslash, control or non-ASCII byte. */
static inline const char *rl_json_plain_run(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		/* Signed: non-ASCII bytes are negative, so one comparison finds them and the controls. */
		__m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
					   _mm_cmplt_epi8(v, space));
		unsigned mask = (unsigned)_mm_movemask_epi8(hit);

		if (mask)
			return p + __builtin_ctz(mask);
	}
#endif
	for (; end - p >= 8; p += 8) {
		uint64_t mask = rl_json_special_bytes(rl_json_load64(p));

		if (mask)
			return p + (__builtin_ctzll(mask) >> 3);
	}
	while (p < end && !rl_json_is_special(*p))
		p++;
	return p;
}

/* RFC 8259 §2. */
static inline bool rl_json_is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* For indented texts. */
static inline const char *rl_json_space_run(const char *p, const char *end)
{
	if (p < end && *p == ' ' && ++p < end && (unsigned char)*p > ' ')
		return p;
#ifdef __SSE2__
	const __m128i space = _mm_set1_epi8(' '), nl = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r'),
		      tab = _mm_set1_epi8('\t');

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, space), _mm_cmpeq_epi8(v, nl)),
					   _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, tab)));
		unsigned mask = (unsigned)_mm_movemask_epi8(hit) ^ 0xffffu;

		if (mask)
			return p + __builtin_ctz(mask);
	}
#endif
	while (p < end && rl_json_is_space(*p))
		p++;
	return p;
}

static inline const char *rl_json_skip_space(const char *p, const char *end)
{
	/* Machines write compact JSON: mostly there is nothing to skip. */
	if (p < end && (unsigned char)*p > ' ')
		return p;
	return rl_json_space_run(p, end);
}

/* What a first byte announces; table in read.c. */
extern const unsigned char rl_json_type_by_byte[256];

static inline enum rl_json_type rl_json_type_at(const char *p)
{
	return (enum rl_json_type)rl_json_type_by_byte[(unsigned char)*p];
}

/*
 * The code point of the escape at *at (which points at a backslash), moving *at
 * behind it: behind both halves of a surrogate pair. A lone surrogate is returned
 * as itself. In text without a valid escape the backslash counts as a character.
 */
uint32_t rl_json_take_escape(const char **at, const char *end);
/* Bytes written to out (1 to 4). Surrogates get their three bytes, as UTF-8 would number them. */
size_t rl_json_put_utf8(uint32_t code, char out[4]);

/* p behind an opening quote; to the closing one. NULL: no valid string (RFC 8259 §7, UTF-8 checked; lone surrogates pass). */
const char *rl_json_string_end(const char *p, const char *end);

/* Whether a key's raw text (without quotes) is, unescaped, `wanted`. */
bool rl_json_key_is(rl_str raw, rl_str wanted);
/* Whether some parser might take it for `wanted`: see RL_JSON_STRICT_KEYS. `wanted` is ASCII. */
bool rl_json_key_resembles(rl_str raw, rl_str wanted);

#endif
