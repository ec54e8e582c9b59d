/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue as a file: {"relais_catalog":1,"models":[...]}, each model as rl_card_write has it. `relais catalog
 * import` writes it and `catalog:` of the configuration names it. Read strictly: one wrong fact and the file is refused,
 * since what it says is counted on.
 */
#ifndef RL_CATALOG_FILE_H
#define RL_CATALOG_FILE_H

#include "base/arena.h"
#include "catalog/cards.h"
#include "json/doc.h"

#define RL_CATALOG_FILE_BYTES_MAX (32u << 20)
#define RL_CATALOG_CARDS_MAX 20000u

/* A whole file, up to the bound above; *why says what is wrong with it. `out` was made with that bound. */
RL_MUST_CHECK enum rl_err rl_catalog_read_text(const char *path, struct rl_buf *out, const char **why);
/* The root of a JSON text whose numbers stay text, in `arena`; NULL with *why. */
yyjson_val *rl_catalog_parse(rl_str text, struct rl_arena *arena, const char **why);

/*
 * The cards of such a file, over the built-in ones; texts and cards in `arena`. RL_ERR_SYNTAX, RL_ERR_LIMIT,
 * RL_ERR_NOMEM, RL_ERR_NOT_FOUND, RL_ERR_IO: *why is a text in `arena`, or static.
 */
RL_MUST_CHECK enum rl_err rl_catalog_load(const char *path, struct rl_arena *arena, struct rl_cards *out,
					  const char **why);
/* The same from memory. */
RL_MUST_CHECK enum rl_err rl_catalog_read(rl_str text, struct rl_arena *arena, struct rl_cards *out, const char **why);

/* Ids that may stand in a table: visible ASCII, up to RL_CARD_NAME_MAX. */
bool rl_catalog_id_ok(rl_str id);
/* A card of which nothing is known. */
void rl_catalog_blank(struct rl_card *out);
/*
 * A number of either table times 10^scale; absent or null: unknown. RL_ERR_SYNTAX: no number; else as rl_amount_parse.
 */
RL_MUST_CHECK enum rl_err rl_catalog_number(yyjson_val *value, int scale, int64_t max, int64_t *out);
/* true, false, or neither (null, absent). false: something else stands there. */
bool rl_catalog_ability(yyjson_val *value, enum rl_ability ability, struct rl_card *card);

void rl_catalog_write(const struct rl_cards *cards, struct rl_buf *out);

#endif
