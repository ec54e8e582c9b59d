/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strategies and plans: each choice is written down as a table, and shares and
 * loads are exact with four threads choosing at a time.
 */
#include "policy_kit.h"

#include <pthread.h>

#include "policy/health.h"
#include "policy/plan.h"
#include "policy/strategy.h"

#define THREADS 4
#define PICKS 50000
#define TARGETS_MAX 8
#define ORDER_MAX 64

/* A model of targets a, b, c, ... with these weights, made by hand: only what balancing looks at. */
struct bench {
	struct rl_cfg_provider settings;
	struct rl_provider provider;
	struct rl_target_live live[TARGETS_MAX];
	struct rl_slot_live slots[TARGETS_MAX];
	struct rl_target targets[TARGETS_MAX];
	struct rl_alias_live alias;
	struct rl_model model;
};

static const char *const letters[TARGETS_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};

static struct bench *bench_new(const char *strategy, const unsigned *weights, size_t n)
{
	struct bench *b = calloc(1, sizeof *b);

	b->settings = (struct rl_cfg_provider){.max_fails = 3, .fail_timeout_ms = 10000};
	b->provider.settings = &b->settings;
	b->provider.paths[RL_OP_CHAT] = RL_STR("/chat");
	pthread_mutex_init(&b->alias.lock, NULL);
	for (size_t i = 0; i < n; i++)
		b->targets[i] = (struct rl_target){.provider = &b->provider,
						   .model = rl_str_of(letters[i]),
						   .weight = weights[i],
						   .live = &b->live[i],
						   .slot = &b->slots[i]};
	b->model = (struct rl_model){.strategy = rl_strategy_find(rl_str_of(strategy)),
				     .targets = b->targets,
				     .n_targets = n,
				     .live = &b->alias};
	assert_non_null(b->model.strategy);
	return b;
}

static void bench_free(struct bench *b)
{
	pthread_mutex_destroy(&b->alias.lock);
	free(b);
}

static void release(struct rl_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		rl_candidate_release(&plan->list[i]);
}

/* The order of a plan as letters, those that are down in brackets: "b(a)". */
static void order_at(struct bench *b, uint64_t now_ms, bool keep, char out[ORDER_MAX])
{
	struct rl_arena arena;
	struct rl_plan plan;
	struct rl_buf text;

	rl_arena_init(&arena, 65536);
	rl_buf_init(&text, ORDER_MAX);
	assert_int_equal(rl_plan_make(&b->model, RL_OP_CHAT, now_ms, &arena, &plan), RL_OK);
	for (size_t i = 0; i < plan.n; i++)
		rl_buf_printf(&text, "%s%c%s", plan.list[i].down ? "(" : "", plan.list[i].target->model.p[0],
			      plan.list[i].down ? ")" : "");
	snprintf(out, ORDER_MAX, "%.*s", RL_STR_ARG(rl_buf_str(&text)));
	rl_buf_fini(&text);
	if (!keep)
		release(&plan);
	rl_arena_fini(&arena);
}

static void orders(struct bench *b, const char *const *want, size_t n)
{
	char got[ORDER_MAX];

	for (size_t i = 0; i < n; i++) {
		order_at(b, 1000, false, got);
		if (strcmp(got, want[i]) != 0)
			fail_msg("choice %zu is '%s', not '%s'", i, got, want[i]);
	}
}
#define ORDERS(b, ...) \
	orders((b), (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_tables(void **state)
{
	struct bench *b = bench_new("priority", (unsigned[]){1, 9, 1}, 3);

	(void)state;
	ORDERS(b, "abc", "abc", "abc");
	bench_free(b);
	b = bench_new("round_robin", (unsigned[]){1, 9, 1}, 3);
	ORDERS(b, "abc", "bca", "cab", "abc", "bca");
	bench_free(b);
	/* Smooth: never two of the heavy one in a row while others are due. */
	b = bench_new("weighted", (unsigned[]){5, 1, 1}, 3);
	char firsts[15] = "", got[ORDER_MAX];

	for (size_t i = 0; i < 14; i++) {
		order_at(b, 1000, false, got);
		assert_int_equal(strlen(got), 3);
		firsts[i] = got[0];
	}
	assert_string_equal(firsts, "aabacaaaabacaa");
	bench_free(b);
	b = bench_new("weighted", (unsigned[]){1}, 1);
	ORDERS(b, "a", "a");
	bench_free(b);
	assert_null(rl_strategy_find(RL_STR("best")));
	assert_null(rl_strategy_find(RL_STR("")));
}

static void test_least_connections(void **state)
{
	struct bench *b = bench_new("least_connections", (unsigned[]){1, 1, 2}, 3);
	char got[ORDER_MAX];

	(void)state;
	/* Nothing in flight: equals take turns. */
	ORDERS(b, "abc", "bca", "cab", "abc");
	/* In flight for its weight: c takes two. */
	atomic_store(&b->live[0].inflight, 1);
	atomic_store(&b->live[1].inflight, 1);
	atomic_store(&b->live[2].inflight, 1);
	order_at(b, 1000, false, got);
	assert_int_equal(got[0], 'c');
	/* 1/1, 1/1, 2/2 again: a turn decides. */
	atomic_store(&b->live[2].inflight, 2);
	order_at(b, 1000, false, got);
	atomic_store(&b->live[2].inflight, 3);
	for (int i = 0; i < 6; i++) {
		order_at(b, 1000, false, got);
		assert_int_equal(got[2], 'c');
	}
	atomic_store(&b->live[0].inflight, 4);
	order_at(b, 1000, false, got);
	assert_string_equal(got, "bca");
	bench_free(b);

	/* Kept requests spread evenly, one by one. */
	b = bench_new("least_connections", (unsigned[]){1, 1, 1, 1}, 4);
	for (unsigned i = 0; i < 4 * 25; i++) {
		order_at(b, 1000, true, got);
		for (size_t t = 0; t < 4; t++)
			assert_in_range(atomic_load(&b->live[t].inflight), (i + 1) / 4, i / 4 + 1);
	}
	bench_free(b);
}

/* ---- those that are down ---- */

static void bring_down(struct bench *b, size_t i, uint64_t now_ms)
{
	bool up;

	for (unsigned k = 0; k < b->settings.max_fails; k++)
		rl_health_report(&b->targets[i], RL_FAULT_CONNECT, false, now_ms, &up);
	assert_int_equal(rl_health_state(&b->targets[i], now_ms), RL_HEALTH_DOWN);
}

static void test_down_last(void **state)
{
	struct bench *b = bench_new("priority", (unsigned[]){1, 1, 1}, 3);
	char got[ORDER_MAX];

	(void)state;
	bring_down(b, 0, 1000);
	order_at(b, 1001, false, got);
	assert_string_equal(got, "bc(a)");
	bring_down(b, 1, 1002);
	bring_down(b, 2, 1003);
	order_at(b, 1004, false, got); /* all are down: tried all the same */
	assert_string_equal(got, "(a)(b)(c)");
	/* a's probe is due: first, once; then last again until somebody tells how it went. */
	order_at(b, 11000, false, got);
	assert_string_equal(got, "(a)(b)(c)");
	order_at(b, 11001, false, got);
	assert_string_equal(got, "(a)(b)(c)");
	assert_true(rl_health_answers(&b->targets[0]));
	order_at(b, 11002, false, got); /* now b's is due */
	assert_string_equal(got, "(b)a(c)");
	order_at(b, 11003, false, got); /* and c's */
	assert_string_equal(got, "(c)a(b)");
	order_at(b, 11004, false, got);
	assert_string_equal(got, "a(b)(c)");
	bench_free(b);
}

static void test_two_probes_two_requests(void **state)
{
	struct bench *b = bench_new("round_robin", (unsigned[]){1, 1, 1}, 3);
	char got[ORDER_MAX];

	(void)state;
	bring_down(b, 0, 1000);
	bring_down(b, 1, 1000);
	order_at(b, 20000, false, got);
	assert_string_equal(got, "(a)c(b)"); /* one request tests one target */
	order_at(b, 20000, false, got);
	assert_string_equal(got, "(b)c(a)");
	order_at(b, 20000, false, got);
	assert_string_equal(got, "c(a)(b)");
	bench_free(b);
}

/* Shares among those that are up, while others come and go, stay in proportion; nobody pays for having been away. */
static void test_weighted_changing(void **state)
{
	struct bench *b = bench_new("weighted", (unsigned[]){3, 2, 1}, 3);
	unsigned counts[3] = {0};
	char got[ORDER_MAX];
	uint64_t now = 1000;
	bool up;

	(void)state;
	for (int round = 0; round < 10; round++, now += 100000) {
		memset(counts, 0, sizeof counts);
		for (int i = 0; i < 60; i++) {
			order_at(b, now, false, got);
			counts[got[0] - 'a']++;
		}
		assert_int_equal(counts[0], 30);
		assert_int_equal(counts[1], 20);
		assert_int_equal(counts[2], 10);
		bring_down(b, 0, now);
		memset(counts, 0, sizeof counts);
		for (int i = 0; i < 30; i++) {
			order_at(b, now + 1, false, got);
			counts[got[0] - 'a']++;
		}
		assert_int_equal(counts[1], 20);
		assert_int_equal(counts[2], 10);
		rl_health_report(&b->targets[0], RL_FAULT_NONE, false, now + 2, &up);
	}
	bench_free(b);
}

static void test_off_and_operations(void **state)
{
	struct bench *b = bench_new("round_robin", (unsigned[]){1, 1}, 2);
	struct rl_provider off = b->provider;
	struct rl_arena arena;
	struct rl_plan plan;

	(void)state;
	rl_arena_init(&arena, 65536);
	off.off = RL_STR("no key");
	b->targets[0].provider = &off;
	for (int i = 0; i < 4; i++)
		ORDERS(b, "b");
	assert_int_equal(rl_plan_make(&b->model, RL_OP_EMBEDDING, 1, &arena, &plan), RL_OK);
	assert_int_equal(plan.n, 0); /* the path is empty: not offered */
	b->targets[1].provider = &off;
	assert_int_equal(rl_plan_make(&b->model, RL_OP_CHAT, 1, &arena, &plan), RL_OK);
	assert_int_equal(plan.n, 0);
	/* Without memory nothing is claimed. */
	b->targets[1].provider = &b->provider;
	rl_arena_fini(&arena);
	rl_arena_init(&arena, 8);
	assert_int_equal(rl_plan_make(&b->model, RL_OP_CHAT, 1, &arena, &plan), RL_ERR_NOMEM);
	assert_int_equal(atomic_load(&b->live[1].inflight), 0);
	rl_arena_fini(&arena);
	bench_free(b);
}

static void test_claims(void **state)
{
	struct bench *b = bench_new("priority", (unsigned[]){1, 1}, 2);
	struct rl_arena arena;
	struct rl_plan plan;

	(void)state;
	rl_arena_init(&arena, 65536);
	assert_int_equal(rl_plan_make(&b->model, RL_OP_CHAT, 1, &arena, &plan), RL_OK);
	assert_int_equal(atomic_load(&b->live[0].inflight), 1); /* from the moment it is chosen */
	assert_int_equal(atomic_load(&b->live[1].inflight), 0);
	rl_candidate_claim(&plan.list[0]);
	assert_int_equal(atomic_load(&b->live[0].inflight), 1);
	rl_candidate_claim(&plan.list[1]);
	rl_candidate_release(&plan.list[0]);
	rl_candidate_release(&plan.list[0]);
	assert_int_equal(atomic_load(&b->live[0].inflight), 0);
	assert_int_equal(atomic_load(&b->live[1].inflight), 1);
	release(&plan);
	assert_int_equal(atomic_load(&b->live[1].inflight), 0);
	/* A model of one target has no alias's lock, but is counted too. */
	b->model.live = NULL;
	b->model.strategy = NULL;
	b->model.n_targets = 1;
	assert_int_equal(rl_plan_make(&b->model, RL_OP_CHAT, 1, &arena, &plan), RL_OK);
	assert_int_equal(plan.n, 1);
	assert_int_equal(atomic_load(&b->live[0].inflight), 1);
	release(&plan);
	rl_arena_fini(&arena);
	bench_free(b);
}

/* ---- threads ---- */

struct picker {
	struct bench *b;
	unsigned counts[TARGETS_MAX];
	unsigned most; /* in flight at one target, as seen right after a choice */
	bool hold;     /* one request at a time in flight, ended before the next; else none is kept */
};

static void *pick(void *arg)
{
	struct picker *p = arg;
	struct rl_arena arena;
	struct rl_plan plan;

	rl_arena_init(&arena, 1u << 20);
	for (int i = 0; i < PICKS; i++) {
		if (rl_plan_make(&p->b->model, RL_OP_CHAT, 1, &arena, &plan) || !plan.n)
			abort();
		size_t at = (size_t)(plan.list[0].target - p->b->targets);
		unsigned load = atomic_load(&p->b->live[at].inflight);

		p->counts[at]++;
		if (load > p->most)
			p->most = load;
		if (p->hold) { /* as a failover would */
			rl_candidate_claim(&plan.list[plan.n - 1]);
			rl_candidate_release(&plan.list[plan.n - 1]);
		}
		release(&plan);
		rl_arena_reset(&arena);
	}
	rl_arena_fini(&arena);
	rl_arena_thread_fini();
	return NULL;
}

static void pick_all(struct bench *b, struct picker pickers[THREADS], bool hold, unsigned sum[TARGETS_MAX])
{
	pthread_t threads[THREADS];

	memset(sum, 0, TARGETS_MAX * sizeof *sum);
	for (int i = 0; i < THREADS; i++) {
		pickers[i] = (struct picker){.b = b, .hold = hold};
		assert_int_equal(pthread_create(&threads[i], NULL, pick, &pickers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		for (size_t t = 0; t < TARGETS_MAX; t++)
			sum[t] += pickers[i].counts[t];
	}
	for (size_t t = 0; t < TARGETS_MAX; t++)
		assert_int_equal(atomic_load(&b->live[t].inflight), 0);
}

static void test_exact_among_threads(void **state)
{
	struct picker pickers[THREADS];
	unsigned sum[TARGETS_MAX];
	struct bench *b = bench_new("round_robin", (unsigned[]){1, 1, 1, 1, 1}, 5);

	(void)state;
	pick_all(b, pickers, false, sum);
	for (size_t t = 0; t < 5; t++)
		assert_int_equal(sum[t], THREADS * PICKS / 5);
	bench_free(b);

	b = bench_new("weighted", (unsigned[]){5, 3, 2}, 3);
	pick_all(b, pickers, true, sum);
	assert_int_equal(sum[0], THREADS * PICKS / 10 * 5);
	assert_int_equal(sum[1], THREADS * PICKS / 10 * 3);
	assert_int_equal(sum[2], THREADS * PICKS / 10 * 2);
	bench_free(b);
}

/*
 * With at most THREADS requests in flight over n targets, none ever has more than the ceiling of THREADS / n: whoever
 * chooses sees loads that can only have fallen since, and the lock keeps other choices out.
 */
static void test_least_connections_bound(void **state)
{
	static const size_t counts[] = {2, 4, 8};
	struct picker pickers[THREADS];
	unsigned sum[TARGETS_MAX], all;

	(void)state;
	for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
		size_t n = counts[k];
		struct bench *b = bench_new("least_connections", (unsigned[]){1, 1, 1, 1, 1, 1, 1, 1}, n);

		pick_all(b, pickers, false, sum);
		all = 0;
		for (size_t t = 0; t < n; t++) {
			assert_true(sum[t] > 0);
			all += sum[t];
		}
		assert_int_equal(all, THREADS * PICKS);
		for (int i = 0; i < THREADS; i++)
			assert_in_range(pickers[i].most, 1, (THREADS + n - 1) / n);
		bench_free(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_least_connections),
		cmocka_unit_test(test_down_last),
		cmocka_unit_test(test_two_probes_two_requests),
		cmocka_unit_test(test_weighted_changing),
		cmocka_unit_test(test_off_and_operations),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_exact_among_threads),
		cmocka_unit_test(test_least_connections_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
