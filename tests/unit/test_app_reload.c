/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading and reloading as serve does it, with a program that has no workers: a
 * reload takes over whole or changes nothing, and never opens what listens beyond
 * loopback. (Sockets are opened and closed; nothing is sent.)
 */
#include "policy_kit.h"

#include <signal.h>
#include <unistd.h>

#include "app/command.h"
#include "app/program.h"
#include "base/log.h"

struct fixture {
	struct rl_program program;
	struct rl_buf report;
	char path[64];
};

static void accept_none(void *arg, struct rl_listener *listener, int fd, const struct rl_addr *peer)
{
	(void)arg, (void)listener, (void)peer;
	close(fd);
}

static void rewrite(struct fixture *f, const char *text)
{
	FILE *file = fopen(f->path, "we");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

#define HASH "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define PROVIDER "providers: { p: { base_url: 'http://127.0.0.1:9', models: [m] } }\n"

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct rl_program *p = &f->program;
	int fd;

	snprintf(f->path, sizeof f->path, "/tmp/relais-reload-XXXXXX");
	if ((fd = mkstemp(f->path)) < 0)
		return -1;
	close(fd);
	rl_buf_init(&f->report, 65536);
	rewrite(f, PROVIDER);
	p->setup.path = f->path;
	p->signal_fd = -1;
	p->live = kit_live();
	p->snapshot = kit_snapshot(PROVIDER, p->live);
	snprintf(p->via, sizeof p->via, "relais-test");
	assert_int_equal(rl_loop_new("test", &p->loop), RL_OK);
	assert_int_equal(rl_pool_new(p->loop, &p->pool), RL_OK);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct rl_program *p = &f->program;

	rl_keeper_stop(p);
	rl_pool_free(p->pool);
	rl_loop_free(p->loop);
	rl_snapshot_unref(p->snapshot);
	rl_live_free(p->live);
	rl_buf_fini(&f->report);
	unlink(f->path);
	free(f);
	return 0;
}

static void listen_on(struct fixture *f, const char *address, bool admin)
{
	struct rl_program *p = &f->program;
	const char *why = "";
	struct rl_doors *doors = admin ? &p->admin_doors : &p->data;
	struct rl_listener **at = &doors->list[doors->n++].listener;

	assert_int_equal(rl_listener_open(p->loop, rl_str_of(address), 0, accept_none, NULL, at, &why), RL_OK);
}

static enum rl_err reload(struct fixture *f, const char *text)
{
	rewrite(f, text);
	rl_buf_reset(&f->report);
	return rl_keeper_reload(&f->program, &f->report);
}

static bool reported(const struct fixture *f, const char *words)
{
	return f->report.n && memmem(f->report.p, f->report.n, words, strlen(words));
}

static void test_whole_or_not(void **state)
{
	struct fixture *f = *state;
	struct rl_program *p = &f->program;
	struct rl_origin *origin = p->snapshot->providers[0].origin;
	const struct rl_snapshot *before = p->snapshot;

	/* Two errors, both told; nothing changes. */
	assert_int_equal(reload(f, "providers: { p: { base_url: 'nonsense' } }\nlog: { level: loud }\n"),
			 RL_ERR_SYNTAX);
	assert_true(reported(f, "base_url"));
	assert_true(reported(f, "log.level"));
	assert_ptr_equal(p->snapshot, before);
	/* What only the building of a snapshot finds. */
	assert_int_not_equal(reload(f, "providers: { nobody: {} }\n"), RL_OK);
	assert_true(reported(f, "base_url is needed"));
	assert_ptr_equal(p->snapshot, before);
	/* A file that has gone. */
	p->setup.path = strdup("/nonexistent/relais.yaml");
	assert_int_not_equal(rl_keeper_reload(p, &f->report), RL_OK);
	free(p->setup.path);
	p->setup.path = f->path;
	assert_int_equal(p->reloads_rejected, 3);
	assert_int_equal(p->reloads_ok, 0);

	enum rl_log_level level = rl_log_level();

	assert_int_equal(reload(f, PROVIDER "log: { level: error }\n"), RL_OK);
	assert_ptr_not_equal(p->snapshot, before);
	assert_int_equal(p->snapshot->generation, 2);
	assert_int_equal(p->reloads_ok, 1);
	assert_int_equal(rl_log_level(), RL_LOG_ERROR);
	rl_log_set_level(level);
	assert_ptr_equal(p->snapshot->providers[0].origin, origin); /* pools go on */
	assert_true(p->snapshot->config->server.body_memory_bytes > 0);
	/* What cannot change is said. */
	assert_int_equal(reload(f, PROVIDER "server: { workers: 7, listen: '127.0.0.1:0' }\n"), RL_OK);
	assert_true(reported(f, "server.workers has changed"));
	assert_true(reported(f, "server.listen has changed"));
	assert_false(reported(f, "log.access"));
	p->setup.path = NULL; /* started from the environment */
	assert_int_equal(rl_keeper_reload(p, &f->report), RL_ERR_NOT_FOUND);
	p->setup.path = f->path;
}

/* The addresses in the file are not those that this process listens on. */
static void test_never_opens(void **state)
{
	struct fixture *f = *state;
	const struct rl_snapshot *before = f->program.snapshot;

	listen_on(f, "127.0.0.1:0", false);
	assert_int_equal(reload(f, PROVIDER), RL_OK);
	before = f->program.snapshot;
	listen_on(f, "0.0.0.0:0", false);
	assert_int_equal(reload(f, PROVIDER "server: { listen: '127.0.0.1:0' }\n"), RL_ERR_RANGE);
	assert_true(reported(f, "server.listen: this process listens beyond loopback"));
	assert_ptr_equal(f->program.snapshot, before);
	assert_int_equal(reload(f, PROVIDER "server: { auth: none }\n"), RL_OK);
	assert_int_equal(reload(f, PROVIDER "clients: { a: { key: '" HASH "' } }\n"), RL_OK);
	before = f->program.snapshot;
	listen_on(f, "0.0.0.0:0", true);
	assert_int_equal(reload(f, PROVIDER "clients: { a: { key: '" HASH "' } }\n"), RL_ERR_RANGE);
	assert_true(reported(f, "server.admin_token"));
	assert_ptr_equal(f->program.snapshot, before);
	assert_int_equal(reload(f, PROVIDER "clients: { a: { key: '" HASH
					    "' } }\nserver: { admin_token: 0123456789abcdef }\n"),
			 RL_OK);
}

static void test_defaults_of_the_machine(void **state)
{
	struct fixture *f = *state;
	struct rl_config *config = NULL;

	rewrite(f, "server: { listen: '127.0.0.1:0' }\n");
	assert_int_equal(rl_setup_load_config(f->path, &f->report, &config), RL_OK);
	assert_true(config->server.body_memory_bytes > 0);
	rl_config_free(config);
}

/* ---- the table of commands ---- */

static void test_commands(void **state)
{
	(void)state;
	for (const struct rl_command *c = rl_commands; c->name; c++) {
		assert_non_null(c->run);
		assert_true(strlen(c->about) > 0 && c->about[strlen(c->about) - 1] != '.');
		assert_in_range(c->max_words, 0, RL_WORDS_MAX);
		assert_int_equal(c->max_words > 0, *c->words != '\0');
		for (const struct rl_command *other = c + 1; other->name; other++)
			assert_string_not_equal(other->name, c->name);
		for (int i = 0; i < RL_OPTIONS_MAX && c->options[i].name; i++) {
			assert_true(i < RL_OPTIONS_MAX - 1); /* the end is marked */
			assert_true(strlen(c->options[i].about) > 0);
			for (int k = 0; k < i; k++)
				assert_string_not_equal(c->options[i].name, c->options[k].name);
		}
	}
}

static int run(const char *const *words)
{
	char *argv[8] = {(char *)(uintptr_t) "relais"};
	int argc = 1;

	for (; *words; words++)
		argv[argc++] = (char *)(uintptr_t)*words;
	return rl_command_main(argc, argv);
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void test_usage(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN("nonsense"), RL_EXIT_USAGE);
	assert_int_equal(RUN("serve", "--nonsense"), RL_EXIT_USAGE);
	assert_int_equal(RUN("--nonsense"), RL_EXIT_USAGE);
	assert_int_equal(RUN("serve", "--config"), RL_EXIT_USAGE);
	assert_int_equal(RUN("serve", "word"), RL_EXIT_USAGE);
	assert_int_equal(RUN("help", "nonsense"), RL_EXIT_USAGE);
	assert_int_equal(RUN("help", "--completion", "fish"), RL_EXIT_USAGE);
	assert_int_equal(RUN("config", "nonsense"), RL_EXIT_USAGE);
	assert_int_equal(RUN("keys"), RL_EXIT_USAGE);
	assert_int_equal(RUN("ask"), RL_EXIT_USAGE);
	assert_int_equal(RUN("check", "/nonexistent/relais.yaml"), RL_EXIT_USAGE);
	assert_int_equal(RUN("status", "--config", "/nonexistent/relais.yaml"), RL_EXIT_USAGE);
	assert_int_equal(RUN("status", "--admin", "not an address"), RL_EXIT_FAILED);
	rewrite(f, "server: { admin: [] }\n");
	assert_int_equal(RUN("status", "--config", f->path), RL_EXIT_USAGE);
	rewrite(f, "server: { listen: { address: '127.0.0.1:0', tls: true } }\n");
	assert_int_equal(RUN("check", f->path), RL_EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole_or_not, setup, teardown),
		cmocka_unit_test_setup_teardown(test_never_opens, setup, teardown),
		cmocka_unit_test_setup_teardown(test_defaults_of_the_machine, setup, teardown),
		cmocka_unit_test(test_commands),
		cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
