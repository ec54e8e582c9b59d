/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the Anthropic dialect share: bodies read and written, streams as lists of events. */
#ifndef RL_TEST_ANTHROPIC_HELP_H
#define RL_TEST_ANTHROPIC_HELP_H

#include "test_dialect_help.h"

static inline const struct rl_dialect *anthropic(void)
{
	const struct rl_dialect *d = rl_dialect_find(RL_STR("anthropic"));

	assert_non_null(d);
	return d;
}

/* What was written last, and what was dropped on the way. */
struct written {
	rl_str text;
	struct rl_translation t;
};

static inline struct rl_chat_request request_of(void **state, const struct rl_dialect *d, const char *body)
{
	struct rl_chat_request request;
	struct rl_fault fault = {.status = 0};

	if (d->parse_request(RL_OP_CHAT, rl_str_of(body), *state, &request, &fault) != RL_OK)
		fail_msg("%.*s\n%s", RL_STR_ARG(fault.message), body);
	return request;
}

static inline rl_str keep_text(void **state, struct rl_buf *out)
{
	rl_str copy = rl_arena_dup(*state, rl_buf_str(out));

	assert_true(rl_buf_ok(out));
	assert_non_null(copy.p);
	rl_buf_fini(out);
	return copy;
}

/* A request of one dialect as another writes it. */
static inline struct written translated(void **state, const struct rl_dialect *from, const struct rl_dialect *to,
					const struct rl_facts *facts, const char *body)
{
	static const struct rl_facts plain = {.provider = RL_STR_INIT("p"), .model = RL_STR_INIT("m")};
	struct rl_chat_request request = request_of(state, from, body);
	struct written w;
	struct rl_buf out;

	rl_buf_init(&out, 1 << 20);
	rl_translation_init(&w.t, *state, facts ? facts : &plain, false);
	to->write_request(RL_OP_CHAT, &request, &w.t, &out);
	w.text = keep_text(state, &out);
	return w;
}

static inline void assert_dropped(const struct written *w, void **state, const char *names)
{
	assert_text(rl_dropped_text(&w->t, *state), names);
}

#endif
