/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a simulated provider served, by its own account: exact totals, the last
 * requests in a ring, and, if a file is named, a line for each of them there.
 *
 * The file is for simulators that are killed. A stream's "begun" line is written
 * before the bytes of its first content event go out, the line of a whole stream
 * before the bytes that end it. So of a killed simulator's lines all are true but
 * perhaps the very last, whose bytes may not have gone out. Private to this room.
 */
#ifndef RL_SERVICE_LEDGER_H
#define RL_SERVICE_LEDGER_H

#include "service/behaviour.h"

#include "loop/loop.h"

/*      id           name           */
#define SIM_ENDS(X)       \
	X(NONE, "open")   \
	X(WHOLE, "whole") \
	X(CUT, "cut")     \
	X(CLIENT_LEFT, "client_left")

enum sim_end {
#define X(id, name) SIM_END_##id,
	SIM_ENDS(X)
#undef X
};

#define SIM_ID_KEPT 48    /* bytes of an x-request-id */
#define SIM_MODEL_KEPT 32 /* of a model's name */

struct sim_entry {
	uint64_t number; /* of the request, from 0 */
	uint64_t events; /* content events of a stream */
	uint64_t prompt_tokens, completion_tokens;
	struct sim_fault fault;
	char request_id[SIM_ID_KEPT];
	char model[SIM_MODEL_KEPT];
	uint16_t status;
	uint8_t operation; /* enum rl_operation */
	uint8_t end;       /* enum sim_end */
	bool stream;
};

struct sim_totals {
	uint64_t requests, completed, failed, cut_streams, client_left;
	uint64_t streams, events, prompt_tokens, completion_tokens;
};

struct sim_ledger {
	struct rl_loop *loop;
	struct sim_totals totals;
	struct sim_entry *ring;
	size_t cap;
	uint64_t added; /* since the last reset; the ring holds the last cap of them */
	int fd;         /* -1: no file */
	struct rl_buf lines;
	struct rl_timer flush;
};

void rl_sim_ledger_init(struct sim_ledger *ledger, struct rl_loop *loop);
/* `entries` may be 0. `file` may be empty. On failure *why is static text. */
enum rl_err rl_sim_ledger_open(struct sim_ledger *ledger, size_t entries, rl_str file, const char **why) RL_MUST_CHECK;
void rl_sim_ledger_fini(struct sim_ledger *ledger);
void rl_sim_ledger_reset(struct sim_ledger *ledger);
/* How many of the last requests are remembered from now on; forgets those of before if that changes. */
enum rl_err rl_sim_ledger_resize(struct sim_ledger *ledger, size_t entries) RL_MUST_CHECK;

/* The first content event of a stream is about to be written. */
void rl_sim_ledger_begun(struct sim_ledger *ledger, const struct sim_entry *entry);
/* A whole stream is about to be ended: its line goes to the file now; the entry is added later. */
void rl_sim_ledger_ending(struct sim_ledger *ledger, const struct sim_entry *entry);
/* A request is over. `written`: its line is in the file already. */
void rl_sim_ledger_add(struct sim_ledger *ledger, const struct sim_entry *entry, bool written);

/* As JSON. limit 0: the totals alone; else the last `limit` entries too. */
void rl_sim_ledger_write(const struct sim_ledger *ledger, rl_str name, uint64_t limit, struct rl_buf *out);

const char *rl_sim_end_name(enum sim_end end);

#endif
