/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer as it streams: a sequence of small events, the same whatever the
 * dialect. Order: START once; then per choice any number of pieces and one FINISH;
 * USAGE any number of times, each replacing the last; then DONE, or ERROR in its
 * place. A decoder turns a provider's stream into these, an encoder turns these
 * into a client's stream; both remember no more than what is written here, so a
 * stream of any length has a fixed cost.
 *
 * An event and its text live until the call that it was given to returns.
 */
#ifndef RL_MESSAGE_EVENT_H
#define RL_MESSAGE_EVENT_H

#include "base/buf.h"
#include "base/err.h"
#include "message/chat.h"
#include "message/fault.h"
#include "message/finish.h"
#include "message/usage.h"

#define RL_EVENTS(X)                                  \
	X(NONE, "none")                               \
	X(START, "start")                             \
	X(TEXT, "text")                               \
	X(REFUSAL, "refusal")                         \
	X(REASONING, "reasoning")                     \
	X(CITATION, "citation")                       \
	X(TOOL_CALL_START, "tool_call_start")         \
	X(TOOL_CALL_ARGUMENTS, "tool_call_arguments") \
	X(EXTRA, "extra")                             \
	X(FINISH, "finish")                           \
	X(USAGE, "usage")                             \
	X(ERROR, "error")                             \
	X(DONE, "done")

enum rl_event_kind {
#define X(id, name) RL_EVENT_##id,
	RL_EVENTS(X)
#undef X
		RL_EVENT_COUNT
};
const char *rl_event_kind_name(enum rl_event_kind kind);

/* Where a member stood that no event kind models. */
enum rl_extra_scope { RL_EXTRA_ANSWER, RL_EXTRA_CHOICE, RL_EXTRA_DELTA };

struct rl_event {
	enum rl_event_kind kind;
	uint32_t choice; /* which of the n answers; all kinds but START, USAGE, ERROR, DONE */
	uint32_t tool;   /* TOOL_*: number of the call within its choice, from 0, in order of START */
	rl_str text;     /* TEXT, REFUSAL, REASONING, TOOL_CALL_ARGUMENTS: the next piece */
	/*
	 * Number of the part (struct rl_part) that this belongs to, within its choice, from 0. A dialect that has no such
	 * numbers gives every kind its own; whoever writes parts ends one when number or kind changes.
	 */
	uint32_t part;
	rl_str signature;                   /* REASONING: a piece of the provider's seal, or empty */
	rl_str redacted;                    /* REASONING: an encrypted block, whole, alone in its part */
	rl_str spelling;                    /* REASONING: as in struct rl_reasoning */
	rl_str family;                      /* REASONING: whose seal it is */
	bool summary;                       /* REASONING: as in struct rl_reasoning */
	const struct rl_citation *citation; /* CITATION: of the text part that is being written */
	rl_str logprobs;                    /* TEXT, REFUSAL: raw, or empty */
	rl_str id;   /* START: of the answer; REASONING: of its block; TOOL_CALL_START: of the call, perhaps empty */
	rl_str name; /* START: model; TOOL_CALL_START: of the tool */
	int64_t created; /* START: Unix time, seconds; 0: not said */
	enum rl_tool_kind tool_kind;
	enum rl_finish finish;
	rl_str finish_word;   /* FINISH: as in struct rl_choice */
	rl_str stop_sequence; /* FINISH: the one that was met; p == NULL: not said */
	struct rl_usage usage;
	rl_str usage_json;       /* USAGE: the provider's own object, raw, or empty */
	struct rl_extras extras; /* START: of the whole answer; EXTRA: of extra_scope */
	enum rl_extra_scope extra_scope;
	const struct rl_fault *fault; /* ERROR */
	rl_str dialect;               /* whose words usage_json and extras are; empty: nobody's */
};

/* Takes one event. A result other than OK stops the decoder, which returns it. */
typedef enum rl_err (*rl_event_f)(void *user, const struct rl_event *event);

/* The most choices of one answer, and tool calls of one answer, that a stream may hold. */
#define RL_CODEC_CHOICES_MAX 128
#define RL_CODEC_TOOLS_MAX 128

/* A tool call that is under way. */
struct rl_codec_tool {
	uint32_t choice, wire, tool; /* wire: the number that the provider gives it */
	uint64_t id_hash;            /* of its id; 0: it had none */
};

/* From a provider's stream. */
struct rl_decoder {
	bool started, done;
	uint64_t tool_called[RL_CODEC_CHOICES_MAX / 64]; /* choices in which a tool was called */
	struct rl_codec_tool tools[RL_CODEC_TOOLS_MAX];
	size_t n_tools;
	void *own; /* what else the dialect must remember: its `decoder_bytes`, zeroed, of whoever made the codec; or NULL */
};

void rl_decoder_init(struct rl_decoder *codec);

#define RL_ENCODER_LOST_MAX 8u

/* The seal of a thought, held back until what follows says whose it is: it may come in pieces, or belong to a call. */
struct rl_codec_seal {
	struct rl_buf bytes;
	uint32_t choice, part;
	bool held, text, summary; /* text: some stood before it in its part */
	char family[33], id[81];  /* as text; too long is none */
};

/* To a client's stream. */
struct rl_encoder {
	unsigned operation; /* enum rl_operation of the dialect room */
	bool include_usage; /* the client asked for it */
	bool array;         /* elements of one JSON array in place of the dialect's framing (Gemini, without alt=sse) */
	bool ended;         /* DONE or ERROR is out: the rest is ignored */
	uint64_t opened[RL_CODEC_CHOICES_MAX / 64]; /* choices whose first chunk is out */
	struct rl_buf head;                         /* what each chunk begins with */
	struct rl_buf usage;                        /* the last usage object */
	/* What was asked, for dialects whose answers repeat it; read with the first event and not later. Or NULL. */
	const struct rl_chat_request *request;
	struct rl_codec_seal seal;
	void *own; /* what else the dialect must remember: its `encoder_bytes`, zeroed, of whoever made the codec; or NULL */
	const char *lost[RL_ENCODER_LOST_MAX]; /* what of the answer the client's words lack ("answer.citations") */
	unsigned n_lost;
};

/* Takes no memory before the first event. */
void rl_encoder_init(struct rl_encoder *codec, unsigned operation, bool include_usage);
void rl_encoder_fini(struct rl_encoder *codec); /* accepts NULL */

/* Names what of an answer is left out; a literal. Once each. */
void rl_encoder_lose(struct rl_encoder *codec, const char *what);

/* Sets bit `at`; whether it was set before. at >= RL_CODEC_CHOICES_MAX: true. */
bool rl_codec_mark(uint64_t bits[RL_CODEC_CHOICES_MAX / 64], uint32_t at);
bool rl_codec_marked(const uint64_t bits[RL_CODEC_CHOICES_MAX / 64], uint32_t at);

#endif
