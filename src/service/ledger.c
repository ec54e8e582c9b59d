/* SPDX-License-Identifier: Apache-2.0 */
/* See ledger.h. Lines that need not be in the file at once are kept for a moment, so that a fast simulator stays so. */
#include "service/ledger.h"

#include "dialect/dialect.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

#define FLUSH_MS 20u
#define FLUSH_BYTES 16384u
#define LINES_MAX_BYTES 65536u
#define PATH_MAX_BYTES 4096u

static const char *const end_names[] = {
#define X(id, name) name,
	SIM_ENDS(X)
#undef X
};

const char *rl_sim_end_name(enum sim_end end)
{
	return end_names[end];
}

static void flush(struct sim_ledger *ledger)
{
	size_t at = 0;

	while (at < ledger->lines.n) {
		ssize_t n = write(ledger->fd, ledger->lines.p + at, ledger->lines.n - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			RL_ERROR("simulator", "the ledger's file cannot be written: %s", strerror(errno));
			break;
		}
		at += (size_t)n;
	}
	rl_buf_reset(&ledger->lines);
}

static void on_flush(struct rl_timer *timer)
{
	flush((struct sim_ledger *)((char *)timer - offsetof(struct sim_ledger, flush)));
}

static enum rl_err open_file(struct sim_ledger *ledger, rl_str file, const char **why)
{
	char path[PATH_MAX_BYTES];

	if (!file.n)
		return RL_OK;
	*why = "the ledger's file cannot be opened";
	if (file.n >= sizeof path)
		return RL_ERR_LIMIT;
	memcpy(path, file.p, file.n);
	path[file.n] = 0;
	ledger->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	return ledger->fd < 0 ? rl_err_from_errno(errno) : RL_OK;
}

void rl_sim_ledger_init(struct sim_ledger *ledger, struct rl_loop *loop)
{
	*ledger = (struct sim_ledger){.loop = loop, .fd = -1};
	rl_buf_init(&ledger->lines, LINES_MAX_BYTES);
	rl_timer_init(&ledger->flush, on_flush);
}

enum rl_err rl_sim_ledger_open(struct sim_ledger *ledger, size_t entries, rl_str file, const char **why)
{
	*why = rl_err_text(RL_ERR_NOMEM);
	enum rl_err err = rl_sim_ledger_resize(ledger, entries);

	if (err == RL_OK)
		err = open_file(ledger, file, why);
	if (err == RL_OK && ledger->fd >= 0) {
		/* What was in doubt of an earlier life stands right before this line. */
		RL_BUF_LIT(&ledger->lines, "{\"end\":\"start\"}\n");
		flush(ledger);
	}
	return err;
}

void rl_sim_ledger_fini(struct sim_ledger *ledger)
{
	rl_timer_stop(&ledger->flush);
	if (ledger->fd >= 0) {
		flush(ledger);
		close(ledger->fd);
	}
	rl_buf_fini(&ledger->lines);
	free(ledger->ring);
}

void rl_sim_ledger_reset(struct sim_ledger *ledger)
{
	ledger->totals = (struct sim_totals){.requests = 0};
	ledger->added = 0;
}

enum rl_err rl_sim_ledger_resize(struct sim_ledger *ledger, size_t entries)
{
	if (entries == ledger->cap)
		return RL_OK;
	/* Pages of it become memory when they are first written. */
	struct sim_entry *ring = entries ? calloc(entries, sizeof *ring) : NULL;

	if (entries && !ring)
		return RL_ERR_NOMEM;
	free(ledger->ring);
	ledger->ring = ring;
	ledger->cap = entries;
	ledger->added = 0;
	return RL_OK;
}

/* ---- lines ---- */

static void write_entry(const struct sim_entry *entry, const char *end, struct rl_buf *out)
{
	char fault[SIM_FAULT_TEXT_MAX];

	rl_sim_fault_text(&entry->fault, fault);
	RL_BUF_LIT(out, "{\"number\":");
	rl_buf_u64(out, entry->number);
	RL_BUF_LIT(out, ",\"x_request_id\":");
	rl_buf_json(out, rl_str_of(entry->request_id));
	RL_BUF_LIT(out, ",\"operation\":\"");
	rl_buf_add(out, rl_str_of(rl_operation_name((enum rl_operation)entry->operation)));
	RL_BUF_LIT(out, "\",\"model\":");
	rl_buf_json(out, rl_str_of(entry->model));
	rl_buf_add(out, entry->stream ? RL_STR(",\"stream\":true") : RL_STR(",\"stream\":false"));
	RL_BUF_LIT(out, ",\"status\":");
	rl_buf_u64(out, entry->status);
	RL_BUF_LIT(out, ",\"fault\":\"");
	rl_buf_add(out, rl_str_of(fault));
	RL_BUF_LIT(out, "\",\"events\":");
	rl_buf_u64(out, entry->events);
	RL_BUF_LIT(out, ",\"end\":\"");
	rl_buf_add(out, rl_str_of(end));
	RL_BUF_LIT(out, "\",\"prompt_tokens\":");
	rl_buf_u64(out, entry->prompt_tokens);
	RL_BUF_LIT(out, ",\"completion_tokens\":");
	rl_buf_u64(out, entry->completion_tokens);
	RL_BUF_LIT(out, "}");
}

static void add_line(struct sim_ledger *ledger, const struct sim_entry *entry, const char *end, bool now)
{
	if (ledger->fd < 0)
		return;
	write_entry(entry, end, &ledger->lines);
	rl_buf_byte(&ledger->lines, '\n');
	if (now || ledger->lines.n >= FLUSH_BYTES)
		flush(ledger);
	else if (!rl_timer_running(&ledger->flush))
		rl_timer_start(ledger->loop, &ledger->flush, FLUSH_MS);
}

void rl_sim_ledger_begun(struct sim_ledger *ledger, const struct sim_entry *entry)
{
	add_line(ledger, entry, "begun", true);
}

void rl_sim_ledger_ending(struct sim_ledger *ledger, const struct sim_entry *entry)
{
	add_line(ledger, entry, rl_sim_end_name(SIM_END_WHOLE), true);
}

void rl_sim_ledger_add(struct sim_ledger *ledger, const struct sim_entry *entry, bool written)
{
	struct sim_totals *totals = &ledger->totals;

	assert(entry->end != SIM_END_NONE);
	totals->requests++;
	totals->streams += entry->stream;
	totals->events += entry->events;
	totals->prompt_tokens += entry->prompt_tokens;
	totals->completion_tokens += entry->completion_tokens;
	if (entry->end == SIM_END_CLIENT_LEFT)
		totals->client_left++;
	else if (entry->end == SIM_END_CUT && entry->stream && entry->events)
		totals->cut_streams++;
	else if (entry->end == SIM_END_CUT || entry->status >= 300)
		totals->failed++;
	else
		totals->completed++;
	if (ledger->cap)
		ledger->ring[ledger->added % ledger->cap] = *entry;
	ledger->added++;
	if (!written)
		add_line(ledger, entry, rl_sim_end_name((enum sim_end)entry->end), false);
}

/* ---- over HTTP ---- */

void rl_sim_ledger_write(const struct sim_ledger *ledger, rl_str name, uint64_t limit, struct rl_buf *out)
{
	const struct sim_totals *t = &ledger->totals;
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"requests", t->requests},
		{"completed", t->completed},
		{"failed", t->failed},
		{"cut_streams", t->cut_streams},
		{"client_left", t->client_left},
		{"streams", t->streams},
		{"events", t->events},
		{"prompt_tokens", t->prompt_tokens},
		{"completion_tokens", t->completion_tokens},
	};
	uint64_t kept = ledger->added < ledger->cap ? ledger->added : ledger->cap;

	RL_BUF_LIT(out, "{\"name\":");
	rl_buf_json(out, name);
	RL_BUF_LIT(out, ",\"totals\":{");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		rl_buf_printf(out, "%s\"%s\":%llu", i ? "," : "", rows[i].name, (unsigned long long)rows[i].value);
	RL_BUF_LIT(out, "}");
	if (limit) {
		if (kept > limit)
			kept = limit;
		RL_BUF_LIT(out, ",\"entries\":[");
		for (uint64_t i = ledger->added - kept; i < ledger->added; i++) {
			if (i > ledger->added - kept)
				RL_BUF_LIT(out, ",\n");
			const struct sim_entry *entry = &ledger->ring[i % ledger->cap];
			write_entry(entry, rl_sim_end_name((enum sim_end)entry->end), out);
		}
		RL_BUF_LIT(out, "]");
	}
	RL_BUF_LIT(out, "}\n");
}
