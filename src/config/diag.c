/* SPDX-License-Identifier: Apache-2.0 */
/* See diag_priv.h. */
#include "config/diag_priv.h"

#include <stdlib.h>

#define DIAG_MAX 200u
#define SHOWN_MAX 60u

void rl_diags_init(struct diags *diags, struct rl_arena *arena)
{
	*diags = (struct diags){.arena = arena};
	diags->tail = &diags->first;
}

void rl_diags_add(struct diags *diags, bool warning, unsigned line, unsigned column, rl_str path, rl_str what)
{
	if (!warning)
		diags->n_errors++;
	if (++diags->n > DIAG_MAX)
		return;
	struct diag *diag = RL_NEW(diags->arena, struct diag);

	if (diag) {
		*diag = (struct diag){.line = line, .column = column, .warning = warning};
		diag->path = rl_arena_dup(diags->arena, path);
		diag->what = rl_arena_dup(diags->arena, what);
	}
	if (!diag || !diag->path.p || !diag->what.p) {
		diags->nomem = true;
		return;
	}
	*diags->tail = diag;
	diags->tail = &diag->next;
}

static void write_one(const struct diag *diag, const char *name, struct rl_buf *report)
{
	rl_buf_add(report, rl_str_of(name));
	if (diag->line)
		rl_buf_printf(report, ":%u:%u", diag->line, diag->column);
	RL_BUF_LIT(report, ": ");
	if (diag->warning)
		RL_BUF_LIT(report, "warning: ");
	rl_buf_add(report, diag->path);
	if (diag->path.n)
		RL_BUF_LIT(report, ": ");
	rl_buf_add(report, diag->what);
	rl_buf_byte(report, '\n');
}

/* True if b stands before a in the file. Equal places keep the order in which they were found. */
static bool before(const struct diag *b, const struct diag *a)
{
	return b->line != a->line ? b->line < a->line : b->column < a->column;
}

void rl_diags_write(struct diags *diags, const char *name, struct rl_buf *report)
{
	struct diag *sorted = NULL;

	/* An insertion sort: there are at most DIAG_MAX. */
	while (diags->first) {
		struct diag *diag = diags->first, **at = &sorted;

		diags->first = diag->next;
		while (*at && !before(diag, *at))
			at = &(*at)->next;
		diag->next = *at;
		*at = diag;
	}
	for (; sorted; sorted = sorted->next)
		write_one(sorted, name, report);
	if (diags->n > DIAG_MAX)
		rl_buf_printf(report, "%s: %zu more not shown\n", name, diags->n - DIAG_MAX);
	rl_diags_init(diags, diags->arena);
}

rl_str rl_diags_printable(struct rl_arena *arena, rl_str text)
{
	size_t n = text.n > SHOWN_MAX ? SHOWN_MAX : text.n;

	/* Not in the middle of a character: back over continuation bytes. */
	while (n < text.n && n && ((unsigned char)text.p[n] & 0xC0) == 0x80)
		n--;
	rl_str shown = rl_arena_printf(arena, "%.*s%s", (int)n, n ? text.p : "", n < text.n ? "..." : "");

	if (!shown.p)
		return RL_STR("?");
	char *p = rl_arena_alloc(arena, shown.n + 1);

	if (!p)
		return RL_STR("?");
	for (size_t i = 0; i < shown.n; i++) {
		unsigned char c = (unsigned char)shown.p[i];
		unsigned char next = i + 1 < shown.n ? (unsigned char)shown.p[i + 1] : 0;
		bool c1 = c == 0xC2 && next >= 0x80 && next < 0xA0; /* U+0080..U+009F steer terminals too */

		p[i] = (char)(c < 0x20 || c == 0x7F ? '?' : c);
		if (c1) {
			p[i] = '?';
			p[++i] = '?';
		}
	}
	return rl_str_make(p, shown.n);
}
