/* SPDX-License-Identifier: Apache-2.0 */
/* See value_priv.h. */
#include "config/value_priv.h"

#include <stdlib.h>

#define NAME_MAX_BYTES 128u

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool rl_value_bool(rl_str text, bool *out)
{
	bool yes = rl_str_eq(text, RL_STR("true"));

	if (!yes && !rl_str_eq(text, RL_STR("false")))
		return false;
	*out = yes;
	return true;
}

/* Takes the digits at the front of *text; false without any, or beyond 64 bits. */
static bool take_digits(rl_str *text, uint64_t *out)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < text->n && is_digit(text->p[i]); i++)
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(text->p[i] - '0'), &v))
			return false;
	if (!i)
		return false;
	*text = rl_str_sub(*text, i, text->n);
	*out = v;
	return true;
}

bool rl_value_u64(rl_str text, uint64_t *out)
{
	uint64_t v;

	if (!take_digits(&text, &v) || text.n)
		return false;
	*out = v;
	return true;
}

bool rl_value_ratio(rl_str text, double *out)
{
	char copy[40], *end;
	bool percent = rl_str_ends(text, RL_STR("%"));

	text.n -= percent;
	/* strtod takes much more (hex, inf, nan, spaces): only what a plain decimal holds goes in. */
	if (!text.n || text.n >= sizeof copy || !is_digit(text.p[0]))
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (!is_digit(text.p[i]) && !strchr(".eE+-", text.p[i]))
			return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	double v = strtod(copy, &end);

	if (*end || !(v <= 1e300))
		return false;
	*out = percent ? v / 100 : v;
	return true;
}

struct unit {
	rl_str name;
	uint64_t factor;
};

/*
 * Takes <digits>[.<digits>]<unit> off the front of *text. A fraction must come out whole
 * (1.5s is 1500 ms, 0.5ms is nothing).
 */
static bool take_quantity(rl_str *text, const struct unit *units, size_t n_units, uint64_t *out)
{
	uint64_t whole, part = 0, scale = 1;
	size_t n = 0;

	if (!take_digits(text, &whole))
		return false;
	if (text->n && text->p[0] == '.') {
		*text = rl_str_sub(*text, 1, text->n);
		size_t before = text->n;

		if (!take_digits(text, &part) || before - text->n > 6)
			return false;
		for (size_t i = text->n; i < before; i++)
			scale *= 10;
	}
	while (n < text->n && ((text->p[n] | 0x20) >= 'a' && (text->p[n] | 0x20) <= 'z'))
		n++;
	for (size_t i = 0; i < n_units; i++) {
		if (!rl_str_eq(units[i].name, rl_str_sub(*text, 0, n)))
			continue;
		if (__builtin_mul_overflow(part, units[i].factor, &part) || part % scale)
			return false;
		*text = rl_str_sub(*text, n, text->n);
		return !__builtin_mul_overflow(whole, units[i].factor, &whole) &&
		       !__builtin_add_overflow(whole, part / scale, out);
	}
	return false;
}

bool rl_value_duration(rl_str text, uint64_t *out)
{
	static const struct unit units[] = {
		{RL_STR_INIT("ms"), 1},      {RL_STR_INIT("s"), 1000},     {RL_STR_INIT("m"), 60000},
		{RL_STR_INIT("h"), 3600000}, {RL_STR_INIT("d"), 86400000},
	};
	uint64_t sum = 0, one = 0;

	if (rl_str_eq(text, RL_STR("0"))) {
		*out = 0;
		return true;
	}
	if (!text.n)
		return false;
	while (text.n)
		if (!take_quantity(&text, units, sizeof units / sizeof units[0], &one) ||
		    __builtin_add_overflow(sum, one, &sum))
			return false;
	*out = sum;
	return true;
}

bool rl_value_size(rl_str text, uint64_t *out)
{
	static const struct unit units[] = {
		{RL_STR_INIT(""), 1},
		{RL_STR_INIT("B"), 1},
		{RL_STR_INIT("KB"), 1000},
		{RL_STR_INIT("MB"), 1000000},
		{RL_STR_INIT("GB"), 1000000000},
		{RL_STR_INIT("KiB"), 1024},
		{RL_STR_INIT("MiB"), 1048576},
		{RL_STR_INIT("GiB"), 1073741824},
	};
	uint64_t v = 0;

	if (!take_quantity(&text, units, sizeof units / sizeof units[0], &v) || text.n)
		return false;
	*out = v;
	return true;
}

static bool is_name(rl_str name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool letter = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_';

		if (!letter && !(i && is_digit(c)))
			return false;
	}
	return name.n > 0 && name.n < NAME_MAX_BYTES;
}

/* One `${...}` whose inside is `inside`. */
static enum value_vars expand_one(rl_str inside, const struct rl_schema_hooks *hooks, struct rl_buf *out, rl_str *unset)
{
	char name[NAME_MAX_BYTES];
	size_t colon = rl_str_find(inside, ':');
	rl_str what = rl_str_sub(inside, 0, colon), otherwise = rl_str_sub(inside, colon, inside.n);

	if (!is_name(what) || (otherwise.n && !rl_str_starts(otherwise, RL_STR(":-"))))
		return VARS_SYNTAX;
	memcpy(name, what.p, what.n);
	name[what.n] = '\0';
	const char *value = hooks->variable(hooks->user, name);

	/* As in a shell, ":-" also replaces an empty value. */
	if (otherwise.n && (!value || !*value)) {
		rl_buf_add(out, rl_str_sub(otherwise, 2, otherwise.n));
	} else if (value) {
		rl_buf_add(out, rl_str_of(value));
	}
	/* The first unset name is kept; the rest is still checked. */
	if (!otherwise.n && !value && !unset->p)
		*unset = what;
	return VARS_DONE;
}

enum value_vars rl_value_expand(rl_str text, const struct rl_schema_hooks *hooks, struct rl_buf *out, rl_str *unset)
{
	size_t at = 0, from = 0;
	bool any = false;

	*unset = (rl_str){NULL, 0};
	while (at + 1 < text.n) {
		if (text.p[at] != '$' || (text.p[at + 1] != '{' && text.p[at + 1] != '$')) {
			at++;
			continue;
		}
		bool escape = text.p[at + 1] == '$';

		if (escape && (at + 2 >= text.n || text.p[at + 2] != '{')) {
			at++;
			continue;
		}
		rl_buf_add(out, rl_str_sub(text, from, at - from));
		any = true;
		if (escape) {
			RL_BUF_LIT(out, "${");
			at = from = at + 3;
			continue;
		}
		rl_str rest = rl_str_sub(text, at + 2, text.n);
		size_t end = rl_str_find(rest, '}');

		if (end == SIZE_MAX || expand_one(rl_str_sub(rest, 0, end), hooks, out, unset) != VARS_DONE)
			return VARS_SYNTAX;
		at = from = at + 2 + end + 1;
	}
	if (!any)
		return VARS_NONE;
	rl_buf_add(out, rl_str_sub(text, from, text.n));
	if (!rl_buf_ok(out))
		return VARS_LIMIT;
	return unset->p ? VARS_UNSET : VARS_DONE;
}

/* The number grammar of RFC 8259 §6. What YAML alone calls a number (0x1F, .inf, 007) stays text. */
static bool is_json_number(rl_str s)
{
	uint64_t i = s.n && s.p[0] == '-', from = i;

	while (i < s.n && is_digit(s.p[i]))
		i++;
	if (i == from || (s.p[from] == '0' && i > from + 1))
		return false;
	if (i < s.n && s.p[i] == '.') {
		from = ++i;
		while (i < s.n && is_digit(s.p[i]))
			i++;
		if (i == from)
			return false;
	}
	if (i < s.n && (s.p[i] | 0x20) == 'e') {
		i++;
		if (i < s.n && (s.p[i] == '+' || s.p[i] == '-'))
			i++;
		from = i;
		while (i < s.n && is_digit(s.p[i]))
			i++;
		if (i == from)
			return false;
	}
	return i == s.n;
}

void rl_value_scalar_json(rl_str text, bool plain, struct rl_buf *out)
{
	bool ignored;

	if (plain && (!text.n || rl_str_eq(text, RL_STR("~")) || rl_str_eq(text, RL_STR("null"))))
		RL_BUF_LIT(out, "null");
	else if (plain && (rl_value_bool(text, &ignored) || is_json_number(text)))
		rl_buf_add(out, text);
	else
		rl_buf_json(out, text);
}
