/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that carry several calls: what share.c does for the other files of the
 * client, where the origin speaks HTTP/2. Its lists are the place's and under its loop.
 */
#ifndef RL_HTTP_SHARE_PRIV_H
#define RL_HTTP_SHARE_PRIV_H

#include "http/client_priv.h"

#define RL_STREAMS_MAX 32u /* calls on one connection */

/* The call gets a connection that others use, or waits for one; opens one if need be. */
void rl_share_wait(struct rl_run *run);
/* A queued call ends. Never calls an owner. */
void rl_share_leave(struct rl_run *run);
/* A queued call has got a connection that has become idle. */
void rl_share_taken(struct rl_run *run);
/* What `leader` was opening is ready (its codec is known), or has failed. */
void rl_share_ready(struct rl_conn *conn);
void rl_share_failed(struct rl_run *leader, enum rl_err reason, const char *detail);
/* The connection stands where its number of calls and its room say: shared list, idle list, neither; or is closed. */
void rl_share_sort(struct rl_conn *conn);
/* It may have room, or be idle, where it was not: queued calls first. */
void rl_share_freed(struct rl_conn *conn);
void rl_share_unlink(struct rl_conn *conn); /* off the shared list */

#endif
