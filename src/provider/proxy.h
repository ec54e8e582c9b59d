/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a provider is reached through an HTTP proxy, and through which: the
 * provider's own setting, else what the environment says (HTTPS_PROXY,
 * HTTP_PROXY, NO_PROXY). Pure functions over texts; only rl_proxy_env_read looks
 * at the environment.
 */
#ifndef RL_PROVIDER_PROXY_H
#define RL_PROVIDER_PROXY_H

#include "base/arena.h"
#include "base/secret.h"
#include "provider/provider.h"

/* What the environment says. The addresses may hold passwords. */
struct rl_proxy_env {
	struct rl_secret https, http;
	rl_str none; /* NO_PROXY */
};

struct rl_proxy {
	rl_str host; /* without brackets; empty: go straight */
	uint16_t port;
	struct rl_secret credentials; /* "user:password", or unset */
};

/* Lower case goes before upper case, as with curl; an empty variable is as good as none. Texts are the environment's. */
struct rl_proxy_env rl_proxy_env_read(void);

/*
 * Whether NO_PROXY names the host. Its entries stand between commas or blanks: `*` is everyone; a name stands for
 * itself and for all names below it, with or without "." or "*." in front; an address or a network (10.0.0.0/8) for
 * those; each may end in :port and then holds for that port only. Names are not looked up.
 */
bool rl_proxy_is_bypassed(rl_str no_proxy, rl_str host, uint16_t port);

/*
 * The proxy for `url`. setting: the provider's own ("none" or an address), unset: the environment decides, but never
 * for sockets, for this machine, or for what is `local`. Texts are in the arena. SYNTAX with *why (no secret in it).
 */
enum rl_err rl_proxy_choose(struct rl_secret setting, const struct rl_proxy_env *env, const struct rl_url *url,
			    bool local, struct rl_arena *arena, struct rl_proxy *out, const char **why) RL_MUST_CHECK;

#endif
