/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an open listener (one that asks for no key) refuses: requests that a web
 * page of somebody else's made in the user's browser. A foreign Host is DNS
 * rebinding, a cross-site Origin is forgery.
 */
#ifndef RL_POLICY_ORIGIN_RULE_H
#define RL_POLICY_ORIGIN_RULE_H

#include "http/head.h"

/* "localhost", "x.localhost", 127.0.0.0/8, [::1], with or without a port. */
bool rl_authority_is_loopback(rl_str authority);
/*
 * NULL if acceptable, else a sentence for the client. `host_bound`: the listener is on loopback, so that only loopback
 * names may stand in Host. `allowed`: pages of this request's Origin may call (server.cors.origins).
 */
const char *rl_open_listener_refuses(const struct rl_request_head *head, bool host_bound, bool allowed);

#endif
