/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunked coding (RFC 9112 §7.1), read by pulling: the caller asks for the next
 * piece when it wants one, so that a paused body needs no parser in mid-callback.
 * Stricter than the RFC where leniency has let requests be smuggled: no blanks
 * around sizes, no bare LF, at most 16 digits, no quoted string across a line's
 * end, bounded extensions and trailers (both dropped).
 */
#ifndef RL_HTTP_H1_CHUNKED_H
#define RL_HTTP_H1_CHUNKED_H

#include "base/err.h"
#include "base/slice.h"

#define RL_CHUNK_EXTENSIONS_MAX_BYTES 4096u /* of one body */
#define RL_CHUNK_TRAILERS_MAX_BYTES 8192u

struct rl_chunked {
	uint64_t left;            /* bytes of the present chunk */
	uint32_t extension_bytes; /* so far, all chunks */
	uint32_t trailer_bytes;
	uint8_t state, digits;
	uint8_t name_n;
	char name[21]; /* of a trailer, its beginning: longer ones are none that matter */
};

void rl_chunked_init(struct rl_chunked *chunked);
/*
 * Takes bytes off *in. OK: *piece is the next part of the body (not empty). AGAIN: *in is used up. EOF: the body is
 * complete, what is left of *in follows it. PROTOCOL: malformed; LIMIT: extensions or trailers beyond their bound.
 */
enum rl_err rl_chunked_next(struct rl_chunked *chunked, rl_str *in, rl_str *piece) RL_MUST_CHECK;

#endif
