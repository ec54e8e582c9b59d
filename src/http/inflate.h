/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes a compressed body piece by piece: gzip (RFC 1952) and deflate, which
 * providers send as zlib (RFC 1950) or raw (RFC 1951). We never ask for it, so
 * this is rare and not on the fast path; it is bounded against bombs (FAULTS 43).
 *
 * Use: feed a piece, take the output with next until AGAIN. Whoever must stop in
 * between calls hold, which copies what is left of the piece.
 */
#ifndef RL_HTTP_INFLATE_H
#define RL_HTTP_INFLATE_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define RL_INFLATE_MAX_BYTES (64u << 20) /* of output */
#define RL_INFLATE_MAX_RATIO 200u        /* output to input, looked at after the first MiB of output */
#define RL_INFLATE_FREE_BYTES (1u << 20)

struct rl_inflate;

/* `encoding` is the value of content-encoding: gzip, x-gzip or deflate; UNSUPPORTED for any other. */
enum rl_err rl_inflate_new(rl_str encoding, struct rl_inflate **out) RL_MUST_CHECK;
void rl_inflate_free(struct rl_inflate *inf); /* accepts NULL */
/* The next piece, borrowed until next has said AGAIN (or hold). Only when the one before is used up. */
void rl_inflate_feed(struct rl_inflate *inf, rl_str piece);
/* OK: *out is decoded text, valid until the next call. AGAIN: feed more. PROTOCOL: malformed. LIMIT: a bomb. */
enum rl_err rl_inflate_next(struct rl_inflate *inf, rl_str *out) RL_MUST_CHECK;
/* Copies the unused rest of the piece, which need not live longer than this. */
enum rl_err rl_inflate_hold(struct rl_inflate *inf) RL_MUST_CHECK;
/* The stream has come to its proper end (an empty body counts). */
bool rl_inflate_ended(const struct rl_inflate *inf);

#endif
