/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building JSON text member by member, for the writers of every dialect. A comma is
 * due unless a bracket or a key stands before: text ends in its quote, so the last
 * byte alone tells, and nobody counts members. Whoever appends literals keeps that
 * rule: they end in a bracket, a quote, a digit or a colon.
 */
#ifndef RL_DIALECT_BUILD_H
#define RL_DIALECT_BUILD_H

#include "base/buf.h"
#include "message/chat.h"

static inline void rl_build_comma(struct rl_buf *out)
{
	char last = out->n ? out->p[out->n - 1] : '{';

	if (last != '{' && last != '[' && last != ':')
		rl_buf_byte(out, ',');
}

/* `key` is plain ASCII. */
static inline void rl_build_key(struct rl_buf *out, const char *key)
{
	rl_build_comma(out);
	rl_buf_byte(out, '"');
	rl_buf_add(out, rl_str_of(key));
	RL_BUF_LIT(out, "\":");
}

static inline void rl_build_raw(struct rl_buf *out, const char *key, rl_str json)
{
	rl_build_key(out, key);
	rl_buf_add(out, json);
}

static inline void rl_build_text(struct rl_buf *out, const char *key, rl_str text)
{
	rl_build_key(out, key);
	rl_buf_json(out, text);
}

/* Text, or null when there is none. */
static inline void rl_build_text_or_null(struct rl_buf *out, const char *key, rl_str text)
{
	if (text.n)
		rl_build_text(out, key, text);
	else
		rl_build_raw(out, key, RL_STR("null"));
}

static inline void rl_build_int(struct rl_buf *out, const char *key, int64_t value)
{
	rl_build_key(out, key);
	rl_buf_i64(out, value);
}

static inline void rl_build_extras(struct rl_buf *out, struct rl_extras extras)
{
	for (size_t i = 0; i < extras.n; i++) {
		rl_build_comma(out);
		rl_buf_add(out, extras.v[i].key);
		rl_buf_byte(out, ':');
		rl_buf_add(out, extras.v[i].json);
	}
}

#endif
