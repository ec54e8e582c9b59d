/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a simulated provider treats one request. Every field is one row of
 * behaviour_table.h, which is at once a key of the scenario and an x-sim-* header.
 * Private to this room.
 */
#ifndef RL_SERVICE_BEHAVIOUR_H
#define RL_SERVICE_BEHAVIOUR_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/random.h"
#include "base/slice.h"

/* A length of time that is drawn anew for each request. Zeroed: nothing. */
struct sim_dist {
	enum { SIM_DIST_FIXED = 0, SIM_DIST_UNIFORM, SIM_DIST_LOGNORMAL } kind;
	double a, b; /* ms: the time; least and most; or the median and the 99th percentile */
};

/* "20ms", "10ms..50ms" (uniform), "100ms/1s" (log-normal by median and 99th percentile). NULL, or what is wrong. */
const char *rl_sim_dist_parse(struct rl_arena *arena, rl_str text, void *field);
/* Draws only where there is something to draw, so that a fixed time leaves the numbers that follow as they were. */
uint64_t rl_sim_dist_draw(const struct sim_dist *dist, struct rl_rng *rng);

/* What an interruption does, and where. */
enum sim_action { SIM_ACT_NONE = 0, SIM_ACT_RESET, SIM_ACT_FIN, SIM_ACT_STALL };

#define SIM_POINTS(X)                                                                                 \
	X(BEFORE_HEAD, "before_head", false, "before the first byte of the answer")                   \
	X(AFTER_HEAD, "after_head", false, "when the head of the answer is out")                      \
	X(AFTER_BYTES, "after_bytes", true, "after N bytes of the answer, head and framing included") \
	X(AFTER_EVENTS, "after_events", true,                                                         \
	  "after N content events of a stream (of a whole answer: 0 "                                 \
	  "before, 1 behind its body)")                                                               \
	X(MID_EVENT, "mid_event", true,                                                               \
	  "in the middle of the content event that follows N others (of a "                           \
	  "whole answer: of its body)")                                                               \
	X(BEFORE_END, "before_end", false,                                                            \
	  "when all content is out, before what ends the answer (of a "                               \
	  "whole answer: before its last byte)")

enum sim_point {
#define X(id, name, arg, doc) SIM_AT_##id,
	SIM_POINTS(X)
#undef X
};

/* The other faults: id, name, what N means (NULL: no N), its default, text. */
#define SIM_FAULTS(X)                                                                                              \
	X(LENGTH_LONGER, "length_longer", "bytes", 100, "the Content-Length promises N bytes more than follow")    \
	X(LENGTH_SHORTER, "length_shorter", "bytes", 10, "the Content-Length promises N bytes fewer than follow")  \
	X(NO_LENGTH, "no_length", NULL, 0, "neither a length nor chunks: the end of the connection ends the body") \
	X(CHUNK_TRUNCATED, "chunk_truncated", NULL, 0, "chunked, and the connection ends inside the last chunk")   \
	X(CHUNK_GARBAGE, "chunk_garbage", NULL, 0, "chunked, with a chunk size that is no number, in mid-answer")  \
	X(WRONG_MEDIA_TYPE, "wrong_media_type", NULL, 0, "`text/html` is said of what is not")                     \
	X(GARBAGE_HEAD, "garbage_head", NULL, 0, "bytes that are no HTTP, then FIN")                               \
	X(GARBAGE_BODY, "garbage_body", NULL, 0, "the right head, random bytes for a body")                        \
	X(INVALID_JSON, "invalid_json", NULL, 0,                                                                   \
	  "the JSON of a whole answer breaks off; in a stream see "                                                \
	  "`invalid_event`")                                                                                       \
	X(ERROR_IN_200, "error_in_200", NULL, 0, "status 200 with an error object")                                \
	X(GZIP, "gzip", NULL, 0, "the body is compressed though nobody asked")                                     \
	X(HTML_502, "html_502", NULL, 0, "status 502 with the page of a proxy")                                    \
	X(HUGE_HEADERS, "huge_headers", "bytes", 65536, "a header of N bytes")                                     \
	X(INTERIM_STORM, "interim_storm", "answers", 1000, "N times `102 Processing` before the answer")           \
	X(ENDLESS, "endless", NULL, 0, "the answer never ends")                                                    \
	X(GIANT_EVENT, "giant_event", "bytes", 1048576, "the first content event carries N bytes")                 \
	X(NO_DONE, "no_done", NULL, 0, "a stream ends in order, but without `[DONE]`")                             \
	X(TWO_DONES, "two_dones", NULL, 0, "`[DONE]` comes twice")                                                 \
	X(DATA_AFTER_DONE, "data_after_done", NULL, 0, "a content event follows `[DONE]`")                         \
	X(ERROR_EVENT, "error_event", "events", 0,                                                                 \
	  "an error event in place of the one that follows N content "                                             \
	  "events, then the end")                                                                                  \
	X(INVALID_EVENT, "invalid_event", "events", 0,                                                             \
	  "broken JSON in place of the event that follows N content "                                              \
	  "events; the stream goes on")                                                                            \
	X(STALL_READING, "stall_reading", NULL, 0, "the request's body is never read")

enum sim_fault_kind {
	SIM_FAULT_NONE = 0,
	SIM_FAULT_BREAK, /* an action at a point */
#define X(id, name, arg, initial, doc) SIM_FAULT_##id,
	SIM_FAULTS(X)
#undef X
};

struct sim_fault {
	enum sim_fault_kind kind;
	enum sim_action action;
	enum sim_point point;
	uint64_t n;
};

/* "none", "gzip", "reset", "fin_after_events:3", "cut:100". NULL, or what is wrong. */
const char *rl_sim_fault_parse(struct rl_arena *arena, rl_str text, void *field);
/* The word again, canonical; NUL-terminated into out. */
#define SIM_FAULT_TEXT_MAX 48
void rl_sim_fault_text(const struct sim_fault *fault, char out[SIM_FAULT_TEXT_MAX]);
/* The table of faults, Markdown. */
void rl_sim_fault_reference(struct rl_buf *out);

enum sim_error_body { SIM_ERROR_OPENAI = 0, SIM_ERROR_HTML, SIM_ERROR_TEXT, SIM_ERROR_EMPTY, SIM_ERROR_GARBAGE };
enum sim_usage { SIM_USAGE_ASKED = 0, SIM_USAGE_ALWAYS, SIM_USAGE_NEVER };
enum sim_line_end { SIM_LINE_LF = 0, SIM_LINE_CRLF, SIM_LINE_CR };

struct sim_behaviour {
	uint32_t status;
	enum sim_error_body error_body;
	rl_str error_type, error_code, error_message;
	rl_str retry_after, retry_after_ms;
	rl_str *headers;
	size_t n_headers;
	rl_str content_type;

	struct sim_dist latency, first_token;
	double tokens_per_second; /* 0: at once */
	uint32_t batch;

	uint32_t tokens;
	uint64_t content_bytes; /* 0: by tokens */
	rl_str content;
	rl_str tool_call, tool_arguments;
	rl_str finish_reason;
	enum sim_usage usage;
	uint64_t prompt_tokens; /* 0: estimated */
	uint32_t dimensions;

	struct sim_fault fault;
	uint64_t stall_for_ms; /* 0: until the client leaves */
	uint32_t write_bytes;  /* 0: as they come */
	uint64_t write_gap_ms;
	enum sim_line_end line_end;
	bool comments;
};

/* A behaviour that changes another: bit i of `written` is set for the rows that it states. */
struct sim_step {
	struct sim_behaviour b; /* first */
	uint64_t written;
	rl_str word; /* "ok", "500" or a fault: the short form of a step */
	rl_str name; /* of a model */
	double rate;
};

/* Lays what `over` states over *b. */
void rl_sim_behaviour_apply(struct sim_behaviour *b, const struct sim_step *over);

#endif
