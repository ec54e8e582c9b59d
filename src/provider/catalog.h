/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which model ids a provider has: those configured, those built in, and those that
 * it listed itself when it was last asked. Asking happens in the background
 * (rl_catalog_fetch on the keeper's loop); nobody ever waits for it.
 */
#ifndef RL_PROVIDER_CATALOG_H
#define RL_PROVIDER_CATALOG_H

#include "provider/provider.h"

/* Whether the provider is known to have `id`. Thread-safe. */
bool rl_catalog_has(const struct rl_provider *provider, rl_str id);
/* Calls each(ctx, id) for every known id once, configured and fetched ones first. Thread-safe; ids are borrowed for the call. */
void rl_catalog_each(const struct rl_provider *provider, void (*each)(void *ctx, rl_str id), void *ctx);
/* Replaces the fetched ids (copied; each once). On failure those before stay. */
enum rl_err rl_catalog_set(struct rl_provider_live *live, const rl_str *ids, size_t n) RL_MUST_CHECK;

struct rl_catalog_call;
/*
 * Asks the provider for its list, over `pool`, and keeps it. `done` is called once, later, with OK or why it failed,
 * unless it is cancelled before; the provider must live until then.
 */
enum rl_err rl_catalog_fetch(struct rl_pool *pool, const struct rl_provider *provider,
			     void (*done)(void *ctx, const struct rl_provider *provider, enum rl_err result, size_t n),
			     void *ctx, struct rl_catalog_call **out) RL_MUST_CHECK;
/* Not after `done`. Accepts NULL. */
void rl_catalog_cancel(struct rl_catalog_call *call);

#endif
