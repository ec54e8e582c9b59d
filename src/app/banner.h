/* SPDX-License-Identifier: Apache-2.0 */
/* What serve prints when it is ready: where it listens, which providers it found, and a line to try. */
#ifndef RL_APP_BANNER_H
#define RL_APP_BANNER_H

#include "app/doors.h"
#include "policy/snapshot.h"

void rl_banner_print(const struct rl_snapshot *snapshot, const struct rl_doors *data, const struct rl_doors *admin,
		     bool discovered);

#endif
