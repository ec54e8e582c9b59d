/* SPDX-License-Identifier: Apache-2.0 */
/* See file.h. */
#include "catalog/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/amount.h"

#define BLOCK 65536u
#define PARSE_BYTES_MAX (512u << 20) /* a tree of JSON takes several times its text */

static enum rl_err read_all(int fd, struct rl_buf *out, const char **why)
{
	for (;;) {
		char *room = rl_buf_reserve(out, BLOCK);

		if (!room) {
			*why = out->n + BLOCK > out->max_bytes ? "larger than 32 MiB" : "out of memory";
			return RL_ERR_LIMIT;
		}
		ssize_t n = read(fd, room, BLOCK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			*why = "cannot be read";
			return RL_ERR_IO;
		}
		if (n == 0)
			return RL_OK;
		out->n += (size_t)n;
	}
}

enum rl_err rl_catalog_read_text(const char *path, struct rl_buf *out, const char **why)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	enum rl_err err = RL_ERR_IO;

	*why = "cannot be opened";
	if (fd < 0)
		return errno == ENOENT ? RL_ERR_NOT_FOUND : RL_ERR_IO;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		*why = "is no ordinary file";
	else
		err = read_all(fd, out, why);
	close(fd);
	return err;
}

yyjson_val *rl_catalog_parse(rl_str text, struct rl_arena *arena, const char **why)
{
	struct rl_json_error error = {.what = NULL};
	yyjson_doc *doc = NULL;
	enum rl_err err = rl_json_doc_read(text, RL_JSON_DOC_RAW_NUMBERS, arena, &doc, &error);

	if (!err)
		return yyjson_doc_get_root(doc);
	*why = err == RL_ERR_NOMEM
		       ? "out of memory"
		       : rl_arena_printf(arena, "line %u, column %u: %s", error.line, error.column, error.what).p;
	if (!*why)
		*why = "not JSON";
	return NULL;
}

bool rl_catalog_id_ok(rl_str id)
{
	if (!id.p || id.n > RL_CARD_NAME_MAX)
		return false;
	for (size_t i = 0; i < id.n; i++)
		if (id.p[i] <= ' ' || id.p[i] >= 0x7f)
			return false;
	return id.n > 0;
}

void rl_catalog_blank(struct rl_card *out)
{
	*out = (struct rl_card){.context_tokens = RL_CARD_UNKNOWN, .max_output_tokens = RL_CARD_UNKNOWN};
	for (unsigned i = 0; i < RL_PRICE_COUNT; i++)
		out->price_nusd[i] = RL_CARD_UNKNOWN;
}

enum rl_err rl_catalog_number(yyjson_val *value, int scale, int64_t max, int64_t *out)
{
	*out = RL_CARD_UNKNOWN;
	if (!value || yyjson_is_null(value))
		return RL_OK;
	if (!yyjson_is_raw(value))
		return RL_ERR_SYNTAX;
	return rl_amount_parse(rl_str_make(yyjson_get_raw(value), yyjson_get_len(value)), scale, max, out);
}

bool rl_catalog_ability(yyjson_val *value, enum rl_ability ability, struct rl_card *card)
{
	assert(ability < RL_ABILITY_COUNT);
	if (!value || yyjson_is_null(value))
		return true;
	if (!yyjson_is_bool(value))
		return false;
	if (yyjson_get_bool(value))
		card->can |= 1u << ability;
	else
		card->cannot |= 1u << ability;
	return true;
}

/* What is wrong with this model, or NULL. */
static const char *read_card(yyjson_val *model, struct rl_card *out)
{
	yyjson_val *abilities = yyjson_obj_get(model, "abilities"), *prices = yyjson_obj_get(model, "nusd_per_token");

	rl_catalog_blank(out);
	if (!yyjson_is_obj(model))
		return "must be an object";
	out->id = rl_json_doc_str(yyjson_obj_get(model, "id"));
	out->maker = rl_json_doc_str(yyjson_obj_get(model, "maker"));
	if (!rl_catalog_id_ok(out->id) || !rl_catalog_id_ok(out->maker))
		return "'id' and 'maker' must be names of up to 256 visible ASCII characters";
	if (rl_catalog_number(yyjson_obj_get(model, "context_tokens"), 0, RL_CARD_TOKENS_MAX, &out->context_tokens) ||
	    rl_catalog_number(yyjson_obj_get(model, "max_output_tokens"), 0, RL_CARD_TOKENS_MAX,
			      &out->max_output_tokens) ||
	    out->context_tokens == 0 || out->max_output_tokens == 0)
		return "'context_tokens' and 'max_output_tokens' must be null or whole numbers from 1 to 1000000000";
	if ((abilities && !yyjson_is_obj(abilities)) || (prices && !yyjson_is_obj(prices)))
		return "'abilities' and 'nusd_per_token' must be objects";
	for (unsigned i = 0; i < RL_ABILITY_COUNT; i++)
		if (!rl_catalog_ability(yyjson_obj_get(abilities, rl_ability_name((enum rl_ability)i)),
					(enum rl_ability)i, out))
			return "abilities must be true, false or null";
	for (unsigned i = 0; i < RL_PRICE_COUNT; i++)
		if (rl_catalog_number(yyjson_obj_get(prices, rl_price_name((enum rl_price)i)), 0, RL_CARD_PRICE_MAX,
				      &out->price_nusd[i]))
			return "prices must be null or whole numbers from 0 to 1000000000000";
	return NULL;
}

static enum rl_err read_cards(yyjson_val *models, struct rl_arena *arena, struct rl_card *list, const char **why)
{
	size_t i, n;
	yyjson_val *model;

	yyjson_arr_foreach(models, i, n, model)
	{
		const char *wrong = read_card(model, &list[i]);

		if (wrong) {
			*why = rl_arena_printf(arena, "models[%zu]: %s", i, wrong).p;
			return *why ? RL_ERR_SYNTAX : RL_ERR_NOMEM;
		}
		list[i].id = rl_arena_dup(arena, list[i].id);
		list[i].maker = rl_arena_dup(arena, list[i].maker);
		if (!list[i].id.p || !list[i].maker.p)
			return RL_ERR_NOMEM;
	}
	rl_cards_sort(list, n);
	for (i = 1; i < n; i++)
		if (rl_str_eq(list[i - 1].id, list[i].id)) {
			*why = rl_arena_printf(arena, "model '%.*s' is given twice", RL_STR_ARG(list[i].id)).p;
			return *why ? RL_ERR_SYNTAX : RL_ERR_NOMEM;
		}
	return RL_OK;
}

static enum rl_err read_root(yyjson_val *root, struct rl_arena *arena, struct rl_cards *out, const char **why)
{
	yyjson_val *models = yyjson_obj_get(root, "models");
	int64_t version = 0;
	enum rl_err err = RL_OK;

	if (rl_catalog_number(yyjson_obj_get(root, "relais_catalog"), 0, INT64_MAX, &version) || version != 1 ||
	    !yyjson_is_arr(models)) {
		*why = "is no catalogue of relais, version 1; make one with 'relais catalog import'";
		err = RL_ERR_SYNTAX;
	} else if (yyjson_arr_size(models) > RL_CATALOG_CARDS_MAX) {
		*why = "has more than 20000 models";
		err = RL_ERR_LIMIT;
	}
	if (err)
		return err;
	struct rl_card *list = RL_NEW_ARRAY(arena, struct rl_card, yyjson_arr_size(models) + 1);

	*why = "out of memory";
	if (!list)
		return RL_ERR_NOMEM;
	err = read_cards(models, arena, list, why);
	if (!err)
		*out = (struct rl_cards){.list = list, .n = yyjson_arr_size(models), .below = rl_cards_builtin()};
	return err;
}

enum rl_err rl_catalog_read(rl_str text, struct rl_arena *arena, struct rl_cards *out, const char **why)
{
	struct rl_arena tree;
	const char *wrong = NULL;

	rl_arena_init(&tree, PARSE_BYTES_MAX);
	yyjson_val *root = rl_catalog_parse(text, &tree, &wrong);
	enum rl_err err = root ? read_root(root, arena, out, why) : RL_ERR_SYNTAX;

	if (!root) {
		*why = rl_arena_dup(arena, rl_str_of(wrong)).p;
		*why = *why ? *why : "not JSON";
	}
	rl_arena_fini(&tree);
	return err;
}

enum rl_err rl_catalog_load(const char *path, struct rl_arena *arena, struct rl_cards *out, const char **why)
{
	struct rl_buf text;

	rl_buf_init(&text, RL_CATALOG_FILE_BYTES_MAX);
	enum rl_err err = rl_catalog_read_text(path, &text, why);

	if (!err)
		err = rl_catalog_read(rl_buf_str(&text), arena, out, why);
	rl_buf_fini(&text);
	return err;
}

void rl_catalog_write(const struct rl_cards *cards, struct rl_buf *out)
{
	RL_BUF_LIT(out, "{\"relais_catalog\":1,\"models\":[");
	for (size_t i = 0; i < cards->n; i++) {
		rl_buf_add(out, i ? RL_STR(",\n") : RL_STR("\n"));
		rl_card_write(&cards->list[i], out);
	}
	RL_BUF_LIT(out, "\n]}\n");
}
