/* SPDX-License-Identifier: Apache-2.0 */
/* See crowd.h. Chains of a seeded hash: nobody can choose addresses that share one. */
#include "policy/crowd.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"

#define CHAINS 4096u

struct guest {
	struct guest *next;
	uint64_t id;
	uint32_t n; /* > 0 */
};

struct rl_crowd {
	pthread_mutex_t lock;
	struct guest *chains[CHAINS];
	size_t n;
	uint64_t refused;
};

enum rl_err rl_crowd_new(struct rl_crowd **out)
{
	struct rl_crowd *crowd = calloc(1, sizeof *crowd);

	if (!crowd)
		return RL_ERR_NOMEM;
	pthread_mutex_init(&crowd->lock, NULL);
	*out = crowd;
	return RL_OK;
}

void rl_crowd_free(struct rl_crowd *crowd)
{
	if (!crowd)
		return;
	for (size_t i = 0; i < CHAINS; i++) {
		for (struct guest *guest = crowd->chains[i], *next; guest; guest = next) {
			next = guest->next;
			free(guest);
		}
	}
	pthread_mutex_destroy(&crowd->lock);
	free(crowd);
}

/* Where the guest hangs, or where it would. */
static struct guest **find(struct rl_crowd *crowd, uint64_t id)
{
	struct guest **at = &crowd->chains[rl_hash(rl_str_make(&id, sizeof id)) % CHAINS];

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static bool enter(struct rl_crowd *crowd, uint64_t id, uint32_t most)
{
	struct guest **at = find(crowd, id);

	if (*at && (*at)->n >= most)
		return false;
	if (!*at && !(*at = calloc(1, sizeof **at)))
		return false;
	(*at)->id = id;
	(*at)->n++;
	crowd->n++;
	return true;
}

bool rl_crowd_enter(struct rl_crowd *crowd, uint64_t id, uint32_t most)
{
	assert(most);
	pthread_mutex_lock(&crowd->lock);
	bool in = enter(crowd, id, most);

	crowd->refused += !in;
	pthread_mutex_unlock(&crowd->lock);
	return in;
}

void rl_crowd_leave(struct rl_crowd *crowd, uint64_t id)
{
	pthread_mutex_lock(&crowd->lock);
	struct guest **at = find(crowd, id), *guest = *at;

	assert(guest && guest->n && crowd->n);
	crowd->n--;
	if (!--guest->n) {
		*at = guest->next;
		free(guest);
	}
	pthread_mutex_unlock(&crowd->lock);
}

size_t rl_crowd_size(struct rl_crowd *crowd)
{
	pthread_mutex_lock(&crowd->lock);
	size_t n = crowd->n;

	pthread_mutex_unlock(&crowd->lock);
	return n;
}

uint64_t rl_crowd_refused(struct rl_crowd *crowd)
{
	pthread_mutex_lock(&crowd->lock);
	uint64_t n = crowd->refused;

	pthread_mutex_unlock(&crowd->lock);
	return n;
}
