/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request and an answer without a dialect: what a client asked for and what a
 * model said, in the terms that the providers share. Every dialect parses into
 * these and writes from them, so that N dialects need N translators.
 *
 * Ownership: everything is borrowed, from the body that was parsed or from the
 * arena of the parse; whoever keeps the message keeps both. Text is unescaped
 * UTF-8 (and may hold NUL bytes); a field called `json` or described as raw is the
 * JSON text as it was written, validated. Numbers that only pass through stay raw,
 * so that 0.1 remains 0.1.
 *
 * Nothing is lost in silence: a member that has no field here is kept as an
 * `rl_extra` beside what it belongs to. Extras are in the words of the dialect
 * that parsed them (`dialect` of the request or answer): only that one writes them
 * again, every other one has to report them as dropped.
 */
#ifndef RL_MESSAGE_CHAT_H
#define RL_MESSAGE_CHAT_H

#include "message/finish.h"
#include "message/part.h"
#include "message/usage.h"

enum rl_tool_choice_mode {
	RL_TOOL_CHOICE_UNSAID,
	RL_TOOL_CHOICE_NONE,
	RL_TOOL_CHOICE_AUTO,
	RL_TOOL_CHOICE_REQUIRED,
	RL_TOOL_CHOICE_NAMED, /* this one, by names[0] */
	RL_TOOL_CHOICE_RAW,   /* something of one dialect, as `json` */
};

struct rl_tool_choice {
	enum rl_tool_choice_mode mode;
	enum rl_tool_kind kind; /* of the one that is NAMED */
	/* NAMED: one; AUTO and REQUIRED: the subset that is allowed, none meaning all. */
	const rl_str *names;
	size_t n_names;
	rl_str json; /* RAW, and the allowed subset as its dialect wrote it */
};

enum rl_format_kind { RL_FORMAT_UNSAID, RL_FORMAT_TEXT, RL_FORMAT_JSON, RL_FORMAT_SCHEMA, RL_FORMAT_RAW };

/* The form that the answer must have. */
struct rl_format {
	enum rl_format_kind kind;
	rl_str name, description;
	rl_str schema; /* SCHEMA: raw JSON Schema, or empty */
	enum rl_choice3 strict;
	rl_str json; /* RAW: a form of one dialect */
	struct rl_extras extras;
};

/* A prompt of a completion or an input of an embedding: text, or tokens as a raw array of numbers. */
struct rl_input {
	bool is_tokens;
	rl_str text;
};

enum rl_encoding { RL_ENCODING_UNSAID, RL_ENCODING_FLOAT, RL_ENCODING_BASE64 };

/* `reasoning_budget`: as much as the model thinks right. */
#define RL_BUDGET_AUTO (-2)

struct rl_chat_request {
	rl_str dialect; /* who parsed it: whose words extras, RAW and HOSTED are */
	rl_str model;

	/* Chat. */
	struct rl_message *messages;
	size_t n_messages;
	bool instructions; /* the first message stood beside the conversation, not in it (Responses: `instructions`) */
	struct rl_tool *tools;
	size_t n_tools;
	struct rl_tool_choice tool_choice;
	enum rl_choice3 parallel_tool_calls;
	struct rl_format format;
	rl_str effort;                   /* of reasoning: "none", "low" and so on, or empty */
	enum rl_choice3 reasoning;       /* wanted at all, where it is said apart from how much */
	int64_t reasoning_budget;        /* tokens; RL_UNSET. RL_BUDGET_AUTO: the model decides */
	enum rl_choice3 reasoning_shown; /* thoughts, or a summary of them, wanted in the answer */
	enum rl_choice3
		reasoning_sealed;   /* thoughts wanted in a form that can be sent back (Responses: encrypted_content) */
	rl_str summary;             /* of thoughts, how long: "auto", "concise", "detailed", or empty */
	struct rl_cache_mark cache; /* of the request as a whole */
	bool no_store;              /* the provider must not keep the answer for later requests */

	/* Completions and embeddings. */
	struct rl_input *inputs;
	size_t n_inputs;
	bool single_input;         /* one text or token list, not a list of them */
	int64_t dimensions;        /* RL_UNSET */
	enum rl_encoding encoding; /* of embeddings in the answer */
	rl_str purpose;            /* of an embedding: "query", "document", "classification", "clustering", or empty */

	/* Limits and sampling. */
	int64_t max_tokens; /* of the visible answer (deprecated in OpenAI's API, usual elsewhere); RL_UNSET */
	int64_t max_completion_tokens; /* of reasoning and answer together; RL_UNSET. The tighter of the two holds. */
	int64_t n;                     /* choices; RL_UNSET */
	rl_str temperature, top_p, top_k, frequency_penalty, presence_penalty, seed; /* raw numbers, or empty */
	rl_str *stop;
	size_t n_stop;
	enum rl_choice3 logprobs;
	int64_t top_logprobs; /* RL_UNSET; a completion's own `logprobs` number too */

	bool stream;
	bool include_usage;             /* usage wanted at the end of the stream */
	struct rl_extras stream_extras; /* other options of the stream */
	rl_str user;                    /* the client's name for its user, or empty */
	struct rl_extras extras;
};

/* Nothing is said, of nothing. */
static inline void rl_chat_request_init(struct rl_chat_request *request)
{
	*request = (struct rl_chat_request){
		.dimensions = RL_UNSET,
		.max_tokens = RL_UNSET,
		.max_completion_tokens = RL_UNSET,
		.n = RL_UNSET,
		.top_logprobs = RL_UNSET,
		.reasoning_budget = RL_UNSET,
	};
}

struct rl_choice {
	uint32_t index;
	enum rl_finish finish;
	rl_str finish_word;        /* the provider's own: when `finish` is OTHER, or says less than it */
	rl_str stop_sequence;      /* the one that was met, where the provider says it; p == NULL: not said */
	struct rl_message message; /* a completion's text is one TEXT part */
	rl_str logprobs;           /* raw, in the form of OpenAI's API, whoever read it; or empty */
	struct rl_extras extras;
};

struct rl_embedding {
	uint32_t index;
	enum rl_encoding encoding;
	rl_str data; /* FLOAT: raw array of numbers; BASE64: of little-endian float32 */
	struct rl_extras extras;
};

struct rl_chat_response {
	rl_str dialect; /* who parsed it, as in the request; empty if it was made by the gateway */
	rl_str id, model;
	int64_t created; /* Unix time, seconds; 0: not said */
	struct rl_choice *choices;
	size_t n_choices;
	struct rl_embedding *embeddings;
	size_t n_embeddings;
	enum rl_encoding encoding; /* in which to write the embeddings; UNSAID: as they came */
	bool single_input; /* as in the request: one embedding is written, where the dialect tells it from a list */
	struct rl_usage usage;
	rl_str usage_json; /* the provider's own object, raw, in the words of `dialect`; or empty */
	struct rl_extras extras;
	/* What the answer repeats of the request's settings, in the words of `dialect`: others need not report it. */
	struct rl_extras echo;
	/* What was asked, for dialects whose answers repeat it; or NULL. */
	const struct rl_chat_request *request;
};

/* A line of the list of models. */
struct rl_model_line {
	rl_str id, owned_by;
	int64_t created; /* Unix time, seconds */
};

#endif
