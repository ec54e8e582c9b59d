/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider's stream cut into its events, however they lie in its bytes: whoever
 * reads a stream through a dialect gets a name and data, and need not know which
 * framing it was. (What passes untouched uses sse.h directly.)
 */
#ifndef RL_FRAME_FRAMES_H
#define RL_FRAME_FRAMES_H

#include "frame/elements.h"
#include "frame/eventstream.h"
#include "frame/ndjson.h"
#include "frame/sse.h"

enum rl_framing {
	RL_FRAMING_SSE,         /* server-sent events: name and data */
	RL_FRAMING_NDJSON,      /* a line each; no names */
	RL_FRAMING_EVENTSTREAM, /* AWS's binary messages: name and data, see eventstream.h */
	RL_FRAMING_ARRAY,       /* elements of one JSON array; no names */
};

/* Its media type, without parameters. */
rl_str rl_framing_type(enum rl_framing framing);

struct rl_frames {
	enum rl_framing framing;
	union {
		struct rl_sse sse;
		struct rl_carry lines;
		struct rl_eventstream messages;
		struct rl_elements elements;
	};
};

/* max_event_bytes: the longest raw event. */
void rl_frames_init(struct rl_frames *frames, enum rl_framing framing, size_t max_event_bytes);
void rl_frames_fini(struct rl_frames *frames); /* accepts NULL */
/* As rl_sse_feed and rl_sse_next. SYNTAX too: the framing itself is broken, and nothing can follow. */
void rl_frames_feed(struct rl_frames *frames, rl_str piece);
enum rl_err rl_frames_next(struct rl_frames *frames, struct rl_sse_event *out) RL_MUST_CHECK;
/*
 * The stream has ended: the last event may lack what would have ended it. OK: *out holds it, valid until the next
 * call; AGAIN: there is none; SYNTAX: it is cut in the middle of what cannot be read in part.
 */
enum rl_err rl_frames_last(struct rl_frames *frames, struct rl_sse_event *out) RL_MUST_CHECK;

#endif
