/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the text of a scalar to a typed value: numbers with units, variables, edit
 * distance, JSON. Private to this room; nothing here knows of tables or positions.
 * All functions return false on malformed text and leave *out alone then.
 */
#ifndef RL_CONFIG_VALUE_H
#define RL_CONFIG_VALUE_H

#include "config/schema.h"
#include "config/yaml_priv.h"

bool rl_value_bool(rl_str text, bool *out);
bool rl_value_u64(rl_str text, uint64_t *out); /* decimal digits */
/* Decimal, with an optional fraction, exponent or percent sign (divides by 100). Not negative. */
bool rl_value_ratio(rl_str text, double *out);
/* One or more of <number><unit>, units ms s m h d: "1h30m", "1.5s". "0" needs none. Milliseconds. */
bool rl_value_duration(rl_str text, uint64_t *out);
/* <number>[B|KB|MB|GB|KiB|MiB|GiB]; bytes. */
bool rl_value_size(rl_str text, uint64_t *out);

enum value_vars { VARS_NONE = 0, VARS_DONE, VARS_UNSET, VARS_SYNTAX, VARS_LIMIT };
/*
 * Replaces variables in `text`; the result goes to `out` (not touched for VARS_NONE: nothing to
 * replace). For VARS_UNSET *unset is the (first) name without value or default.
 */
enum value_vars rl_value_expand(rl_str text, const struct rl_schema_hooks *hooks, struct rl_buf *out, rl_str *unset);

/*
 * A plain scalar as JSON text (null, true, false, a number by RFC 8259 §6), else a JSON string.
 */
void rl_value_scalar_json(rl_str text, bool plain, struct rl_buf *out);

#endif
