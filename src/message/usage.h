/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens of one answer in one arithmetic: prompt and completion are totals that
 * include their cached and reasoning parts (the OpenAI convention). Dialects whose
 * own numbers exclude them convert on the way in.
 */
#ifndef RL_MESSAGE_USAGE_H
#define RL_MESSAGE_USAGE_H

#include "base/slice.h"

struct rl_usage {
	bool known; /* the provider reported it */
	uint64_t prompt_tokens;
	uint64_t completion_tokens;
	uint64_t cached_tokens;         /* part of prompt_tokens read from the provider's cache */
	uint64_t cache_write_tokens;    /* part of prompt_tokens written to it */
	uint64_t cache_write_1h_tokens; /* part of cache_write_tokens kept for an hour, at a price of its own */
	uint64_t reasoning_tokens;      /* part of completion_tokens */
};

#endif
