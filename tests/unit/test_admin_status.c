/* SPDX-License-Identifier: Apache-2.0 */
/* The status document is JSON whatever stands in it, and says what is so. */
#include "policy_kit.h"

#include <yyjson.h>

#include "admin/admin.h"
#include "policy/health.h"

static const char text[] =
	"providers:\n"
	"  a: { base_url: 'http://127.0.0.1:9', models: [x, y, z] }\n"
	"  off.one: { base_url: 'http://127.0.0.1:9', api_key: '${RL_TEST_KEY_THAT_IS_NOT_SET}', local: true }\n"
	"models:\n"
	"  'org/odd:name@1+2':\n"
	"    strategy: weighted\n"
	"    targets:\n"
	"      - { provider: a, model: \"quote\\\" back\\\\slash </script> \\x01 \\t \\u2028 \\U0001F600\", weight: 7 }\n"
	"      - { provider: off.one, model: \"line\\nend\" }\n"
	"  plain: { targets: [{ provider: a, model: x }] }\n";

static yyjson_val *at(yyjson_val *v, const char *pointer)
{
	yyjson_val *found = yyjson_ptr_get(v, pointer);

	if (!found)
		fail_msg("%s is missing", pointer);
	return found;
}

static void says(yyjson_val *root, const char *pointer, const char *want)
{
	assert_string_equal(yyjson_get_str(at(root, pointer)), want);
}

static void counts(yyjson_val *root, const char *pointer, uint64_t want)
{
	assert_int_equal(yyjson_get_uint(at(root, pointer)), want);
}

static void test_document(void **state)
{
	struct rl_gateway gateway = {.started_s = UINT64_MAX / 2}; /* a wall clock that went back */
	struct rl_buf out, report;
	struct rl_live *live = kit_live();
	struct rl_config *config = NULL;
	struct rl_snapshot *s = NULL;
	bool up;

	(void)state;
	unsetenv("RL_TEST_KEY_THAT_IS_NOT_SET");
	rl_buf_init(&report, 65536);
	assert_int_equal(rl_config_parse(RL_STR(text), "odd \"path\"\n\xff.yaml", rl_setup_names(), &report, &config),
			 RL_OK);
	assert_int_equal(rl_snapshot_new(&config, live, RL_STR("v"), 42, &report, &s), RL_OK);
	const struct rl_target *t = &s->models[0].targets[0];

	for (int i = 0; i < 3; i++)
		rl_health_report(t, RL_FAULT_CONNECT, false, UINT64_MAX / 4, &up);
	atomic_store(&t->live->inflight, 5);
	atomic_store(&gateway.draining, true);
	struct rl_admin_view view = {.gateway = &gateway,
				     .snapshot = s,
				     .version = RL_STR("1.0 \"odd\""),
				     .access_log_dropped = UINT64_MAX,
				     .reloads_ok = 3,
				     .reloads_rejected = 4};

	rl_buf_init(&out, 1u << 20);
	rl_status_write(&view, &out);
	assert_true(rl_buf_ok(&out));
	yyjson_doc *doc = yyjson_read(out.p, out.n, 0);
	assert_non_null(doc);
	yyjson_val *root = yyjson_doc_get_root(doc);

	says(root, "/version", "1.0 \"odd\"");
	says(root, "/config", "odd \"path\"\n\xEF\xBF\xBD.yaml");
	counts(root, "/uptime_s", 0);
	counts(root, "/config_generation", 42);
	counts(root, "/reloads_ok", 3);
	counts(root, "/reloads_rejected", 4);
	counts(root, "/access_log_dropped", UINT64_MAX);
	assert_true(yyjson_get_bool(at(root, "/draining")));
	assert_true(yyjson_is_arr(at(root, "/workers")));
	assert_true(yyjson_is_arr(at(root, "/listeners")));
	assert_int_equal(yyjson_arr_size(at(root, "/providers")), 2);
	says(root, "/providers/0/name", "a");
	assert_true(yyjson_get_bool(at(root, "/providers/0/on")));
	counts(root, "/providers/0/models", 3);
	assert_false(yyjson_get_bool(at(root, "/providers/1/on")));
	says(root, "/providers/1/off_because", "RL_TEST_KEY_THAT_IS_NOT_SET is not set");
	assert_int_equal(yyjson_arr_size(at(root, "/models")), 2);
	says(root, "/models/0/name", "org/odd:name@1+2");
	says(root, "/models/0/strategy", "weighted");
	says(root, "/models/0/targets/0/model", "quote\" back\\slash </script> \x01 \t \xE2\x80\xA8 \xF0\x9F\x98\x80");
	says(root, "/models/0/targets/0/state", "down");
	counts(root, "/models/0/targets/0/weight", 7);
	counts(root, "/models/0/targets/0/in_flight", 5);
	counts(root, "/models/0/targets/0/attempts", 3);
	counts(root, "/models/0/targets/0/failures", 3);
	says(root, "/models/0/targets/1/model", "line\nend");
	says(root, "/models/0/targets/1/state", "off");
	says(root, "/models/1/targets/0/state", "up");
	/* No secret and no address of a provider. */
	assert_null(memmem(out.p, out.n, "127.0.0.1", 9));
	yyjson_doc_free(doc);
	rl_buf_fini(&out);
	rl_buf_fini(&report);
	rl_snapshot_unref(s);
	rl_live_free(live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_document)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
