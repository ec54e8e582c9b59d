/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket of a running process: where the process that follows it asks for its listening sockets. A Unix
 * socket of mode 0600; whoever connects must be of our user, or root. One conversation at a time, each step of it with
 * its time limit, and whatever ends it before the other one serves leaves everything as it was:
 *
 *   we     "relais"                               or "no WHY", as at each later step
 *   other  "relais takeover 1"                    within ANSWER_MS
 *   we     "socket PLANE HOW ADDRESS" with the descriptor, once each; "notify ..."; "end"
 *   other  "ready"                                within START_MS: it has started whole
 *   we     accept no more, "paused"
 *   other  "serving"                              within ANSWER_MS, or we accept again
 *   we     "bye", and drain
 *
 * takeover.h is the other side.
 */
#ifndef RL_LIFE_CONTROL_H
#define RL_LIFE_CONTROL_H

#include <sys/types.h>

#include "life/inherit.h"
#include "life/notify.h"

#define RL_CONTROL_PATH_MAX 108u /* what a socket address holds */
#define RL_CONTROL_ANSWER_MS 10000u
#define RL_CONTROL_START_MS 60000u

/* What the owner does; never called from inside a call of the owner's. */
struct rl_control_ops {
	const char *name;
	/* NULL when everything may be handed over, else why not. */
	const char *(*refuse)(void *owner);
	/* The i-th listening socket; false when there are no more. The descriptor stays the owner's. */
	bool (*socket)(void *owner, size_t i, struct rl_inherited *out);
	const struct rl_notify *(*notify)(void *owner);
	/* Accept no more, or again. The sockets stay open. */
	void (*pause)(void *owner, bool paused);
	/* The other process (0: not known here) serves. What is said to the manager is said before this returns. */
	void (*gone)(void *owner, pid_t next);
};

struct rl_control;

/*
 * Where the socket stands: `configured` may be a path, "off" (then *out is empty) or "auto": in $RUNTIME_DIRECTORY,
 * $STATE_DIRECTORY, $XDG_STATE_HOME/relais or ./relais-data. RL_ERR_LIMIT if that is too long for a socket's address.
 */
enum rl_err rl_control_path(rl_str configured, char out[RL_CONTROL_PATH_MAX]) RL_MUST_CHECK;
/*
 * Makes the folder, if it is missing, and the socket. RL_ERR_BUSY if a living process answers there, unless `replace`: then
 * its socket is replaced by ours. *why is for people.
 */
enum rl_err rl_control_open(struct rl_loop *loop, const char *path, bool replace, const struct rl_control_ops *ops,
			    void *owner, struct rl_control **out, const char **why) RL_MUST_CHECK;
/* The file is removed if it is still ours, and the folder if it is empty then. A conversation ends. Accepts NULL. */
void rl_control_close(struct rl_control *control);

#endif
