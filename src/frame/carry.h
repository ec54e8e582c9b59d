/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every cutter of a stream needs: the piece that is being read, and a bounded
 * copy of the beginning of an event that the piece before did not finish. An event
 * that lies whole in a piece is never copied.
 */
#ifndef RL_FRAME_CARRY_H
#define RL_FRAME_CARRY_H

#include <assert.h>

#include "base/buf.h"
#include "base/err.h"

#define RL_CARRY_KEEP_BYTES 65536u /* memory grown beyond this is given back once its event is done */

struct rl_carry {
	struct rl_buf held; /* the beginning of an event that is not complete */
	rl_str piece;       /* what is left of the piece being read */
	bool whole;         /* `held` is the event that was returned last */
	enum rl_err failed; /* sticky: nothing can follow */
};

static inline void rl_carry_init(struct rl_carry *carry, size_t max_event_bytes)
{
	*carry = (struct rl_carry){.failed = RL_OK};
	rl_buf_init(&carry->held, max_event_bytes);
}

static inline void rl_carry_fini(struct rl_carry *carry)
{
	rl_buf_fini(&carry->held);
}

static inline void rl_carry_feed(struct rl_carry *carry, rl_str piece)
{
	assert(carry->piece.n == 0);
	carry->piece = piece;
}

/* Before the next event is looked for: the one before is over. */
static inline void rl_carry_begin(struct rl_carry *carry)
{
	if (!carry->whole)
		return;
	carry->whole = false;
	if (carry->held.cap > RL_CARRY_KEEP_BYTES)
		rl_buf_fini(&carry->held);
	rl_buf_reset(&carry->held);
}

static inline enum rl_err rl_carry_fail(struct rl_carry *carry, enum rl_err err)
{
	carry->failed = err;
	return err;
}

/* The piece ends within an event. AGAIN, or LIMIT. */
static inline enum rl_err rl_carry_keep(struct rl_carry *carry)
{
	rl_buf_add(&carry->held, carry->piece);
	carry->piece = (rl_str){NULL, 0};
	return rl_buf_ok(&carry->held) ? RL_ERR_AGAIN : rl_carry_fail(carry, RL_ERR_LIMIT);
}

/* The next n bytes of the piece complete the event, *event is all of it. OK, or LIMIT. */
static inline enum rl_err rl_carry_take(struct rl_carry *carry, size_t n, rl_str *event)
{
	*event = rl_str_sub(carry->piece, 0, n);
	carry->piece = rl_str_sub(carry->piece, n, SIZE_MAX);
	if (carry->held.n) {
		rl_buf_add(&carry->held, *event);
		*event = rl_buf_str(&carry->held);
		carry->whole = true;
	}
	if (!rl_buf_ok(&carry->held) || event->n > carry->held.max_bytes)
		return rl_carry_fail(carry, RL_ERR_LIMIT);
	return RL_OK;
}

/* At the end of the stream: the bytes of an event that did not end. */
static inline rl_str rl_carry_rest(const struct rl_carry *carry)
{
	return carry->whole ? (rl_str){NULL, 0} : rl_buf_str(&carry->held);
}

#endif
