/* SPDX-License-Identifier: Apache-2.0 */
/* See translate.h. */
#include "dialect/translate.h"

#include <assert.h>
#include <stdarg.h>

#define SEAL_MARK "relais."
#define FAMILY_MAX_BYTES 32u

static const char *const quirk_names[RL_QUIRK_COUNT] = {
#define X(id, name, ...) [RL_QUIRK_##id] = name,
	RL_QUIRKS(X)
#undef X
};

const char *rl_quirk_name(enum rl_quirk quirk)
{
	assert((unsigned)quirk < RL_QUIRK_COUNT);
	return quirk_names[quirk];
}

enum rl_quirk rl_quirk_find(rl_str name)
{
	unsigned i = 0;

	while (i < RL_QUIRK_COUNT && !rl_str_eq(name, rl_str_of(quirk_names[i])))
		i++;
	return (enum rl_quirk)i;
}

void rl_translation_init(struct rl_translation *t, struct rl_arena *arena, const struct rl_facts *facts, bool strict)
{
	assert(facts);
	*t = (struct rl_translation){.arena = arena, .facts = facts, .strict = strict};
}

void rl_translation_nomem(struct rl_translation *t)
{
	if (!t->err)
		t->err = RL_ERR_NOMEM;
}

/* What a format says, in the arena; p == NULL without memory, which is noted. */
static rl_str format_text(struct rl_translation *t, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
static rl_str format_text(struct rl_translation *t, const char *format, va_list args)
{
	char text[512];
	int n = vsnprintf(text, sizeof text, format, args);
	rl_str copy = rl_arena_dup(t->arena, rl_str_make(text, n < 0                     ? 0
							       : (size_t)n < sizeof text ? (size_t)n
											 : sizeof text - 1));

	if (!copy.p)
		rl_translation_nomem(t);
	return copy;
}

static void refuse(struct rl_translation *t, rl_str param, rl_str message)
{
	if (t->err)
		return;
	t->err = RL_ERR_UNSUPPORTED;
	t->fault = (struct rl_fault){.cls = RL_FAULT_BAD_REQUEST,
				     .status = 400,
				     .type = RL_STR("invalid_request_error"),
				     .code = RL_STR("unsupported_by_target"),
				     .param = param,
				     .message = message,
				     .retry_after_s = -1};
}

void rl_refuse(struct rl_translation *t, rl_str param, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	rl_str text = format_text(t, format, args);
	va_end(args);
	refuse(t, param, text);
}

static bool named(const struct rl_translation *t, rl_str name)
{
	for (size_t i = 0; i < t->n_dropped; i++)
		if (rl_str_eq(t->dropped[i], name))
			return true;
	return false;
}

static void drop(struct rl_translation *t, rl_str name)
{
	if (t->err || !name.p || named(t, name))
		return;
	if (t->strict) {
		rl_str text =
			rl_arena_printf(t->arena,
					"The target %.*s/%.*s cannot take '%.*s', and this request asks for strict "
					"translation. Leave it out, or allow it to be dropped.",
					RL_STR_ARG(t->facts->provider), RL_STR_ARG(t->facts->model), RL_STR_ARG(name));
		refuse(t, name, text);
		return;
	}
	if (t->n_dropped == RL_DROPPED_MAX)
		name = RL_STR("...");
	if (t->n_dropped < RL_DROPPED_MAX || !rl_str_eq(t->dropped[RL_DROPPED_MAX - 1], name))
		t->dropped[t->n_dropped < RL_DROPPED_MAX ? t->n_dropped++ : RL_DROPPED_MAX - 1] = name;
}

void rl_drop(struct rl_translation *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	rl_str name = format_text(t, format, args);
	va_end(args);
	drop(t, name);
}

/* null, "", [] and {}: whoever leaves these out changes nothing. */
static bool says_nothing(rl_str json)
{
	return !json.n || json.p[0] == 'n' || (json.n == 2 && strchr("\"[{", json.p[0]));
}

void rl_drop_extras(struct rl_translation *t, const char *place, struct rl_extras extras)
{
	for (size_t i = 0; i < extras.n; i++) {
		rl_str key = extras.v[i].key; /* raw, with its quotes */

		if (says_nothing(extras.v[i].json))
			continue;
		key = rl_str_sub(key, 1, key.n > 1 ? key.n - 2 : 0);
		rl_drop(t, "%s%s%.*s", place, *place ? "." : "", (int)(key.n < 100 ? key.n : 100), key.n ? key.p : "");
	}
}

rl_str rl_dropped_text(const struct rl_translation *t, struct rl_arena *arena)
{
	rl_str text = {NULL, 0};

	for (size_t i = 0; i < t->n_dropped; i++) {
		/* What came as a key may hold anything; a header may not. */
		rl_str name = t->dropped[i], next;

		next = rl_arena_printf(arena, "%.*s%s%.*s", RL_STR_ARG(text), i ? ", " : "", RL_STR_ARG(name));
		if (!next.p)
			break;
		text = next;
	}
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] < ' ' || text.p[i] >= 0x7f)
			((char *)(uintptr_t)text.p)[i] = '?';
	return text;
}

/* ---- seals ---- */

rl_str rl_seal_wrap(rl_str seal, rl_str family, rl_str reader, struct rl_arena *arena)
{
	if (!seal.n || !family.n || rl_str_eq(family, reader))
		return seal;
	assert(family.n <= FAMILY_MAX_BYTES);
	char *p = rl_arena_alloc(arena, sizeof SEAL_MARK + family.n + 1 + seal.n);
	size_t n = sizeof SEAL_MARK - 1;

	if (!p)
		return (rl_str){NULL, 0};
	memcpy(p, SEAL_MARK, n);
	memcpy(p + n, family.p, family.n);
	n += family.n;
	p[n++] = '.';
	memcpy(p + n, seal.p, seal.n);
	return rl_str_make(p, n + seal.n);
}

rl_str rl_seal_open(rl_str *seal, rl_str fallback)
{
	rl_str rest = *seal;

	if (!rl_str_starts(rest, RL_STR(SEAL_MARK)))
		return fallback;
	rest = rl_str_sub(rest, sizeof SEAL_MARK - 1, SIZE_MAX);
	size_t dot = rl_str_find(rest, '.');

	if (dot == SIZE_MAX || !dot || dot > FAMILY_MAX_BYTES)
		return fallback;
	*seal = rl_str_sub(rest, dot + 1, SIZE_MAX);
	return rl_str_sub(rest, 0, dot);
}
