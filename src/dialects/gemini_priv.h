/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the Gemini dialect share. gemini.c is its front (vtable, paths,
 * what passes through, errors, lists of models); gemini_request.c reads requests and
 * the parts that all content is made of, gemini_write.c writes requests, gemini_schema.c
 * turns schemas of tools, gemini_answer.c reads and writes whole answers, gemini_stream.c streams.
 *
 * Source of the shapes: the types of Google's GenAI SDK 3.1 for JavaScript, the
 * public reference of generateContent, and recorded traffic. Names come in camel and
 * in snake case, since the JSON form of protocol buffers takes both.
 *
 * Ids. The API gives its calls none, other dialects need them: a call without one gets
 * `RL_GEMINI_ID` and its place, and an id that begins so is never sent to Google.
 *
 * Seals. A thoughtSignature is base64 to the clients, so a foreign seal is wrapped
 * (translate.h) and encoded once more; a redacted block is marked by "~" inside.
 */
#ifndef RL_DIALECTS_GEMINI_PRIV_H
#define RL_DIALECTS_GEMINI_PRIV_H

#include "dialect/border.h"
#include "dialect/build.h"
#include "dialect/dialect.h"
#include "dialect/table.h"

#define RL_GEMINI_NAME "gemini"
#define RL_GEMINI_ID "call_gemini_"
/* `spelling` of a seal that stood on an empty text of its own, and so belongs to no part behind it. */
#define RL_GEMINI_ALONE "alone"

/* One member under its two names. */
#define RL_GEMINI_FIELD(type, member, camel, snake, read) \
	RL_FIELD(type, member, camel, read), RL_FIELD(type, member, snake, read)
#define RL_GEMINI_WHOLE(camel, snake, read) RL_WHOLE(camel, read), RL_WHOLE(snake, read)

/* --- gemini.c --- */
/* A usageMetadata object; *out stays as it is unless it reports tokens. */
void rl_gemini_read_usage(rl_str object, struct rl_usage *out);
/* Our finish of a finishReason, and the other way; "STOP" for what is not said. */
enum rl_finish rl_gemini_finish(rl_str word);
rl_str rl_gemini_finish_word(enum rl_finish finish, rl_str own);
/* The word itself, in memory that stays; empty if it is none of the API's. */
rl_str rl_gemini_known_word(rl_str word);
/* {"error":{...}} without framing. */
void rl_gemini_write_error(const struct rl_fault *fault, struct rl_buf *out);
/* An error that came inside a stream, as the client is to see it; text into the arena. */
void rl_gemini_read_error(rl_str body, struct rl_arena *arena, struct rl_fault *out);
/* The value of `key` in an object, raw; empty when absent. */
rl_str rl_gemini_member(rl_str object, const char *key);

/* --- gemini_request.c --- */
/* Calls so far: who has no id gets one, and results without one find their call by name and order. */
struct rl_gemini_calls {
	rl_str seed;     /* of an answer: its id, so that ids differ from answer to answer; p == NULL: a request */
	uint32_t choice; /* of an answer */
	size_t n;        /* calls so far */
	struct rl_gemini_call {
		rl_str id, name;
		bool answered;
	} *open; /* of the last turn of the model, in a request */
	size_t n_open, cap, first;
};
/* The id of a call that has none; p == NULL without memory. */
rl_str rl_gemini_make_id(struct rl_gemini_calls *calls, rl_str name, struct rl_arena *arena);
/* How many parts a list of parts can give at most. */
size_t rl_gemini_count_parts(rl_str list);
/* One part of a content, as one or two of ours. */
void rl_gemini_read_part(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_gemini_calls *calls,
			 struct rl_message *out);
/* All parts of a content into message->parts, which has room. */
void rl_gemini_read_parts(struct rl_reader *p, const struct rl_place *at, rl_str list, struct rl_gemini_calls *calls,
			  struct rl_message *out);
enum rl_err rl_gemini_parse_request(enum rl_operation op, rl_str body, struct rl_arena *arena,
				    struct rl_chat_request *out, struct rl_fault *fault);
/* Base64 in either alphabet, padded or not; p == NULL: it is none, or no memory. */
rl_str rl_gemini_decode64(rl_str text, struct rl_arena *arena);

/* --- gemini_schema.c --- */
/* A schema in OpenAPI's subset as JSON Schema, in the arena; empty without memory. */
rl_str rl_gemini_json_schema(rl_str schema, struct rl_arena *arena);
/*
 * JSON Schema in OpenAPI's subset. What cannot be kept is refused where it decides what is valid, and dropped, under
 * `place`, where it is a remark or makes a bound a little wider.
 */
void rl_gemini_write_subset(rl_str schema, struct rl_translation *t, const char *place, struct rl_buf *out);

/* --- gemini_write.c --- */
/* Writes the parts of one content. What a reader of another family must not see is dropped, wrapped or refused. */
struct rl_gemini_writer {
	struct rl_buf *out;
	struct rl_translation *t;
	bool ours;       /* the message was read by this dialect */
	bool answer;     /* to a client: seals are wrapped; else to Google: foreign ones are dropped */
	bool needs_seal; /* the first call of a turn has to have one, true or not */
	bool call_seen;  /* in this turn */
	size_t message;  /* number of the message, for names of what is dropped */
	rl_str seal;     /* for the next part */
	bool seal_alone; /* it stays on a text of its own */
	const struct rl_chat_request *request; /* where names of calls are found; NULL in answers */
};
void rl_gemini_write_parts(struct rl_gemini_writer *w, const struct rl_part *parts, size_t n);
/* The seal that is still held, on an empty text of its own. */
void rl_gemini_write_rest(struct rl_gemini_writer *w);
/* A seal as thoughtSignature for a client; p == NULL without memory. */
rl_str rl_gemini_wrap_seal(rl_str seal, rl_str redacted, rl_str family, struct rl_arena *arena);
/* Arguments of a call as the object that `args` has to be. */
void rl_gemini_write_args(rl_str arguments, struct rl_buf *out);
void rl_gemini_write_request(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
			     struct rl_buf *out);

/* --- gemini_answer.c --- */
/* One candidate, and the answer or the piece of a stream that holds it, before they are put together. */
struct rl_gemini_candidate {
	rl_str content, finish, logprobs; /* content and logprobs raw */
	int64_t index;
	struct rl_extras extras;
};
struct rl_gemini_answer {
	rl_str candidates, usage; /* raw */
	rl_str id, model, created;
	struct rl_extras extras;
};
void rl_gemini_read_candidate(struct rl_reader *p, const struct rl_place *at, rl_str value,
			      struct rl_gemini_candidate *out);
void rl_gemini_read_answer(struct rl_reader *p, rl_str body, struct rl_gemini_answer *out);
/* Why a prompt was not answered, raw, from the answer's extras; empty when it was. */
rl_str rl_gemini_block_reason(struct rl_extras extras);
/* RFC 3339 in seconds since 1970; 0 for anything else. */
int64_t rl_gemini_time(rl_str text);
enum rl_err rl_gemini_parse_response(enum rl_operation op, rl_str body, struct rl_arena *arena,
				     struct rl_chat_response *out);
void rl_gemini_write_response(enum rl_operation op, const struct rl_chat_response *response, struct rl_translation *t,
			      struct rl_buf *out);
void rl_gemini_write_usage(const struct rl_usage *usage, struct rl_buf *out);
/* A logprobsResult in the words of OpenAI's API, into the arena; empty: nothing, or no memory (noted). */
rl_str rl_gemini_read_logprobs(struct rl_reader *p, rl_str result);
void rl_gemini_write_logprobs(rl_str logprobs, struct rl_buf *out);

/* --- gemini_stream.c --- */
/* What the codecs remember (`own`); gemini_stream.c asserts that it fits. */
#define RL_GEMINI_ENCODER_BYTES 16384u
#define RL_GEMINI_DECODER_BYTES 2048u
void rl_gemini_encode_event(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out);
void rl_gemini_encoder_fini(struct rl_encoder *codec);
enum rl_err rl_gemini_decode_event(enum rl_operation op, struct rl_decoder *codec, rl_str event_name, rl_str data,
				   struct rl_arena *arena, rl_event_f emit, void *user);

#endif
