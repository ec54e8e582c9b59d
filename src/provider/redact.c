/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider that echoes its key ("Incorrect API key provided: ...") must not tell
 * it to our clients and logs (FAULTS 92). Whatever a provider says of a failure
 * goes through here before anybody else reads it.
 */
#include "provider/redact.h"

#define KEY_BYTES_MIN 8u /* a shorter one could be any word */

/* The key alone: what follows the scheme of an Authorization value. */
static rl_str key_of(const struct rl_provider_key *key)
{
	rl_str value = rl_secret_reveal(key->authorization);
	size_t space = rl_str_find(value, ' ');

	return space == SIZE_MAX ? value : rl_str_sub(value, space + 1, SIZE_MAX);
}

bool rl_redact(const struct rl_provider *provider, char *text, size_t n)
{
	bool found = false;

	for (size_t i = 0; i < provider->n_keys; i++) {
		rl_str key = key_of(&provider->keys[i]);
		char *at = text;

		while (key.n >= KEY_BYTES_MIN && (at = memmem(at, n - (size_t)(at - text), key.p, key.n))) {
			memset(at, '*', key.n);
			at += key.n;
			found = true;
		}
	}
	return found;
}

rl_str rl_redact_copy(const struct rl_provider *provider, rl_str text, struct rl_arena *arena)
{
	if (!text.n || !provider->n_keys)
		return text;
	rl_str copy = rl_arena_dup(arena, text);

	if (!copy.p)
		return RL_STR("out of memory");
	rl_redact(provider, (char *)(uintptr_t)copy.p, copy.n);
	return copy;
}
