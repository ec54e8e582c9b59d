/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The well-known providers and local servers: one row each, from which come a
 * provider's default address, discovery from the environment, and the ids that
 * are known before a provider was ever asked.
 */
#ifndef RL_PROVIDER_PRESET_H
#define RL_PROVIDER_PRESET_H

#include "dialect/translate.h"

struct rl_preset {
	rl_str name; /* of the provider in config and in model names */
	rl_str dialect;
	rl_str base_url; /* as the official SDKs use theirs */
	const char *env; /* variable that holds its key; NULL for local servers */
	bool local;
	uint64_t quirks;           /* bits of enum rl_quirk */
	const char *const *models; /* ids to offer until its own list has been fetched; ends with NULL */
};

/* Ends with an entry whose name is empty. */
extern const struct rl_preset rl_presets[];
/* Whether this address is the preset's own, which is also meant by none. */
bool rl_preset_is_at(const struct rl_preset *preset, rl_str base_url);
/* By name, or NULL. */
const struct rl_preset *rl_preset_find(rl_str name);

#endif
