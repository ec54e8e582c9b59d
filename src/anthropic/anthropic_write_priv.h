/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files that write Anthropic bodies share: the writer, places for what is dropped, and blocks. */
#ifndef RL_DIALECTS_ANTHROPIC_WRITE_PRIV_H
#define RL_DIALECTS_ANTHROPIC_WRITE_PRIV_H

#include "anthropic/anthropic_priv.h"

/* Calls of one turn whose results are matched; what is beyond passes as it is. */
#define RL_ANTHROPIC_CALLS_MAX 256

/* A call of the last assistant turn, which wants its result in the next one. */
struct rl_anthropic_call {
	rl_str id, name;
	size_t message, part;
	bool answered;
};

struct rl_anthropic_writer {
	struct rl_buf *out;
	struct rl_translation *t;
	const struct rl_chat_request *request; /* NULL for answers */
	bool ours;
	bool newer; /* the API version without sampling parameters */
	unsigned cache_marks;
	struct rl_anthropic_call calls[RL_ANTHROPIC_CALLS_MAX];
	size_t n_calls;
};

/* Where in the client's body something is; said in words only when there is something to say. */
struct rl_anthropic_place {
	enum { AT_TOP, AT_PART, AT_MESSAGE, AT_TOOL, AT_ANSWER } what;
	size_t index, part;
};

static inline struct rl_anthropic_place rl_anthropic_part_place(size_t message, size_t part)
{
	return (struct rl_anthropic_place){AT_PART, message, part};
}

/* `what` says what the thing at the place is: "audio". */
void rl_anthropic_refuse(const struct rl_anthropic_writer *w, struct rl_anthropic_place place, const char *what);
void rl_anthropic_refuse_named(const struct rl_anthropic_writer *w, const char *name, const char *what);
void rl_anthropic_drop_extras(const struct rl_anthropic_writer *w, struct rl_anthropic_place place,
			      struct rl_extras list);
/* Our own are written, others dropped. */
void rl_anthropic_extras(const struct rl_anthropic_writer *w, struct rl_anthropic_place place, struct rl_extras list);
void rl_anthropic_write_cache(struct rl_anthropic_writer *w, struct rl_anthropic_place place,
			      const struct rl_cache_mark *mark);
/* Nothing but white space, which this API takes for an error. */
bool rl_anthropic_is_blank(rl_str text);
/* A thought with a seal of this family. */
bool rl_anthropic_is_sealed_here(const struct rl_reasoning *r);
/* Ids, and names of tools, match ^[a-zA-Z0-9_-]+$ here. */
bool rl_anthropic_is_id(rl_str id);
/* An id that this API takes, the same for the same: its text, or made from it, or where there is none from the place. */
void rl_anthropic_write_id(struct rl_buf *out, const char *key, rl_str id, size_t message, size_t part);
/* Whether parts are as good as a string. */
bool rl_anthropic_is_plain_text(const struct rl_anthropic_writer *w, const struct rl_part *parts, size_t n);
/* One block; `message` and `at` are its place. */
void rl_anthropic_write_part(struct rl_anthropic_writer *w, struct rl_anthropic_place place, const struct rl_part *part,
			     size_t message, size_t at);
/* `call`: that it answers, or NULL. */
void rl_anthropic_write_result(struct rl_anthropic_writer *w, struct rl_anthropic_place place,
			       const struct rl_part *part, const struct rl_anthropic_call *call);

#endif
