/* SPDX-License-Identifier: Apache-2.0 */
/* A provider may say its key back, in an error above all; no client and no log may see it. */
#ifndef RL_PROVIDER_REDACT_H
#define RL_PROVIDER_REDACT_H

#include "provider/provider.h"

/* Stars in place of the provider's keys, wherever they stand in text; true if there was one. */
bool rl_redact(const struct rl_provider *provider, char *text, size_t n);
/* The same of text that is not ours to change: a copy in the arena, without memory another text. */
rl_str rl_redact_copy(const struct rl_provider *provider, rl_str text, struct rl_arena *arena);

#endif
