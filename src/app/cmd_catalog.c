/* SPDX-License-Identifier: Apache-2.0 */
/* `relais catalog`: what is known of models. Nothing is asked of anyone. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "app/command.h"
#include "catalog/import.h"

#define TEXT_BYTES_MAX (32u << 20)
#define CARDS_BYTES_MAX (64u << 20)
#define NUMBER_BYTES 24

enum { OPT_JSON, OPT_FILE, OPT_OUTPUT };

static int usage(void)
{
	fprintf(stderr, "relais: 'catalog' takes 'list', 'show MODEL' or 'import FILE'\n");
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

static void add_source(struct rl_buf *out, const char *source)
{
	RL_BUF_LIT(out, "{\"source\":");
	rl_buf_json(out, rl_str_of(source));
	RL_BUF_LIT(out, ",\"models\":[");
}

static int list(const struct rl_cards *cards, const char *source, bool json)
{
	struct rl_buf out;

	rl_buf_init(&out, TEXT_BYTES_MAX);
	if (json)
		add_source(&out, source);
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
		rl_buf_printf(&out, "\n%zu models; facts of %s\n", cards->n, source);
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

static void add_page(struct rl_buf *out, const struct rl_card *card, const char *source)
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
	rl_buf_printf(out, "\n-: not known. Facts of %s\n", source);
}

static bool in_table(const struct rl_cards *cards, const struct rl_card *card)
{
	return card >= cards->list && card < cards->list + cards->n;
}

static int show(const struct rl_cards *cards, const char *source, const char *name, bool json)
{
	const struct rl_card *card = rl_cards_find(cards, rl_str_of(name));
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
		add_page(&out, card, in_table(cards, card) ? source : rl_cards_source());
	}
	return print(&out);
}

/* ---- import ---- */

static void tell(const struct rl_import *import, FILE *to)
{
	fprintf(to, "%s: %zu models taken\n", rl_import_format_name(import->format), import->taken);
	for (unsigned i = 0; i < RL_SKIP_COUNT; i++)
		if (import->skipped[i])
			fprintf(to, "  %zu skipped that %s\n", import->skipped[i],
				rl_import_skip_text((enum rl_import_skip)i));
	if (import->fine)
		fprintf(to, "  %zu prices left unknown that are finer than a nano-dollar per token\n", import->fine);
}

/* Beside the file, then in its place: whoever reads it meanwhile has the old one or the new one, whole. */
static int replace_file(const char *path, rl_str text)
{
	char beside[4096];
	int n = snprintf(beside, sizeof beside, "%s.new", path);
	FILE *file = n > 0 && (size_t)n < sizeof beside ? fopen(beside, "we") : NULL;
	bool ok = file && fwrite(text.p, 1, text.n, file) == text.n && fflush(file) == 0 && fsync(fileno(file)) == 0;

	if (file && fclose(file) != 0)
		ok = false;
	if (ok && rename(beside, path) == 0)
		return RL_EXIT_OK;
	fprintf(stderr, "relais: %s cannot be written: %s\n", path, strerror(errno));
	if (file)
		unlink(beside);
	return RL_EXIT_FAILED;
}

static int write_cards(const struct rl_cards *cards, const char *path)
{
	struct rl_buf out;

	rl_buf_init(&out, TEXT_BYTES_MAX);
	rl_catalog_write(cards, &out);
	if (!path || !rl_buf_ok(&out))
		return print(&out);
	int status = replace_file(path, rl_buf_str(&out));

	rl_buf_fini(&out);
	return status;
}

static int import(const char *path, const char *output)
{
	char today[16] = "";
	time_t now = time(NULL);
	struct tm utc;
	struct rl_arena arena;
	struct rl_buf text;
	struct rl_cards cards;
	struct rl_import tally;
	const char *why = "";
	int status = RL_EXIT_FAILED;

	if (gmtime_r(&now, &utc))
		strftime(today, sizeof today, "%Y-%m-%d", &utc);
	rl_arena_init(&arena, CARDS_BYTES_MAX);
	rl_buf_init(&text, RL_CATALOG_FILE_BYTES_MAX);
	enum rl_err err = rl_catalog_read_text(path, &text, &why);

	if (!err)
		err = rl_import(rl_buf_str(&text), rl_str_of(today), &arena, &cards, &tally, &why);
	if (err) {
		fprintf(stderr, "relais: %s: %s\n", path, why);
	} else {
		tell(&tally, stderr);
		status = write_cards(&cards, output);
	}
	rl_buf_fini(&text);
	rl_arena_fini(&arena);
	return status;
}

/* The built-in cards, or those of a file over them. */
static int with_cards(const struct rl_args *args, const char *name)
{
	const char *path = args->values[OPT_FILE], *source = path ? path : rl_cards_source(), *why = "";
	struct rl_cards cards = *rl_cards_builtin();
	struct rl_arena arena;
	int status = RL_EXIT_FAILED;

	rl_arena_init(&arena, CARDS_BYTES_MAX);
	if (path && rl_catalog_load(path, &arena, &cards, &why))
		fprintf(stderr, "relais: %s: %s\n", path, why);
	else if (name)
		status = show(&cards, source, name, args->values[OPT_JSON] != NULL);
	else
		status = list(&cards, source, args->values[OPT_JSON] != NULL);
	rl_arena_fini(&arena);
	return status;
}

int rl_cmd_catalog(const struct rl_args *args)
{
	const char *what = args->n_words ? args->words[0] : "";

	if (strcmp(what, "list") == 0 && args->n_words == 1)
		return with_cards(args, NULL);
	if (strcmp(what, "show") == 0 && args->n_words == 2)
		return with_cards(args, args->words[1]);
	if (strcmp(what, "import") == 0 && args->n_words == 2)
		return import(args->words[1], args->values[OPT_OUTPUT]);
	return usage();
}
