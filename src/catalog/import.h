/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other people's tables of models: LiteLLM's model_prices_and_context_window.json, genai-prices' data.json, models.dev's
 * api.json (DIALECTS §6 has the shapes). They are large, change daily and hold what is no model of text, so one entry
 * that makes no sense is passed over and counted; a file that is none of the three is refused.
 *
 * A maker's own models are named as they are, those of other providers "provider/model".
 */
#ifndef RL_CATALOG_IMPORT_H
#define RL_CATALOG_IMPORT_H

#include "catalog/file.h"

#define RL_IMPORT_FORMATS(X)            \
	X(NONE, "none")                 \
	X(LITELLM, "LiteLLM")           \
	X(GENAI_PRICES, "genai-prices") \
	X(MODELS_DEV, "models.dev")

#define RL_IMPORT_SKIPS(X)                                                 \
	X(NOT_TEXT, "make no text: pictures, speech, ranking, moderation") \
	X(NAME, "have no name, or one that no model has")                  \
	X(MALFORMED, "are malformed: wrong types, numbers out of range")   \
	X(TWICE, "are named like one before")

enum rl_import_format {
#define X(id, name) RL_IMPORT_##id,
	RL_IMPORT_FORMATS(X)
#undef X
};

enum rl_import_skip {
#define X(id, text) RL_SKIP_##id,
	RL_IMPORT_SKIPS(X)
#undef X
		RL_SKIP_COUNT
};

struct rl_import {
	enum rl_import_format format;
	size_t taken, skipped[RL_SKIP_COUNT];
	size_t fine; /* prices finer than a nano-dollar, left unknown */
};

const char *rl_import_format_name(enum rl_import_format format);
const char *rl_import_skip_text(enum rl_import_skip skip);

/*
 * `today` ("2026-11-25") chooses among dated prices. Texts and cards in `arena`. RL_ERR_SYNTAX: not JSON, or none of the
 * three; RL_ERR_LIMIT: too many models; RL_ERR_NOMEM. *why is a text in `arena`, or static.
 */
RL_MUST_CHECK enum rl_err rl_import(rl_str text, rl_str today, struct rl_arena *arena, struct rl_cards *cards,
				    struct rl_import *out, const char **why);

#endif
