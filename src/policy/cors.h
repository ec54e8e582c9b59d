/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which web pages may call and read the answers (the CORS protocol, fetch.spec.whatwg.org
 * §3.3), by a list of exact origins; and the fields that tell browsers what else to
 * leave alone. Credentials of the browser (cookies) are never allowed: clients of this
 * gateway show a key.
 */
#ifndef RL_POLICY_CORS_H
#define RL_POLICY_CORS_H

#include "config/config.h"
#include "http/head.h"

/*
 * What Access-Control-Allow-Origin may say to this request: the origin that it names, if that is listed, or "*" where
 * all are; else the empty slice. `null`, which every sandboxed page and local file calls itself, is never allowed.
 */
rl_str rl_cors_origin(const struct rl_cfg_server *server, const struct rl_headers *headers);
/* The browser asks whether it may ask (OPTIONS, with what it would ask). */
bool rl_cors_is_preflight(const struct rl_request_head *head);
/* What each answer carries once origins are configured. `allowed` is rl_cors_origin's. All slices are borrowed. */
enum rl_err rl_cors_fields(rl_str allowed, struct rl_headers *out, struct rl_arena *arena) RL_MUST_CHECK;
/* What the answer to a preflight carries beside them. */
enum rl_err rl_cors_preflight_fields(const struct rl_headers *asked, struct rl_headers *out,
				     struct rl_arena *arena) RL_MUST_CHECK;

/* X-Frame-Options and X-Content-Type-Options: on every answer of both planes (rl_server_set_always). */
#define RL_BROWSER_FIELDS 2u
extern const struct rl_header rl_browser_fields[RL_BROWSER_FIELDS];

#endif
