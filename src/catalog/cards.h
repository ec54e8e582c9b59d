/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of cards, and how a model is found in them under the names that people and providers give it. */
#ifndef RL_CATALOG_CARDS_H
#define RL_CATALOG_CARDS_H

#include "catalog/card.h"

struct rl_cards {
	const struct rl_card *list; /* ascending by id, each once */
	size_t n;
	const struct rl_cards *below; /* asked for what stands not here; may be NULL */
};

/* In any table. */
#define RL_CARD_NAME_MAX 256u
#define RL_CARD_TOKENS_MAX INT64_C(1000000000)
#define RL_CARD_PRICE_MAX INT64_C(1000000000000) /* 1,000 USD a token */

/* The built-in ones; static. */
const struct rl_cards *rl_cards_builtin(void);
/* Where they come from, for people: "models.dev, 2026-07-02". */
const char *rl_cards_source(void);

/* The card of exactly this id, here or below, or NULL. */
const struct rl_card *rl_cards_exact(const struct rl_cards *cards, rl_str id);
/*
 * The card of the model that `name` means, or NULL. The name itself first; then without what stands behind it: a date
 * ("-20250929", "-2025-08-07", "@20250929"), "-latest", Bedrock's version ("-v1:0"); then both again without what stands
 * before it: "models/", "provider/" (any number of segments), Bedrock's "us.anthropic.".
 * Takes no memory; thread-safe.
 */
const struct rl_card *rl_cards_find(const struct rl_cards *cards, rl_str name);
/* The same of a provider's model: what is known of "provider/model" comes first. */
const struct rl_card *rl_cards_find_at(const struct rl_cards *cards, rl_str provider, rl_str model);

/* Puts cards in the order of a table. */
void rl_cards_sort(struct rl_card *list, size_t n);

#endif
