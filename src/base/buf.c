/* SPDX-License-Identifier: Apache-2.0 */
/* See buf.h. */
#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CAP_MIN 256u

void rl_buf_init(struct rl_buf *buf, size_t max_bytes)
{
	assert(max_bytes > 0);
	*buf = (struct rl_buf){.max_bytes = max_bytes};
}

void rl_buf_fini(struct rl_buf *buf)
{
	if (!buf)
		return;
	free(buf->p);
	buf->p = NULL;
	buf->n = buf->cap = 0;
}

void rl_buf_reset(struct rl_buf *buf)
{
	buf->n = 0;
	buf->failed = false;
}

/* No room is left either: what comes after the piece that did not fit must not take its place. */
static char *fail(struct rl_buf *buf)
{
	buf->failed = true;
	buf->cap = buf->n;
	return NULL;
}

char *rl_buf_reserve(struct rl_buf *buf, size_t more)
{
	if (more <= buf->cap - buf->n && buf->p)
		return buf->p + buf->n;
	if (buf->failed || buf->n > buf->max_bytes || more > buf->max_bytes - buf->n)
		return fail(buf);
	size_t need = buf->n + more;
	size_t cap = buf->cap ? buf->cap : CAP_MIN;

	while (cap < need)
		cap = cap > buf->max_bytes / 2 ? buf->max_bytes : cap * 2;
	if (cap > buf->max_bytes)
		cap = buf->max_bytes;
	char *p = realloc(buf->p, cap ? cap : 1);

	if (!p)
		return fail(buf);
	buf->p = p;
	buf->cap = cap;
	return p + buf->n;
}

void rl_buf_add_slowly(struct rl_buf *buf, rl_str s)
{
	if (!s.n)
		return;
	char *at = rl_buf_reserve(buf, s.n);

	if (!at)
		return;
	memcpy(at, s.p, s.n);
	buf->n += s.n;
}

void rl_buf_byte(struct rl_buf *buf, char c)
{
	rl_buf_add(buf, rl_str_make(&c, 1));
}

void rl_buf_u64(struct rl_buf *buf, uint64_t v)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	rl_buf_add(buf, rl_str_make(digits + at, sizeof digits - at));
}

void rl_buf_i64(struct rl_buf *buf, int64_t v)
{
	if (v < 0) {
		rl_buf_byte(buf, '-');
		rl_buf_u64(buf, (uint64_t)0 - (uint64_t)v);
	} else {
		rl_buf_u64(buf, (uint64_t)v);
	}
}

void rl_buf_printf(struct rl_buf *buf, const char *format, ...)
{
	char small[512];
	va_list ap, again;

	va_start(ap, format);
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof small, format, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof small) {
		rl_buf_add(buf, rl_str_make(small, (size_t)n));
	} else if (n >= 0) {
		char *at = rl_buf_reserve(buf, (size_t)n + 1);
		if (at) {
			vsnprintf(at, (size_t)n + 1, format, again);
			buf->n += (size_t)n;
		}
	} else {
		fail(buf);
	}
	va_end(again);
}

/* Length of the valid UTF-8 sequence at p (RFC 3629 §4), or 0. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
	static const struct {
		unsigned char lo, hi, second_lo, second_hi, len;
	} forms[] = {
		{0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
		{0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
		{0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
	};

	if (p[0] < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		if (p[0] < forms[i].lo || p[0] > forms[i].hi)
			continue;
		if (n < forms[i].len || p[1] < forms[i].second_lo || p[1] > forms[i].second_hi)
			return 0;
		for (size_t k = 2; k < forms[i].len; k++)
			if ((p[k] & 0xC0) != 0x80)
				return 0;
		return forms[i].len;
	}
	return 0;
}

static void json_escape(struct rl_buf *buf, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char out[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

	switch (c) {
	case '"':
	case '\\':
		out[1] = (char)c;
		break;
	case '\n':
		out[1] = 'n';
		break;
	case '\r':
		out[1] = 'r';
		break;
	case '\t':
		out[1] = 't';
		break;
	default:
		rl_buf_add(buf, rl_str_make(out, 6));
		return;
	}
	rl_buf_add(buf, rl_str_make(out, 2));
}

void rl_buf_json(struct rl_buf *buf, rl_str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t from = 0, i = 0;

	rl_buf_byte(buf, '"');
	while (i < s.n) {
		if (p[i] >= 0x20 && p[i] < 0x7F && p[i] != '"' && p[i] != '\\') {
			i++;
			continue;
		}
		size_t len = p[i] >= 0x80 ? utf8_len(p + i, s.n - i) : 0;
		bool separator = len == 3 && p[i] == 0xE2 && p[i + 1] == 0x80 && (p[i + 2] & 0xFE) == 0xA8;

		if (len && !separator) {
			i += len;
			continue;
		}
		rl_buf_add(buf, rl_str_sub(s, from, i - from));
		if (separator)
			rl_buf_add(buf, p[i + 2] == 0xA8 ? RL_STR("\\u2028") : RL_STR("\\u2029"));
		else if (p[i] >= 0x80)
			RL_BUF_LIT(buf, "\xEF\xBF\xBD");
		else
			json_escape(buf, p[i]);
		i += separator ? 3 : 1;
		from = i;
	}
	rl_buf_add(buf, rl_str_sub(s, from, s.n - from));
	rl_buf_byte(buf, '"');
}

void rl_buf_consume(struct rl_buf *buf, size_t n)
{
	assert(n <= buf->n);
	buf->n -= n;
	if (buf->n)
		memmove(buf->p, buf->p + n, buf->n);
}
