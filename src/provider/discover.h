/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run without a config file: providers from the keys in the environment and from
 * model servers that listen on their usual ports of this machine.
 */
#ifndef RL_PROVIDER_DISCOVER_H
#define RL_PROVIDER_DISCOVER_H

#include "config/config.h"

/*
 * Adds what it finds to `config` (memory in its arena). Local servers get at most wait_ms in all, asked at the same
 * time; ports in `own_ports` (our listeners) are skipped.
 */
enum rl_err rl_discover(struct rl_config *config, const uint16_t *own_ports, size_t n_own_ports,
			unsigned wait_ms) RL_MUST_CHECK;
/* Adds one provider with all defaults (memory in the config's arena); NULL without memory. */
struct rl_cfg_provider *rl_discover_add(struct rl_config *config, rl_str name, rl_str dialect, rl_str base_url);

#endif
