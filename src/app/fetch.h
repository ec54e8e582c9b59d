/* SPDX-License-Identifier: Apache-2.0 */
/* One small HTTP request, waited for: what commands need to ask a running gateway. */
#ifndef RL_APP_FETCH_H
#define RL_APP_FETCH_H

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

/* GET http://address/path, or over the Unix socket of "unix:/path"; the body goes to `out`. `token` may be unset. */
enum rl_err rl_fetch(rl_str address, rl_str path, struct rl_secret token, uint16_t *status,
		     struct rl_buf *out) RL_MUST_CHECK;

#endif
