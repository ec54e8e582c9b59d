/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the Responses dialect share. responses.c is its front (the
 * vtable) and its border; responses_read.c reads whole bodies, responses_write.c
 * (with responses_items.c) writes them, responses_stream.c decodes streams and responses_encode.c makes them.
 *
 * A conversation is a list of items here. What lies between two turns of the user
 * is one message of ours: thoughts, texts and calls of one answer are its parts,
 * and rl_part.item remembers where one item ended and the next began.
 *
 * Source of the shapes: the types of OpenAI's Node SDK 7.57 and recorded traffic
 * (OpenAI, LM Studio, GitHub Copilot).
 */
#ifndef RL_RESPONSES_RESPONSES_PRIV_H
#define RL_RESPONSES_RESPONSES_PRIV_H

#include "dialect/build.h"
#include "dialect/dialect.h"
#include "dialect/table.h"

#define RL_RESPONSES_NAME "responses"
#define RL_RESPONSES_FAMILY "openai"
/* In a seal that another family made: it is a whole encrypted block, not the signature of a text. */
#define RL_RESPONSES_REDACTED "redacted:"

static inline bool rl_responses_ours(rl_str dialect)
{
	return rl_str_eq(dialect, RL_STR(RL_RESPONSES_NAME));
}

/* One member of an object, raw; empty when it is not there. */
static inline rl_str rl_responses_member(rl_str object, rl_str key)
{
	struct rl_json_span span;

	rl_json_find(object, &key, 1, &span);
	return rl_json_span_text(object, &span);
}

/* --- responses.c --- */
/* A usage object; *out stays as it is unless it reports tokens. */
void rl_responses_read_usage(rl_str object, struct rl_usage *out);
/* The error in an event or in a response that failed, as the client is to see it; text into the arena. */
void rl_responses_read_error(rl_str object, struct rl_arena *arena, struct rl_fault *out);
/* What the status of a response, and the reason why it is incomplete, say; raw values. *word: for OTHER, its plain text. */
enum rl_finish rl_responses_finish(rl_str status, rl_str details, rl_str *word);

/* --- responses_read.c --- */
enum rl_err rl_responses_parse_request(enum rl_operation op, rl_str body, struct rl_arena *arena,
				       struct rl_chat_request *out, struct rl_fault *fault);
enum rl_err rl_responses_parse_response(enum rl_operation op, rl_str body, struct rl_arena *arena,
					struct rl_chat_response *out);
/* The parts of one item of `output`; *n of them in the arena. An item that is not modelled is one RAW part. */
struct rl_part *rl_responses_read_item(struct rl_reader *p, rl_str item, size_t *n);
/* One element of `annotations`. */
void rl_responses_read_citation(struct rl_reader *p, rl_str value, struct rl_citation *out);
/* Members of a response that only repeat what was asked, or stand for the response itself. */
bool rl_responses_is_echo(rl_str raw_key);

/* --- responses_write.c --- */
void rl_responses_write_request(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
				struct rl_buf *out);
void rl_responses_write_response(enum rl_operation op, const struct rl_chat_response *response,
				 struct rl_translation *t, struct rl_buf *out);
void rl_responses_write_usage(const struct rl_usage *usage, struct rl_buf *out);
void rl_responses_write_annotation(const struct rl_citation *citation, bool ours, struct rl_buf *out);

/*
 * The list of log probabilities in this API's words, raw; empty when `dialect` has others. OpenAI's other dialect has
 * the same elements in an object.
 */
rl_str rl_responses_logprobs(rl_str logprobs, rl_str dialect);

/* A response object around its output. */
struct rl_responses_shell {
	rl_str id, model;
	int64_t created;
	const char *status;
	rl_str reason;                         /* why it is incomplete, or empty */
	const struct rl_fault *fault;          /* why it failed, or NULL */
	rl_str output;                         /* raw elements, with commas between them */
	rl_str usage;                          /* raw object, or empty */
	rl_str echo;                           /* raw members in place of what `request` says, or empty */
	const struct rl_chat_request *request; /* or NULL */
};
/* The settings of the request, which every response repeats; the official SDKs rely on some of them. NULL: the usual. */
void rl_responses_write_echo(const struct rl_chat_request *request, struct rl_buf *out);
void rl_responses_write_shell(const struct rl_responses_shell *shell, struct rl_buf *out);
/* How a finish is told: the status, and for "incomplete" the reason. */
const char *rl_responses_status(enum rl_finish finish, rl_str *reason);
/* A machine code for an error of this class. */
rl_str rl_responses_error_code(const struct rl_fault *fault);
/* An id for the n-th item of an answer: the same for the same answer. */
rl_str rl_responses_item_id(char room[64], const char *prefix, rl_str answer_id, uint32_t n);

/* --- responses_stream.c, responses_encode.c --- */
/* Of what they remember; the files themselves check it. */
#define RL_RESPONSES_DECODER_BYTES 2688
#define RL_RESPONSES_ENCODER_BYTES 2048

enum rl_err rl_responses_decode_event(enum rl_operation op, struct rl_decoder *codec, rl_str event_name, rl_str data,
				      struct rl_arena *arena, rl_event_f emit, void *user);
void rl_responses_encode_event(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out);
void rl_responses_encoder_fini(struct rl_encoder *codec);

#endif
