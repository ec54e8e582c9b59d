/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of a model: how much it reads and writes, what it can do, what it costs. A fact that nobody told is
 * unknown, never 0: a price of 0 is free of charge. Money is in whole nano-dollars (10^-9 USD) per token, so that
 * tokens times price is exact; 3 USD for a million tokens are 3000.
 *
 * Cards are immutable and own nothing: their texts live as long as the table that they stand in.
 */
#ifndef RL_CATALOG_CARD_H
#define RL_CATALOG_CARD_H

#include "base/buf.h"

#define RL_CARD_UNKNOWN INT64_C(-1)

#define RL_ABILITIES(X)                                                 \
	X(TOOLS, "tools")         /* calls functions */                 \
	X(SCHEMA, "json_schema")  /* answers in the form of a schema */ \
	X(REASONING, "reasoning") /* can think before it answers */     \
	X(IMAGES, "images")       /* reads pictures */                  \
	X(DOCUMENTS, "documents") /* reads PDF */                       \
	X(AUDIO, "audio")         /* hears */                           \
	X(VIDEO, "video")         /* sees films */

enum rl_ability {
#define X(id, name) RL_ABILITY_##id,
	RL_ABILITIES(X)
#undef X
		RL_ABILITY_COUNT
};

#define RL_PRICES(X)                                                         \
	X(INPUT, "input")                                                    \
	X(OUTPUT, "output")                                                  \
	X(CACHED_INPUT, "cached_input") /* read from the provider's cache */ \
	X(CACHE_WRITE, "cache_write")   /* input that the provider is to keep */

enum rl_price {
#define X(id, name) RL_PRICE_##id,
	RL_PRICES(X)
#undef X
		RL_PRICE_COUNT
};

struct rl_card {
	rl_str id;                          /* as its maker writes it */
	rl_str maker;                       /* "anthropic" */
	int64_t context_tokens;             /* what is asked and answered together; or RL_CARD_UNKNOWN */
	int64_t max_output_tokens;          /* of one answer; or RL_CARD_UNKNOWN */
	uint32_t can, cannot;               /* bits of enum rl_ability; in neither: not known */
	int64_t price_nusd[RL_PRICE_COUNT]; /* per token; or RL_CARD_UNKNOWN */
};

const char *rl_ability_name(enum rl_ability ability);
const char *rl_price_name(enum rl_price price);

/* The card as one JSON object; what is not known is null. */
void rl_card_write(const struct rl_card *card, struct rl_buf *out);

#endif
