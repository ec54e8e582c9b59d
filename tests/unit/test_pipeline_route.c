/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes: what is found, what is 405, what is nowhere. */
#include "policy_kit.h"

#include "pipeline/route.h"

static void test_table(void **state)
{
	enum { HERE, OTHER, NOWHERE };
	static const struct {
		enum rl_method method;
		const char *path;
		int where;
		const char *pattern;
	} table[] = {
		{RL_METHOD_POST, "/v1/chat/completions", HERE, "/v1/chat/completions"},
		{RL_METHOD_POST, "/v1/completions", HERE, "/v1/completions"},
		{RL_METHOD_POST, "/v1/embeddings", HERE, "/v1/embeddings"},
		{RL_METHOD_GET, "/v1/models", HERE, "/v1/models"},
		{RL_METHOD_HEAD, "/v1/models", HERE, "/v1/models"},
		{RL_METHOD_GET, "/v1/models/gpt-4o", HERE, "/v1/models/{id}"},
		{RL_METHOD_GET, "/v1/models/org/model%2Fv2", HERE, "/v1/models/{id}"},
		{RL_METHOD_GET, "/health", HERE, "/health"},
		{RL_METHOD_HEAD, "/ready", HERE, "/ready"},
		{RL_METHOD_GET, "/v1/chat/completions", OTHER, "/v1/chat/completions"},
		{RL_METHOD_HEAD, "/v1/embeddings", OTHER, "/v1/embeddings"},
		{RL_METHOD_OPTIONS, "/v1/chat/completions", OTHER, "/v1/chat/completions"},
		{RL_METHOD_OTHER, "/v1/models", OTHER, "/v1/models"},
		{RL_METHOD_DELETE, "/v1/models/gpt-4o", OTHER, "/v1/models/{id}"},
		{RL_METHOD_POST, "/health", OTHER, "/health"},
		{RL_METHOD_POST, "/v1/responses", HERE, "/v1/responses"},
		{RL_METHOD_POST, "/v1/moderations", HERE, "/v1/moderations"},
		{RL_METHOD_GET, "/v1/files", HERE, "/v1/files"},
		{RL_METHOD_HEAD, "/v1/files/f/content", HERE, "/v1/files/{id}/content"},
		{RL_METHOD_DELETE, "/v1/files/file-1", HERE, "/v1/files/{id}"},
		{RL_METHOD_POST, "/v1/threads/runs", HERE, "/v1/threads/runs"},
		{RL_METHOD_POST, "/v1/threads/t", HERE, "/v1/threads/{id}"},
		{RL_METHOD_GET, "/v1/threads/t/runs/r/steps/s", HERE, "/v1/threads/{id}/runs/{id}/steps/{id}"},
		{RL_METHOD_POST, "/v1/files/file-1", OTHER, "/v1/files/{id}"},
		{RL_METHOD_PUT, "/v1/batches", OTHER, "/v1/batches"},
		{RL_METHOD_OTHER, "/v1/batches", OTHER, "/v1/batches"},
		{RL_METHOD_GET, "/v1/realtime", HERE, "/v1/realtime"},
		{RL_METHOD_GET, "/v1/responses", HERE, "/v1/responses"},
		{RL_METHOD_POST, "/v1/realtime", OTHER, NULL},
		{RL_METHOD_GET, "/v1/files/", NOWHERE, NULL},
		{RL_METHOD_GET, "/v1/files//content", NOWHERE, NULL},
		{RL_METHOD_GET, "/v1/files/f/content/", NOWHERE, NULL},
		{RL_METHOD_GET, "/v1/files/f/other", NOWHERE, NULL},
		{RL_METHOD_GET, "/v1/threads/t/runs/r/steps/s/x", NOWHERE, NULL},
		{RL_METHOD_GET, "/v1/organization/users", NOWHERE, NULL},
		{RL_METHOD_POST, "/v1/realtime/client_secrets", NOWHERE, NULL},
		{RL_METHOD_POST, "/v1/chat/completions/", NOWHERE, NULL},
		{RL_METHOD_POST, "/v1//chat/completions", NOWHERE, NULL},
		{RL_METHOD_POST, "/V1/chat/completions", NOWHERE, NULL},
		{RL_METHOD_POST, "/v1/chat/completion", NOWHERE, NULL},
		{RL_METHOD_POST, "/v1/chat%2Fcompletions", NOWHERE, NULL},
		{RL_METHOD_GET, "/v1/models/", NOWHERE, NULL},
		{RL_METHOD_GET, "/v1/modelsx", NOWHERE, NULL},
		{RL_METHOD_GET, "/", NOWHERE, NULL},
		{RL_METHOD_GET, "/healthz", NOWHERE, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		unsigned allowed;
		const struct rl_route *found = rl_route_find(table[i].method, rl_str_of(table[i].path), &allowed);

		if ((found != NULL) != (table[i].where == HERE) ||
		    (!found && (allowed != 0) != (table[i].where == OTHER)))
			fail_msg("row %zu: %s", i, table[i].path);
		if (found)
			assert_str(found->pattern, table[i].pattern);
	}
}

static void test_allow(void **state)
{
	struct rl_arena arena;
	unsigned allowed;

	(void)state;
	rl_arena_init(&arena, 4096);
	assert_null(rl_route_find(RL_METHOD_PUT, RL_STR("/v1/vector_stores/v"), &allowed));
	assert_str(rl_route_allow(allowed, &arena), "GET, HEAD, POST, DELETE");
	assert_null(rl_route_find(RL_METHOD_GET, RL_STR("/v1/completions"), &allowed));
	assert_str(rl_route_allow(allowed, &arena), "POST");
	rl_arena_fini(&arena);
}

static void test_rows(void **state)
{
	(void)state;
	for (const struct rl_route *r = rl_routes; r->path.n; r++) {
		const struct rl_dialect *dialect = rl_dialect_find(r->dialect);

		assert_non_null(dialect);
		assert_int_equal(r->path.p[0], '/');
		assert_true(rl_str_starts(r->pattern, r->path)); /* a label that names what it stands for */
		/* What needs a provider has a path there; only these may be called without a key. */
		if (rl_route_goes_on(r))
			assert_true(dialect->path(r->operation).n > 0);
		assert_int_equal(r->open, r->kind == RL_ROUTE_HEALTH || r->kind == RL_ROUTE_READY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_allow),
					   cmocka_unit_test(test_rows)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
