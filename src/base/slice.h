/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slice is a pointer and a length, passed by value: it owns nothing and need
 * not end in NUL. All text that comes from outside (requests, answers, config)
 * travels as slices, so that no length is ever guessed from a terminator.
 */
#ifndef RL_BASE_SLICE_H
#define RL_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

typedef struct rl_str {
	const char *p;
	size_t n;
} rl_str;

/* From a string literal; the second form is for static initialisers. */
#define RL_STR(lit) ((rl_str){(lit), sizeof(lit) - 1})
#define RL_STR_INIT(lit)               \
	{                              \
		(lit), sizeof(lit) - 1 \
	}
/* For printf("%.*s"). */
#define RL_STR_ARG(s) (int)(s).n, (s).p

static inline rl_str rl_str_make(const void *p, size_t n)
{
	return (rl_str){(const char *)p, n};
}

/*
 * memcpy for the short texts that heads and log lines are made of, without the call, which costs more than the bytes.
 * Both ends of the text are copied as words, which may overlap; nothing outside it is read or written. The builtin: where
 * the compiler knows the size of the target, each of the words would be checked again.
 */
static inline void rl_copy_short(char *to, const char *from, size_t n)
{
	if (n > 32) {
		memcpy(to, from, n);
	} else if (n >= 16) {
		__builtin_memcpy(to, from, 16);
		__builtin_memcpy(to + n - 16, from + n - 16, 16);
	} else if (n >= 8) {
		__builtin_memcpy(to, from, 8);
		__builtin_memcpy(to + n - 8, from + n - 8, 8);
	} else if (n >= 4) {
		__builtin_memcpy(to, from, 4);
		__builtin_memcpy(to + n - 4, from + n - 4, 4);
	} else if (n) {
		to[0] = from[0];
		to[n / 2] = from[n / 2];
		to[n - 1] = from[n - 1];
	}
}

/* From a NUL-terminated string; NULL gives the empty slice. */
static inline rl_str rl_str_of(const char *z)
{
	return (rl_str){z, z ? strlen(z) : 0};
}

static inline bool rl_str_eq(rl_str a, rl_str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII case ignored. */
static inline bool rl_str_ieq(rl_str a, rl_str b)
{
	return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

static inline bool rl_str_starts(rl_str s, rl_str prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline bool rl_str_ends(rl_str s, rl_str suffix)
{
	return s.n >= suffix.n && (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

/* The part [from, from + n) cut to what exists. */
static inline rl_str rl_str_sub(rl_str s, size_t from, size_t n)
{
	if (from > s.n)
		from = s.n;
	if (n > s.n - from)
		n = s.n - from;
	return (rl_str){from ? s.p + from : s.p, n}; /* p may be NULL only where n is 0 */
}

/* Index of the first byte c, or SIZE_MAX. */
static inline size_t rl_str_find(rl_str s, char c)
{
	const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;
	return hit ? (size_t)(hit - s.p) : SIZE_MAX;
}

/* The value of a hex digit, -1 for anything else. */
static inline int rl_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One to ten decimal digits and nothing else, up to `max`. */
static inline bool rl_str_number(rl_str s, unsigned max, unsigned *out)
{
	uint64_t v = 0;

	if (!s.n || s.n > 10)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*out = (unsigned)v;
	return v <= max;
}

/* Without spaces and tabs at both ends (OWS of RFC 9110 §5.6.3). */
static inline rl_str rl_str_trim(rl_str s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s.p++, s.n--;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/*
 * Cuts the part before the first `sep` off *rest and returns it; the last part
 * leaves *rest with p == NULL. Use: while (rest.p) { part = rl_str_cut(&rest, ','); }
 */
static inline rl_str rl_str_cut(rl_str *rest, char sep)
{
	size_t at = rl_str_find(*rest, sep);
	rl_str part = *rest;

	if (at == SIZE_MAX) {
		*rest = (rl_str){NULL, 0};
		return part;
	}
	part.n = at;
	rest->p += at + 1;
	rest->n -= at + 1;
	return part;
}

#endif
