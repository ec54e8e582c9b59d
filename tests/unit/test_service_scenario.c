/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios: what loads and what is refused, the layers of a request's behaviour, repeatable draws, the documentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "service/scenario.h"

#define PAGE_MAX_BYTES (1u << 20)

static struct rl_sim_scenario *load(const char *text)
{
	struct rl_sim_scenario *scenario = NULL;
	struct rl_buf report;

	rl_buf_init(&report, 65536);
	enum rl_err err = rl_sim_scenario_parse(rl_str_of(text), "s.yaml", &report, &scenario);

	if (err != RL_OK)
		print_error("%.*s", RL_STR_ARG(rl_buf_str(&report)));
	assert_int_equal(err, RL_OK);
	rl_buf_fini(&report);
	return scenario;
}

static void refused(const char *text, const char *what)
{
	struct rl_sim_scenario *scenario = NULL;
	struct rl_buf report;

	rl_buf_init(&report, 65536);
	assert_int_equal(rl_sim_scenario_parse(rl_str_of(text), "s.yaml", &report, &scenario), RL_ERR_SYNTAX);
	assert_null(scenario);
	rl_buf_byte(&report, 0);
	if (!strstr(report.p, what))
		fail_msg("'%s' is missing in: %s", what, report.p);
	rl_buf_fini(&report);
}

static struct sim_behaviour meet(const struct rl_sim_scenario *scenario, uint64_t number, const char *model)
{
	struct sim_behaviour b;
	struct rl_rng rng;

	rl_sim_scenario_resolve(scenario, scenario->seed, number, rl_str_of(model), NULL, &rng, &b);
	return b;
}

static void defaults_hold(void **state)
{
	struct rl_sim_scenario *s = load("");
	struct sim_behaviour b = meet(s, 0, "any");

	(void)state;
	assert_int_equal(b.status, 200);
	assert_int_equal(b.tokens, 16);
	assert_int_equal(b.batch, 1);
	assert_int_equal(b.fault.kind, SIM_FAULT_NONE);
	assert_true(s->plain);
	assert_int_equal(s->seed, 1);
	assert_int_equal(s->ledger_entries, 200000);
	assert_int_equal(rl_sim_scenario_accept(s, 7), SIM_ACCEPT_OK);
	rl_sim_scenario_free(s);
}

static void layers_lie_in_order(void **state)
{
	struct rl_sim_scenario *s = load("status: 201\ntokens: 5\nlatency: 10ms\n"
					 "models:\n  m: {tokens: 7, latency: 20ms, headers: ['a: 1', 'b: 2']}\n"
					 "sequence: [ok, 503, 'reset_after_events:3', {latency: 30ms}]\n");
	struct sim_behaviour b = meet(s, 0, "other");

	(void)state;
	assert_false(s->plain);
	assert_int_equal(b.status, 201);
	assert_int_equal(b.tokens, 5);
	assert_int_equal(b.n_headers, 0);
	b = meet(s, 0, "m");
	assert_int_equal(b.status, 201);
	assert_int_equal(b.tokens, 7);
	assert_true(b.latency.a > 19 && b.latency.a < 21);
	assert_int_equal(b.n_headers, 2);
	assert_int_equal(meet(s, 1, "m").status, 503);
	assert_int_equal(meet(s, 5, "m").status, 503);
	b = meet(s, 2, "m");
	assert_int_equal(b.fault.kind, SIM_FAULT_BREAK);
	assert_int_equal(b.fault.action, SIM_ACT_RESET);
	assert_int_equal(b.fault.point, SIM_AT_AFTER_EVENTS);
	assert_int_equal(b.fault.n, 3);
	b = meet(s, 3, "m");
	assert_true(b.latency.a > 29);
	assert_int_equal(b.tokens, 7);
	rl_sim_scenario_free(s);
}

static void rates_are_kept_and_repeat(void **state)
{
	struct rl_sim_scenario *s =
		load("seed: 42\nfaults:\n- {rate: 30%, fault: reset_after_head}\n- {rate: 0.1, status: 429}\n");
	unsigned resets = 0, limits = 0;

	(void)state;
	for (uint64_t i = 0; i < 10000; i++) {
		struct sim_behaviour a = meet(s, i, "x"), b = meet(s, i, "x");

		assert_int_equal(a.status, b.status);
		assert_int_equal(a.fault.kind, b.fault.kind);
		assert_false(a.status == 429 && a.fault.kind != SIM_FAULT_NONE);
		resets += a.fault.kind == SIM_FAULT_BREAK;
		limits += a.status == 429;
	}
	assert_in_range(resets, 2800, 3200);
	assert_in_range(limits, 850, 1150);
	rl_sim_scenario_free(s);
}

static void another_seed_draws_otherwise(void **state)
{
	struct rl_sim_scenario *s = load("faults: [{rate: 0.5, status: 500}]\n");
	struct sim_behaviour a, b;
	struct rl_rng rng;
	unsigned differ = 0;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		rl_sim_scenario_resolve(s, 1, i, RL_STR("m"), NULL, &rng, &a);
		rl_sim_scenario_resolve(s, 2, i, RL_STR("m"), NULL, &rng, &b);
		differ += a.status != b.status;
	}
	assert_in_range(differ, 400, 600);
	rl_sim_scenario_free(s);
}

static void mistakes_are_told(void **state)
{
	(void)state;
	refused("statsu: 500\n", "s.yaml:1:1: statsu: unknown key, did you mean 'status'?");
	refused("status: 100\n", "s.yaml:1:9: status:");
	refused("latency: soon\n", "latency: expected a time such as");
	refused("latency: 50ms..10ms\n", "latency: the second time must not be shorter");
	refused("latency: 0ms/1s\n", "latency: the median must be longer");
	refused("fault: explode\n", "fault: not a fault");
	refused("fault: gzip:3\n", "fault: this fault takes no number");
	refused("fault: cut:x\n", "fault: what stands behind the colon must be a number");
	refused("sequence: [ok, nonsense]\n", "'nonsense' is neither 'ok' nor a status nor a fault");
	refused("sequence: ['199']\n", "'199' is neither");
	refused("faults: [{fault: reset}]\n", "missing key 'rate'");
	refused("accept: [ok, maybe]\n", "expected ok, reset, close or hang");
	refused("headers: ['no colon']\n", "expected a header as 'name: value'");
	refused("retry_after: \"a\\nb\"\n", "a header cannot hold this");
	refused("usage: maybe\ntokens: -1\n", "tokens:");
}

static void connections_go_in_turn(void **state)
{
	struct rl_sim_scenario *s = load("accept: [reset, ok, hang, close]\n");
	static const enum sim_accept want[] = {SIM_ACCEPT_RESET, SIM_ACCEPT_OK, SIM_ACCEPT_HANG, SIM_ACCEPT_CLOSE};

	(void)state;
	for (uint64_t i = 0; i < 12; i++)
		assert_int_equal(rl_sim_scenario_accept(s, i), want[i % 4]);
	rl_sim_scenario_free(s);
}

static struct sim_dist dist(const char *text)
{
	struct sim_dist read;

	assert_null(rl_sim_dist_parse(NULL, rl_str_of(text), &read));
	return read;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void times_are_drawn(void **state)
{
	enum { N = 20000 };
	struct sim_dist fixed = dist("1.5s"), uniform = dist("10ms..50ms"), lognormal = dist("100ms/1s");
	uint64_t *drawn = malloc(N * sizeof *drawn);
	struct rl_rng rng, same;

	(void)state;
	assert_non_null(drawn);
	rl_rng_seed(&rng, 5);
	same = rng;
	assert_int_equal(rl_sim_dist_draw(&fixed, &rng), 1500);
	assert_memory_equal(&rng, &same, sizeof rng);
	for (size_t i = 0; i < N; i++)
		assert_in_range(rl_sim_dist_draw(&uniform, &rng), 10, 50);
	for (size_t i = 0; i < N; i++)
		drawn[i] = rl_sim_dist_draw(&lognormal, &rng);
	qsort(drawn, N, sizeof *drawn, by_size);
	assert_in_range(drawn[N / 2], 95, 105);
	assert_in_range(drawn[N * 99 / 100], 850, 1150);
	free(drawn);
}

static void fault_words_go_there_and_back(void **state)
{
	static const struct {
		const char *in, *out;
	} words[] = {
		{"none", "none"},
		{"reset", "reset_before_head"},
		{"fin_before_end", "fin_before_end"},
		{"stall_mid_event", "stall_mid_event:0"},
		{"cut:17", "fin_after_bytes:17"},
		{"huge_headers", "huge_headers:65536"},
		{"interim_storm:9", "interim_storm:9"},
		{"gzip", "gzip"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		char text[SIM_FAULT_TEXT_MAX];
		struct sim_fault fault;

		assert_null(rl_sim_fault_parse(NULL, rl_str_of(words[i].in), &fault));
		rl_sim_fault_text(&fault, text);
		assert_string_equal(text, words[i].out);
	}
}

/* ---- headers ---- */

struct sent {
	struct rl_arena arena;
	struct rl_headers headers;
};

static void send(struct sent *sent, const char *name, const char *value)
{
	assert_int_equal(rl_headers_add(&sent->headers, &sent->arena, RL_H_OTHER, rl_str_of(name), rl_str_of(value)),
			 RL_OK);
}

static void headers_win_over_the_scenario(void **state)
{
	struct rl_sim_scenario *s = load("status: 500\nsequence: [502]\n");
	struct sim_override_cache cache;
	struct sim_overrides *overrides, *again;
	struct sent sent = {.headers = {.n = 0}};
	struct sim_behaviour b;
	struct rl_buf report;
	struct rl_rng rng;

	(void)state;
	rl_arena_init(&sent.arena, 65536);
	rl_buf_init(&report, 4096);
	rl_sim_overrides_init(&cache);
	send(&sent, "accept", "x");
	assert_int_equal(rl_sim_overrides_read(&cache, &sent.headers, RL_STR("a"), &report, &overrides), RL_OK);
	assert_null(overrides);
	send(&sent, "X-Sim-Status", "429");
	send(&sent, "x-sim-first-token", "5ms..9ms");
	send(&sent, "x-sim-headers", "a: 1");
	send(&sent, "x-sim-headers", "b: \"2\"");
	assert_int_equal(rl_sim_overrides_read(&cache, &sent.headers, RL_STR("a"), &report, &overrides), RL_OK);
	assert_non_null(overrides);
	rl_sim_scenario_resolve(s, 1, 0, RL_STR("m"), overrides, &rng, &b);
	assert_int_equal(b.status, 429);
	assert_int_equal(b.first_token.kind, SIM_DIST_UNIFORM);
	assert_int_equal(b.n_headers, 2);
	assert_true(rl_str_eq(b.headers[1], RL_STR("b: \"2\"")));
	/* The same headers are read once. */
	assert_int_equal(rl_sim_overrides_read(&cache, &sent.headers, RL_STR("a"), &report, &again), RL_OK);
	assert_ptr_equal(again, overrides);
	rl_sim_overrides_unref(again);
	rl_sim_overrides_unref(overrides);
	/* For somebody else. */
	send(&sent, "x-sim-only", "b");
	assert_int_equal(rl_sim_overrides_read(&cache, &sent.headers, RL_STR("a"), &report, &overrides), RL_OK);
	assert_null(overrides);
	assert_int_equal(rl_sim_overrides_read(&cache, &sent.headers, RL_STR("b"), &report, &overrides), RL_OK);
	assert_non_null(overrides);
	rl_sim_overrides_unref(overrides);
	rl_sim_overrides_fini(&cache);
	rl_buf_fini(&report);
	rl_arena_fini(&sent.arena);
	rl_sim_scenario_free(s);
}

static void wrong_headers_are_told(void **state)
{
	static const char *const wrong[][2] = {
		{"x-sim-nonsense", "1"},
		{"x-sim-status", "many"},
		{"x-sim-content", "${HOME}"},
		{"x-sim-ledger", "/tmp/x"},
	};
	struct sim_override_cache cache;

	(void)state;
	rl_sim_overrides_init(&cache);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct sent sent = {.headers = {.n = 0}};
		struct sim_overrides *overrides;
		struct rl_buf report;

		rl_arena_init(&sent.arena, 65536);
		rl_buf_init(&report, 4096);
		send(&sent, wrong[i][0], wrong[i][1]);
		assert_int_equal(rl_sim_overrides_read(&cache, &sent.headers, RL_STR("a"), &report, &overrides),
				 RL_ERR_SYNTAX);
		assert_null(overrides);
		assert_true(report.n > 10);
		rl_buf_fini(&report);
		rl_arena_fini(&sent.arena);
	}
	rl_sim_overrides_fini(&cache);
}

static void many_overrides_push_each_other_out(void **state)
{
	struct sim_overrides *held[3 * SIM_OVERRIDES_KEPT];
	struct sim_override_cache cache;
	struct rl_buf report;

	(void)state;
	rl_buf_init(&report, 4096);
	rl_sim_overrides_init(&cache);
	for (unsigned i = 0; i < 3 * SIM_OVERRIDES_KEPT; i++) {
		struct sent sent = {.headers = {.n = 0}};
		char value[16];

		rl_arena_init(&sent.arena, 65536);
		snprintf(value, sizeof value, "%u", i + 1);
		send(&sent, "x-sim-tokens", value);
		assert_int_equal(rl_sim_overrides_read(&cache, &sent.headers, RL_STR("a"), &report, &held[i]), RL_OK);
		rl_arena_fini(&sent.arena);
	}
	for (unsigned i = 0; i < 3 * SIM_OVERRIDES_KEPT; i++) {
		assert_int_equal(held[i]->step.b.tokens, i + 1);
		rl_sim_overrides_unref(held[i]);
	}
	rl_sim_overrides_fini(&cache);
	rl_buf_fini(&report);
}

/* ---- documentation ---- */

static void docs_hold_the_table(void **state)
{
	static const char *const paths[] = {"docs/simulator.md", "../docs/simulator.md", "../../../docs/simulator.md"};
	struct rl_buf made;
	char *page = NULL;
	size_t n = 0;

	(void)state;
	rl_buf_init(&made, 1 << 20);
	rl_sim_scenario_reference(&made);
	assert_true(rl_buf_ok(&made));
	for (size_t i = 0; i < sizeof paths / sizeof paths[0] && !page; i++) {
		FILE *file = fopen(paths[i], "r");

		if (!file)
			continue;
		page = calloc(1, PAGE_MAX_BYTES);
		assert_non_null(page);
		n = fread(page, 1, PAGE_MAX_BYTES, file);
		fclose(file);
	}
	assert_non_null(page); /* run it from the top of the tree */
	if (!memmem(page, n, made.p, made.n))
		fail_msg("docs/simulator.md does not hold the table of keys as it is; it must hold:\n%.*s",
			 RL_STR_ARG(rl_buf_str(&made)));
	free(page);
	rl_buf_fini(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_hold),
		cmocka_unit_test(layers_lie_in_order),
		cmocka_unit_test(rates_are_kept_and_repeat),
		cmocka_unit_test(another_seed_draws_otherwise),
		cmocka_unit_test(mistakes_are_told),
		cmocka_unit_test(connections_go_in_turn),
		cmocka_unit_test(times_are_drawn),
		cmocka_unit_test(fault_words_go_there_and_back),
		cmocka_unit_test(headers_win_over_the_scenario),
		cmocka_unit_test(wrong_headers_are_told),
		cmocka_unit_test(many_overrides_push_each_other_out),
		cmocka_unit_test(docs_hold_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
