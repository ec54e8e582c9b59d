/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of Ollama's own dialect share: ollama.c is its front (vtable, what
 * passes through, errors, lists), ollama_request.c reads and writes requests,
 * ollama_answer.c answers, whole and streamed.
 *
 * Source of the shapes: api/types.go of the Ollama server and its JavaScript client
 * 0.6.4. What is peculiar: arguments of calls are objects, answers stream unless the
 * request says no, sampling stands in `options`, and pictures are bare base64.
 */
#ifndef RL_DIALECTS_OLLAMA_PRIV_H
#define RL_DIALECTS_OLLAMA_PRIV_H

#include "dialect/build.h"
#include "dialect/dialect.h"
#include "dialect/table.h"

#define RL_OLLAMA_NAME "ollama"
/* How extras that stood in `options` are called: with this before their own name. */
#define RL_OLLAMA_OPTION "\"options."

/* --- ollama.c --- */
/* Counts as they stand at the end of an answer; *out stays as it is unless there are some. */
void rl_ollama_read_usage(rl_str answer, struct rl_usage *out);
enum rl_finish rl_ollama_finish(rl_str done_reason, bool called);
void rl_ollama_write_error(const struct rl_fault *fault, struct rl_buf *out);
/* An error that came inside a stream or a 200; text into the arena. */
void rl_ollama_read_error(rl_str body, struct rl_arena *arena, struct rl_fault *out);

/* --- ollama_request.c --- */
enum rl_err rl_ollama_parse_request(enum rl_operation op, rl_str body, struct rl_arena *arena,
				    struct rl_chat_request *out, struct rl_fault *fault);
void rl_ollama_write_request(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
			     struct rl_buf *out);
/* A message of a request or an answer; `nth` makes the ids of calls that have none. */
void rl_ollama_read_message(struct rl_reader *p, const struct rl_place *at, rl_str value, uint64_t nth,
			    struct rl_message *out);
/* Arguments as the object that they have to be here. */
void rl_ollama_write_arguments(rl_str arguments, struct rl_buf *out);

/* --- ollama_answer.c --- */
enum rl_err rl_ollama_parse_response(enum rl_operation op, rl_str body, struct rl_arena *arena,
				     struct rl_chat_response *out);
void rl_ollama_write_response(enum rl_operation op, const struct rl_chat_response *response, struct rl_translation *t,
			      struct rl_buf *out);
/* What the encoder holds: a call has to be written whole, so its pieces wait for the answer's end. */
struct rl_ollama_encoder {
	struct rl_buf calls[RL_CODEC_TOOLS_MAX]; /* by number: the call up to its arguments, then these */
	size_t arguments_at[RL_CODEC_TOOLS_MAX]; /* where in the text above they begin; 0: there is no such call */
	struct rl_buf tail;                      /* members of the last line in our own words */
	enum rl_finish finish;
	struct rl_usage usage;
};
void rl_ollama_encode_event(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out);
void rl_ollama_encoder_fini(struct rl_encoder *codec);
enum rl_err rl_ollama_decode_event(enum rl_operation op, struct rl_decoder *codec, rl_str event_name, rl_str data,
				   struct rl_arena *arena, rl_event_f emit, void *user);

#endif
