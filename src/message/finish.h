/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a model stopped, in one vocabulary. Names are OpenAI's words where it has
 * one, since most dialects are described by their difference from it.
 */
#ifndef RL_MESSAGE_FINISH_H
#define RL_MESSAGE_FINISH_H

#include "base/slice.h"

/*     id              name */
#define RL_FINISHES(X)                      \
	X(NONE, "none")                     \
	X(STOP, "stop")                     \
	X(LENGTH, "length")                 \
	X(TOOL_CALLS, "tool_calls")         \
	X(CONTENT_FILTER, "content_filter") \
	X(FUNCTION_CALL, "function_call")   \
	X(ERROR, "error")                   \
	X(OTHER, "other")

/* FUNCTION_CALL is the deprecated form of TOOL_CALLS. OTHER: a word we do not know, kept beside. */
enum rl_finish {
#define X(id, name) RL_FINISH_##id,
	RL_FINISHES(X)
#undef X
		RL_FINISH_COUNT
};

/* Never NULL. */
const char *rl_finish_name(enum rl_finish finish);
/* By the name above; the empty word is NONE, an unknown one OTHER. */
enum rl_finish rl_finish_parse(rl_str name);

#endif
