/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arenas: memory that is allocated piece by piece and released all at once.
 * An arena has one owner and one lifetime (request, body, event scratch) and is
 * used by one thread at a time. Its limit is mandatory: an allocation beyond it
 * fails like one without memory. Chunks come from and return to a small
 * per-thread cache, so that a steady load does not call malloc at all.
 *
 * With -Darena=malloc every allocation is a malloc of its own, so that the
 * sanitizers see each overrun and each use after release.
 */
#ifndef RL_BASE_ARENA_H
#define RL_BASE_ARENA_H

#include "base/slice.h"

struct rl_arena_chunk;

struct rl_arena {
	struct rl_arena_chunk *head; /* newest chunk first */
	char *at, *end;              /* free part of the newest chunk */
	size_t used_bytes;           /* handed out since the last reset */
	size_t limit_bytes;
	bool limited; /* an allocation failed because of the limit, not for want of memory; until reset */
};

/* No memory is taken before the first allocation. limit_bytes > 0. */
void rl_arena_init(struct rl_arena *arena, size_t limit_bytes);
/* Releases everything; the arena can be used again. */
void rl_arena_reset(struct rl_arena *arena);
/* The same, named for the end of life. Accepts NULL. */
void rl_arena_fini(struct rl_arena *arena);

/* `size` bytes aligned to 16, uninitialised; NULL beyond the limit or out of memory. */
void *rl_arena_alloc(struct rl_arena *arena, size_t size) __attribute__((malloc, alloc_size(2)));
/* The same, zeroed; count * size is checked for overflow. */
void *rl_arena_zalloc(struct rl_arena *arena, size_t count, size_t size);
/* A copy of s with a NUL behind it (not counted in n). On failure p is NULL. */
rl_str rl_arena_dup(struct rl_arena *arena, rl_str s);
/* printf into the arena; on failure p is NULL. NUL-terminated. */
rl_str rl_arena_printf(struct rl_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Typed forms. */
#define RL_NEW(arena, type) ((type *)rl_arena_zalloc((arena), 1, sizeof(type)))
#define RL_NEW_ARRAY(arena, type, count) ((type *)rl_arena_zalloc((arena), (count), sizeof(type)))

/* Gives the calling thread's cached chunks back to the system (end of a thread). */
void rl_arena_thread_fini(void);

#endif
