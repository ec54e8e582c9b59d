/* SPDX-License-Identifier: Apache-2.0 */
/* See path_rule.h. Grammar: RFC 3986 §3.3; reasons for each refusal: its §6.2.2 and §7.3. */
#include "policy/path_rule.h"

static bool is_alnum(unsigned char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool is_unreserved(unsigned char c)
{
	return is_alnum(c) || (c && strchr("-._~", c));
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%XX" at the beginning of `text` stands for; -1: none. */
static int decoded(rl_str text)
{
	int high = text.n >= 3 && text.p[0] == '%' ? hex(text.p[1]) : -1, low = high >= 0 ? hex(text.p[2]) : -1;

	return low < 0 ? -1 : high * 16 + low;
}

/* Bytes of a UTF-8 character by its first one, with what the second one may be (Unicode, table 3-7); 0: it is none. */
static size_t utf8_length(int lead, int *low, int *high)
{
	*low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
	*high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
	if (lead >= 0xC2 && lead <= 0xDF)
		return 2;
	if (lead >= 0xE0 && lead <= 0xEF)
		return 3;
	return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

/* An encoded character beyond ASCII: how much of `text` it takes, 0 if it is not UTF-8. */
static size_t encoded_character(rl_str text, int lead)
{
	int low, high;
	size_t n = utf8_length(lead, &low, &high);

	for (size_t i = 1; i < n; i++) {
		int byte = decoded(rl_str_sub(text, 3 * i, 3));

		if (byte < low || byte > high)
			return 0;
		low = 0x80;
		high = 0xBF;
	}
	return 3 * n;
}

/* *n: how much of `text`, which begins with '%', is one encoded character. */
static const char *encoded_refused(rl_str text, size_t *n)
{
	int byte = decoded(text);

	*n = 3;
	if (byte < 0)
		return "a '%' in the path is not followed by two hex digits";
	if (byte < 0x20 || byte == 0x7F)
		return "the path holds an encoded control character";
	if (byte == '/' || byte == '\\')
		return "the path holds an encoded slash or backslash";
	if (byte == '%')
		return "the path is encoded twice";
	if (byte == ';')
		return "the path holds an encoded ';'";
	if (byte < 0x80)
		return is_unreserved((unsigned char)byte) ? "the path encodes a character that needs no encoding"
							  : NULL;
	*n = encoded_character(text, byte);
	return *n ? NULL : "an encoded character of the path is not UTF-8";
}

static const char *segment_refused(rl_str segment)
{
	const char *why;
	size_t n;

	if (rl_str_eq(segment, RL_STR(".")) || rl_str_eq(segment, RL_STR("..")))
		return "the path holds a dot segment";
	for (size_t i = 0; i < segment.n; i += n) {
		unsigned char c = (unsigned char)segment.p[i];

		n = 1;
		if (c == '%') {
			why = encoded_refused(rl_str_sub(segment, i, SIZE_MAX), &n);
			if (why)
				return why;
		} else if (!is_unreserved(c) && (!c || !strchr("!$&'()*+,=:@", c))) {
			return "the path holds a character that must not stand there";
		}
	}
	return NULL;
}

const char *rl_path_refused(rl_str path)
{
	if (!path.n || path.p[0] != '/')
		return "the path does not begin with a slash";
	path = rl_str_sub(path, 1, SIZE_MAX);
	while (path.p) {
		rl_str segment = rl_str_cut(&path, '/');
		const char *why = segment_refused(segment);

		if (why)
			return why;
		if (!segment.n && path.p) /* one at the end is no ambiguity: it makes another, unknown path */
			return "the path holds an empty segment";
	}
	return NULL;
}

const char *rl_query_refused(rl_str query)
{
	for (size_t i = 0; i < query.n; i++) {
		unsigned char c = (unsigned char)query.p[i];

		if (c <= 0x20 || c >= 0x7F || c == '#')
			return "the query holds a character that must not stand there";
	}
	return NULL;
}
