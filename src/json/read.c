/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what the scanner has accepted: nested members, elements, numbers,
 * strings. Values are stepped over by their quotes and brackets alone, which is
 * several times faster than validating them again. Every step is bounded by the
 * slice, so that a caller's mistake (text that was never scanned) gives a wrong
 * answer and never a wrong access.
 */
#include "json/text_priv.h"

static const char *const type_names[] = {
#define X(id, name) [RL_JSON_##id] = name,
	RL_JSON_TYPES(X)
#undef X
};

const char *rl_json_type_name(enum rl_json_type type)
{
	return (unsigned)type < RL_JSON_TYPE_COUNT ? type_names[type] : type_names[RL_JSON_NONE];
}

const unsigned char rl_json_type_by_byte[256] = {
	['"'] = RL_JSON_STRING, ['{'] = RL_JSON_OBJECT, ['['] = RL_JSON_ARRAY,  ['t'] = RL_JSON_TRUE,
	['f'] = RL_JSON_FALSE,  ['n'] = RL_JSON_NULL,   ['-'] = RL_JSON_NUMBER, ['0'] = RL_JSON_NUMBER,
	['1'] = RL_JSON_NUMBER, ['2'] = RL_JSON_NUMBER, ['3'] = RL_JSON_NUMBER, ['4'] = RL_JSON_NUMBER,
	['5'] = RL_JSON_NUMBER, ['6'] = RL_JSON_NUMBER, ['7'] = RL_JSON_NUMBER, ['8'] = RL_JSON_NUMBER,
	['9'] = RL_JSON_NUMBER,
};

/* --- stepping over values --- */

/* p behind an opening quote; to the closing one, or end. */
static const char *string_end(const char *p, const char *end)
{
	for (;;) {
#ifdef __SSE2__
		const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');

		for (; end - p >= 16; p += 16) {
			__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
			unsigned mask = (unsigned)_mm_movemask_epi8(
				_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)));

			if (mask) {
				p += __builtin_ctz(mask);
				break;
			}
		}
#endif
		while (p < end && *p != '"' && *p != '\\')
			p++;
		if (p == end || *p == '"')
			return p;
		if (end - p < 2)
			return end;
		p += 2;
	}
}

static inline const char *skip_string(const char *p, const char *end)
{
	p = string_end(p + 1, end);
	return p < end ? p + 1 : end;
}

/* To the next quote or bracket of any kind. */
static inline const char *next_mark(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i quote = _mm_set1_epi8('"'), opening = _mm_set1_epi8('{'), closing = _mm_set1_epi8('}'),
		      bit = _mm_set1_epi8(0x20);

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		/* With bit 0x20 set, square brackets turn into curly ones. */
		__m128i curly = _mm_or_si128(v, bit);
		unsigned mask = (unsigned)_mm_movemask_epi8(
			_mm_or_si128(_mm_cmpeq_epi8(v, quote),
				     _mm_or_si128(_mm_cmpeq_epi8(curly, opening), _mm_cmpeq_epi8(curly, closing))));

		if (mask)
			return p + __builtin_ctz(mask);
	}
#endif
	while (p < end && *p != '"' && (*p | 0x20) != '{' && (*p | 0x20) != '}')
		p++;
	return p;
}

/* p at an opening bracket; brackets match, so counting them is enough. */
static const char *skip_nested(const char *p, const char *end)
{
	size_t depth = 0;

	for (;;) {
		p = next_mark(p, end);
		if (p == end)
			return end;
		if (*p == '"') {
			p = skip_string(p, end);
			continue;
		}
		if ((*p++ | 0x20) == '{')
			depth++;
		else if (depth <= 1)
			return p;
		else
			depth--;
	}
}

static const char *skip_plain(const char *p, const char *end)
{
	while (p < end && *p != ',' && *p != ']' && *p != '}' && !rl_json_is_space(*p))
		p++;
	return p;
}

static const char *skip_value(const char *p, const char *end)
{
	if (p == end)
		return end;
	if (*p == '"')
		return skip_string(p, end);
	return *p == '{' || *p == '[' ? skip_nested(p, end) : skip_plain(p, end);
}

static rl_str trim(rl_str value)
{
	while (value.n && rl_json_is_space(value.p[0]))
		value.p++, value.n--;
	while (value.n && rl_json_is_space(value.p[value.n - 1]))
		value.n--;
	return value;
}

enum rl_json_type rl_json_type_of(rl_str value)
{
	value = trim(value);
	return value.n ? rl_json_type_at(value.p) : RL_JSON_NONE;
}

/* --- iterators --- */

static void iter_start(struct rl_json_iter *iter, rl_str text, enum rl_json_type type)
{
	rl_str value = trim(text);

	*iter = (struct rl_json_iter){.p = value.p, .end = value.p};
	if (value.n < 2 || rl_json_type_at(value.p) != type)
		return;
	iter->end = value.p + value.n;
	iter->p = rl_json_skip_space(value.p + 1, iter->end);
}

/* Takes the value at iter->p and what separates it from the next. */
static rl_str take_value(struct rl_json_iter *iter)
{
	const char *from = iter->p, *p = skip_value(from, iter->end);
	rl_str value = rl_str_make(from, (size_t)(p - from));

	p = rl_json_skip_space(p, iter->end);
	if (p < iter->end && *p == ',')
		p = rl_json_skip_space(p + 1, iter->end);
	/* No progress: not JSON. The rest is given up, so that every walk ends. */
	iter->p = p == from ? iter->end : p;
	return value;
}

void rl_json_iter_array(struct rl_json_iter *iter, rl_str array)
{
	iter_start(iter, array, RL_JSON_ARRAY);
}

bool rl_json_iter_next(struct rl_json_iter *iter, rl_str *element)
{
	if (iter->p >= iter->end || *iter->p == ']')
		return false;
	*element = take_value(iter);
	return true;
}

bool rl_json_iter_at_end(const struct rl_json_iter *iter)
{
	return iter->p >= iter->end || *iter->p == ']' || *iter->p == '}';
}

bool rl_json_iter_enter(const struct rl_json_iter *iter, struct rl_json_iter *members)
{
	if (iter->p >= iter->end || *iter->p != '{')
		return false;
	*members = (struct rl_json_iter){.p = rl_json_skip_space(iter->p + 1, iter->end), .end = iter->end};
	return true;
}

void rl_json_iter_leave(struct rl_json_iter *iter, const struct rl_json_iter *members)
{
	const char *p = members->p;

	/* Anything but the closing bracket is not JSON: the rest is given up. */
	if (p >= iter->end || *p != '}') {
		iter->p = iter->end;
		return;
	}
	p = rl_json_skip_space(p + 1, iter->end);
	if (p < iter->end && *p == ',')
		p = rl_json_skip_space(p + 1, iter->end);
	iter->p = p;
}

void rl_json_iter_object(struct rl_json_iter *iter, rl_str object)
{
	iter_start(iter, object, RL_JSON_OBJECT);
}

bool rl_json_iter_member(struct rl_json_iter *iter, rl_str *key, rl_str *value)
{
	if (iter->p >= iter->end || *iter->p != '"')
		return false;
	const char *from = iter->p, *p = skip_string(from, iter->end);

	*key = rl_str_make(from, (size_t)(p - from));
	p = rl_json_skip_space(p, iter->end);
	if (p == iter->end || *p != ':')
		return false;
	iter->p = rl_json_skip_space(p + 1, iter->end);
	*value = take_value(iter);
	return true;
}

void rl_json_find(rl_str object, const rl_str *keys, size_t n_keys, struct rl_json_span *out)
{
	struct rl_json_iter iter;
	rl_str key, value;

	if (n_keys)
		memset(out, 0, n_keys * sizeof *out);
	rl_json_iter_object(&iter, object);
	while (rl_json_iter_member(&iter, &key, &value)) {
		rl_str raw = rl_str_sub(key, 1, key.n < 2 ? 0 : key.n - 2);
		bool escaped = raw.n && memchr(raw.p, '\\', raw.n);

		for (size_t i = 0; i < n_keys; i++) {
			if (escaped ? !rl_json_key_is(raw, keys[i]) : !rl_str_eq(raw, keys[i]))
				continue;
			out[i] = (struct rl_json_span){.type = rl_json_type_of(value),
						       .key_off = (size_t)(key.p - object.p),
						       .off = (size_t)(value.p - object.p),
						       .n = value.n};
			break;
		}
	}
}

/* --- numbers and literals --- */

bool rl_json_u64(rl_str value, uint64_t *out)
{
	uint64_t n = 0;

	value = trim(value);
	if (!value.n)
		return false;
	for (size_t i = 0; i < value.n; i++) {
		unsigned digit = (unsigned char)value.p[i] - (unsigned)'0';
		if (digit > 9 || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, digit, &n))
			return false;
	}
	*out = n;
	return true;
}

bool rl_json_bool(rl_str value, bool *out)
{
	value = trim(value);
	bool yes = rl_str_eq(value, RL_STR("true"));

	if (!yes && !rl_str_eq(value, RL_STR("false")))
		return false;
	*out = yes;
	return true;
}
