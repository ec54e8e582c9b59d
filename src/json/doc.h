/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole documents, where spans are not enough (translation between dialects, the
 * admin plane): yyjson, with its memory from an arena. A document lives as long as
 * its arena; yyjson's own free functions need not be called. Use yyjson's functions
 * to read and build; only making, reading and writing a document goes through here.
 */
#ifndef RL_JSON_DOC_H
#define RL_JSON_DOC_H

#include <yyjson.h>

#include "json/scan.h"

enum rl_json_doc_flag {
	RL_JSON_DOC_PLAIN = 0,
	/* All numbers stay text (yyjson_is_raw), so that writing gives them back byte by byte. */
	RL_JSON_DOC_RAW_NUMBERS = 1 << 0,
};

/*
 * Reads what rl_json_scan accepts with RL_JSON_WHOLE_SURROGATES, no less and no
 * more. Numbers that no 64-bit integer or double can hold are raw text. Takes about
 * four times the text from the arena. RL_ERR_SYNTAX or RL_ERR_LIMIT (depth) with
 * `error` filled (may be NULL); RL_ERR_NOMEM.
 */
RL_MUST_CHECK enum rl_err rl_json_doc_read(rl_str text, unsigned flags, struct rl_arena *arena, yyjson_doc **doc,
					   struct rl_json_error *error);

/* An empty document to build in; NULL without memory. */
yyjson_mut_doc *rl_json_doc_new(struct rl_arena *arena);
/* One that can be changed, from one that was read; NULL without memory. */
yyjson_mut_doc *rl_json_doc_copy(const yyjson_doc *doc, struct rl_arena *arena);

/*
 * Compact text in the arena, NUL-terminated behind n. RL_ERR_NOMEM; RL_ERR_SYNTAX: no root,
 * or an invalid value in it.
 */
RL_MUST_CHECK enum rl_err rl_json_doc_write(const yyjson_mut_doc *doc, struct rl_arena *arena, rl_str *text);

/* The string of a value; p == NULL when it is absent or no string. */
static inline rl_str rl_json_doc_str(yyjson_val *value)
{
	return rl_str_make(yyjson_get_str(value), yyjson_get_len(value));
}

#endif
