/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What messages are made of: text, pictures, thoughts, calls of tools and their
 * results, without a dialect. Ownership and the meaning of "raw" are as chat.h says.
 */
#ifndef RL_MESSAGE_PART_H
#define RL_MESSAGE_PART_H

#include "base/slice.h"

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
	X(VIDEO, "video")             \
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
 * bytes: they go back exactly as they came, and only to the family of providers
 * that made them (`family`, dialect/seal.h). A provider that seals something else
 * than a thought (Gemini: a call, a text) gives a thought without text, signature
 * alone, directly before it.
 */
struct rl_reasoning {
	rl_str text;
	rl_str signature;
	rl_str redacted; /* an encrypted block in place of text */
	rl_str spelling; /* the field's name where it is another than the dialect's usual one; else empty */
	rl_str id;       /* of the block, where the dialect has one */
	rl_str family;   /* whose seals these are ("anthropic"); empty: there is none */
	rl_str json;     /* the block as it was, raw, in the words of the dialect that read it; or empty */
	bool summary;    /* the text is the provider's summary of the thought, not the thought */
};

/* "Everything up to here may be cached", on a part, a tool or a whole request. */
struct rl_cache_mark {
	bool set;
	rl_str ttl;  /* "5m", "1h"; empty: the provider's usual one */
	rl_str json; /* the mark as it was, raw, in the words of the dialect that read it; or empty */
};

/* Where a piece of the answer's text comes from. What does not apply is empty, or RL_UNSET. */
struct rl_citation {
	rl_str url, title;
	rl_str quoted;      /* the source's own words */
	int64_t start, end; /* of the piece in its text part, in Unicode characters */
	int64_t document;   /* number of the cited document among the request's, from 0 */
	rl_str json;        /* the whole, raw, in the words of the dialect that read it */
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
	const struct rl_citation *citations; /* of a TEXT in an answer */
	size_t n_citations;
	struct rl_cache_mark cache;
	struct rl_extras extras;
	/*
	 * Where the dialect has items between a turn and its parts (Responses): ids and states of the item that the part was
	 * in, in that dialect's words. Parts with the same list (the same `v`, which is not NULL then) were in one item. It
	 * means nothing to other dialects, who need not report it.
	 */
	struct rl_extras item;
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

/* Not said, for the integers of requests. */
#define RL_UNSET (-1)

/* A tool offered to the model. */
struct rl_tool {
	enum rl_tool_kind kind;
	rl_str name, description;
	rl_str schema; /* FUNCTION, LEGACY: raw JSON Schema of the arguments, or empty */
	rl_str format; /* CUSTOM: raw object as in chat completions ({"type":"grammar","grammar":{...}}), or empty */
	enum rl_choice3 strict;
	rl_str json; /* HOSTED: the whole definition, raw */
	struct rl_cache_mark cache;
	struct rl_extras extras, inner; /* of the tool, and of the object inside that defines it */
};

#endif
