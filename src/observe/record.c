/* SPDX-License-Identifier: Apache-2.0 */
/* See record.h. */
#include "observe/record.h"

const char *rl_outcome_name(enum rl_outcome outcome)
{
	static const char *const names[] = {"none",
#define X(id, name) name,
					    RL_OUTCOMES(X)
#undef X
	};

	return (unsigned)outcome < RL_OUTCOME_COUNT ? names[outcome] : "none";
}
