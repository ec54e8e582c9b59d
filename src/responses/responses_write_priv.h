/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of the Responses writer share: responses_items.c writes what was
 * said, responses_write.c the settings and objects around it.
 */
#ifndef RL_RESPONSES_RESPONSES_WRITE_PRIV_H
#define RL_RESPONSES_RESPONSES_WRITE_PRIV_H

#include "responses/responses_priv.h"

struct rl_responses_writer {
	struct rl_buf *out;
	struct rl_translation *t;    /* NULL: nobody is told what is left out (settings that are repeated) */
	bool ours;                   /* raw members are in our words */
	bool related;                /* of OpenAI's other dialect: the same settings by the same names */
	bool answer;                 /* items have an id and a state */
	rl_str answer_id;            /* of which ids of items are made */
	uint32_t n_items;            /* written */
	uint32_t n_calls, n_results; /* calls and results without an id, in their order */
	rl_str logprobs;             /* of the first text of an answer, raw array, or empty */
};

#define DROP(w, ...)                                  \
	do {                                          \
		if ((w)->t)                           \
			rl_drop((w)->t, __VA_ARGS__); \
	} while (0)

/* `where`: the part or member, for the client. In an answer, where no other target can be turned to, it is dropped. */
void rl_responses_refuse(const struct rl_responses_writer *w, const char *where, const char *what);
/* The items of one message; `where` it stands, for the client. */
void rl_responses_write_items(struct rl_responses_writer *w, const struct rl_message *message, const char *where);
/* Whether one plain text is all: then it is a string, as every server understands it. */
bool rl_responses_is_plain(const struct rl_responses_writer *w, const struct rl_part *parts, size_t n);

static inline bool quirk(const struct rl_responses_writer *w, enum rl_quirk which)
{
	return w->t && rl_facts_quirk(w->t->facts, which);
}

static inline void extras(const struct rl_responses_writer *w, const char *where, struct rl_extras list)
{
	if (w->ours)
		rl_build_extras(w->out, list);
	else if (w->t)
		rl_drop_extras(w->t, where, list);
}

static inline void raw_if(struct rl_buf *out, const char *key, rl_str raw)
{
	if (raw.n)
		rl_build_raw(out, key, raw);
}

static inline void said(struct rl_buf *out, const char *key, rl_str text)
{
	if (text.p)
		rl_build_text(out, key, text);
}

static inline void raw_or_null(struct rl_buf *out, const char *key, rl_str raw)
{
	rl_build_raw(out, key, raw.n ? raw : RL_STR("null"));
}

static inline void boolean(struct rl_buf *out, const char *key, bool value)
{
	rl_build_raw(out, key, value ? RL_STR("true") : RL_STR("false"));
}

#endif
