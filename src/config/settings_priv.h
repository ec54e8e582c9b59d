/* SPDX-License-Identifier: Apache-2.0 */
/* The table of relais.yaml over struct rl_config (see config.h, schema.h). Private to this room. */
#ifndef RL_CONFIG_SETTINGS_H
#define RL_CONFIG_SETTINGS_H

#include "config/config.h"
#include "config/schema.h"

extern const struct rl_schema rl_settings;
/* An entry of providers, and of models. */
extern const struct rl_schema rl_settings_provider, rl_settings_model;

#endif
