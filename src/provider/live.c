/* SPDX-License-Identifier: Apache-2.0 */
/* See live.h. One mutex guards the maps; entries themselves carry atomics or locks of their own. */
#include "provider/live.h"

#include <openssl/evp.h>
#include <stdlib.h>

#define LIVE_BYTES_MAX (64u << 20) /* identities of everything ever configured in this process */

struct origin_entry {
	struct origin_entry *next;
	rl_str key;
	struct rl_origin *origin;
	bool asked; /* since the last sweep */
};

struct rl_live {
	pthread_mutex_t lock;
	struct rl_arena arena;
	struct rl_map providers, targets, aliases, slots;
	struct origin_entry *origins;
};

enum rl_err rl_live_new(struct rl_live **out)
{
	struct rl_live *live = calloc(1, sizeof *live);

	if (!live)
		return RL_ERR_NOMEM;
	pthread_mutex_init(&live->lock, NULL);
	rl_arena_init(&live->arena, LIVE_BYTES_MAX);
	rl_map_init(&live->providers);
	rl_map_init(&live->targets);
	rl_map_init(&live->aliases);
	rl_map_init(&live->slots);
	*out = live;
	return RL_OK;
}

static void free_providers(struct rl_map *map)
{
	for (size_t i = 0; i < map->cap; i++) {
		struct rl_provider_live *p = map->slots[i].value;

		if (p) {
			rl_arena_fini(&p->arena);
			pthread_rwlock_destroy(&p->lock);
		}
	}
}

void rl_live_free(struct rl_live *live)
{
	if (!live)
		return;
	while (live->origins) {
		struct origin_entry *entry = live->origins;
		live->origins = entry->next;
		rl_origin_unref(entry->origin);
		free(entry);
	}
	free_providers(&live->providers);
	rl_map_fini(&live->providers);
	rl_map_fini(&live->targets);
	rl_map_fini(&live->aliases);
	rl_map_fini(&live->slots);
	rl_arena_fini(&live->arena);
	pthread_mutex_destroy(&live->lock);
	free(live);
}

/* The entry for key in map, made by zeroing `size` bytes and `init`. */
static void *get_or_make(struct rl_live *live, struct rl_map *map, rl_str key, size_t size, void (*init)(void *))
{
	pthread_mutex_lock(&live->lock);
	void *entry = rl_map_get(map, key);

	if (!entry) {
		rl_str name = rl_arena_dup(&live->arena, key);
		entry = name.p ? rl_arena_zalloc(&live->arena, 1, size) : NULL;
		if (entry && rl_map_put(map, name, entry))
			entry = NULL;
		if (entry && init)
			init(entry);
	}
	pthread_mutex_unlock(&live->lock);
	return entry;
}

static void init_provider(void *entry)
{
	struct rl_provider_live *p = entry;

	pthread_rwlock_init(&p->lock, NULL);
	rl_arena_init(&p->arena, 4u << 20);
}

static void init_alias(void *entry)
{
	pthread_mutex_init(&((struct rl_alias_live *)entry)->lock, NULL);
}

struct rl_provider_live *rl_live_provider(struct rl_live *live, rl_str name)
{
	return get_or_make(live, &live->providers, name, sizeof(struct rl_provider_live), init_provider);
}

/* Names joined by a byte that no name holds. */
static bool join(struct rl_buf *key, const rl_str *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (i)
			rl_buf_byte(key, '\n');
		rl_buf_add(key, names[i]);
	}
	return rl_buf_ok(key);
}

static void *get_joined(struct rl_live *live, struct rl_map *map, const rl_str *names, size_t n, size_t size)
{
	struct rl_buf key;
	void *entry = NULL;

	rl_buf_init(&key, 4096);
	if (join(&key, names, n))
		entry = get_or_make(live, map, rl_buf_str(&key), size, NULL);
	rl_buf_fini(&key);
	return entry;
}

struct rl_target_live *rl_live_target(struct rl_live *live, rl_str provider, rl_str model)
{
	return get_joined(live, &live->targets, (rl_str[]){provider, model}, 2, sizeof(struct rl_target_live));
}

struct rl_alias_live *rl_live_alias(struct rl_live *live, rl_str alias)
{
	return get_or_make(live, &live->aliases, alias, sizeof(struct rl_alias_live), init_alias);
}

struct rl_slot_live *rl_live_slot(struct rl_live *live, rl_str alias, rl_str provider, rl_str model)
{
	return get_joined(live, &live->slots, (rl_str[]){alias, provider, model}, 3, sizeof(struct rl_slot_live));
}

/* Keys live long, and need not hold a password. */
static void add_digest(struct rl_buf *key, struct rl_secret secret)
{
	rl_str text = rl_secret_reveal(secret);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (text.n == 0)
		return;
	if (EVP_Digest(text.p, text.n, digest, &n, EVP_sha256(), NULL) != 1)
		key->failed = true;
	rl_buf_add(key, rl_str_make(digest, n));
}

static void origin_key(struct rl_buf *key, const struct rl_origin_spec *spec)
{
	rl_buf_printf(key, "%d\n%d\n%.*s\n%u\n%.*s\n%u\n%u\n%llu\n", spec->https, spec->http2, RL_STR_ARG(spec->host),
		      spec->port, RL_STR_ARG(spec->unix_path), spec->max_connections, spec->max_idle,
		      (unsigned long long)spec->idle_ms);
	rl_buf_printf(key, "%.*s\n%u\n", RL_STR_ARG(spec->proxy_host), spec->proxy_port);
	add_digest(key, spec->proxy_credentials);
	if (spec->https)
		rl_tls_client_key(&spec->tls, key);
}

static struct rl_origin *find_origin(struct rl_live *live, rl_str key)
{
	for (struct origin_entry *entry = live->origins; entry; entry = entry->next)
		if (rl_str_eq(entry->key, key)) {
			entry->asked = true;
			return rl_origin_ref(entry->origin);
		}
	return NULL;
}

static enum rl_err add_origin(struct rl_live *live, const struct rl_origin_spec *spec, rl_str key,
			      struct rl_origin **out, const char **why)
{
	struct origin_entry *entry = malloc(sizeof *entry + key.n);

	if (!entry)
		return RL_ERR_NOMEM;
	enum rl_err err = rl_origin_new(spec, &entry->origin, why);

	if (err) {
		free(entry);
		return err;
	}
	memcpy(entry + 1, key.p, key.n);
	entry->key = rl_str_make(entry + 1, key.n);
	entry->asked = true;
	entry->next = live->origins;
	live->origins = entry;
	*out = rl_origin_ref(entry->origin);
	return RL_OK;
}

enum rl_err rl_live_origin(struct rl_live *live, const struct rl_origin_spec *spec, struct rl_origin **out,
			   const char **why)
{
	struct rl_buf key;
	enum rl_err err = RL_OK;

	rl_buf_init(&key, 65536);
	origin_key(&key, spec);
	*why = "out of memory";
	pthread_mutex_lock(&live->lock);
	if (!rl_buf_ok(&key))
		err = RL_ERR_NOMEM;
	else if (!(*out = find_origin(live, rl_buf_str(&key))))
		err = add_origin(live, spec, rl_buf_str(&key), out, why);
	pthread_mutex_unlock(&live->lock);
	rl_buf_fini(&key);
	return err;
}

void rl_live_sweep(struct rl_live *live)
{
	pthread_mutex_lock(&live->lock);
	for (struct origin_entry **at = &live->origins; *at;) {
		struct origin_entry *entry = *at;

		if (entry->asked) {
			entry->asked = false;
			at = &entry->next;
			continue;
		}
		*at = entry->next;
		rl_origin_unref(entry->origin);
		free(entry);
	}
	pthread_mutex_unlock(&live->lock);
}
