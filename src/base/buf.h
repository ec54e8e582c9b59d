/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a mandatory maximum. Appending past the maximum, or
 * without memory, sets `failed` and leaves the content as it was; nothing is
 * appended after that, so a writer may append many pieces and check once at the
 * end (rl_buf_ok): what is there is whole, or the beginning. The owner calls
 * rl_buf_fini. The content is not NUL-terminated.
 */
#ifndef RL_BASE_BUF_H
#define RL_BASE_BUF_H

#include "base/slice.h"

struct rl_buf {
	char *p;
	size_t n;         /* bytes held */
	size_t cap;       /* bytes allocated, or fewer after a failure */
	size_t max_bytes; /* never exceeded */
	bool failed;      /* an append did not fit; sticky until reset */
};

/* No memory is taken before the first append. max_bytes > 0. */
void rl_buf_init(struct rl_buf *buf, size_t max_bytes);
/* Releases the memory. Accepts NULL. */
void rl_buf_fini(struct rl_buf *buf);
/* Empties it and keeps the memory. */
void rl_buf_reset(struct rl_buf *buf);

static inline bool rl_buf_ok(const struct rl_buf *buf)
{
	return !buf->failed;
}

static inline rl_str rl_buf_str(const struct rl_buf *buf)
{
	return (rl_str){buf->p, buf->n};
}

/* Room for `more` bytes beyond n, or NULL; write there, then raise n. */
char *rl_buf_reserve(struct rl_buf *buf, size_t more);
/* The way of rl_buf_add when there is no room yet. */
void rl_buf_add_slowly(struct rl_buf *buf, rl_str s);

static inline void rl_buf_add(struct rl_buf *buf, rl_str s)
{
	if (__builtin_expect(s.n > buf->cap - buf->n, 0)) {
		rl_buf_add_slowly(buf, s);
	} else if (s.n) {
		memcpy(buf->p + buf->n, s.p, s.n);
		buf->n += s.n;
	}
}
void rl_buf_byte(struct rl_buf *buf, char c);
void rl_buf_u64(struct rl_buf *buf, uint64_t v);
void rl_buf_i64(struct rl_buf *buf, int64_t v);
void rl_buf_printf(struct rl_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/*
 * s as a JSON string with its quotes (RFC 8259 §7). Bytes that are not UTF-8
 * become U+FFFD: the result is always valid JSON. Also escapes DEL and
 * U+2028/U+2029, so that it is safe on a terminal and in a script.
 */
void rl_buf_json(struct rl_buf *buf, rl_str s);
/* Drops the first `n` bytes (moves the rest down). */
void rl_buf_consume(struct rl_buf *buf, size_t n);

#define RL_BUF_LIT(buf, lit) rl_buf_add((buf), RL_STR(lit))

#endif
