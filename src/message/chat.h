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

#include "base/slice.h"
#include "message/finish.h"
#include "message/usage.h"

/* A member of a JSON object that the message does not model. */
struct rl_extra {
	rl_str key;  /* raw, with its quotes */
	rl_str json; /* raw value */
};

struct rl_extras {
	const struct rl_extra *v;
	size_t n;
};

/* Yes, no, or not said. */
enum rl_choice3 { RL_UNSAID, RL_NO, RL_YES };

#define RL_ROLES(X)               \
	X(NONE, "none")           \
	X(SYSTEM, "system")       \
	X(DEVELOPER, "developer") \
	X(USER, "user")           \
	X(ASSISTANT, "assistant") \
	X(TOOL, "tool")

enum rl_role {
#define X(id, name) RL_ROLE_##id,
	RL_ROLES(X)
#undef X
		RL_ROLE_COUNT
};
const char *rl_role_name(enum rl_role role);

/*
 * What a message is made of. RAW is a part that exists in one dialect only (a
 * hosted tool's result, a vendor's own block): `json`, to be written back to that
 * dialect and reported by others.
 */
#define RL_PARTS(X)                   \
	X(NONE, "none")               \
	X(TEXT, "text")               \
	X(REFUSAL, "refusal")         \
	X(REASONING, "reasoning")     \
	X(IMAGE, "image")             \
	X(AUDIO, "audio")             \
	X(DOCUMENT, "document")       \
	X(TOOL_CALL, "tool_call")     \
	X(TOOL_RESULT, "tool_result") \
	X(RAW, "raw")

enum rl_part_kind {
#define X(id, name) RL_PART_##id,
	RL_PARTS(X)
#undef X
		RL_PART_COUNT
};
const char *rl_part_kind_name(enum rl_part_kind kind);

/* Where the bytes of an image, a sound or a document are. */
enum rl_media_source {
	RL_MEDIA_NONE,
	RL_MEDIA_BASE64, /* in `data`, base64 */
	RL_MEDIA_URL,    /* at the address in `data` */
	RL_MEDIA_FILE,   /* uploaded before, id in `data`: known to one provider only */
	RL_MEDIA_TEXT,   /* in `data`, plain text */
};

struct rl_media {
	enum rl_media_source source;
	rl_str data;
	rl_str mime;             /* "image/png"; empty: not said */
	rl_str name;             /* file name or title, or empty */
	rl_str detail;           /* image resolution asked for ("low"), or empty */
	struct rl_extras extras; /* of the object that holds the media, inside the part */
};

/*
 * Thoughts of the model. `signature` and `redacted` are the provider's sealed
 * bytes: they go back exactly as they came, and only to the provider that made them.
 */
struct rl_reasoning {
	rl_str text;
	rl_str signature;
	rl_str redacted; /* an encrypted block in place of text */
	rl_str spelling; /* the field's name where it is another than the dialect's usual one; else empty */
};

#define RL_TOOL_KINDS(X)        \
	X(NONE, "none")         \
	X(FUNCTION, "function") \
	X(CUSTOM, "custom")     \
	X(LEGACY, "legacy")     \
	X(HOSTED, "hosted")

/*
 * FUNCTION takes JSON arguments by a schema, CUSTOM takes free text by a format,
 * LEGACY is a function in OpenAI's deprecated form (`functions`), without call ids;
 * HOSTED runs at the provider and is only carried, as `json`.
 */
enum rl_tool_kind {
#define X(id, name) RL_TOOL_KIND_##id,
	RL_TOOL_KINDS(X)
#undef X
		RL_TOOL_KIND_COUNT
};
const char *rl_tool_kind_name(enum rl_tool_kind kind);

struct rl_tool_call {
	enum rl_tool_kind kind;
	rl_str id; /* empty where the dialect has none */
	rl_str name;
	/* FUNCTION: JSON text as the model wrote it, perhaps invalid; CUSTOM: free text; HOSTED: the whole call, raw. */
	rl_str arguments;
	struct rl_extras extras; /* of the object that holds name and arguments, inside the call */
};

struct rl_part;

struct rl_tool_result {
	rl_str call_id; /* of the call it answers; empty for LEGACY */
	rl_str name;    /* of the tool, where the dialect says it */
	const struct rl_part *parts;
	size_t n_parts;
	bool is_error;
	enum rl_tool_kind kind;
};

struct rl_part {
	enum rl_part_kind kind;
	union {
		rl_str text; /* TEXT, REFUSAL */
		struct rl_media media;
		struct rl_reasoning reasoning;
		struct rl_tool_call call;
		struct rl_tool_result result;
		rl_str json; /* RAW */
	};
	struct rl_extras extras;
};

/*
 * One turn, or a piece of one. A tool's result is a part, not a message: dialects
 * that give it a message of its own use role TOOL with one TOOL_RESULT part.
 */
struct rl_message {
	enum rl_role role;
	rl_str name; /* of the speaker, or empty */
	struct rl_part *parts;
	size_t n_parts;
	struct rl_extras extras;
};

/* A tool offered to the model. */
struct rl_tool {
	enum rl_tool_kind kind;
	rl_str name, description;
	rl_str schema; /* FUNCTION, LEGACY: raw JSON Schema of the arguments, or empty */
	rl_str format; /* CUSTOM: raw object, or empty */
	enum rl_choice3 strict;
	rl_str json;                    /* HOSTED: the whole definition, raw */
	struct rl_extras extras, inner; /* of the tool, and of the object inside that defines it */
};

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

/* Not said, for the integers below. */
#define RL_UNSET (-1)

struct rl_chat_request {
	rl_str dialect; /* who parsed it: whose words extras, RAW and HOSTED are */
	rl_str model;

	/* Chat. */
	struct rl_message *messages;
	size_t n_messages;
	struct rl_tool *tools;
	size_t n_tools;
	struct rl_tool_choice tool_choice;
	enum rl_choice3 parallel_tool_calls;
	struct rl_format format;
	rl_str effort; /* of reasoning: "none", "low" and so on, or empty */

	/* Completions and embeddings. */
	struct rl_input *inputs;
	size_t n_inputs;
	bool single_input;         /* one text or token list, not a list of them */
	int64_t dimensions;        /* RL_UNSET */
	enum rl_encoding encoding; /* of embeddings in the answer */

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

struct rl_choice {
	uint32_t index;
	enum rl_finish finish;
	rl_str finish_word;        /* the provider's own, when `finish` is OTHER */
	struct rl_message message; /* a completion's text is one TEXT part */
	rl_str logprobs;           /* raw, or empty */
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
	struct rl_usage usage;
	rl_str usage_json; /* the provider's own object, raw, in the words of `dialect`; or empty */
	struct rl_extras extras;
};

/* A line of the list of models. */
struct rl_model_line {
	rl_str id, owned_by;
	int64_t created; /* Unix time, seconds */
};

#endif
