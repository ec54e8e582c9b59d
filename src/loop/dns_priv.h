/* SPDX-License-Identifier: Apache-2.0 */
/* A resolver's inside, as far as its tests need it. */
#ifndef RL_LOOP_DNS_PRIV_H
#define RL_LOOP_DNS_PRIV_H

#include "loop/dns.h"

/* Asks these servers ("127.0.0.1:5300,[::1]:5300") instead of the system's; `try_ms` for the first try. */
enum rl_err rl_dns_use_servers(struct rl_loop *loop, const char *servers, int try_ms) RL_MUST_CHECK;
/* Makes all that is cached look this much older. */
void rl_dns_age(struct rl_loop *loop, uint64_t by_ms);

#endif
