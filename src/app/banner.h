/* SPDX-License-Identifier: Apache-2.0 */
/* What serve prints when it is ready: where it listens, which providers it found, and a line to try. */
#ifndef RL_APP_BANNER_H
#define RL_APP_BANNER_H

#include "net/listener.h"
#include "policy/snapshot.h"

void rl_banner_print(const struct rl_snapshot *snapshot, struct rl_listener *const *data, size_t n_data,
		     struct rl_listener *const *admin, size_t n_admin, bool discovered);

#endif
