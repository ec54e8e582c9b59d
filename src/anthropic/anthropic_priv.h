/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the Anthropic Messages dialect share. anthropic.c is its front: the
 * vtable, the border, errors and lists of models; anthropic_read.c reads whole bodies,
 * anthropic_write.c writes them, anthropic_stream.c does both for streams.
 *
 * Source of the shapes: the types of Anthropic's TypeScript SDK 0.137 and 1.12, the
 * versioning pages of its documentation, and recorded traffic.
 *
 * How it differs from the common message, and what is done about it:
 *  - `system` stands beside the messages: leading SYSTEM and DEVELOPER messages. Later ones become text of the
 *    user's turn when they come from a dialect that has them anywhere.
 *  - Turns alternate, all results of a turn's calls come first in the very next one: a foreign conversation is
 *    written so, whatever its order was.
 *  - Usage counts cached tokens beside the input, not in it.
 *  - A seal is of use only to the family "anthropic"; thoughts without one are left out of requests.
 */
#ifndef RL_DIALECTS_ANTHROPIC_PRIV_H
#define RL_DIALECTS_ANTHROPIC_PRIV_H

#include "dialect/border.h"
#include "dialect/build.h"

#define RL_ANTHROPIC_NAME "anthropic"
#define RL_ANTHROPIC_FAMILY "anthropic"
/* The API version from which on sampling parameters are an error; versions are dates and compare as text. */
#define RL_ANTHROPIC_NO_SAMPLING "2026-10-21"

/* --- anthropic.c --- */
/* A usage object; what it does not say stays as it is in *counts. False: it says nothing at all. */
struct rl_anthropic_usage {
	uint64_t input, cache_read, cache_write, cache_write_1h, output, thinking;
};
bool rl_anthropic_count(rl_str object, struct rl_anthropic_usage *counts);
/* In the common arithmetic. */
struct rl_usage rl_anthropic_usage(const struct rl_anthropic_usage *counts);
void rl_anthropic_write_usage(const struct rl_usage *usage, struct rl_buf *out);
/* The error object of a body or an event as the client is to see it; text into the arena. */
void rl_anthropic_read_error(rl_str body, struct rl_arena *arena, struct rl_fault *out);
/* {"type":"error",...} without framing. */
void rl_anthropic_write_error(const struct rl_fault *fault, struct rl_buf *out);

/* --- anthropic_read.c --- */
struct rl_reader;
struct rl_place;
/* One block of content. */
void rl_anthropic_read_block(struct rl_reader *p, const struct rl_place *at, rl_str value, struct rl_part *part);
/* The common meaning of a stop reason; *word is set where that is less than the word says. */
enum rl_finish rl_anthropic_finish(rl_str reason, bool called, rl_str *word);
void rl_anthropic_read_citation(struct rl_reader *p, rl_str value, struct rl_citation *out);
enum rl_err rl_anthropic_parse_request(enum rl_operation op, rl_str body, struct rl_arena *arena,
				       struct rl_chat_request *out, struct rl_fault *fault);
enum rl_err rl_anthropic_parse_response(enum rl_operation op, rl_str body, struct rl_arena *arena,
					struct rl_chat_response *out);

/* --- anthropic_write.c --- */
/* The word for a reason; `word` is the provider's own, if it was Anthropic's. */
rl_str rl_anthropic_stop_reason(enum rl_finish finish, rl_str word, bool sequence, bool refused);
/* Text as inside a JSON string, which is open already. */
void rl_anthropic_add_inside(struct rl_buf *out, rl_str text);
void rl_anthropic_write_request(enum rl_operation op, const struct rl_chat_request *request, struct rl_translation *t,
				struct rl_buf *out);
void rl_anthropic_write_response(enum rl_operation op, const struct rl_chat_response *response,
				 struct rl_translation *t, struct rl_buf *out);

/* --- anthropic_stream.c --- */
/* Zeroed at first; see rl_decoder.own. */
struct rl_anthropic_decoder {
	struct rl_anthropic_usage counts; /* as far as told: each event may say a part */
	bool any_block;                   /* a block has begun */
};
/* Zeroed at first; see rl_encoder.own. */
struct rl_anthropic_encoder {
	bool started;           /* message_start is out */
	bool pinged;            /* the ping behind the first block's start is out */
	bool finished;          /* a FINISH has come */
	bool called;            /* a call has begun */
	bool refused;           /* a refusal was written as text */
	bool sealed;            /* the open thought's seal has begun */
	enum rl_part_kind open; /* kind of the block that is open; NONE */
	uint32_t part, tool;    /* its part, or its call */
	uint32_t blocks;        /* that were begun */
	uint32_t depth;         /* of brackets in the open call's arguments */
	bool in_string, escaped, begun;
	struct rl_buf ending;                     /* the members of message_delta's delta */
	struct rl_buf held;                       /* pieces of calls that wait for the open one to end */
	uint64_t closed[RL_CODEC_TOOLS_MAX / 64]; /* calls whose block is over */
};

enum rl_err rl_anthropic_decode_event(enum rl_operation op, struct rl_decoder *codec, rl_str event_name, rl_str data,
				      struct rl_arena *arena, rl_event_f emit, void *user);
void rl_anthropic_encode_event(struct rl_encoder *codec, const struct rl_event *event, struct rl_buf *out);
void rl_anthropic_encoder_fini(struct rl_encoder *codec);
void rl_anthropic_write_stream_error(const struct rl_fault *fault, struct rl_buf *out);

#endif
