/* SPDX-License-Identifier: Apache-2.0 */
/* See import.h. */
#include "catalog/import.h"

#include <assert.h>

#include "base/map.h"

#define TREE_BYTES_MAX (512u << 20)
#define PER_TOKEN 9   /* USD for a token -> nano-dollars for one */
#define PER_MILLION 3 /* USD for a million tokens -> nano-dollars for one */

struct importer {
	struct rl_arena *arena;
	struct rl_import *tally;
	struct rl_card *list; /* RL_CATALOG_CARDS_MAX of them */
	size_t n;
	struct rl_map names; /* taken ones */
	rl_str today;
	enum rl_err err; /* sticky: RL_ERR_NOMEM, RL_ERR_LIMIT */
};

const char *rl_import_format_name(enum rl_import_format format)
{
	static const char *const names[] = {
#define X(id, name) name,
		RL_IMPORT_FORMATS(X)
#undef X
	};
	assert(format < sizeof names / sizeof names[0]);
	return names[format];
}

const char *rl_import_skip_text(enum rl_import_skip skip)
{
	static const char *const texts[] = {
#define X(id, text) text,
		RL_IMPORT_SKIPS(X)
#undef X
	};
	assert(skip < RL_SKIP_COUNT);
	return texts[skip];
}

/* ---- what the three share ---- */

static yyjson_val *member(yyjson_val *object, const char *name)
{
	return yyjson_obj_get(object, name); /* NULL where it is no object */
}

static bool is_maker(rl_str provider)
{
	static const rl_str makers[] = {RL_STR_INIT("anthropic"), RL_STR_INIT("cohere"),  RL_STR_INIT("deepseek"),
					RL_STR_INIT("google"),    RL_STR_INIT("mistral"), RL_STR_INIT("openai"),
					RL_STR_INIT("xai"),       RL_STR_INIT("x-ai")};

	for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++)
		if (rl_str_eq(makers[i], provider))
			return true;
	return false;
}

/* How many tokens; 0 is how these tables say that they do not know. false: malformed. */
static bool take_tokens(yyjson_val *value, int64_t *out)
{
	if (rl_catalog_number(value, 0, RL_CARD_TOKENS_MAX, out))
		return false;
	if (*out == 0)
		*out = RL_CARD_UNKNOWN;
	return true;
}

/* A price finer than a nano-dollar stays unknown: rounded it would be wrong with every token. */
static bool take_price(struct importer *im, yyjson_val *value, int scale, enum rl_price price, struct rl_card *card)
{
	enum rl_err err = rl_catalog_number(value, scale, RL_CARD_PRICE_MAX, &card->price_nusd[price]);

	if (err == RL_ERR_UNSUPPORTED)
		im->tally->fine++;
	return !err || err == RL_ERR_UNSUPPORTED;
}

struct price_name {
	enum rl_price price;
	const char *name;
};

static bool take_prices(struct importer *im, yyjson_val *from, const struct price_name names[RL_PRICE_COUNT], int scale,
			struct rl_card *card)
{
	for (unsigned i = 0; i < RL_PRICE_COUNT; i++)
		if (!take_price(im, member(from, names[i].name), scale, names[i].price, card))
			return false;
	return true;
}

static void skip(struct importer *im, enum rl_import_skip why)
{
	im->tally->skipped[why]++;
}

/* Takes the card in under its name. */
static void keep(struct importer *im, rl_str provider, rl_str id, bool qualified, const struct rl_card *facts)
{
	rl_str name;

	if (!rl_catalog_id_ok(provider) || !rl_catalog_id_ok(id) || provider.n + id.n + 1 > RL_CARD_NAME_MAX) {
		skip(im, RL_SKIP_NAME);
		return;
	}
	name = qualified ? rl_arena_printf(im->arena, "%.*s/%.*s", RL_STR_ARG(provider), RL_STR_ARG(id))
			 : rl_arena_dup(im->arena, id);
	if (!name.p || im->n == RL_CATALOG_CARDS_MAX) {
		im->err = name.p ? RL_ERR_LIMIT : RL_ERR_NOMEM;
		return;
	}
	if (rl_map_get(&im->names, name)) {
		skip(im, RL_SKIP_TWICE);
		return;
	}
	struct rl_card *card = &im->list[im->n];

	*card = *facts;
	card->id = name;
	card->maker = rl_arena_dup(im->arena, provider);
	if (!card->maker.p || rl_map_put(&im->names, name, card)) {
		im->err = RL_ERR_NOMEM;
		return;
	}
	im->n++;
	im->tally->taken++;
}

/* ---- LiteLLM: { id: { facts } } ---- */

static bool litellm_text(yyjson_val *entry)
{
	static const rl_str modes[] = {RL_STR_INIT("chat"), RL_STR_INIT("completion"), RL_STR_INIT("responses"),
				       RL_STR_INIT("embedding")};
	yyjson_val *mode = member(entry, "mode");

	if (!yyjson_is_str(mode))
		return true;
	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
		if (rl_str_eq(modes[i], rl_json_doc_str(mode)))
			return true;
	return false;
}

static bool litellm_facts(struct importer *im, yyjson_val *entry, struct rl_card *card)
{
	static const struct price_name prices[] = {{RL_PRICE_INPUT, "input_cost_per_token"},
						   {RL_PRICE_OUTPUT, "output_cost_per_token"},
						   {RL_PRICE_CACHED_INPUT, "cache_read_input_token_cost"},
						   {RL_PRICE_CACHE_WRITE, "cache_creation_input_token_cost"}};
	static const char *const abilities[] = {
		[RL_ABILITY_TOOLS] = "supports_function_calling", [RL_ABILITY_SCHEMA] = "supports_response_schema",
		[RL_ABILITY_REASONING] = "supports_reasoning",    [RL_ABILITY_IMAGES] = "supports_vision",
		[RL_ABILITY_DOCUMENTS] = "supports_pdf_input",    [RL_ABILITY_AUDIO] = "supports_audio_input",
		[RL_ABILITY_VIDEO] = "supports_video_input"};

	for (unsigned i = 0; i < RL_ABILITY_COUNT; i++)
		if (!rl_catalog_ability(member(entry, abilities[i]), (enum rl_ability)i, card))
			return false;
	return take_tokens(member(entry, "max_input_tokens"), &card->context_tokens) &&
	       take_tokens(member(entry, "max_output_tokens"), &card->max_output_tokens) &&
	       take_prices(im, entry, prices, PER_TOKEN, card);
}

static void litellm(struct importer *im, yyjson_val *root)
{
	size_t i, n;
	yyjson_val *key, *entry;

	yyjson_obj_foreach(root, i, n, key, entry)
	{
		rl_str id = rl_json_doc_str(key);
		struct rl_card card;

		rl_catalog_blank(&card);
		if (im->err)
			return;
		if (rl_str_eq(id, RL_STR("sample_spec"))) /* explains the format */
			continue;
		if (!litellm_text(entry))
			skip(im, RL_SKIP_NOT_TEXT);
		else if (!yyjson_is_obj(entry) || !litellm_facts(im, entry, &card))
			skip(im, RL_SKIP_MALFORMED);
		else
			keep(im, rl_json_doc_str(member(entry, "litellm_provider")), id, false, &card);
	}
}

/* ---- genai-prices: [ { id, models: [ { id, context_window, prices } ] } ] ---- */

/* The last of dated prices that has begun; the first has no date. Prices of a time of day are not for us. */
static yyjson_val *genai_current(struct importer *im, yyjson_val *prices)
{
	yyjson_val *found = NULL, *one;
	size_t i, n;

	if (!yyjson_is_arr(prices))
		return prices;
	yyjson_arr_foreach(prices, i, n, one)
	{
		yyjson_val *constraint = member(one, "constraint");
		rl_str start = rl_json_doc_str(member(constraint, "start_date"));
		bool dated = start.p && start.n == im->today.n;

		if (!yyjson_is_obj(constraint) || (dated && memcmp(start.p, im->today.p, start.n) <= 0))
			found = member(one, "prices");
	}
	return found;
}

/* A price, or the one of the first tier. */
static yyjson_val *genai_base(yyjson_val *price)
{
	return yyjson_is_obj(price) ? member(price, "base") : price;
}

static bool genai_facts(struct importer *im, yyjson_val *model, struct rl_card *card)
{
	static const struct price_name names[] = {{RL_PRICE_INPUT, "input_mtok"},
						  {RL_PRICE_OUTPUT, "output_mtok"},
						  {RL_PRICE_CACHED_INPUT, "cache_read_mtok"},
						  {RL_PRICE_CACHE_WRITE, "cache_write_mtok"}};
	yyjson_val *prices = genai_current(im, member(model, "prices"));

	if (!take_tokens(member(model, "context_window"), &card->context_tokens))
		return false;
	for (unsigned i = 0; i < RL_PRICE_COUNT; i++)
		if (!take_price(im, genai_base(member(prices, names[i].name)), PER_MILLION, names[i].price, card))
			return false;
	return true;
}

static void genai(struct importer *im, yyjson_val *root)
{
	size_t i, n, j, m;
	yyjson_val *provider, *model;

	yyjson_arr_foreach(root, i, n, provider)
	{
		rl_str owner = rl_json_doc_str(member(provider, "id"));

		yyjson_arr_foreach(member(provider, "models"), j, m, model)
		{
			struct rl_card card;

			rl_catalog_blank(&card);
			if (im->err)
				return;
			if (!yyjson_is_obj(model) || !genai_facts(im, model, &card))
				skip(im, RL_SKIP_MALFORMED);
			else
				keep(im, owner, rl_json_doc_str(member(model, "id")), !is_maker(owner), &card);
		}
	}
}

/* ---- models.dev: { provider: { models: { id: { facts } } } } ---- */

static bool lists(yyjson_val *list, const char *word)
{
	size_t i, n;
	yyjson_val *one;

	yyjson_arr_foreach(list, i, n, one) if (yyjson_equals_str(one, word)) return true;
	return false;
}

static void take_input(yyjson_val *kinds, const char *kind, enum rl_ability ability, struct rl_card *card)
{
	if (!yyjson_is_arr(kinds))
		return;
	if (lists(kinds, kind))
		card->can |= 1u << ability;
	else
		card->cannot |= 1u << ability;
}

static bool modelsdev_facts(struct importer *im, yyjson_val *model, struct rl_card *card)
{
	static const struct price_name prices[] = {{RL_PRICE_INPUT, "input"},
						   {RL_PRICE_OUTPUT, "output"},
						   {RL_PRICE_CACHED_INPUT, "cache_read"},
						   {RL_PRICE_CACHE_WRITE, "cache_write"}};
	yyjson_val *kinds = member(member(model, "modalities"), "input"), *limit = member(model, "limit");

	take_input(kinds, "image", RL_ABILITY_IMAGES, card);
	take_input(kinds, "pdf", RL_ABILITY_DOCUMENTS, card);
	take_input(kinds, "audio", RL_ABILITY_AUDIO, card);
	take_input(kinds, "video", RL_ABILITY_VIDEO, card);
	return rl_catalog_ability(member(model, "tool_call"), RL_ABILITY_TOOLS, card) &&
	       rl_catalog_ability(member(model, "structured_output"), RL_ABILITY_SCHEMA, card) &&
	       rl_catalog_ability(member(model, "reasoning"), RL_ABILITY_REASONING, card) &&
	       take_tokens(member(limit, "context"), &card->context_tokens) &&
	       take_tokens(member(limit, "output"), &card->max_output_tokens) &&
	       take_prices(im, member(model, "cost"), prices, PER_MILLION, card);
}

static void modelsdev(struct importer *im, yyjson_val *root)
{
	size_t i, n, j, m;
	yyjson_val *owner, *provider, *id, *model;

	yyjson_obj_foreach(root, i, n, owner, provider)
	{
		yyjson_val *models = member(provider, "models");

		if (!yyjson_is_obj(models))
			continue;
		yyjson_obj_foreach(models, j, m, id, model)
		{
			yyjson_val *made = member(member(model, "modalities"), "output");
			struct rl_card card;

			rl_catalog_blank(&card);
			if (im->err)
				return;
			if (yyjson_is_arr(made) && !lists(made, "text"))
				skip(im, RL_SKIP_NOT_TEXT);
			else if (!yyjson_is_obj(model) || !modelsdev_facts(im, model, &card))
				skip(im, RL_SKIP_MALFORMED);
			else
				keep(im, rl_json_doc_str(owner), rl_json_doc_str(id), !is_maker(rl_json_doc_str(owner)),
				     &card);
		}
	}
}

/* ---- which of them ---- */

/* By the first entry that tells: a provider has `models`, a model of LiteLLM's its `litellm_provider`. */
static enum rl_import_format recognise(yyjson_val *root)
{
	size_t i, n;
	yyjson_val *key, *entry;

	if (yyjson_is_arr(root))
		return yyjson_is_arr(member(yyjson_arr_get_first(root), "models")) ? RL_IMPORT_GENAI_PRICES
										   : RL_IMPORT_NONE;
	if (!yyjson_is_obj(root))
		return RL_IMPORT_NONE;
	yyjson_obj_foreach(root, i, n, key, entry)
	{
		if (yyjson_is_obj(member(entry, "models")))
			return RL_IMPORT_MODELS_DEV;
		if (member(entry, "litellm_provider"))
			return RL_IMPORT_LITELLM;
	}
	return RL_IMPORT_NONE;
}

static enum rl_err import_root(struct importer *im, yyjson_val *root, const char **why)
{
	static void (*const readers[])(struct importer *, yyjson_val *) = {
		[RL_IMPORT_LITELLM] = litellm, [RL_IMPORT_GENAI_PRICES] = genai, [RL_IMPORT_MODELS_DEV] = modelsdev};

	im->tally->format = recognise(root);
	if (im->tally->format == RL_IMPORT_NONE) {
		*why = "is neither LiteLLM's, nor genai-prices', nor models.dev's table of models";
		return RL_ERR_SYNTAX;
	}
	im->list = RL_NEW_ARRAY(im->arena, struct rl_card, RL_CATALOG_CARDS_MAX);
	*why = "out of memory";
	if (!im->list)
		return RL_ERR_NOMEM;
	readers[im->tally->format](im, root);
	if (im->err == RL_ERR_LIMIT)
		*why = "has more than 20000 models";
	if (!im->err)
		rl_cards_sort(im->list, im->n);
	return im->err;
}

enum rl_err rl_import(rl_str text, rl_str today, struct rl_arena *arena, struct rl_cards *cards, struct rl_import *out,
		      const char **why)
{
	struct importer im = {.arena = arena, .tally = out, .today = today};
	struct rl_arena tree;
	const char *wrong = NULL;

	*out = (struct rl_import){.format = RL_IMPORT_NONE};
	rl_arena_init(&tree, TREE_BYTES_MAX);
	rl_map_init(&im.names);
	yyjson_val *root = rl_catalog_parse(text, &tree, &wrong);
	enum rl_err err = root ? import_root(&im, root, why) : RL_ERR_SYNTAX;

	if (!root) {
		*why = rl_arena_dup(arena, rl_str_of(wrong)).p;
		*why = *why ? *why : "not JSON";
	}
	if (!err)
		*cards = (struct rl_cards){.list = im.list, .n = im.n};
	rl_map_fini(&im.names);
	rl_arena_fini(&tree);
	return err;
}
