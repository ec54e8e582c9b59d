/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over from a running process (`relais serve --takeover`): the side of the one that starts. See control.h for the
 * conversation. These calls wait, each at most RL_CONTROL_ANSWER_MS: nothing is served yet.
 */
#ifndef RL_LIFE_TAKEOVER_H
#define RL_LIFE_TAKEOVER_H

#include "life/control.h"

#define RL_TAKEOVER_WHY_MAX 512u

struct rl_takeover {
	int fd; /* -1: no conversation */
	/* The manager of the other process, if it has one. */
	char notify[RL_NOTIFY_PATH_MAX];
	uint64_t watchdog_ms;
	bool told;                     /* the other one, that we serve */
	char why[RL_TAKEOVER_WHY_MAX]; /* of the last error, for people */
};

/* Asks the process at `path` for its sockets: they are in `into` then. */
enum rl_err rl_takeover_begin(struct rl_takeover *t, const char *path, struct rl_inherit *into) RL_MUST_CHECK;
/* We have started whole. RL_OK: the other one has stopped accepting, and waits. On an error it goes on. */
enum rl_err rl_takeover_ready(struct rl_takeover *t) RL_MUST_CHECK;
/*
 * From now on we serve. RL_OK: the other one knows, and the manager knows us. Otherwise `told` says whether it may know: then
 * both of us may serve for a while; else it goes on as if nothing had been.
 */
enum rl_err rl_takeover_serving(struct rl_takeover *t) RL_MUST_CHECK;
/* Ends the conversation; harmless without one. */
void rl_takeover_end(struct rl_takeover *t);

#endif
