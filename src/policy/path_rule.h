/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which paths have one meaning only. A path that goes on to a provider is never
 * rewritten, so that what was checked is what is sent; one that two parties could
 * read differently (dot segments, a slash in disguise, double encoding) is refused.
 */
#ifndef RL_POLICY_PATH_RULE_H
#define RL_POLICY_PATH_RULE_H

#include "base/slice.h"

/* NULL if acceptable, else what is wrong with it, for the client. `path` is as it was sent, without the query. */
const char *rl_path_refused(rl_str path);
/* The same of a query, which may hold anything printable. */
const char *rl_query_refused(rl_str query);

#endif
