/* SPDX-License-Identifier: Apache-2.0 */
/* See catalog.h. */
#include "provider/catalog.h"

#include <stdlib.h>

#include "base/clock.h"
#include "provider/preset.h"

#define LIST_BYTES_MAX (8u << 20) /* of a provider's list of models */
#define IDS_MAX 5000u

static bool in_list(const rl_str *ids, size_t n, rl_str id)
{
	for (size_t i = 0; i < n; i++)
		if (rl_str_eq(ids[i], id))
			return true;
	return false;
}

static const char *const *built_in(const struct rl_provider *provider)
{
	static const char *const none[] = {NULL};
	const struct rl_preset *preset = rl_preset_find(provider->name);
	/* A provider of that name at another address is somebody else. */
	bool same = preset && rl_preset_is_at(preset, provider->settings->base_url);

	return same ? preset->models : none;
}

bool rl_catalog_has(const struct rl_provider *provider, rl_str id)
{
	if (in_list(provider->settings->models, provider->settings->n_models, id))
		return true;
	pthread_rwlock_rdlock(&provider->live->lock);
	bool fetched = provider->live->fetched_s != 0;
	bool has = in_list(provider->live->ids, provider->live->n_ids, id);

	pthread_rwlock_unlock(&provider->live->lock);
	if (has || fetched)
		return has;
	for (const char *const *m = built_in(provider); *m; m++)
		if (rl_str_eq(rl_str_of(*m), id))
			return true;
	return false;
}

void rl_catalog_each(const struct rl_provider *provider, void (*each)(void *ctx, rl_str id), void *ctx)
{
	const struct rl_cfg_provider *s = provider->settings;

	for (size_t i = 0; i < s->n_models; i++)
		each(ctx, s->models[i]);
	pthread_rwlock_rdlock(&provider->live->lock);
	bool fetched = provider->live->fetched_s != 0;

	for (size_t i = 0; i < provider->live->n_ids; i++)
		if (!in_list(s->models, s->n_models, provider->live->ids[i]))
			each(ctx, provider->live->ids[i]);
	pthread_rwlock_unlock(&provider->live->lock);
	if (fetched)
		return;
	for (const char *const *m = built_in(provider); *m; m++)
		if (!in_list(s->models, s->n_models, rl_str_of(*m)))
			each(ctx, rl_str_of(*m));
}

/* What a provider lists ends up in answers, logs and headers of ours: control bytes are no part of a name. */
static bool id_ok(rl_str id)
{
	for (size_t i = 0; i < id.n; i++)
		if ((unsigned char)id.p[i] < 0x20 || id.p[i] == 0x7f)
			return false;
	return id.n > 0;
}

/* Copies of the ids, each once, into the arena. */
static enum rl_err copy_ids(struct rl_arena *arena, const rl_str *ids, size_t n, rl_str **out, size_t *n_out)
{
	struct rl_map seen;
	enum rl_err err = RL_OK;

	rl_map_init(&seen);
	*n_out = 0;
	*out = RL_NEW_ARRAY(arena, rl_str, n ? n : 1);
	if (!*out)
		err = RL_ERR_NOMEM;
	for (size_t i = 0; i < n && !err; i++) {
		rl_str *id = &(*out)[*n_out];

		if (!id_ok(ids[i]) || rl_map_get(&seen, ids[i]))
			continue;
		*id = rl_arena_dup(arena, ids[i]);
		err = id->p ? rl_map_put(&seen, *id, id) : RL_ERR_NOMEM;
		++*n_out;
	}
	rl_map_fini(&seen);
	return err;
}

/* The new list is made beside the old one: workers that look are never kept waiting. */
enum rl_err rl_catalog_set(struct rl_provider_live *live, const rl_str *ids, size_t n)
{
	struct rl_arena arena, old;
	rl_str *copies;
	size_t n_copies;

	rl_arena_init(&arena, LIST_BYTES_MAX);
	enum rl_err err = copy_ids(&arena, ids, n, &copies, &n_copies);

	if (err) {
		rl_arena_fini(&arena);
		return err;
	}
	pthread_rwlock_wrlock(&live->lock);
	old = live->arena;
	live->arena = arena;
	live->ids = copies;
	live->n_ids = n_copies;
	live->fetched_s = rl_clock_wall_us() / 1000000u;
	pthread_rwlock_unlock(&live->lock);
	rl_arena_fini(&old);
	return RL_OK;
}

/* ---- asking ---- */

struct rl_catalog_call {
	const struct rl_provider *provider;
	void (*done)(void *ctx, const struct rl_provider *provider, enum rl_err result, size_t n);
	void *ctx;
	struct rl_buf body;
	struct rl_call *call;
	bool good; /* the status was 200 */
};

static void finish(struct rl_catalog_call *fetch, enum rl_err result, size_t n)
{
	fetch->done(fetch->ctx, fetch->provider, result, n);
	rl_buf_fini(&fetch->body);
	free(fetch);
}

static void on_head(struct rl_call *call, const struct rl_response_head *head)
{
	((struct rl_catalog_call *)call->owner)->good = head->status == 200;
}

static void on_body(struct rl_call *call, rl_str piece)
{
	rl_buf_add(&((struct rl_catalog_call *)call->owner)->body, piece);
}

static void on_end(struct rl_call *call)
{
	struct rl_catalog_call *fetch = call->owner;
	struct rl_arena arena;
	rl_str *ids;
	size_t n = 0;
	enum rl_err err = RL_ERR_SYNTAX;

	rl_arena_init(&arena, LIST_BYTES_MAX);
	if (fetch->good && rl_buf_ok(&fetch->body))
		err = fetch->provider->dialect->read_models(rl_buf_str(&fetch->body), &arena, &ids, &n);
	if (n > IDS_MAX)
		n = IDS_MAX;
	if (!err)
		err = rl_catalog_set(fetch->provider->live, ids, n);
	rl_arena_fini(&arena);
	finish(fetch, err, n);
}

static void on_fail(struct rl_call *call, enum rl_err reason)
{
	finish(call->owner, reason, 0);
}

static const struct rl_call_ops fetch_ops = {
	.name = "catalog",
	.on_head = on_head,
	.on_body = on_body,
	.on_end = on_end,
	.on_fail = on_fail,
};

enum rl_err rl_catalog_fetch(struct rl_pool *pool, const struct rl_provider *provider,
			     void (*done)(void *ctx, const struct rl_provider *provider, enum rl_err result, size_t n),
			     void *ctx, struct rl_catalog_call **out)
{
	const struct rl_provider_key *key = provider->n_keys ? &provider->keys[0] : NULL;
	struct rl_header *headers = calloc(provider->n_headers + 1, sizeof *headers);
	struct rl_catalog_call *fetch = calloc(1, sizeof *fetch);
	size_t n = 0;

	if (!fetch || !headers) {
		free(headers);
		free(fetch);
		return RL_ERR_NOMEM;
	}
	*fetch = (struct rl_catalog_call){.provider = provider, .done = done, .ctx = ctx};
	rl_buf_init(&fetch->body, LIST_BYTES_MAX);
	if (key && !rl_provider_header_is_set(provider, rl_field_name(RL_H_AUTHORIZATION)))
		headers[n++] = (struct rl_header){provider->key_field, provider->key_header,
						  rl_secret_reveal(key->authorization)};
	for (size_t i = 0; i < provider->n_headers; i++)
		headers[n++] = provider->headers[i];
	struct rl_call_spec spec = {
		.origin = provider->origin,
		.method = RL_METHOD_GET,
		.path = provider->paths[RL_OP_MODELS],
		.headers = headers,
		.n_headers = n,
		.times = {.connect_ms = 5000, .send_ms = 5000, .first_byte_ms = 10000, .idle_ms = 10000},
		.max_head_bytes = 65536,
		.replayable = true,
	};
	enum rl_err err = rl_call_start(pool, &spec, &fetch_ops, fetch, &fetch->call);

	free(headers);
	if (err)
		free(fetch);
	else
		*out = fetch;
	return err;
}

void rl_catalog_cancel(struct rl_catalog_call *call)
{
	if (!call)
		return;
	rl_call_cancel(call->call);
	rl_buf_fini(&call->body);
	free(call);
}
