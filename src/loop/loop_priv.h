/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a loop, for the files of this room. */
#ifndef RL_LOOP_LOOP_PRIV_H
#define RL_LOOP_LOOP_PRIV_H

#include <stdatomic.h>
#include <uv.h>

#include "loop/loop.h"
#include "loop/wheel_priv.h"

struct rl_dns;

struct rl_loop {
	uv_loop_t uv;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_async_t wake;
	uv_timer_t alarm;
	uint64_t alarm_ms; /* when the alarm goes off; UINT64_MAX: it is not set */
	struct rl_wheel wheel;
	struct rl_task *tasks, **tasks_end; /* in order of queueing */
	_Atomic(struct rl_mail *) mail;     /* newest first */
	uint64_t turn;
	atomic_bool stopping;
	bool running;
	struct rl_guest *guests;
	size_t n_guests, n_polls;
	struct rl_dns *dns; /* made with the first query */
	char *scratch;
	char name[32];
};

/* Ends the resolver of a loop that is being freed. Accepts NULL. */
void rl_dns_free(struct rl_dns *dns);

#endif
