/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret (a provider's key, the admin token) has a type of its own, so that no
 * format string, log call or JSON writer takes it by accident. Its text is
 * reached through one function, whose calls are easy to find and to count.
 */
#ifndef RL_BASE_SECRET_H
#define RL_BASE_SECRET_H

#include "base/slice.h"

struct rl_secret {
	rl_str hidden_; /* only rl_secret_reveal may read it */
};

/* The text, for the one place that must send or compare it. */
static inline rl_str rl_secret_reveal(struct rl_secret secret)
{
	return secret.hidden_;
}

static inline bool rl_secret_is_set(struct rl_secret secret)
{
	return secret.hidden_.n > 0;
}

static inline struct rl_secret rl_secret_make(rl_str text)
{
	return (struct rl_secret){text};
}

#endif
