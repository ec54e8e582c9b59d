/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yyjson on arenas. yyjson recurses nowhere but also bounds nothing, so each text
 * passes our scanner first: then both accept the same texts, depth is bounded, and
 * errors have a line and a column.
 */
#include "json/doc.h"

static void *alc_malloc(void *ctx, size_t size)
{
	return rl_arena_alloc(ctx, size);
}

static void *alc_realloc(void *ctx, void *old, size_t old_size, size_t size)
{
	if (size <= old_size)
		return old;
	void *grown = rl_arena_alloc(ctx, size);

	if (grown)
		memcpy(grown, old, old_size);
	return grown;
}

/* The arena frees all at once. */
static void alc_free(void *ctx, void *piece)
{
	(void)ctx;
	(void)piece;
}

static yyjson_alc alc_of(struct rl_arena *arena)
{
	return (yyjson_alc){.malloc = alc_malloc, .realloc = alc_realloc, .free = alc_free, .ctx = arena};
}

enum rl_err rl_json_doc_read(rl_str text, unsigned flags, struct rl_arena *arena, yyjson_doc **doc,
			     struct rl_json_error *error)
{
	enum rl_err err = rl_json_scan(text, NULL, 0, RL_JSON_WHOLE_SURROGATES, NULL, error);
	yyjson_read_flag how = flags & RL_JSON_DOC_RAW_NUMBERS ? YYJSON_READ_NUMBER_AS_RAW : YYJSON_READ_BIGNUM_AS_RAW;
	yyjson_alc alc = alc_of(arena);
	yyjson_read_err why;

	*doc = NULL;
	if (err)
		return err;
	/* Without YYJSON_READ_INSITU the text is copied, not changed: the cast only suits an old signature. */
	*doc = yyjson_read_opts((char *)(uintptr_t)text.p, text.n, how, &alc, &why);
	if (*doc)
		return RL_OK;
	if (why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
		return RL_ERR_NOMEM;
	/* The fuzzer knows of no such text; a later yyjson may. */
	if (error)
		*error = (struct rl_json_error){.line = 1, .column = 1, .what = "refused by the document reader"};
	return RL_ERR_SYNTAX;
}

yyjson_mut_doc *rl_json_doc_new(struct rl_arena *arena)
{
	yyjson_alc alc = alc_of(arena);

	return yyjson_mut_doc_new(&alc);
}

yyjson_mut_doc *rl_json_doc_copy(const yyjson_doc *doc, struct rl_arena *arena)
{
	yyjson_alc alc = alc_of(arena);

	return yyjson_doc_mut_copy((yyjson_doc *)(uintptr_t)doc, &alc);
}

enum rl_err rl_json_doc_write(const yyjson_mut_doc *doc, struct rl_arena *arena, rl_str *text)
{
	yyjson_alc alc = alc_of(arena);
	yyjson_write_err why;
	size_t n;
	char *p = yyjson_mut_write_opts(doc, YYJSON_WRITE_NOFLAG, &alc, &n, &why);

	*text = rl_str_make(p, p ? n : 0);
	if (p)
		return RL_OK;
	return why.code == YYJSON_WRITE_ERROR_MEMORY_ALLOCATION ? RL_ERR_NOMEM : RL_ERR_SYNTAX;
}
