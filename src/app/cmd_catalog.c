/* SPDX-License-Identifier: Apache-2.0 */
/* `relais catalog`: what is known of models. Nothing is asked of anyone. */
#include <inttypes.h>
#include <stdio.h>

#include "app/command.h"
#include "catalog/cards.h"

#define TEXT_BYTES_MAX (4u << 20)
#define NUMBER_BYTES 24

enum { OPT_JSON };

static int usage(void)
{
	fprintf(stderr, "relais: 'catalog' takes 'list' or 'show MODEL'\n");
	return RL_EXIT_USAGE;
}

static int print(struct rl_buf *text)
{
	bool ok = rl_buf_ok(text) && fwrite(text->p, 1, text->n, stdout) == text->n && fflush(stdout) == 0;

	rl_buf_fini(text);
	if (!ok)
		fprintf(stderr, "relais: the catalogue could not be printed\n");
	return ok ? RL_EXIT_OK : RL_EXIT_FAILED;
}

static const char *tokens(int64_t n, char out[NUMBER_BYTES])
{
	if (n == RL_CARD_UNKNOWN)
		return "-";
	snprintf(out, NUMBER_BYTES, "%" PRId64, n);
	return out;
}

/* USD for a million tokens, as price lists have it: a nano-dollar for one is a thousandth dollar for a million. */
static const char *dollars(int64_t nusd, char out[NUMBER_BYTES])
{
	if (nusd == RL_CARD_UNKNOWN)
		return "-";
	snprintf(out, NUMBER_BYTES, "%" PRId64 ".%03" PRId64, nusd / 1000, nusd % 1000);
	return out;
}

static void add_row(struct rl_buf *out, const struct rl_card *card)
{
	char context[NUMBER_BYTES], most[NUMBER_BYTES], in[NUMBER_BYTES], answer[NUMBER_BYTES];

	rl_buf_printf(out, "%-34.*s %-10.*s %9s %9s %10s %10s\n", RL_STR_ARG(card->id), RL_STR_ARG(card->maker),
		      tokens(card->context_tokens, context), tokens(card->max_output_tokens, most),
		      dollars(card->price_nusd[RL_PRICE_INPUT], in),
		      dollars(card->price_nusd[RL_PRICE_OUTPUT], answer));
}

static int list(bool json)
{
	const struct rl_cards *cards = rl_cards_builtin();
	struct rl_buf out;

	rl_buf_init(&out, TEXT_BYTES_MAX);
	if (json)
		rl_buf_printf(&out, "{\"source\":\"%s\",\"models\":[", rl_cards_source());
	else
		rl_buf_printf(&out, "%-34s %-10s %9s %9s %10s %10s\n", "model", "maker", "context", "output",
			      "USD/M in", "USD/M out");
	for (size_t i = 0; i < cards->n; i++) {
		if (json && i)
			RL_BUF_LIT(&out, ",");
		if (json)
			rl_card_write(&cards->list[i], &out);
		else
			add_row(&out, &cards->list[i]);
	}
	if (json)
		RL_BUF_LIT(&out, "]}\n");
	else
		rl_buf_printf(&out, "\n%zu models; facts of %s\n", cards->n, rl_cards_source());
	return print(&out);
}

static void add_abilities(struct rl_buf *out, const char *title, uint32_t bits)
{
	const char *between = "";

	rl_buf_printf(out, "%-22s ", title);
	for (unsigned i = 0; i < RL_ABILITY_COUNT; i++) {
		if (!(bits >> i & 1))
			continue;
		rl_buf_printf(out, "%s%s", between, rl_ability_name((enum rl_ability)i));
		between = ", ";
	}
	rl_buf_printf(out, "%s\n", *between ? "" : "-");
}

static void add_page(struct rl_buf *out, const struct rl_card *card)
{
	char number[NUMBER_BYTES];

	rl_buf_printf(out, "%-22s %.*s\n", "model", RL_STR_ARG(card->id));
	rl_buf_printf(out, "%-22s %.*s\n", "maker", RL_STR_ARG(card->maker));
	rl_buf_printf(out, "%-22s %s tokens\n", "context window", tokens(card->context_tokens, number));
	rl_buf_printf(out, "%-22s %s tokens\n", "output limit", tokens(card->max_output_tokens, number));
	add_abilities(out, "can", card->can);
	add_abilities(out, "cannot", card->cannot);
	for (unsigned i = 0; i < RL_PRICE_COUNT; i++)
		rl_buf_printf(out, "USD/M %-16s %s\n", rl_price_name((enum rl_price)i),
			      dollars(card->price_nusd[i], number));
	rl_buf_printf(out, "\n-: not known. Facts of %s\n", rl_cards_source());
}

static int show(const char *name, bool json)
{
	const struct rl_card *card = rl_cards_find(rl_cards_builtin(), rl_str_of(name));
	struct rl_buf out;

	if (!card) {
		fprintf(stderr, "relais: nothing is known of a model '%s'\n", name);
		return RL_EXIT_FAILED;
	}
	rl_buf_init(&out, TEXT_BYTES_MAX);
	if (json) {
		rl_card_write(card, &out);
		RL_BUF_LIT(&out, "\n");
	} else {
		add_page(&out, card);
	}
	return print(&out);
}

int rl_cmd_catalog(const struct rl_args *args)
{
	const char *what = args->n_words ? args->words[0] : "";
	bool json = args->values[OPT_JSON] != NULL;

	if (strcmp(what, "list") == 0 && args->n_words == 1)
		return list(json);
	if (strcmp(what, "show") == 0 && args->n_words == 2)
		return show(args->words[1], json);
	return usage();
}
