/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may call: static client keys, kept as SHA-256 digests (keys are 256 random
 * bits, so a fast hash is enough) and compared in constant time.
 */
#ifndef RL_POLICY_CALLER_H
#define RL_POLICY_CALLER_H

#include "config/config.h"

struct rl_callers {
	const struct rl_cfg_client *list;
	size_t n;
	bool open;       /* no key is asked for */
	bool host_bound; /* open, and all listeners are on loopback: but on Unix sockets Host must be a loopback name */
};

/* `config` must outlive it. */
void rl_callers_init(struct rl_callers *callers, const struct rl_config *config);
/* The client whose key was presented, or NULL. Time does not depend on which one, nor on how much of a key is right. */
const struct rl_cfg_client *rl_callers_find(const struct rl_callers *callers, rl_str presented);
/* Whether the client may ask for a model by this name. */
bool rl_caller_may_use(const struct rl_cfg_client *client, rl_str model);
/* Whether it may use routes where no model is named, hence none is checked. */
bool rl_caller_may_pass(const struct rl_cfg_client *client);
/* Constant-time comparison of a presented secret with the right one. */
bool rl_caller_secret_is(struct rl_secret right, rl_str presented);
/* "Bearer xyz" to "xyz"; the empty slice if it is something else. */
rl_str rl_caller_bearer(rl_str authorization);

/* A new key for a client: 'rl-' and 43 characters of base64url (256 random bits); NUL-terminated. */
#define RL_CLIENT_KEY_LEN 46
void rl_caller_new_key(char out[RL_CLIENT_KEY_LEN + 1]);
/* "sha256:<64 hex>" of a key, as it stands in the config; NUL-terminated. */
#define RL_CLIENT_HASH_LEN 71
void rl_caller_hash(rl_str key, char out[RL_CLIENT_HASH_LEN + 1]);

#endif
