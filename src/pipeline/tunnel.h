/* SPDX-License-Identifier: Apache-2.0 */
/* WebSockets, for the steps that meet them: see tunnel.c. Private to this room. */
#ifndef RL_PIPELINE_TUNNEL_H
#define RL_PIPELINE_TUNNEL_H

#include "pipeline/request.h"

/* What the head of a request for a WebSocket must keep to; reads its model. */
enum rl_move rl_tunnel_check(struct rl_request *rq);
/* The key that a web page, which cannot set Authorization, puts among the subprotocols; or the empty slice. */
rl_str rl_tunnel_key(const struct rl_headers *headers);
/* The subprotocols without such keys, in the request's arena. */
rl_str rl_tunnel_protocols(struct rl_request *rq);
/* The query with the target's own name of the model; p == NULL without memory, or where there is none. */
rl_str rl_tunnel_query(struct rl_request *rq, const struct rl_target *target);
/* RELAY: the provider has answered 101; then bytes came from it; then ROOM, BODY, TIMER and GONE. */
enum rl_move rl_tunnel_open(struct rl_request *rq);
void rl_tunnel_moved(struct rl_request *rq);
enum rl_move rl_tunnel_wake(struct rl_request *rq, const struct rl_wake_in *in);

/* The call has failed by `err`, which after the client's own end is but a careless end of the provider's. */
bool rl_tunnel_was_over(const struct rl_request *rq, enum rl_err err);

#endif
