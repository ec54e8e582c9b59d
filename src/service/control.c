/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a simulator answers beside inference: health, its models, and its control
 * over HTTP (ledger, scenario, reset, refusing). A page in a browser may not
 * control it: requests with an Origin are refused.
 */
#include "service/simulator_priv.h"

#include <assert.h>

#define REPORT_MAX_BYTES 65536u
#define LEDGER_MAX_BYTES (60u << 20)
#define REFUSE_MAX_MS 3600000u
#define MODEL_DATE 1760000000

static void say(struct sim_request *rq, uint16_t status, rl_str media_type, rl_str body)
{
	rl_sim_reply(rq->x, status, media_type, body);
	rl_sim_finish(rq, SIM_END_NONE);
}

static void say_json(struct sim_request *rq, uint16_t status, const struct rl_buf *body)
{
	if (rl_buf_ok(body))
		say(rq, status, RL_STR("application/json"), rl_buf_str(body));
	else
		say(rq, 500, RL_STR("text/plain"), RL_STR("too long\n"));
}

static void say_error(struct sim_request *rq, uint16_t status, const char *text)
{
	struct rl_fault fault = {.cls = RL_FAULT_BAD_REQUEST,
				 .status = status,
				 .message = rl_str_of(text),
				 .retry_after_s = -1};
	struct rl_buf *body = &rq->sim->whole;

	rl_buf_reset(body);
	rl_dialects[0]->write_error(&fault, body);
	say_json(rq, status, body);
}

/* A number of the query, or `otherwise`. */
static uint64_t query_number(rl_str query, rl_str key, uint64_t otherwise)
{
	while (query.p) {
		rl_str value = rl_str_cut(&query, '&');
		rl_str name = rl_str_cut(&value, '=');

		if (rl_str_eq(name, key) && value.n && value.n < 16) {
			uint64_t n = 0;

			for (size_t i = 0; i < value.n; i++) {
				if (value.p[i] < '0' || value.p[i] > '9')
					return otherwise;
				n = n * 10 + (uint64_t)(value.p[i] - '0');
			}
			return n;
		}
	}
	return otherwise;
}

static void health(struct sim_request *rq)
{
	say(rq, 200, RL_STR("text/plain"), RL_STR("OK\n"));
}

static void models(struct sim_request *rq)
{
	const struct rl_sim_scenario *scenario = rq->scenario;
	struct rl_model_line *lines = RL_NEW_ARRAY(&rq->x->arena, struct rl_model_line, scenario->n_models + 1);
	struct rl_buf *body = &rq->sim->whole;

	rl_buf_reset(body);
	if (!lines) {
		say_error(rq, 500, "out of memory");
		return;
	}
	lines[0] = (struct rl_model_line){RL_STR("echo"), RL_STR("simulator"), MODEL_DATE};
	for (size_t i = 0; i < scenario->n_models; i++)
		lines[i + 1] = (struct rl_model_line){scenario->models[i].name, RL_STR("simulator"), MODEL_DATE};
	rl_dialects[0]->write_models(lines, scenario->n_models + 1, body);
	say_json(rq, 200, body);
}

static void ledger(struct sim_request *rq)
{
	rl_str query = rq->x->head.query;
	uint64_t limit =
		query_number(query, RL_STR("summary"), 0) ? 0 : query_number(query, RL_STR("limit"), UINT64_MAX);
	struct rl_buf body;

	rl_buf_init(&body, LEDGER_MAX_BYTES);
	rl_sim_ledger_write(&rq->sim->ledger, rl_str_of(rq->sim->name), limit, &body);
	say_json(rq, 200, &body);
	rl_buf_fini(&body);
}

/* Takes the scenario's place, keeping what belongs to the process: the ledger's file. */
static void take_scenario(struct sim_request *rq, struct rl_sim_scenario *scenario)
{
	struct rl_sim *sim = rq->sim;
	uint64_t seed = sim->own_seed ? sim->own_seed : scenario->seed;

	if (rl_sim_ledger_resize(&sim->ledger, scenario->ledger_entries) != RL_OK) {
		rl_sim_scenario_free(scenario);
		say_error(rq, 500, "out of memory");
		return;
	}
	rl_sim_scenario_free(sim->scenario);
	sim->scenario = scenario;
	rl_sim_memos_forget(sim);
	sim->n_requests = 0;
	sim->n_connections = 0;
	if (seed != sim->seed) {
		sim->seed = seed;
		/* It has held as many words before: no memory is needed. */
		if (rl_sim_words_make(sim) != RL_OK)
			sim->words.failed = false;
	}
	say(rq, 200, RL_STR("application/json"), RL_STR("{\"ok\":true}\n"));
}

static void scenario(struct sim_request *rq)
{
	struct rl_sim_scenario *read = NULL;
	struct rl_buf report;

	rl_buf_init(&report, REPORT_MAX_BYTES);
	enum rl_err err = rl_sim_scenario_parse_closed(rq->body, "scenario", &report, &read);

	if (err != RL_OK) {
		say(rq, 400, RL_STR("text/plain; charset=utf-8"), rl_buf_str(&report));
	} else if (read->ledger.n) {
		rl_sim_scenario_free(read);
		say_error(rq, 400,
			  "'ledger' names a file: only the scenario that the simulator starts with may do that.");
	} else {
		take_scenario(rq, read);
	}
	rl_buf_fini(&report);
}

static void reset(struct sim_request *rq)
{
	rl_sim_ledger_reset(&rq->sim->ledger);
	rq->sim->n_requests = 0;
	rq->sim->n_connections = 0;
	say(rq, 200, RL_STR("application/json"), RL_STR("{\"ok\":true}\n"));
}

static void refuse(struct sim_request *rq)
{
	struct rl_sim *sim = rq->sim;
	rl_str query = rq->x->head.query;
	uint64_t ms = query_number(query, RL_STR("ms"), 0);

	if (!ms || ms > REFUSE_MAX_MS) {
		say_error(
			rq, 400,
			"Say how long: /sim/refuse?ms=1000 (at most an hour), with &drop=1 to reset connections too.");
		return;
	}
	if (!sim->listener) {
		say_error(rq, 409, "It refuses already.");
		return;
	}
	sim->refuse_ms = ms;
	sim->refuse_drop = query_number(query, RL_STR("drop"), 0) != 0;
	say(rq, 200, RL_STR("application/json"), RL_STR("{\"ok\":true}\n"));
	rl_loop_defer(sim->loop, &sim->refuse);
}

static const struct control_route {
	enum rl_method method;
	rl_str path;
	void (*run)(struct sim_request *rq);
	bool control; /* not from a page in a browser */
} routes[] = {
	{RL_METHOD_GET, RL_STR_INIT("/health"), health, false},
	{RL_METHOD_GET, RL_STR_INIT("/v1/models"), models, false},
	{RL_METHOD_GET, RL_STR_INIT("/sim/ledger"), ledger, true},
	{RL_METHOD_POST, RL_STR_INIT("/sim/scenario"), scenario, true},
	{RL_METHOD_POST, RL_STR_INIT("/sim/reset"), reset, true},
	{RL_METHOD_POST, RL_STR_INIT("/sim/refuse"), refuse, true},
};

void rl_sim_control(struct sim_request *rq)
{
	const struct rl_request_head *head = &rq->x->head;

	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		const struct control_route *route = &routes[i];

		if (!rl_str_eq(head->path, route->path))
			continue;
		if (head->method != route->method)
			say_error(rq, 405, "This route has another method.");
		else if (route->control && rl_headers_get(&head->headers, RL_H_ORIGIN))
			say_error(rq, 403, "The simulator is not controlled from a web page.");
		else
			route->run(rq);
		return;
	}
	if (!rl_sim_canned(rq))
		say_error(rq, 404, "The simulator has no such route.");
}
