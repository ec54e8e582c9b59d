/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated provider's life: its listener, its connections, its routes, and the
 * reading of requests. See simulator.h for what it is for.
 */
#include "service/simulator_priv.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define RETRY_LISTEN_MS 50u
#define REPORT_MAX_BYTES 4096u

/* ---- routes ---- */

/* A dialect's routes join here. */
static const struct sim_route {
	rl_str path; /* with a verb: what stands before the model's name */
	enum rl_operation operation;
	rl_str dialect;
	rl_str verb; /* what stands behind it */
	bool stream;
} routes[] = {
	{RL_STR_INIT("/v1/chat/completions"), RL_OP_CHAT, RL_STR_INIT("openai"), {NULL, 0}, false},
	{RL_STR_INIT("/v1/completions"), RL_OP_COMPLETION, RL_STR_INIT("openai"), {NULL, 0}, false},
	{RL_STR_INIT("/v1/embeddings"), RL_OP_EMBEDDING, RL_STR_INIT("openai"), {NULL, 0}, false},
	{RL_STR_INIT("/v1/responses"), RL_OP_CHAT, RL_STR_INIT("responses"), {NULL, 0}, false},
	{RL_STR_INIT("/v1/responses/input_tokens"), RL_OP_COUNT_TOKENS, RL_STR_INIT("responses"), {NULL, 0}, false},
	{RL_STR_INIT("/v1/messages"), RL_OP_CHAT, RL_STR_INIT("anthropic"), {NULL, 0}, false},
	{RL_STR_INIT("/v1/messages/count_tokens"), RL_OP_COUNT_TOKENS, RL_STR_INIT("anthropic"), {NULL, 0}, false},
	{RL_STR_INIT("/v1beta/models/"), RL_OP_CHAT, RL_STR_INIT("gemini"), RL_STR_INIT(":generateContent"), false},
	{RL_STR_INIT("/v1beta/models/"), RL_OP_CHAT, RL_STR_INIT("gemini"), RL_STR_INIT(":streamGenerateContent"),
	 true},
	{RL_STR_INIT("/v1beta/models/"), RL_OP_COUNT_TOKENS, RL_STR_INIT("gemini"), RL_STR_INIT(":countTokens"), false},
	{RL_STR_INIT("/v1beta/models/"), RL_OP_EMBEDDING, RL_STR_INIT("gemini"), RL_STR_INIT(":embedContent"), false},
	{RL_STR_INIT("/v1beta/models/"), RL_OP_EMBEDDING, RL_STR_INIT("gemini"), RL_STR_INIT(":batchEmbedContents"),
	 false},
	{RL_STR_INIT("/api/chat"), RL_OP_CHAT, RL_STR_INIT("ollama"), {NULL, 0}, false},
	{RL_STR_INIT("/api/embed"), RL_OP_EMBEDDING, RL_STR_INIT("ollama"), {NULL, 0}, false},
	{RL_STR_INIT("/v2/chat"), RL_OP_CHAT, RL_STR_INIT("cohere"), {NULL, 0}, false},
	{RL_STR_INIT("/v2/embed"), RL_OP_EMBEDDING, RL_STR_INIT("cohere"), {NULL, 0}, false},
	{RL_STR_INIT("/model/"), RL_OP_CHAT, RL_STR_INIT("bedrock"), RL_STR_INIT("/converse"), false},
	{RL_STR_INIT("/model/"), RL_OP_CHAT, RL_STR_INIT("bedrock"), RL_STR_INIT("/converse-stream"), true},
};
#define N_ROUTES (sizeof routes / sizeof routes[0])

static bool path_is(const struct sim_route *route, rl_str path)
{
	rl_str verb = route->verb;

	if (!verb.n)
		return rl_str_eq(path, route->path);
	return path.n > route->path.n + verb.n && rl_str_starts(path, route->path) &&
	       memcmp(path.p + path.n - verb.n, verb.p, verb.n) == 0;
}

static const struct sim_route *find_route(const struct rl_request_head *head)
{
	for (size_t i = 0; i < N_ROUTES; i++)
		if (head->method == RL_METHOD_POST && path_is(&routes[i], head->path) &&
		    rl_dialect_find(routes[i].dialect))
			return &routes[i];
	return NULL;
}

/* Whether the path names the model. */
static bool path_says(const struct sim_request *rq)
{
	const struct sim_route *route = find_route(&rq->x->head);

	return route && route->verb.n;
}

/* What the path says of the request, which the body then does not. */
static void take_path(struct sim_request *rq)
{
	const struct sim_route *route = find_route(&rq->x->head);
	rl_str path = rq->x->head.path;

	if (!route || !route->verb.n)
		return;
	rq->message.model = rl_str_sub(path, route->path.n, path.n - route->path.n - route->verb.n);
	rq->message.stream = route->stream;
}

void rl_sim_reply(struct rl_exchange *x, uint16_t status, rl_str media_type, rl_str body)
{
	struct rl_response_head head = {.status = status};

	/* Without memory for a header the answer goes without. */
	if (rl_headers_add(&head.headers, &x->arena, RL_H_CONTENT_TYPE, RL_STR("content-type"), media_type) != RL_OK)
		head.headers.n = 0;
	rl_exchange_reply(x, &head, &body, 1);
}

/* The simulator's own refusal, in the dialect of the route. */
static void refuse(struct sim_request *rq, const struct rl_fault *fault)
{
	struct rl_buf *body = &rq->sim->whole;

	rl_buf_reset(body);
	rq->dialect->write_error(fault, body);
	rq->entry.status = fault->status;
	rl_sim_reply(rq->x, fault->status, RL_STR("application/json"), rl_buf_str(body));
	rl_sim_finish(rq, SIM_END_WHOLE);
}

static void refuse_with(struct sim_request *rq, uint16_t status, const char *code, rl_str message)
{
	refuse(rq, &(struct rl_fault){.cls = RL_FAULT_BAD_REQUEST,
				      .status = status,
				      .code = rl_str_of(code),
				      .message = message,
				      .retry_after_s = -1});
}

/* ---- requests ---- */

static void keep(char *into, size_t size, rl_str text)
{
	size_t n = text.n < size ? text.n : size - 1;

	/* Not inside a character: the ledger is JSON. */
	while (n && n < text.n && (text.p[n] & 0xC0) == 0x80)
		n--;
	if (n)
		memcpy(into, text.p, n);
	into[n] = 0;
}

static rl_str answer_id(struct sim_request *rq)
{
	static const char hex[] = "0123456789abcdef";
	rl_str prefix = rq->operation == RL_OP_CHAT ? RL_STR("chatcmpl-sim") : RL_STR("cmpl-sim");
	char *id = rl_arena_alloc(&rq->x->arena, prefix.n + 16);

	if (!id)
		return RL_STR("sim");
	memcpy(id, prefix.p, prefix.n);
	for (unsigned i = 0; i < 16; i++)
		id[prefix.n + i] = hex[rq->entry.number >> (60 - 4 * i) & 15];
	return rl_str_make(id, prefix.n + 16);
}

static bool key_fits(const struct sim_request *rq)
{
	rl_str key = rl_secret_reveal(rq->scenario->require_key);
	rl_str given = rl_headers_value(&rq->x->head.headers, RL_H_AUTHORIZATION);

	if (!key.n)
		return true;
	if (!rl_str_starts(given, RL_STR("Bearer ")))
		return false;
	given = rl_str_sub(given, 7, SIZE_MAX);
	return given.n == key.n && CRYPTO_memcmp(given.p, key.p, key.n) == 0;
}

/* Reads the x-sim-* headers; refuses the request when they are wrong. */
static bool read_overrides(struct sim_request *rq)
{
	struct rl_buf report;

	rl_buf_init(&report, REPORT_MAX_BYTES);
	enum rl_err err = rl_sim_overrides_read(&rq->sim->overrides, &rq->x->head.headers, rl_str_of(rq->sim->name),
						&report, &rq->overrides);

	if (err != RL_OK)
		refuse_with(rq, 400, "invalid_simulation",
			    report.n ? rl_str_sub(rl_buf_str(&report), 0, report.n - 1) : rl_str_of(rl_err_text(err)));
	rl_buf_fini(&report);
	return err == RL_OK;
}

static void resolve(struct sim_request *rq, rl_str model)
{
	rl_sim_scenario_resolve(rq->scenario, rq->sim->seed, rq->entry.number, model, rq->overrides, &rq->rng, &rq->b);
	if (rq->b.fault.kind == SIM_FAULT_HTML_502) {
		rq->b.status = 502;
		rq->b.error_body = SIM_ERROR_HTML;
	}
	rq->entry.fault = rq->b.fault;
	rq->entry.status = (uint16_t)rq->b.status;
}

static void answer(struct sim_request *rq)
{
	struct rl_fault fault;

	rq->id = answer_id(rq);
	/* What was given before is found by the body, which must be all that was said. */
	if (!path_says(rq) && rl_sim_memo_find(rq)) {
		rl_sim_play(rq);
		return;
	}
	if (rq->dialect->parse_request(rq->operation, rq->body, &rq->x->arena, &rq->message, &fault) != RL_OK) {
		refuse(rq, &fault);
		return;
	}
	take_path(rq);
	rq->entry.stream = rq->message.stream && rq->operation != RL_OP_EMBEDDING;
	keep(rq->entry.model, sizeof rq->entry.model, rq->message.model);
	if (rq->scenario->strict_models && !rl_str_eq(rq->message.model, RL_STR("echo")) &&
	    !rl_sim_scenario_model(rq->scenario, rq->message.model)) {
		refuse_with(rq, 404, "model_not_found",
			    RL_STR("The model does not exist or you do not have access to it."));
		return;
	}
	if (!rq->scenario->plain)
		resolve(rq, rq->message.model);
	if (!rl_sim_content_prepare(rq, &fault))
		refuse(rq, &fault);
	else
		rl_sim_play(rq);
}

static void on_request(struct rl_exchange *x, void *service)
{
	struct rl_sim *sim = service;
	const struct sim_route *route = find_route(&x->head);
	struct sim_request *rq = RL_NEW(&x->arena, struct sim_request);

	x->owner = rq;
	if (!rq) {
		rl_exchange_abort(x, true);
		return;
	}
	rq->x = x;
	rq->sim = sim;
	rq->scenario = rl_sim_scenario_ref(sim->scenario);
	rl_buf_init(&rq->body_more, SIM_BODY_MAX_BYTES);
	rl_buf_init(&rq->out, SIM_BODY_MAX_BYTES);
	rl_exchange_continue(x);
	if (!route)
		return;
	rq->operation = route->operation;
	rq->dialect = rl_dialect_find(route->dialect);
	rq->entry.number = sim->n_requests++;
	rq->entry.operation = (uint8_t)route->operation;
	keep(rq->entry.request_id, sizeof rq->entry.request_id, rl_headers_value(&x->head.headers, RL_H_X_REQUEST_ID));
	if (!read_overrides(rq))
		return;
	resolve(rq, rl_str_make(NULL, 0));
	if (rq->b.fault.kind == SIM_FAULT_STALL_READING)
		rl_exchange_pause(x);
}

static void on_body(struct rl_exchange *x, rl_str piece)
{
	struct sim_request *rq = x->owner;

	if (!rq->body.p && x->head.content_length == (int64_t)piece.n)
		rq->body = rl_arena_dup(&x->arena, piece);
	else
		rl_buf_add(&rq->body_more, piece);
}

static void on_body_end(struct rl_exchange *x)
{
	struct sim_request *rq = x->owner;

	if (rq->body_more.n)
		rq->body = rl_buf_str(&rq->body_more);
	if (!rq->operation)
		rl_sim_control(rq);
	else if (!rl_buf_ok(&rq->body_more))
		refuse_with(rq, 413, "request_too_large", RL_STR("The simulator reads at most 32 MiB."));
	else if (!key_fits(rq))
		refuse_with(rq, 401, "invalid_api_key", RL_STR("Incorrect API key provided."));
	else
		answer(rq);
}

static void on_drain(struct rl_exchange *x)
{
	rl_sim_play_on(x->owner);
}

static void on_gone(struct rl_exchange *x, enum rl_err reason)
{
	struct sim_request *rq = x->owner;
	enum sim_end end = reason == RL_ERR_SHUTDOWN ? SIM_END_CUT : SIM_END_CLIENT_LEFT;

	rl_exchange_abort(x, true);
	rl_sim_finish(rq, rq->operation ? end : SIM_END_NONE);
}

static void on_bad_request(void *service, const struct rl_addr *peer, uint16_t status, const char *text,
			   struct rl_buf *body, rl_str *content_type)
{
	struct rl_fault fault = {.cls = RL_FAULT_BAD_REQUEST,
				 .status = status,
				 .message = rl_str_of(text),
				 .retry_after_s = -1};

	(void)service;
	(void)peer;
	*content_type = RL_STR("application/json");
	rl_dialects[0]->write_error(&fault, body);
}

static const struct rl_exchange_ops exchange_ops = {
	.name = "simulator",
	.on_request = on_request,
	.on_body = on_body,
	.on_body_end = on_body_end,
	.on_drain = on_drain,
	.on_gone = on_gone,
	.on_bad_request = on_bad_request,
};

/* Generous: what the gateway does wrong it shall be told by its own tests. */
static const struct rl_server_limits server_limits = {
	.keepalive_ms = 300000,
	.header_ms = 30000,
	.body_idle_ms = 60000,
	.write_idle_ms = 120000,
	.max_header_bytes = 262144,
	.max_headers = 200,
	.high_water_bytes = 131072,
	.http2 = RL_HTTP2_LIMITS,
};

/* ---- connections ---- */

static void reset_socket(int fd)
{
	const struct linger now = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd);
}

static void hang(struct rl_sim *sim, int fd)
{
	if (sim->n_hanging < SIM_HANGING_MAX)
		sim->hanging[sim->n_hanging++] = fd;
	else
		reset_socket(fd);
}

static void on_accept(void *arg, struct rl_listener *listener, int fd, const struct rl_addr *peer)
{
	struct rl_sim *sim = arg;

	(void)listener;
	switch (rl_sim_scenario_accept(sim->scenario, sim->n_connections++)) {
	case SIM_ACCEPT_OK:
		rl_server_accept(sim->server, &(struct rl_arrival){.fd = fd, .peer = *peer, .tls = sim->tls}, NULL,
				 NULL);
		break;
	case SIM_ACCEPT_RESET:
		reset_socket(fd);
		break;
	case SIM_ACCEPT_CLOSE:
		close(fd);
		break;
	case SIM_ACCEPT_HANG:
		hang(sim, fd);
		break;
	}
}

static enum rl_err listen_on(struct rl_sim *sim, rl_str address, const char **why)
{
	enum rl_err err;

	*why = "the simulator listens on HOST:PORT only";
	if (rl_str_starts(address, RL_STR("unix:")))
		return RL_ERR_UNSUPPORTED;
	err = rl_listener_open(sim->loop, address, 0, on_accept, sim, &sim->listener, why);

	if (err != RL_OK)
		return err;
	sim->addr = *rl_listener_addr(sim->listener);
	rl_addr_text(&sim->addr, sim->addr_text);
	rl_listener_accepting(sim->listener, true);
	return RL_OK;
}

/* ---- refusing ---- */

static void on_refused(struct rl_timer *timer)
{
	struct rl_sim *sim = (struct rl_sim *)((char *)timer - offsetof(struct rl_sim, refusing));
	const char *why;

	if (listen_on(sim, rl_str_of(sim->addr_text), &why) == RL_OK)
		return;
	RL_WARN("simulator", "cannot listen on %s again: %s; trying on", sim->addr_text, why);
	rl_timer_start(sim->loop, &sim->refusing, RETRY_LISTEN_MS);
}

/* At the end of the turn in which it was asked for. */
static void on_refuse(struct rl_task *task)
{
	struct rl_sim *sim = (struct rl_sim *)((char *)task - offsetof(struct rl_sim, refuse));

	if (sim->stopped)
		return;
	rl_listener_close(sim->listener);
	sim->listener = NULL;
	if (sim->refuse_drop)
		rl_server_abort(sim->server);
	rl_timer_start(sim->loop, &sim->refusing, sim->refuse_ms);
}

/* ---- life ---- */

static enum rl_err open_all(struct rl_sim *sim, const struct rl_sim_options *options, const char **why)
{
	const struct rl_sim_scenario *scenario = sim->scenario;
	enum rl_err err = rl_sim_words_make(sim);

	*why = rl_err_text(RL_ERR_NOMEM);
	if (err == RL_OK)
		err = rl_server_new(sim->loop, &exchange_ops, sim, &server_limits, &sim->server);
	if (err == RL_OK)
		err = listen_on(sim, options->listen, why);
	if (err == RL_OK)
		err = rl_sim_ledger_open(&sim->ledger, scenario->ledger_entries, scenario->ledger, why);
	if (err == RL_OK && options->tls != RL_SIM_TLS_OFF)
		err = rl_sim_certificate_make(options->tls, &sim->addr, &sim->ca_pem, &sim->tls, why);
	return err;
}

enum rl_err rl_sim_new(struct rl_loop *loop, const struct rl_sim_options *options, struct rl_sim **out,
		       const char **why)
{
	struct rl_sim *sim = calloc(1, sizeof *sim);
	struct rl_sim_scenario *scenario = options->scenario;
	enum rl_err err = RL_OK;

	*out = NULL;
	*why = rl_err_text(RL_ERR_NOMEM);
	if (sim && !scenario)
		err = rl_sim_scenario_parse(RL_STR(""), "(no scenario)", NULL, &scenario);
	if (!sim || err != RL_OK) {
		rl_sim_scenario_free(scenario);
		free(sim);
		return RL_ERR_NOMEM;
	}
	sim->loop = loop;
	sim->scenario = scenario;
	sim->own_seed = options->seed;
	sim->seed = options->seed ? options->seed : scenario->seed;
	sim->mail.run = rl_sim_on_mail;
	sim->refuse.run = on_refuse;
	keep(sim->name, sizeof sim->name, options->name);
	rl_timer_init(&sim->refusing, on_refused);
	rl_sim_ledger_init(&sim->ledger, loop);
	rl_sim_overrides_init(&sim->overrides);
	rl_buf_init(&sim->ca_pem, 65536);
	rl_buf_init(&sim->words, 65536);
	for (size_t i = 0; i < SIM_MEMOS; i++) {
		rl_buf_init(&sim->memos[i].body, SIM_MEMO_MAX_BYTES);
		rl_buf_init(&sim->memos[i].answer, SIM_MEMO_MAX_BYTES);
	}
	rl_buf_init(&sim->unit, SIM_WHOLE_MAX_BYTES);
	rl_buf_init(&sim->whole, SIM_WHOLE_MAX_BYTES);
	err = open_all(sim, options, why);
	if (err != RL_OK) {
		rl_sim_stop(sim);
		rl_sim_free(sim);
		return err;
	}
	*why = NULL;
	*out = sim;
	return RL_OK;
}

const struct rl_addr *rl_sim_addr(const struct rl_sim *sim)
{
	return &sim->addr;
}

rl_str rl_sim_ca_pem(const struct rl_sim *sim)
{
	return rl_buf_str(&sim->ca_pem);
}

void rl_sim_stop(struct rl_sim *sim)
{
	if (sim->stopped)
		return;
	sim->stopped = true;
	rl_timer_stop(&sim->refusing);
	rl_loop_undefer(sim->loop, &sim->refuse);
	rl_listener_close(sim->listener);
	sim->listener = NULL;
	if (sim->server)
		rl_server_abort(sim->server);
	while (sim->n_hanging)
		close(sim->hanging[--sim->n_hanging]);
}

void rl_sim_free(struct rl_sim *sim)
{
	if (!sim)
		return;
	assert(sim->stopped);
	rl_server_free(sim->server);
	rl_tls_server_unref(sim->tls);
	rl_sim_ledger_fini(&sim->ledger);
	rl_sim_overrides_fini(&sim->overrides);
	rl_sim_scenario_free(sim->scenario);
	rl_sim_memos_fini(sim);
	rl_buf_fini(&sim->ca_pem);
	rl_buf_fini(&sim->words);
	rl_buf_fini(&sim->unit);
	rl_buf_fini(&sim->whole);
	free(sim);
}

enum rl_err rl_sim_tls_parse(rl_str name, enum rl_sim_tls *out)
{
	static const rl_str names[] = {
		[RL_SIM_TLS_OFF] = RL_STR_INIT("off"),
		[RL_SIM_TLS_GOOD] = RL_STR_INIT("good"),
		[RL_SIM_TLS_EXPIRED] = RL_STR_INIT("expired"),
		[RL_SIM_TLS_WRONG_NAME] = RL_STR_INIT("wrong-name"),
		[RL_SIM_TLS_SELF_SIGNED] = RL_STR_INIT("self-signed"),
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (rl_str_eq(name, names[i])) {
			*out = (enum rl_sim_tls)i;
			return RL_OK;
		}
	}
	return RL_ERR_NOT_FOUND;
}
