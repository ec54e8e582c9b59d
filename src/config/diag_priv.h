/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The findings of one load: errors and warnings with their place in the file,
 * kept until the end so that they come out in the file's order, whichever pass
 * found them. Private to this room. Everything lives in the arena it was given;
 * at most DIAG_MAX findings are kept, the rest are only counted.
 */
#ifndef RL_CONFIG_DIAG_H
#define RL_CONFIG_DIAG_H

#include "base/arena.h"
#include "base/buf.h"

struct diag {
	struct diag *next;
	unsigned line, column; /* from 1; 0: no place in the file */
	bool warning;
	rl_str path, what;
};

struct diags {
	struct rl_arena *arena;
	struct diag *first, **tail;
	size_t n, n_errors;
	bool nomem;
};

void rl_diags_init(struct diags *diags, struct rl_arena *arena);
/* `path` may be empty; both texts are copied. */
void rl_diags_add(struct diags *diags, bool warning, unsigned line, unsigned column, rl_str path, rl_str what);
/* Appends one line a finding to `report`: file:line:column: [warning: ]path: what. */
void rl_diags_write(struct diags *diags, const char *name, struct rl_buf *report);
/* Text from a file, fit for a message: control bytes as '?', cut to 60 bytes. */
rl_str rl_diags_printable(struct rl_arena *arena, rl_str text);

#endif
