/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON scanner of the hot path. It runs over every request body and every
 * stream event: it validates the whole text (RFC 8259, strictly), without
 * recursion and without memory of its own, and notes where the few members stand
 * that the gateway reads or sets. Nothing is copied; spans point into the text,
 * which the caller keeps alive. What the scanner has accepted is read with the
 * functions of the second half, which trust the grammar but never read outside
 * the slice that they were given.
 *
 * Stricter than the RFC's grammar: UTF-8 is checked, a byte order mark is refused,
 * and nesting is bounded. As lax as the RFC: numbers have no bound (1e400, a
 * million digits: the text is forwarded, not the value), and an escaped surrogate
 * without its partner ("\ud800") is accepted and reported, see `lone_surrogate`.
 */
#ifndef RL_JSON_SCAN_H
#define RL_JSON_SCAN_H

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

/* Arrays and objects that may be open at once. */
#define RL_JSON_DEPTH_MAX 128

#define RL_JSON_TYPES(X)    \
	X(NONE, "nothing")  \
	X(NULL, "null")     \
	X(FALSE, "false")   \
	X(TRUE, "true")     \
	X(NUMBER, "number") \
	X(STRING, "string") \
	X(OBJECT, "object") \
	X(ARRAY, "array")

enum rl_json_type {
#define X(id, name) RL_JSON_##id,
	RL_JSON_TYPES(X)
#undef X
		RL_JSON_TYPE_COUNT
};

/* For messages ("must be a string, is an array"). Never NULL. */
const char *rl_json_type_name(enum rl_json_type type);

/* Where a member stands in the text; type NONE when it is absent. Offsets count bytes from the text's start. */
struct rl_json_span {
	enum rl_json_type type;
	size_t key_off; /* of the key's opening quote */
	size_t off, n;  /* the value's raw text, quotes and brackets included */
};

struct rl_json_error {
	size_t offset;         /* bytes before the offending one */
	unsigned line, column; /* both from 1; columns count bytes */
	const char *what;      /* static English text, e.g. "expected ',' or '}'" */
	rl_str key;            /* RL_ERR_DUPLICATE: the wanted key (the caller's slice); else empty */
	bool lone_surrogate;   /* also set on success: some string has an escaped surrogate without partner */
};

enum rl_json_flag {
	RL_JSON_LAX = 0,
	/*
	 * A wanted key given twice, or anything that some parser might take for a wanted key
	 * (other ASCII case, \u escapes, letters that Unicode case mapping folds to ASCII such as
	 * U+212A and U+017F, a NUL behind it) is RL_ERR_DUPLICATE. Without it: spellings with
	 * escapes count as the key itself, the last one wins.
	 */
	RL_JSON_STRICT_KEYS = 1 << 0,
	/* A lone surrogate escape is RL_ERR_SYNTAX (as yyjson has it). */
	RL_JSON_WHOLE_SURROGATES = 1 << 1,
};

/*
 * Validates `text`, which must be one JSON value with nothing but white space
 * around it. out[i] becomes the span of the top-level member keys[i]; all are
 * absent when the value is not an object, and on failure. Keys are plain ASCII
 * (no quote, no backslash), not empty, distinct even with case ignored; they are
 * compared in order, so put the usual ones first. `error` may be NULL; it is filled on failure.
 * RL_ERR_SYNTAX, RL_ERR_LIMIT (nested too deep), RL_ERR_DUPLICATE.
 */
RL_MUST_CHECK enum rl_err rl_json_scan(rl_str text, const rl_str *keys, size_t n_keys, unsigned flags,
				       struct rl_json_span *out, struct rl_json_error *error);

/* The value of a span, as it stands; the empty slice when absent. `text` is what the span was found in. */
static inline rl_str rl_json_span_text(rl_str text, const struct rl_json_span *span)
{
	return span->type ? rl_str_sub(text, span->off, span->n) : rl_str_make(NULL, 0);
}

/*
 * From here on: reading text that rl_json_scan has accepted. "value" is the raw
 * text of one value; white space around it is allowed. On other text the answers
 * mean nothing, but no byte outside the slice is read.
 */

/* Of the first byte; NONE for anything that starts no value. */
enum rl_json_type rl_json_type_of(rl_str value);

/*
 * The members of a nested object; offsets count from object.p. The last one of a
 * repeated key wins. Not an object: all absent.
 */
void rl_json_find(rl_str object, const rl_str *keys, size_t n_keys, struct rl_json_span *out);

/* Walks one array or object; valid while the text is. */
struct rl_json_iter {
	const char *p, *end; /* what is still to be read */
};

/* Something else than an array has no elements. */
void rl_json_iter_array(struct rl_json_iter *iter, rl_str array);
bool rl_json_iter_next(struct rl_json_iter *iter, rl_str *element);
/*
 * Instead of rl_json_iter_next for an element that is an object: walks its members in place, without stepping over
 * them first. false (and nothing has moved) when the array is at its end or the element is something else. Walk
 * `members` until it ends, then leave.
 */
bool rl_json_iter_enter(const struct rl_json_iter *iter, struct rl_json_iter *members);
void rl_json_iter_leave(struct rl_json_iter *iter, const struct rl_json_iter *members);
bool rl_json_iter_at_end(const struct rl_json_iter *iter);
/* Something else than an object has no members. `key` is the raw string, quotes included. */
void rl_json_iter_object(struct rl_json_iter *iter, rl_str object);
bool rl_json_iter_member(struct rl_json_iter *iter, rl_str *key, rl_str *value);

/* A non-negative integer, written without fraction or exponent, that fits. "-0" is not one. */
bool rl_json_u64(rl_str value, uint64_t *out);
/* true or false; anything else leaves *out and returns false. */
bool rl_json_bool(rl_str value, bool *out);
/* A string that, unescaped, equals `plain`. */
bool rl_json_string_is(rl_str value, rl_str plain);
/*
 * The text of a string. Without escapes *out points into `value`; else it is made
 * in the arena. It may hold NUL bytes. RL_ERR_SYNTAX: not a string, or a lone
 * surrogate, which UTF-8 cannot carry; RL_ERR_NOMEM.
 */
RL_MUST_CHECK enum rl_err rl_json_unescape(rl_str value, struct rl_arena *arena, rl_str *out);

#endif
