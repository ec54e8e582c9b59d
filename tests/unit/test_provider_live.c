/* SPDX-License-Identifier: Apache-2.0 */
/* What survives a reload, and providers made from their settings: identity, origins, headers, keys, ids. */
#include "policy_kit.h"

#include <pthread.h>

#include "provider/catalog.h"
#include "provider/provider.h"

/* ---- identity ---- */

static void test_identity(void **state)
{
	struct rl_live *live = kit_live();
	struct rl_target_live *t = rl_live_target(live, RL_STR("a"), RL_STR("m"));

	(void)state;
	atomic_store(&t->inflight, 7);
	assert_ptr_equal(rl_live_target(live, RL_STR("a"), RL_STR("m")), t);
	assert_ptr_not_equal(rl_live_target(live, RL_STR("a"), RL_STR("m2")), t);
	assert_ptr_not_equal(rl_live_target(live, RL_STR("b"), RL_STR("m")), t);
	assert_ptr_not_equal(rl_live_target(live, RL_STR("a"), RL_STR("")), t);
	/* Parts do not run into each other. */
	assert_ptr_not_equal(rl_live_target(live, RL_STR("am"), RL_STR("")),
			     rl_live_target(live, RL_STR("a"), RL_STR("m")));
	assert_ptr_not_equal(rl_live_slot(live, RL_STR("x"), RL_STR("a"), RL_STR("m")),
			     rl_live_slot(live, RL_STR("y"), RL_STR("a"), RL_STR("m")));
	assert_ptr_equal(rl_live_slot(live, RL_STR("x"), RL_STR("a"), RL_STR("m")),
			 rl_live_slot(live, RL_STR("x"), RL_STR("a"), RL_STR("m")));
	assert_ptr_equal(rl_live_alias(live, RL_STR("x")), rl_live_alias(live, RL_STR("x")));
	assert_ptr_equal(rl_live_provider(live, RL_STR("a")), rl_live_provider(live, RL_STR("a")));
	assert_ptr_not_equal(rl_live_provider(live, RL_STR("a")), rl_live_provider(live, RL_STR("b")));
	assert_int_equal(atomic_load(&rl_live_target(live, RL_STR("a"), RL_STR("m"))->inflight), 7);
	/* An identity longer than any allowed name has no entry, instead of a wrong one. */
	char *huge = malloc(8192);
	memset(huge, 'x', 8192);
	assert_null(rl_live_target(live, rl_str_make(huge, 8192), RL_STR("m")));
	free(huge);
	rl_live_free(live);
	rl_live_free(NULL);
}

static void *make_many(void *arg)
{
	uintptr_t sum = 0;
	char name[16];

	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof name, "t%d", i % 100);
		sum += (uintptr_t)rl_live_target(arg, rl_str_of(name), RL_STR("m"));
	}
	return (void *)sum;
}

static void test_threads(void **state)
{
	struct rl_live *live = kit_live();
	pthread_t threads[4];
	void *first = NULL, *other;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_many, live), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &other);
		if (i)
			assert_ptr_equal(other, first);
		first = other;
	}
	rl_live_free(live);
}

static struct rl_origin *origin(struct rl_live *live, const char *host, uint32_t max_connections)
{
	struct rl_origin_spec spec = {.host = rl_str_of(host),
				      .port = 80,
				      .max_connections = max_connections,
				      .max_idle = 32,
				      .idle_ms = 1000};
	struct rl_origin *out = NULL;
	const char *why = "";

	assert_int_equal(rl_live_origin(live, &spec, &out, &why), RL_OK);
	return out;
}

static void test_origins(void **state)
{
	struct rl_live *live = kit_live();
	struct rl_origin *a = origin(live, "a", 0), *b = origin(live, "b", 0), *capped = origin(live, "a", 5);
	struct rl_origin *again = origin(live, "a", 0);

	(void)state;
	assert_ptr_equal(a, again);
	assert_ptr_not_equal(a, b);
	assert_ptr_not_equal(a, capped); /* other settings are another place */
	rl_live_sweep(live);             /* all were asked for */
	rl_origin_unref(again);
	again = origin(live, "a", 0);
	assert_ptr_equal(a, again);
	rl_live_sweep(live); /* b and capped were not: forgotten, but alive for us */
	assert_int_equal(rl_origin_connections(b), 0);
	struct rl_origin *fresh = origin(live, "b", 0);
	assert_ptr_not_equal(fresh, b);
	rl_origin_unref(again);
	again = origin(live, "a", 0);
	assert_ptr_equal(again, a);
	rl_origin_unref(a);
	rl_origin_unref(again);
	rl_origin_unref(b);
	rl_origin_unref(fresh);
	rl_origin_unref(capped);
	rl_live_free(live);
}

/* ---- a provider from its settings ---- */

struct made {
	struct rl_live *live;
	struct rl_snapshot *s;
	const struct rl_provider *p;
};

static struct made make(const char *text)
{
	struct made m = {.live = kit_live()};

	m.s = kit_snapshot(text, m.live);
	m.p = &m.s->providers[0];
	return m;
}

static void unmake(struct made *m)
{
	rl_snapshot_unref(m->s);
	rl_live_free(m->live);
}

static rl_str header(const struct rl_provider *p, const char *name, size_t *count)
{
	rl_str value = {NULL, 0};

	*count = 0;
	for (size_t i = 0; i < p->n_headers; i++)
		if (rl_str_ieq(p->headers[i].name, rl_str_of(name))) {
			value = p->headers[i].value;
			++*count;
		}
	return value;
}

static void test_provider(void **state)
{
	struct made m = make("providers:\n"
			     "  p:\n"
			     "    base_url: 'http://127.0.0.1:9/base/v1/'\n"
			     "    api_key: 0123456789abcdef\n"
			     "    headers:\n"
			     "      set: { User-Agent: other, X-Extra: '1' }\n"
			     "      remove: [Accept-Encoding, Via, Traceparent]\n"
			     "    body: { set: { service_tier: flex } }\n");
	size_t n;

	(void)state;
	assert_str(m.p->paths[RL_OP_CHAT], "/base/v1/chat/completions");
	assert_str(m.p->paths[RL_OP_MODELS], "/base/v1/models");
	assert_int_equal(m.p->off.n, 0);
	assert_int_equal(m.p->n_keys, 1);
	assert_str(rl_secret_reveal(m.p->keys[0].authorization), "Bearer 0123456789abcdef");
	assert_str(header(m.p, "user-agent", &n), "other");
	assert_int_equal(n, 1);
	assert_str(header(m.p, "x-extra", &n), "1");
	header(m.p, "accept-encoding", &n);
	assert_int_equal(n, 0);
	assert_str(header(m.p, "via", &n), "1.1 relais-test"); /* it stops loops, so it stays */
	assert_int_equal(n, 1);
	assert_true(rl_provider_header_is_set(m.p, RL_STR("x-EXTRA")));
	assert_true(rl_provider_header_is_set(m.p, RL_STR("traceparent")));
	assert_false(rl_provider_header_is_set(m.p, RL_STR("authorization")));
	assert_str(m.p->body_set[0].name, "service_tier");
	assert_str(m.p->body_set[0].json, "\"flex\"");
	unmake(&m);
}

static void test_preset_address(void **state)
{
	struct rl_live *live = kit_live();
	struct rl_config *config = kit_config("providers: { nobody: { api_key: abc } }\n");
	struct rl_snapshot *s = NULL;
	struct rl_buf report;

	(void)state;
	rl_buf_init(&report, 4096);
	assert_int_not_equal(rl_snapshot_new(&config, live, RL_STR("v"), 1, &report, &s), RL_OK);
	assert_null(config);
	assert_non_null(memmem(report.p, report.n, "test.yaml:1:", 12));
	assert_non_null(memmem(report.p, report.n, "base_url is needed", 18));
	rl_buf_fini(&report);
	rl_live_free(live);

	struct made m = make("providers: { ollama: {} }\n");
	assert_str(m.p->paths[RL_OP_EMBEDDING], "/v1/embeddings");
	unmake(&m);
}

/* The vendor's at its own address, with what the configuration knows better; elsewhere only that. */
static void test_quirks(void **state)
{
	struct made m = make("providers: { ollama: { quirks: [-no_n, top_k] } }\n");

	(void)state;
	assert_true(m.p->quirks >> RL_QUIRK_NO_TOOL_CHOICE & 1);
	assert_true(m.p->quirks >> RL_QUIRK_TOP_K & 1);
	assert_false(m.p->quirks >> RL_QUIRK_NO_N & 1);
	unmake(&m);
	m = make("providers: { ollama: { base_url: 'http://127.0.0.1:9', quirks: [no_seed] } }\n");
	assert_int_equal(m.p->quirks, (uint64_t)1 << RL_QUIRK_NO_SEED);
	unmake(&m);
}

static void test_off(void **state)
{
	unsetenv("RL_TEST_KEY_THAT_IS_NOT_SET");
	struct made m = make("providers: { p: { base_url: 'http://127.0.0.1:9', "
			     "api_key: '${RL_TEST_KEY_THAT_IS_NOT_SET}' } }\n");

	(void)state;
	assert_str(m.p->off, "RL_TEST_KEY_THAT_IS_NOT_SET is not set");
	assert_int_equal(m.p->n_keys, 0);
	unmake(&m);
}

static void test_keys(void **state)
{
	struct made m = make("providers:\n"
			     "  p:\n"
			     "    base_url: 'http://127.0.0.1:9'\n"
			     "    keys:\n"
			     "      - { value: key-a, weight: 3 }\n"
			     "      - { value: key-b, weight: 1, models: [small, large] }\n"
			     "      - { value: key-c, weight: 2, models: [large] }\n");
	const struct rl_provider *p = m.p;
	unsigned counts[3] = {0};

	(void)state;
	for (int i = 0; i < 600; i++)
		counts[rl_provider_next_key(p, RL_STR("large")) - p->keys]++;
	assert_int_equal(counts[0], 300);
	assert_int_equal(counts[1], 100);
	assert_int_equal(counts[2], 200);
	memset(counts, 0, sizeof counts);
	for (int i = 0; i < 400; i++)
		counts[rl_provider_next_key(p, RL_STR("small")) - p->keys]++;
	assert_int_equal(counts[0], 300);
	assert_int_equal(counts[1], 100);
	assert_int_equal(counts[2], 0);
	for (int i = 0; i < 10; i++)
		assert_ptr_equal(rl_provider_next_key(p, RL_STR("other")), &p->keys[0]);
	unmake(&m);

	m = make("providers: { p: { base_url: 'http://127.0.0.1:9', keys: [{ value: k, models: [only] }] } }\n");
	assert_null(rl_provider_next_key(m.p, RL_STR("other")));
	assert_non_null(rl_provider_next_key(m.p, RL_STR("only")));
	unmake(&m);
	m = make("providers: { p: { base_url: 'http://127.0.0.1:9' } }\n");
	assert_null(rl_provider_next_key(m.p, RL_STR("any")));
	unmake(&m);
}

/* ---- ids ---- */

static void collect(void *ctx, rl_str id)
{
	rl_buf_add(ctx, id);
	rl_buf_byte(ctx, ' ');
}

static void ids_are(const struct rl_provider *p, const char *want)
{
	struct rl_buf out;

	rl_buf_init(&out, 65536);
	rl_catalog_each(p, collect, &out);
	assert_str(rl_buf_str(&out), want);
	rl_buf_fini(&out);
}

static void test_catalog(void **state)
{
	struct made m = make("providers: { deepseek: {}, p: { base_url: 'http://127.0.0.1:9', models: [m1, m2] } }\n");
	const struct rl_provider *q = &m.s->providers[1];
	const rl_str ids[] = {RL_STR_INIT("x"), RL_STR_INIT("m2"), RL_STR_INIT("x"), RL_STR_INIT("y")};

	(void)state;
	ids_are(m.p, "deepseek-chat deepseek-reasoner ");
	assert_true(rl_catalog_has(m.p, RL_STR("deepseek-chat")));
	ids_are(q, "m1 m2 ");
	assert_int_equal(rl_catalog_set(m.p->live, ids, 4), RL_OK);
	ids_are(m.p, "x m2 y "); /* what it lists itself stands instead of what was built in */
	assert_false(rl_catalog_has(m.p, RL_STR("deepseek-chat")));
	assert_true(rl_catalog_has(m.p, RL_STR("y")));
	assert_int_equal(rl_catalog_set(q->live, ids, 4), RL_OK);
	ids_are(q, "m1 m2 x y "); /* what is configured stays, and stands first */
	assert_int_equal(rl_catalog_set(m.p->live, ids, 0), RL_OK);
	ids_are(m.p, "");
	unmake(&m);
	/* The same name at another address is somebody else. */
	m = make("providers: { deepseek: { base_url: 'http://127.0.0.1:9' } }\n");
	ids_are(m.p, "");
	unmake(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity), cmocka_unit_test(test_threads),        cmocka_unit_test(test_origins),
		cmocka_unit_test(test_provider), cmocka_unit_test(test_preset_address), cmocka_unit_test(test_off),
		cmocka_unit_test(test_quirks),   cmocka_unit_test(test_keys),           cmocka_unit_test(test_catalog),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
