/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of strings: escapes undone, and keys compared by what they say instead
 * of by how they are spelled. Works on strings that the scanner has accepted; on
 * others it stays inside the slice.
 */
#include <assert.h>

#include "json/text_priv.h"

static unsigned hex_value(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10) & 0xfu;
}

/* The unit of a \uXXXX at p, or -1 when none stands there. */
static int unicode_unit(const char *p, const char *end)
{
	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	return (int)(hex_value(p[2]) << 12 | hex_value(p[3]) << 8 | hex_value(p[4]) << 4 | hex_value(p[5]));
}

static uint32_t take_unicode(const char **at, const char *end)
{
	int unit = unicode_unit(*at, end);

	if (unit < 0) {
		*at += 1;
		return '\\';
	}
	*at += 6;
	if ((unit & 0xfc00) != 0xd800)
		return (uint32_t)unit;
	int low = unicode_unit(*at, end);

	if (low < 0 || (low & 0xfc00) != 0xdc00)
		return (uint32_t)unit;
	*at += 6;
	return 0x10000u + ((uint32_t)(unit & 0x3ff) << 10) + (uint32_t)(low & 0x3ff);
}

uint32_t rl_json_take_escape(const char **at, const char *end)
{
	const char *p = *at;

	assert(p < end && *p == '\\');
	if (end - p < 2 || p[1] == 'u')
		return take_unicode(at, end);
	*at += 2;
	switch (p[1]) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default: /* '"', '\\' and '/' stand for themselves */
		return (unsigned char)p[1];
	}
}

size_t rl_json_put_utf8(uint32_t code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* --- comparing --- */

bool rl_json_key_is(rl_str raw, rl_str wanted)
{
	/* An escape only ever makes a text shorter. */
	if (raw.n < wanted.n)
		return false;
	if (raw.n == wanted.n && (raw.n == 0 || memcmp(raw.p, wanted.p, raw.n) == 0))
		return !memchr(raw.n ? raw.p : "", '\\', raw.n);
	const char *p = raw.p, *end = raw.p + raw.n;
	size_t done = 0;

	while (p < end) {
		char piece[4];
		size_t n = 1;

		if (*p == '\\')
			n = rl_json_put_utf8(rl_json_take_escape(&p, end), piece);
		else
			piece[0] = *p++;
		if (n > wanted.n - done || memcmp(wanted.p + done, piece, n) != 0)
			return false;
		done += n;
	}
	return done == wanted.n;
}

/* The raw text between the quotes of a string value; p == NULL when it is none. */
static rl_str string_body(rl_str value)
{
	while (value.n && rl_json_is_space(value.p[0]))
		value.p++, value.n--;
	while (value.n && rl_json_is_space(value.p[value.n - 1]))
		value.n--;
	if (value.n < 2 || value.p[0] != '"' || value.p[value.n - 1] != '"')
		return rl_str_make(NULL, 0);
	return rl_str_make(value.p + 1, value.n - 2);
}

bool rl_json_string_is(rl_str value, rl_str plain)
{
	rl_str body = string_body(value);

	return body.p && rl_json_key_is(body, plain);
}

static char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/*
 * The ASCII letter that a character becomes under some case mapping of Unicode
 * (CaseFolding.txt and UnicodeData.txt: these four are all there are), in lower
 * case; else '\0'. Both dots of i are here because parsers that compare in upper
 * case, or lower it with Turkish rules, take them for an i.
 */
static char folded(uint32_t code)
{
	switch (code) {
	case 0x0130: /* capital i with dot */
	case 0x0131: /* small dotless i */
		return 'i';
	case 0x017f: /* long s */
		return 's';
	case 0x212a: /* Kelvin sign */
		return 'k';
	default:
		return code < 0x80 ? ascii_lower((char)code) : '\0';
	}
}

/* The code point of valid UTF-8 at *at; 0x10ffff for what cannot fold anyway (four bytes, or cut short). */
static uint32_t take_utf8(const char **at, const char *end)
{
	const unsigned char *b = (const unsigned char *)*at;
	size_t left = (size_t)(end - *at);

	if (b[0] < 0x80) {
		*at += 1;
		return b[0];
	}
	if ((b[0] & 0xe0) == 0xc0 && left >= 2) {
		*at += 2;
		return (b[0] & 0x1fu) << 6 | (b[1] & 0x3fu);
	}
	if ((b[0] & 0xf0) == 0xe0 && left >= 3) {
		*at += 3;
		return (b[0] & 0xfu) << 12 | (b[1] & 0x3fu) << 6 | (b[2] & 0x3fu);
	}
	*at = end;
	return 0x10ffff;
}

bool rl_json_key_resembles(rl_str raw, rl_str wanted)
{
	const char *p = raw.p, *end = raw.p + raw.n;
	size_t done = 0;

	while (p < end) {
		uint32_t code = *p == '\\' ? rl_json_take_escape(&p, end) : take_utf8(&p, end);

		/* A parser whose strings end in NUL stops here, and so do we. */
		if (!code)
			break;
		char c = folded(code);

		if (!c || done == wanted.n || c != ascii_lower(wanted.p[done]))
			return false;
		done++;
	}
	return done == wanted.n;
}

/* --- unescaping --- */

enum rl_err rl_json_unescape(rl_str value, struct rl_arena *arena, rl_str *out)
{
	rl_str body = string_body(value);
	const char *slash = body.n ? memchr(body.p, '\\', body.n) : NULL;

	*out = rl_str_make(NULL, 0);
	if (!body.p)
		return RL_ERR_SYNTAX;
	if (!slash) {
		*out = body;
		return RL_OK;
	}
	const char *p = body.p, *end = body.p + body.n;
	char *text = rl_arena_alloc(arena, body.n);
	size_t n = 0;

	if (!text)
		return RL_ERR_NOMEM;
	while (slash) {
		memcpy(text + n, p, (size_t)(slash - p));
		n += (size_t)(slash - p);
		p = slash;
		uint32_t code = rl_json_take_escape(&p, end);

		if (code >= 0xd800 && code <= 0xdfff)
			return RL_ERR_SYNTAX;
		n += rl_json_put_utf8(code, text + n);
		slash = p < end ? memchr(p, '\\', (size_t)(end - p)) : NULL;
	}
	memcpy(text + n, p, (size_t)(end - p));
	*out = rl_str_make(text, n + (size_t)(end - p));
	return RL_OK;
}
