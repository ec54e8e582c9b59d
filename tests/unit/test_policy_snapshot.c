/* SPDX-License-Identifier: Apache-2.0 */
/* What a model's name means (CONTRACT, Model names), the list of names, and the settings merged into targets. */
#include "policy_kit.h"

#include "policy/strategy.h"
#include "provider/catalog.h"

static const char text[] =
	"providers:\n"
	"  first: { base_url: 'http://127.0.0.1:9', models: [shared, only-first, a/b], timeouts: { idle: 7s } }\n"
	"  off: { base_url: 'http://127.0.0.1:9', models: [shared, only-off], api_key: '${RL_TEST_KEY_THAT_IS_NOT_SET}' }\n"
	"  second: { base_url: 'http://127.0.0.1:9', models: [shared, only-second] }\n"
	"models:\n"
	"  assistant:\n"
	"    strategy: round_robin\n"
	"    timeouts: { connect: 1s }\n"
	"    targets: [{ provider: first, model: shared, weight: 3 }, { provider: second, model: shared }]\n"
	"  'first/only-first': { targets: [{ provider: second, model: other }] }\n"
	"  only-second: { targets: [{ provider: first, model: mine }] }\n";

struct fixture {
	struct rl_live *live;
	struct rl_snapshot *s;
	struct rl_arena arena;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	unsetenv("RL_TEST_KEY_THAT_IS_NOT_SET");
	f->live = kit_live();
	f->s = kit_snapshot(text, f->live);
	rl_arena_init(&f->arena, 1u << 20);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rl_arena_fini(&f->arena);
	rl_snapshot_unref(f->s);
	rl_live_free(f->live);
	free(f);
	return 0;
}

static const struct rl_model *resolve(struct fixture *f, const char *name)
{
	const struct rl_model *model = NULL;
	enum rl_err err = rl_snapshot_resolve(f->s, rl_str_of(name), &f->arena, &model);

	if (err)
		assert_int_equal(err, RL_ERR_NOT_FOUND);
	return err ? NULL : model;
}

static void means(struct fixture *f, const char *name, const char *provider, const char *id)
{
	const struct rl_model *model = resolve(f, name);

	if (!model)
		fail_msg("%s is not found", name);
	assert_str(model->name, name);
	assert_str(model->targets[0].provider->name, provider);
	assert_str(model->targets[0].model, id);
	assert_non_null(model->targets[0].live);
	assert_non_null(model->targets[0].times);
}

static void test_order(void **state)
{
	struct fixture *f = *state;

	/* An alias first, also one that looks like provider/model, or like a provider's id. */
	means(f, "assistant", "first", "shared");
	assert_int_equal(resolve(f, "assistant")->n_targets, 2);
	means(f, "first/only-first", "second", "other");
	means(f, "only-second", "first", "mine");
	/* provider/rest, whatever the rest is. */
	means(f, "second/only-second", "second", "only-second");
	means(f, "first/never-heard-of", "first", "never-heard-of");
	means(f, "first/org/model/v2", "first", "org/model/v2");
	means(f, "first//", "first", "/");
	means(f, "off/only-off", "off", "only-off"); /* found: that it is off is said later */
	/* A bare id, by the providers' order, without those that are off. */
	means(f, "shared", "first", "shared");
	means(f, "only-first", "first", "only-first");
	means(f, "a/b", "first", "a/b");
	assert_null(resolve(f, "only-off"));
}

static void test_not_found(void **state)
{
	static const char *const names[] = {"",          "/",       "first/", "/shared", "nobody/shared",
					    "ASSISTANT", "First/x", "first",  "sharedx", "share"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (resolve(*state, names[i]))
			fail_msg("'%s' is found", names[i]);
}

static void test_bare_follows_catalog(void **state)
{
	struct fixture *f = *state;
	const rl_str ids[] = {RL_STR_INIT("fetched")};

	assert_null(resolve(f, "fetched"));
	assert_int_equal(rl_catalog_set(rl_live_provider(f->live, RL_STR("second")), ids, 1), RL_OK);
	means(f, "fetched", "second", "fetched");
}

static void put(void *ctx, rl_str id, rl_str owned_by)
{
	rl_buf_printf(ctx, "%.*s(%.*s) ", RL_STR_ARG(id), RL_STR_ARG(owned_by));
}

static void test_names(void **state)
{
	struct fixture *f = *state;
	struct rl_buf out;

	rl_buf_init(&out, 65536);
	rl_snapshot_each_model(f->s, put, &out);
	assert_str(rl_buf_str(&out),
		   "assistant(relais) first/only-first(relais) only-second(relais) first/shared(first) "
		   "first/only-first(first) first/a/b(first) second/shared(second) "
		   "second/only-second(second) ");
	rl_buf_fini(&out);
}

static void test_targets(void **state)
{
	struct fixture *f = *state;
	const struct rl_model *m = resolve(f, "assistant");

	assert_str(m->strategy->name, "round_robin");
	assert_int_equal(m->targets[0].weight, 3);
	assert_int_equal(m->targets[1].weight, 1);
	assert_int_equal(m->targets[0].times->connect_ms, 1000); /* the model's own */
	assert_int_equal(m->targets[0].times->idle_ms, 7000);    /* the provider's */
	assert_int_equal(m->targets[1].times->idle_ms, 120000);
	assert_int_equal(m->targets[0].times->first_byte_ms, 600000);
	/* One identity, one live state, wherever it stands. */
	struct rl_snapshot *again = kit_snapshot(text, f->live);
	assert_ptr_equal(again->models[0].targets[0].live, m->targets[0].live);
	assert_ptr_equal(again->models[0].targets[0].slot, m->targets[0].slot);
	assert_ptr_equal(again->models[0].live, m->live);
	assert_ptr_equal(again->providers[0].origin, f->s->providers[0].origin);
	rl_snapshot_unref(again);
	rl_snapshot_unref(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_found, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bare_follows_catalog, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_targets, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
