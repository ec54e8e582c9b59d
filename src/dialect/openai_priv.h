/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the OpenAI dialect share. openai.c is its front (the vtable,
 * errors and model lists out), openai_border.c reads what passes through
 * (openai_response.c: what of it is the Responses API's own),
 * openai_error.c judges a provider's errors; openai_message.c, openai_request.c and
 * openai_answer.c read whole bodies, openai_write.c and openai_reply.c write them, openai_thoughts.c
 * does both for reasoning; openai_decode.c and openai_encode.c are for streams.
 *
 * Source of the shapes: the types of OpenAI's Node SDK 7.57 and recorded traffic;
 * what vendors of compatible servers do differently is marked where it is handled.
 */
#ifndef RL_DIALECT_OPENAI_PRIV_H
#define RL_DIALECT_OPENAI_PRIV_H

#include "dialect/border.h"
#include "dialect/build.h"
#include "dialect/dialect.h"

#define RL_OPENAI_NAME "openai"

/* --- openai_border.c --- */
enum rl_err rl_openai_read_envelope(enum rl_operation op, rl_str body, struct rl_arena *arena, struct rl_envelope *out,
				    struct rl_fault *fault);
enum rl_err rl_openai_edit_body(rl_str body, const struct rl_envelope *env, const struct rl_edit *edit,
				struct rl_arena *arena, rl_str parts[RL_BODY_PARTS_MAX], size_t *n);
enum rl_err rl_openai_glance_event(enum rl_operation op, rl_str event_name, rl_str data, struct rl_json_form *form,
				   struct rl_glance *out);
enum rl_err rl_openai_glance_answer(enum rl_operation op, rl_str body, struct rl_glance *out);
/* A usage object; *out stays as it is unless it reports tokens. */
void rl_openai_read_usage(rl_str object, struct rl_usage *out);
/* What JavaScript takes for true: how the official clients tell an error from its absence. */
bool rl_openai_truthy(rl_str value);

/* --- openai_response.c --- */
/* Whether a request of the Responses API builds on what its provider keeps (an earlier response, a conversation). */
bool rl_openai_response_is_stateful(rl_str body);
enum rl_err rl_openai_glance_response_event(rl_str event_name, rl_str data, struct rl_glance *out);
/* Usage as everything newer than chat spells it; *out stays as it is unless it reports tokens. */
void rl_openai_read_input_usage(rl_str object, struct rl_usage *out);

/* --- openai_error.c --- */
enum rl_fault_class rl_openai_classify(uint16_t status, rl_str body);
rl_str rl_openai_error_text(rl_str body, struct rl_arena *arena);
/* An error that came inside a stream or a 200, as the client is to see it; text into the arena. */
void rl_openai_read_error(rl_str body, struct rl_arena *arena, struct rl_fault *out);

/* --- openai.c --- */
/* {"error":{...}} without framing. */
void rl_openai_write_error(const struct rl_fault *fault, struct rl_buf *out);
void rl_openai_write_stream_error(const struct rl_fault *fault, struct rl_buf *out);

/* --- openai_message.c --- */
struct rl_reader;
struct rl_place;
/*
 * One message. Order of its parts: thoughts, content, refusal, calls, as models produce them. A role
 * that is missing or unknown is `fallback`, or an error when that is NONE.
 */
void rl_openai_read_message(struct rl_reader *p, const struct rl_place *at, rl_str value, enum rl_role fallback,
			    struct rl_message *out);

/* A cache mark among extras is taken out of them. */
void rl_openai_take_mark(struct rl_reader *p, struct rl_extras *extras, struct rl_cache_mark *out);
/* An element of `annotations`; false: it is of another kind. */
bool rl_openai_read_citation(struct rl_reader *p, rl_str value, struct rl_citation *out);

/* --- openai_thoughts.c: reading --- */

/* What a message says of its thoughts; lists are raw. */
struct rl_openai_thoughts {
	rl_str reasoning_content, reasoning, signature; /* unescaped */
	rl_str details, blocks;
};
/* Takes the lists that are understood out of a message's extras; the most parts that they give. */
size_t rl_openai_take_thoughts(struct rl_openai_thoughts *from, struct rl_extras *extras);
/* Appends the parts; there is room for those counted and two. */
void rl_openai_put_thoughts(struct rl_reader *p, const struct rl_openai_thoughts *from, struct rl_message *out);
/* `call` is the last part: a seal that it bears goes before it. There is room for one more. */
void rl_openai_put_call_seal(struct rl_reader *p, struct rl_part *call, struct rl_message *out);
void rl_openai_order_seals(struct rl_message *message);

/* --- openai_request.c, openai_answer.c --- */
enum rl_err rl_openai_parse_request(enum rl_operation op, rl_str body, struct rl_arena *arena,
				    struct rl_chat_request *out, struct rl_fault *fault);
enum rl_err rl_openai_parse_response(enum rl_operation op, rl_str body, struct rl_arena *arena,
				     struct rl_chat_response *out);

/* --- openai_write.c: requests, and what answers share with them --- */

struct rl_openai_writer {
	struct rl_buf *out;
	struct rl_translation *t;
	const struct rl_chat_request *request; /* NULL in answers */
	bool ours;                             /* the message was of this dialect: extras and RAW are its words */
	bool answer;                           /* goes to a client */
	size_t message;                        /* the message, or choice, that is being written */
};

/* Names something of the present message, or of the answer, that is left out. */
void rl_openai_drop(const struct rl_openai_writer *w, const char *what);
/* Ours are written, others are dropped below `place` within the present message (empty: the message itself). */
void rl_openai_put_extras(const struct rl_openai_writer *w, const char *place, struct rl_extras list);
/* As inside a JSON string, which is open already. */
void rl_openai_add_inside(struct rl_buf *out, rl_str text);
/* The id of a call, the `part`th of the present message, as the reader may have it; made from its place where it has none. */
rl_str rl_openai_call_id(const struct rl_openai_writer *w, const struct rl_tool_call *call, size_t part);
void rl_openai_build_media_url(struct rl_buf *out, const char *key, const struct rl_media *media);
/* The members of a message, without its braces; a tool's results are not among them. */
void rl_openai_write_members(const struct rl_openai_writer *w, const struct rl_message *message);
void rl_openai_write_calls(const struct rl_openai_writer *w, const struct rl_message *message);
void rl_openai_write_request(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
			     struct rl_buf *out);

/* --- openai_thoughts.c: writing --- */
void rl_openai_write_thoughts(const struct rl_openai_writer *w, const struct rl_message *message);
/* What stood on the call, the `call`th part. */
void rl_openai_write_call_seal(const struct rl_openai_writer *w, const struct rl_message *message, size_t call);
/* One element of `reasoning_details`, or two; `seal` bears its mark. `call_id`: of the call that it seals, or empty. */
void rl_openai_write_detail(struct rl_buf *out, const struct rl_reasoning *r, rl_str seal, rl_str call_id,
			    size_t index);

/* --- openai_reply.c --- */
void rl_openai_write_response(enum rl_operation op, const struct rl_chat_response *response, struct rl_translation *t,
			      struct rl_buf *out);
void rl_openai_write_usage(const struct rl_usage *usage, struct rl_buf *out);
/* An element of `annotations`; false: this form has no place for it. `shift`: characters before its text part. */
bool rl_openai_write_citation(struct rl_buf *out, const struct rl_citation *citation, bool ours, int64_t shift);

/* --- openai_encode.c, openai_decode.c --- */
void rl_openai_encode_event(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out);
enum rl_err rl_openai_decode_event(enum rl_operation op, struct rl_decoder *codec, rl_str event_name, rl_str data,
				   struct rl_arena *arena, rl_event_f emit, void *user);

#endif
