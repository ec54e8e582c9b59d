/* SPDX-License-Identifier: Apache-2.0 */
/* See fetch.h. */
#include "app/fetch.h"

#include <stdio.h>

#include "http/client.h"
#include "provider/provider.h"

struct fetch {
	struct rl_loop *loop;
	struct rl_buf *out;
	uint16_t status;
	enum rl_err err;
};

static void on_head(struct rl_call *call, const struct rl_response_head *head)
{
	((struct fetch *)call->owner)->status = head->status;
}

static void on_body(struct rl_call *call, rl_str piece)
{
	rl_buf_add(((struct fetch *)call->owner)->out, piece);
}

static void on_end(struct rl_call *call)
{
	rl_loop_stop(((struct fetch *)call->owner)->loop);
}

static void on_fail(struct rl_call *call, enum rl_err reason)
{
	struct fetch *f = call->owner;

	f->err = reason;
	rl_loop_stop(f->loop);
}

static const struct rl_call_ops ops = {
	.name = "fetch", .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

static enum rl_err run(struct fetch *f, struct rl_pool *pool, struct rl_origin *origin, rl_str path, rl_str bearer)
{
	struct rl_header authorization = {RL_H_AUTHORIZATION, RL_STR("authorization"), bearer};
	struct rl_call_spec spec = {
		.origin = origin,
		.method = RL_METHOD_GET,
		.path = path,
		.headers = &authorization,
		.n_headers = bearer.n ? 1 : 0,
		.times = {.connect_ms = 3000, .send_ms = 3000, .first_byte_ms = 10000, .idle_ms = 10000},
		.max_head_bytes = 65536,
		.replayable = true,
	};
	struct rl_call *call;
	enum rl_err err = rl_call_start(pool, &spec, &ops, f, &call);

	if (err)
		return err;
	rl_loop_run(f->loop);
	return f->err ? f->err : rl_buf_ok(f->out) ? RL_OK : RL_ERR_LIMIT;
}

enum rl_err rl_fetch(rl_str address, rl_str path, struct rl_secret token, uint16_t *status, struct rl_buf *out)
{
	struct fetch f = {.out = out};
	struct rl_origin *origin = NULL;
	struct rl_pool *pool = NULL;
	struct rl_url url;
	char full[512], bearer[4096] = "";
	const char *why;
	bool by_path = rl_str_starts(address, RL_STR("unix:"));
	int n = snprintf(full, sizeof full, "%s%.*s", by_path ? "" : "http://", RL_STR_ARG(address));
	rl_str secret = rl_secret_reveal(token);

	if (n < 0 || (size_t)n >= sizeof full || secret.n > sizeof bearer - 16 ||
	    rl_url_parse(rl_str_of(full), &url, &why))
		return RL_ERR_SYNTAX;
	if (secret.n)
		snprintf(bearer, sizeof bearer, "Bearer %.*s", RL_STR_ARG(secret));
	struct rl_origin_spec spec = {
		.host = url.host, .port = url.port, .unix_path = url.unix_path, .max_idle = 1, .idle_ms = 1000};
	enum rl_err err = rl_origin_new(&spec, &origin, &why);

	if (!err)
		err = rl_loop_new("fetch", &f.loop);
	if (!err)
		err = rl_pool_new(f.loop, &pool);
	if (!err)
		err = run(&f, pool, origin, path, rl_str_of(bearer));
	rl_pool_free(pool);
	rl_origin_unref(origin);
	rl_loop_free(f.loop);
	*status = f.status;
	return err;
}
