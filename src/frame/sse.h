/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits a byte stream into server-sent events (WHATWG HTML, "Server-sent events",
 * parsing), at whatever bytes it was cut. Events that lie whole in a piece are not
 * copied; only a cut event is carried over, up to a maximum.
 *
 * The raw bytes of all events, in order, are the bytes of the stream: comments and
 * unknown fields stay in the raw text of the event that follows them.
 */
#ifndef RL_FRAME_SSE_H
#define RL_FRAME_SSE_H

#include "base/buf.h"
#include "base/err.h"

struct rl_sse {
	struct rl_buf carry;  /* the beginning of an event that is not complete */
	struct rl_buf joined; /* data of several lines */
	rl_str piece;         /* what is left of the piece being read */
	size_t scanned;       /* bytes of a byte order mark seen at the beginning */
	unsigned state;       /* where in an event, a line, a line's end the last byte was */
	bool carry_done;      /* the carry holds the event that was returned last */
	bool bom_done;        /* the first event has been read */
};

struct rl_sse_event {
	rl_str raw;    /* exactly as received, with the blank line that ends it */
	rl_str data;   /* data lines joined with '\n' */
	rl_str name;   /* of the event field, or empty */
	rl_str id;     /* of the id field, or empty */
	bool has_data; /* false: only comments or other fields */
};

/* max_event_bytes: the longest raw event. */
void rl_sse_init(struct rl_sse *sse, size_t max_event_bytes);
void rl_sse_fini(struct rl_sse *sse); /* accepts NULL */
/* Gives the next piece (borrowed until rl_sse_next has returned AGAIN). */
void rl_sse_feed(struct rl_sse *sse, rl_str piece);
/* OK: *out holds an event, valid until the next call. AGAIN: feed more. LIMIT: an event is too long (or no memory). */
enum rl_err rl_sse_next(struct rl_sse *sse, struct rl_sse_event *out) RL_MUST_CHECK;
/* At the end of the stream: the unfinished rest (raw), empty if it ended on an event's end. */
rl_str rl_sse_rest(const struct rl_sse *sse);
/* An event in one slice, without knowing the stream: for tests and small tools. */
enum rl_err rl_sse_parse(rl_str raw, struct rl_buf *joined, struct rl_sse_event *out);

#endif
