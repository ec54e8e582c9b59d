/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal numbers as whole numbers of a smaller unit, exactly: money never passes through a double. */
#ifndef RL_CATALOG_AMOUNT_H
#define RL_CATALOG_AMOUNT_H

#include "base/err.h"
#include "base/slice.h"

/*
 * The value of a JSON number (RFC 8259 §6; its grammar is the caller's to check) times 10^scale: "3.75e-6" with scale 9
 * is 3750. RL_ERR_SYNTAX: no number; RL_ERR_RANGE: negative or above `max`; RL_ERR_UNSUPPORTED: not whole, the unit is
 * too large for it. *out is set on success only.
 */
RL_MUST_CHECK enum rl_err rl_amount_parse(rl_str number, int scale, int64_t max, int64_t *out);

#endif
