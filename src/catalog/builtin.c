/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in table (builtin_table.h) as cards. */
#include "catalog/builtin_table.h"
#include "catalog/cards.h"

/* Short, since each row needs several. */
enum {
	T = 1 << RL_ABILITY_TOOLS,
	S = 1 << RL_ABILITY_SCHEMA,
	R = 1 << RL_ABILITY_REASONING,
	I = 1 << RL_ABILITY_IMAGES,
	D = 1 << RL_ABILITY_DOCUMENTS,
	A = 1 << RL_ABILITY_AUDIO,
	V = 1 << RL_ABILITY_VIDEO,
};
#define N RL_CARD_UNKNOWN

static const struct rl_card list[] = {
#define X(id_, maker_, context, output, can_, cannot_, in, out, cached, write) \
	{.id = RL_STR_INIT(id_),                                               \
	 .maker = RL_STR_INIT(maker_),                                         \
	 .context_tokens = context,                                            \
	 .max_output_tokens = output,                                          \
	 .can = (can_),                                                        \
	 .cannot = (cannot_),                                                  \
	 .price_nusd = {[RL_PRICE_INPUT] = in,                                 \
			[RL_PRICE_OUTPUT] = out,                               \
			[RL_PRICE_CACHED_INPUT] = cached,                      \
			[RL_PRICE_CACHE_WRITE] = write}},
	RL_BUILTIN_CARDS(X)
#undef X
};

static const struct rl_cards builtin = {.list = list, .n = sizeof list / sizeof list[0]};

const struct rl_cards *rl_cards_builtin(void)
{
	return &builtin;
}

const char *rl_cards_source(void)
{
	return RL_BUILTIN_SOURCE ", " RL_BUILTIN_DATE;
}
