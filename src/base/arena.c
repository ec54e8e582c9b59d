/* SPDX-License-Identifier: Apache-2.0 */
/* See arena.h. Chunks are 4 KiB, twice, then doubled as an arena grows up to 64 KiB; larger pieces get their own. */
#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ALIGN 16u
#ifdef RL_ARENA_MALLOC
#define CHUNK_MIN 0u /* no piece has this size: none is kept for reuse, and the sanitizers see each end */
#else
#define CHUNK_MIN 4096u
#endif
#define CHUNK_MAX 65536u
#define CACHE_MAX 64u /* chunks of CHUNK_MIN kept per thread: 256 KiB */

struct rl_arena_chunk {
	struct rl_arena_chunk *next;
	size_t size; /* of data */
	_Alignas(ALIGN) char data[];
};

static _Thread_local struct {
	struct rl_arena_chunk *list;
	unsigned n;
} cache;

void rl_arena_init(struct rl_arena *arena, size_t limit_bytes)
{
	assert(limit_bytes > 0);
	*arena = (struct rl_arena){.limit_bytes = limit_bytes};
}

static struct rl_arena_chunk *chunk_new(size_t size)
{
	struct rl_arena_chunk *chunk = cache.list;

	if (size == CHUNK_MIN && chunk) {
		cache.list = chunk->next;
		cache.n--;
		return chunk;
	}
	if (size > SIZE_MAX - sizeof *chunk)
		return NULL;
	chunk = malloc(sizeof *chunk + size);
	if (chunk)
		chunk->size = size;
	return chunk;
}

static void chunk_free(struct rl_arena_chunk *chunk)
{
	if (chunk->size == CHUNK_MIN && cache.n < CACHE_MAX) {
		chunk->next = cache.list;
		cache.list = chunk;
		cache.n++;
		return;
	}
	free(chunk);
}

void rl_arena_reset(struct rl_arena *arena)
{
	struct rl_arena_chunk *chunk = arena->head;

	while (chunk) {
		struct rl_arena_chunk *next = chunk->next;
		chunk_free(chunk);
		chunk = next;
	}
	rl_arena_init(arena, arena->limit_bytes);
}

void rl_arena_fini(struct rl_arena *arena)
{
	if (arena && arena->limit_bytes)
		rl_arena_reset(arena);
}

void rl_arena_thread_fini(void)
{
	while (cache.list) {
		struct rl_arena_chunk *next = cache.list->next;
		free(cache.list);
		cache.list = next;
	}
	cache.n = 0;
}

/* A fresh chunk that holds at least `size`; the rest of the old one is given up. */
static void *grow(struct rl_arena *arena, size_t size)
{
#ifdef RL_ARENA_MALLOC
	size_t want = size;
#else
	/* Most requests need a little more than one chunk: the second is small, too, and one that is kept for reuse. */
	size_t want = arena->head && arena->head->next ? arena->head->size * 2 : CHUNK_MIN;

	if (want > CHUNK_MAX)
		want = CHUNK_MAX;
	if (want < size)
		want = size;
#endif
	struct rl_arena_chunk *chunk = chunk_new(want);

	if (!chunk)
		return NULL;
	chunk->next = arena->head;
	arena->head = chunk;
	arena->at = chunk->data + size;
	arena->end = chunk->data + chunk->size;
	return chunk->data;
}

void *rl_arena_alloc(struct rl_arena *arena, size_t size)
{
	size_t need = size ? size : 1; /* an empty piece has an address, too: NULL means failure */

#ifndef RL_ARENA_MALLOC
	need = (need + (ALIGN - 1)) & ~(size_t)(ALIGN - 1);
	if (need < size)
		return NULL;
#endif
	if (need > arena->limit_bytes - arena->used_bytes) {
		arena->limited = true;
		return NULL;
	}
	arena->used_bytes += need;
#ifndef RL_ARENA_MALLOC
	if (need <= (size_t)(arena->end - arena->at)) {
		void *piece = arena->at;
		arena->at += need;
		return piece;
	}
#endif
	void *piece = grow(arena, need);

	if (!piece)
		arena->used_bytes -= need;
	return piece;
}

void *rl_arena_zalloc(struct rl_arena *arena, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	void *piece = rl_arena_alloc(arena, total);

	return piece ? memset(piece, 0, total) : NULL;
}

rl_str rl_arena_dup(struct rl_arena *arena, rl_str s)
{
	char *copy = s.n < SIZE_MAX ? rl_arena_alloc(arena, s.n + 1) : NULL;

	if (!copy)
		return (rl_str){NULL, 0};
	rl_copy_short(copy, s.p, s.n);
	copy[s.n] = '\0';
	return (rl_str){copy, s.n};
}

rl_str rl_arena_printf(struct rl_arena *arena, const char *format, ...)
{
	char small[256];
	va_list ap, again;

	va_start(ap, format);
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof small, format, ap);
	va_end(ap);

	rl_str out = {NULL, 0};

	if (n >= 0 && (size_t)n < sizeof small) {
		out = rl_arena_dup(arena, rl_str_make(small, (size_t)n));
	} else if (n >= 0) {
		char *text = rl_arena_alloc(arena, (size_t)n + 1);
		if (text) {
			vsnprintf(text, (size_t)n + 1, format, again);
			out = rl_str_make(text, (size_t)n);
		}
	}
	va_end(again);
	return out;
}
