/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of HTTP/2 (RFC 9113) that a server watches itself, because nghttp2
 * does not or because they are the gateway's own. Pure: no I/O, no clock, no
 * memory but the arena's.
 *
 * The guard stands between a client's bytes and nghttp2: it reads the nine bytes
 * in front of each frame (§4.1) and nothing else, and counts what costs us more
 * than it costs the client, within windows of ten seconds:
 *  - control frames and empty ones (PING, SETTINGS, PRIORITY, WINDOW_UPDATE,
 *    CONTINUATION, DATA without content, unknown types; CVE-2019-9512 and its
 *    family), less what answers frames of ours;
 *  - streams that were reset before they were answered, by the client
 *    (CVE-2023-44487) or, through its own errors, by us (CVE-2025-8671);
 * and the bytes of a head that does not end (CVE-2024-27316).
 *
 * Heads (§8): fields as HPACK gives them become the same rl_request_head as of
 * HTTP/1, under the same rules; an answer's head becomes the list that nghttp2
 * sends. nghttp2 has refused by then what is malformed in a single field (upper
 * case, connection fields, pseudo-fields repeated or out of order); what only
 * several fields together show is judged here.
 */
#ifndef RL_HTTP_H2_RULES_H
#define RL_HTTP_H2_RULES_H

#include <nghttp2/nghttp2.h>

#include "http/h1_parse.h"
#include "http/head.h"

/* ---- the guard ---- */

#define RL_H2_FRAME_HEAD_BYTES 9u
#define RL_H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define RL_H2_PREFACE_BYTES (sizeof RL_H2_PREFACE - 1)
#define RL_H2_LINE_BYTES 16u /* of it, its first line */

struct rl_h2_guard_limits {
	uint64_t max_block_bytes; /* of a head, as it comes */
	uint32_t max_control_frames, max_resets;
};

struct rl_h2_guard {
	uint32_t skip; /* bytes still to pass before the next frame's head */
	uint8_t head[RL_H2_FRAME_HEAD_BYTES];
	uint8_t n_head;
	bool in_block; /* a head has begun and is not whole */
	bool last;     /* the present frame ends it */
	uint64_t block_bytes;
	uint64_t window_until_ms;
	uint32_t controls, credit, resets, streams; /* in this window */
};

/* A new connection, whose first bytes are the preface. */
void rl_h2_guard_init(struct rl_h2_guard *guard);
/* May all of `in` pass? If not, the client has gone too far, and the first *n bytes are what came before that. */
bool rl_h2_guard_pass(struct rl_h2_guard *guard, const struct rl_h2_guard_limits *limits, uint64_t now_ms, rl_str in,
		      size_t *n) RL_MUST_CHECK;
/* A stream was reset before it was answered; false: too many of them. */
bool rl_h2_guard_reset(struct rl_h2_guard *guard, const struct rl_h2_guard_limits *limits,
		       uint64_t now_ms) RL_MUST_CHECK;
/* We have sent a DATA frame of n bytes: its credit may be given back to us. */
void rl_h2_guard_sent(struct rl_h2_guard *guard, size_t n);

/* ---- heads ---- */

/* A request's head while it arrives. */
struct rl_h2_head {
	rl_str method, path, authority; /* of the pseudo-fields */
	uint64_t bytes;                 /* so far, counted as in RFC 9113 §6.5.2 */
	uint32_t fields;
	bool over;  /* beyond the limits: what came after that was not kept */
	bool nomem; /* the same for want of memory */
};

struct rl_h2_head_limits {
	uint64_t max_bytes;
	uint32_t max_fields;
};

/* One field more; copied. */
void rl_h2_head_add(struct rl_h2_head *h, struct rl_request_head *head, struct rl_arena *arena,
		    const struct rl_h2_head_limits *limits, rl_str name, rl_str value);

enum rl_h2_verdict {
	RL_H2_GOOD,
	RL_H2_MALFORMED, /* a stream error (RFC 9113 §8.1.1) */
	RL_H2_REFUSED,   /* to be answered with *refusal */
};
/* All fields are there. `has_body`: the request goes on after its head. */
enum rl_h2_verdict rl_h2_head_judge(const struct rl_h2_head *h, struct rl_request_head *head, bool has_body,
				    struct rl_h1_refusal *refusal) RL_MUST_CHECK;

/*
 * An answer's head as nghttp2_nv entries, :status first, in the arena; the empty slice without memory. Of our own there
 * are a content-length (none for `length` < 0), date and hsts (copied) and what every answer carries.
 */
struct rl_h2_own_fields {
	int64_t length;
	rl_str date;
	rl_str hsts;                    /* value of strict-transport-security; empty: none */
	const struct rl_header *always; /* of every answer */
	size_t n_always;
};
rl_str rl_h2_answer_head(const struct rl_response_head *head, const struct rl_h2_own_fields *own,
			 struct rl_arena *arena);

#endif
