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

/*
 * A later report of the same answer. Counts only grow, and a report may leave out what an earlier one said (Anthropic's
 * stream gives the prompt at its start and the rest at its end): of each half the larger one holds.
 */
static inline void rl_usage_take(struct rl_usage *total, const struct rl_usage *said)
{
	if (!said->known)
		return;
	total->known = true;
	if (said->prompt_tokens >= total->prompt_tokens) {
		total->prompt_tokens = said->prompt_tokens;
		total->cached_tokens = said->cached_tokens;
		total->cache_write_tokens = said->cache_write_tokens;
		total->cache_write_1h_tokens = said->cache_write_1h_tokens;
	}
	if (said->completion_tokens >= total->completion_tokens) {
		total->completion_tokens = said->completion_tokens;
		total->reasoning_tokens = said->reasoning_tokens;
	}
}

#endif
