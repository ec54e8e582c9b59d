/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edits to an object without copying it: the gateway changes a model name or adds
 * a member, and all other bytes of the client's body travel on as they came. Edits
 * are noted in any order; at the end they give an ordered list of slices that
 * together are the new text, fit for one writev. Slices point into the old text,
 * into the values that were given, or into the arena: all three must outlive them.
 *
 * The text must have been accepted by rl_json_scan (or be a part of such a text,
 * for a nested object), and the spans must come from that text.
 */
#ifndef RL_JSON_SPLICE_H
#define RL_JSON_SPLICE_H

#include "json/scan.h"

/* Members that one splice can touch. */
#define RL_JSON_EDITS_MAX 32
/* Slices that the result can have: two for each edit, the last member's end and the rest. */
#define RL_JSON_PARTS_MAX (2 * RL_JSON_EDITS_MAX + 2)

struct rl_json_edit {
	size_t key_off;  /* of the member, or SIZE_MAX for one that is added */
	size_t off, end; /* what is left out of the old text */
	rl_str key;      /* of an added member, plain */
	rl_str value;    /* raw JSON; p == NULL: the member is removed */
};

struct rl_json_splice {
	rl_str text;
	struct rl_arena *arena;
	size_t n_edits;
	enum rl_err err; /* first failure; sticky */
	struct rl_json_edit edits[RL_JSON_EDITS_MAX];
};

/* `text` is one object, white space around it allowed. The arena takes the keys of added members. */
void rl_json_splice_init(struct rl_json_splice *splice, rl_str text, struct rl_arena *arena);

/*
 * Notes an edit; failures are told by rl_json_splice_parts, so that edits can be
 * written one after the other. A later edit of the same member replaces the
 * earlier one. `value` is raw, valid JSON, not empty.
 *
 * set: the member of the span gets the value; an absent member is added under `key` (plain text).
 * remove: the member goes, with one comma; an absent one is no error.
 */
void rl_json_splice_set(struct rl_json_splice *splice, const struct rl_json_span *span, rl_str key, rl_str value);
void rl_json_splice_remove(struct rl_json_splice *splice, const struct rl_json_span *span);

/*
 * The new text. `parts` has room for RL_JSON_PARTS_MAX; none of them is empty.
 * *total_bytes may be NULL. RL_ERR_LIMIT: more than RL_JSON_EDITS_MAX members were
 * touched; RL_ERR_NOMEM; RL_ERR_SYNTAX: the text is no object.
 */
RL_MUST_CHECK enum rl_err rl_json_splice_parts(struct rl_json_splice *splice, rl_str *parts, size_t *n_parts,
					       size_t *total_bytes);

/* The new text in one piece, in the arena: for small nested objects. Errors as above. */
RL_MUST_CHECK enum rl_err rl_json_splice_join(struct rl_json_splice *splice, rl_str *out);

#endif
