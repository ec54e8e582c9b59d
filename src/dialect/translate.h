/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a writer needs beside the message: who will read it, and a place to say what
 * it could not put into that reader's words. Two things can be said. `rl_drop` names
 * what is left out because the answer stays an answer to the same question without
 * it; the client finds the names in `x-relais-dropped`. `rl_refuse` ends the
 * translation, because leaving it out would change the meaning (a tool, a schema, a
 * picture): another target may be able to, and if none is, the client gets a 400
 * that says what, where and what to do. A strict client has every drop refused.
 *
 * Seals. Signatures and encrypted thoughts are worth something only at the family of
 * providers that made them ("anthropic": also on Bedrock and Vertex). To a client of
 * another dialect they go with the family's name in front (`rl_seal_wrap`), and so
 * come back recognisable; what is not marked belongs to the family of the dialect
 * that it came in.
 */
#ifndef RL_DIALECT_TRANSLATE_H
#define RL_DIALECT_TRANSLATE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "message/chat.h"
#include "message/fault.h"

/* More than a request can lack; what comes after is counted under "...". */
#define RL_DROPPED_MAX 32u

/*
 * How a provider's way of speaking its dialect differs from the original's: data, from its preset and the
 * configuration. Zero is the original.
 */
#define RL_QUIRKS(X)                                                                                                \
	X(NO_DEVELOPER, "no_developer_role")            /* instructions have the role "system" */                   \
	X(MAX_TOKENS, "max_tokens")                     /* the limit is called max_tokens (chat) */                 \
	X(MAX_COMPLETION, "max_completion_tokens")      /* the limit is called max_completion_tokens (chat) */      \
	X(NO_N, "no_n")                                 /* one choice only */                                       \
	X(NO_SEED, "no_seed")                           /* a seed is an error */                                    \
	X(NO_LOGPROBS, "no_logprobs")                   /* asking for them is an error */                           \
	X(NO_SCHEMA, "no_schema")                       /* no JSON schema for the answer */                         \
	X(NO_TOOL_CHOICE, "no_tool_choice")             /* cannot be told to use a tool */                          \
	X(NO_STREAM_OPTIONS, "no_stream_options")       /* stream_options is an error */                            \
	X(NO_SAMPLING, "no_sampling")                   /* temperature, top_p and top_k are errors */               \
	X(NO_IMAGE_URL, "no_image_url")                 /* pictures only as base64 */                               \
	X(SHORT_TOOL_IDS, "short_tool_ids")             /* ids of calls are nine letters and digits (Mistral) */    \
	X(TOOL_CHOICE_ANY, "tool_choice_any")           /* "any" in place of "required" (Mistral) */                \
	X(RANDOM_SEED, "random_seed")                   /* the seed is called random_seed (Mistral) */              \
	X(TOP_K, "top_k")                               /* takes top_k where the original does not (vLLM) */        \
	X(REASONING_BACK, "reasoning_back")             /* thoughts of earlier turns must come back (DeepSeek) */   \
	X(REASONING_FIELD, "reasoning_field")           /* thoughts are called `reasoning` (vLLM, Groq) */          \
	X(NO_ADAPTIVE_THINKING, "no_adaptive_thinking") /* thinking by a budget only (Claude before 4.6) */         \
	X(SCHEMA_SUBSET, "schema_subset")               /* schemas of tools in OpenAPI's subset (older Gemini) */   \
	X(JSON_OBJECT_SCHEMA, "json_object_schema")     /* a schema stands in {"type":"json_object"} (llama.cpp) */ \
	X(NO_EFFORT, "no_reasoning_effort")             /* reasoning_effort is an error */                          \
	X(CACHE_BREAKPOINT, "cache_breakpoint")         /* takes prompt_cache_breakpoint on parts (GPT-5.6) */      \
	X(CACHE_CONTROL, "cache_control")               /* takes cache_control on parts (OpenRouter, LiteLLM) */

enum rl_quirk {
#define X(id, name, ...) RL_QUIRK_##id,
	RL_QUIRKS(X)
#undef X
		RL_QUIRK_COUNT
};
/* By the name above; RL_QUIRK_COUNT if there is none. */
enum rl_quirk rl_quirk_find(rl_str name);
const char *rl_quirk_name(enum rl_quirk quirk);

/* Who will read what is written: one provider's one model. Everything is borrowed. */
struct rl_facts {
	rl_str provider;            /* its name in the configuration */
	rl_str model;               /* its own name of the model */
	uint64_t quirks;            /* bits of enum rl_quirk */
	int64_t max_output_tokens;  /* of the model; 0: not known */
	int64_t default_max_tokens; /* configured, for dialects that want a limit where the client gave none; 0: none */
	rl_str version;             /* of the API, where it has versions (anthropic-version, api-version); or empty */
	rl_str region, project;     /* of a cloud; or empty */
};

static inline bool rl_facts_quirk(const struct rl_facts *facts, enum rl_quirk quirk)
{
	return facts->quirks >> quirk & 1;
}

struct rl_translation {
	struct rl_arena *arena;       /* for what is made; outlives what is written */
	const struct rl_facts *facts; /* never NULL */
	bool strict;                  /* the client wants nothing dropped */
	rl_str dropped[RL_DROPPED_MAX];
	size_t n_dropped;
	enum rl_err err;       /* sticky. RL_ERR_UNSUPPORTED: refused, `fault` says why; RL_ERR_NOMEM */
	struct rl_fault fault; /* status 400, code "unsupported_by_target"; text in the arena */
};

void rl_translation_init(struct rl_translation *t, struct rl_arena *arena, const struct rl_facts *facts, bool strict);

/* Names what is left out, as a path in the client's own words: "logit_bias", "messages[2].name". Once each. */
void rl_drop(struct rl_translation *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All members of a list of extras that say something (not null, "", [], {}), each below `place` ("tools[1]"; empty: at the top). */
void rl_drop_extras(struct rl_translation *t, const char *place, struct rl_extras extras);
/* `param`: the member in the client's words, or empty. The sentence says what the target cannot do. */
void rl_refuse(struct rl_translation *t, rl_str param, const char *format, ...) __attribute__((format(printf, 3, 4)));
void rl_translation_nomem(struct rl_translation *t);
/* The names with ", " between them, for the header; empty: nothing was dropped. p == NULL with n > 0 never. */
rl_str rl_dropped_text(const struct rl_translation *t, struct rl_arena *arena);

/*
 * A seal as a client of another family may hold it: "relais.<family>.<seal>"; `seal` itself when `family` is
 * `reader`'s own. p == NULL without memory.
 */
rl_str rl_seal_wrap(rl_str seal, rl_str family, rl_str reader, struct rl_arena *arena);
/* The other way: takes the mark off *seal and gives the family; unmarked ones are of `fallback`. */
rl_str rl_seal_open(rl_str *seal, rl_str fallback);
/* A body with this in it holds a marked seal: it must be translated even where it would pass as it is. */
#define RL_SEAL_MARK "\"relais."

#endif
