/* SPDX-License-Identifier: Apache-2.0 */
/* See card.h. */
#include "catalog/card.h"

#include <assert.h>

static const char *const ability_names[] = {
#define X(id, name) name,
	RL_ABILITIES(X)
#undef X
};

static const char *const price_names[] = {
#define X(id, name) name,
	RL_PRICES(X)
#undef X
};

const char *rl_ability_name(enum rl_ability ability)
{
	assert(ability < RL_ABILITY_COUNT);
	return ability_names[ability];
}

const char *rl_price_name(enum rl_price price)
{
	assert(price < RL_PRICE_COUNT);
	return price_names[price];
}

static void add_number(struct rl_buf *out, const char *name, int64_t value)
{
	rl_buf_printf(out, ",\"%s\":", name);
	if (value == RL_CARD_UNKNOWN)
		RL_BUF_LIT(out, "null");
	else
		rl_buf_i64(out, value);
}

static void add_abilities(struct rl_buf *out, const struct rl_card *card)
{
	RL_BUF_LIT(out, ",\"abilities\":{");
	for (unsigned i = 0; i < RL_ABILITY_COUNT; i++)
		rl_buf_printf(out, "%s\"%s\":%s", i ? "," : "", ability_names[i],
			      card->can >> i & 1      ? "true"
			      : card->cannot >> i & 1 ? "false"
						      : "null");
	RL_BUF_LIT(out, "}");
}

void rl_card_write(const struct rl_card *card, struct rl_buf *out)
{
	assert(!(card->can & card->cannot));
	RL_BUF_LIT(out, "{\"id\":");
	rl_buf_json(out, card->id);
	RL_BUF_LIT(out, ",\"maker\":");
	rl_buf_json(out, card->maker);
	add_number(out, "context_tokens", card->context_tokens);
	add_number(out, "max_output_tokens", card->max_output_tokens);
	add_abilities(out, card);
	RL_BUF_LIT(out, ",\"nusd_per_token\":{");
	for (unsigned i = 0; i < RL_PRICE_COUNT; i++) {
		rl_buf_printf(out, "%s\"%s\":", i ? "," : "", price_names[i]);
		if (card->price_nusd[i] == RL_CARD_UNKNOWN)
			RL_BUF_LIT(out, "null");
		else
			rl_buf_i64(out, card->price_nusd[i]);
	}
	RL_BUF_LIT(out, "}}");
}
