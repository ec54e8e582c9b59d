/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dialect is one wire format of model providers, both directions, behind one
 * vtable (rooms dialect, for OpenAI's, and dialects). No dialect knows another. The gateway uses three groups of it:
 *
 *  - the border: what it must read of a request or an answer that passes through
 *    in the same dialect (spans, usage, finish, errors), without building a tree;
 *  - server side: request bytes to message, message to answer bytes;
 *  - client side: message to request bytes, answer bytes to message.
 *
 * Functions keep no state between calls except in the codec structs given. They
 * borrow their input; what they return points into it or into the arena.
 */
#ifndef RL_DIALECT_DIALECT_H
#define RL_DIALECT_DIALECT_H

#include "json/form.h"
#include "json/scan.h"
#include "json/splice.h"
#include "dialect/translate.h"
#include "frame/frames.h"
#include "message/event.h"
#include "message/usage.h"

/*     id           name           */
#define RL_OPERATIONS(X)                      \
	X(NONE, "none")                       \
	X(CHAT, "chat")                       \
	X(COMPLETION, "completion")           \
	X(EMBEDDING, "embedding")             \
	X(MODELS, "models")                   \
	X(MODERATION, "moderation")           \
	X(IMAGE, "image")                     \
	X(SPEECH, "speech")                   \
	X(RESPONSE, "response")               \
	X(IMAGE_EDIT, "image_edit")           \
	X(IMAGE_VARIATION, "image_variation") \
	X(TRANSCRIPTION, "transcription")     \
	X(TRANSLATION, "translation")         \
	X(COUNT_TOKENS, "count_tokens")       \
	X(PASS, "passthrough")

enum rl_operation {
#define X(id, name) RL_OP_##id,
	RL_OPERATIONS(X)
#undef X
		RL_OP_COUNT
};
const char *rl_operation_name(enum rl_operation op);

/* What the gateway reads of a request body before it knows where it goes. */
struct rl_envelope {
	rl_str model; /* unescaped; empty where the operation may go without (then model_span is absent) */
	bool stream;
	bool stateful;    /* builds on what a provider keeps: no other one can answer it, and it is not sent twice */
	bool sealed;      /* holds seals of another family (RL_SEAL_MARK): it cannot pass as it is */
	bool usage_asked; /* the client itself asked for usage in the stream */
	struct rl_json_span model_span, stream_options_span;
};

/* What the gateway sets in a body that otherwise passes untouched. */
struct rl_edit {
	rl_str model;    /* the target's own name of the model */
	bool want_usage; /* ask for usage in the stream if the client did not */
	const struct rl_body_member {
		rl_str name, json;
	} *set; /* configured top-level members */
	size_t n_set;
	const rl_str *remove;
	size_t n_remove;
};

/* The most slices that an edited body is made of. */
#define RL_BODY_PARTS_MAX RL_JSON_PARTS_MAX

/* What one event (or a whole answer) of a provider says, as far as the border cares. */
struct rl_glance {
	bool content; /* carries something a client would show or act on (text, tool call, refusal, reasoning, audio, embedding) */
	bool finish;     /* carries a finish reason: the answer is complete apart from usage */
	bool done;       /* the dialect's terminator */
	bool usage_only; /* exists only to report usage: dropped if the client did not ask */
	bool error;      /* an error in place of an answer; class in fault_class */
	enum rl_fault_class fault_class;
	enum rl_finish finish_reason;
	struct rl_usage usage;
};

/* One header of a provider's answer, for the readers below. */
struct rl_name_value {
	rl_str name, value;
};

struct rl_dialect {
	rl_str name;
	rl_str family;           /* whose seals its providers make; see translate.h */
	enum rl_framing framing; /* of its streams */
	/* Header fields that every call has ("anthropic-version"); ends with an empty name. NULL: none. */
	const struct rl_name_value *headers;
	/* Fields of a client's head that go on to a provider of the same dialect ("anthropic-beta"); ends with an empty one. NULL: none. */
	const rl_str *forwarded;
	rl_str key_header; /* where a provider's key stands ("x-api-key"); empty: Authorization, as Bearer */
	rl_str id_header;  /* what answers call the id of a request beside x-request-id; empty: nothing else */

	/* --- the border --- */
	/* Path below base_url for an operation ("/chat/completions"); empty if it has none. PASS: what precedes the rest. */
	rl_str (*path)(enum rl_operation op);
	/*
	 * Where the path names the model: adds path and query below base_url. NULL: `path` says it all. `op` is one that
	 * `path` knows (what it gives for it is the path's pattern then, for people).
	 */
	void (*write_path)(enum rl_operation op, const struct rl_facts *facts, bool stream, struct rl_buf *out);
	/* Checks and reads a request body. On failure *fault (status 400, text in arena) says what and where. */
	enum rl_err (*read_envelope)(enum rl_operation op, rl_str body, struct rl_arena *arena, struct rl_envelope *out,
				     struct rl_fault *fault);
	/*
	 * The edited body as slices of `body`, of `edit` and of the arena; one slice, the body, when nothing
	 * is to be changed. RL_ERR_DUPLICATE: a configured member is there twice, or in two spellings;
	 * RL_ERR_LIMIT: too many configured members; RL_ERR_NOMEM.
	 */
	enum rl_err (*edit_body)(rl_str body, const struct rl_envelope *env, const struct rl_edit *edit,
				 struct rl_arena *arena, rl_str parts[RL_BODY_PARTS_MAX], size_t *n);
	/* One SSE event's data; `form` is the stream's, zeroed at first. RL_ERR_SYNTAX: not valid in this dialect. */
	enum rl_err (*glance_event)(enum rl_operation op, rl_str event_name, rl_str data, struct rl_json_form *form,
				    struct rl_glance *out);
	/* A whole successful answer body. RL_ERR_SYNTAX: not valid in this dialect. */
	enum rl_err (*glance_answer)(enum rl_operation op, rl_str body, struct rl_glance *out);
	/* Class of an error answer, from machine codes first, then the status. */
	enum rl_fault_class (*classify)(uint16_t status, rl_str body);
	/* Text of a provider's error for the account and the client: at most 300 bytes, into the arena. */
	rl_str (*error_text)(rl_str body, struct rl_arena *arena);
	/* An error as this dialect's answer body. */
	void (*write_error)(const struct rl_fault *fault, struct rl_buf *out);
	/* The same as the last event of a broken stream (framing included). */
	void (*write_stream_error)(const struct rl_fault *fault, struct rl_buf *out);
	/* The list of models, or one of them. `created` is a Unix time in seconds. */
	void (*write_models)(const struct rl_model_line *models, size_t n, struct rl_buf *out);
	void (*write_model)(const struct rl_model_line *model, struct rl_buf *out);
	/* Ids in a provider's answer to the list of models, into the arena. */
	enum rl_err (*read_models)(rl_str body, struct rl_arena *arena, rl_str **ids, size_t *n);

	/* --- server side (requests in, answers out) --- */
	/* On failure *fault (status 400, text in arena) says what and where; RL_ERR_NOMEM too. */
	enum rl_err (*parse_request)(enum rl_operation op, rl_str body, struct rl_arena *arena,
				     struct rl_chat_request *out, struct rl_fault *fault);
	/* `out` fails (rl_buf_ok) when the answer does not fit. What the client's words lack is dropped in `t`. */
	void (*write_response)(enum rl_operation op, const struct rl_chat_response *response, struct rl_translation *t,
			       struct rl_buf *out);
	/* Media type of its streams; empty: text/event-stream. */
	rl_str stream_type;
	/* Events to bytes, framing included; `codec` holds what must be remembered between events. */
	void (*encode_event)(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out);
	size_t encoder_bytes;                           /* of `own` in the encoder */
	void (*encoder_fini)(struct rl_encoder *codec); /* gives back what `own` holds; NULL: nothing */

	/* --- client side (requests out, answers in) --- */
	/* Drops and refusals are in `t`; after a refusal (t->err) what is in `out` is worth nothing. */
	void (*write_request)(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
			      struct rl_buf *out);
	/* RL_ERR_SYNTAX: not an answer in this dialect; RL_ERR_NOMEM. */
	enum rl_err (*parse_response)(enum rl_operation op, rl_str body, struct rl_arena *arena,
				      struct rl_chat_response *out);
	size_t decoder_bytes; /* of `own` in the decoder */
	/*
	 * One event of the stream, as any number of events given to `emit`, whose text lives in `data` and the
	 * arena. RL_ERR_SYNTAX: not valid in this dialect; RL_ERR_LIMIT: more choices or tool calls than a
	 * codec holds; RL_ERR_NOMEM; or what `emit` returned.
	 */
	enum rl_err (*decode_event)(enum rl_operation op, struct rl_decoder *codec, rl_str event_name, rl_str data,
				    struct rl_arena *arena, rl_event_f emit, void *user);
};

/* All dialects, in the order of registration; ends with NULL. */
extern const struct rl_dialect *const rl_dialects[];
/* By name, or NULL. */
const struct rl_dialect *rl_dialect_find(rl_str name);

#endif
