/* SPDX-License-Identifier: Apache-2.0 */
/* What a right relais.yaml gives: defaults, every kind of value, variables, secrets, anchors; and loading from files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/schema.h"

static const char *variable(void *user, const char *name)
{
	(void)user;
	return !strcmp(name, "KEY")     ? "sk-1"
	       : !strcmp(name, "EMPTY") ? ""
	       : !strcmp(name, "FOUR")  ? "4"
	       : !strcmp(name, "YAML")  ? "x, workers: 9}\nlog: {level: debug"
					: NULL;
}

static enum rl_err read_secret(void *user, const char *path, struct rl_buf *out)
{
	(void)user;
	if (strcmp(path, "/key") != 0)
		return RL_ERR_NOT_FOUND;
	RL_BUF_LIT(out, "sk-file\n");
	return RL_OK;
}

static const struct rl_schema_hooks hooks = {.variable = variable, .read_secret = read_secret};

/* The settings of `text`, which must have none but these warnings. */
static struct rl_config *load(const char *text, const char *warnings)
{
	struct rl_config *config;
	struct rl_buf report;

	rl_buf_init(&report, 65536);
	enum rl_err err = rl_config_parse_with(rl_str_of(text), "f", NULL, &hooks, &report, &config);

	rl_buf_byte(&report, '\0');
	assert_string_equal(report.p, warnings);
	assert_int_equal(err, RL_OK);
	rl_buf_fini(&report);
	return config;
}

#define assert_str(s, z) assert_true(rl_str_eq((s), RL_STR(z)))

static void check_defaults(const struct rl_config *c)
{
	const struct rl_cfg_server *s = &c->server;

	assert_int_equal(s->n_listen, 2);
	assert_str(s->listen[0].address, "127.0.0.1:8080");
	assert_false(s->listen[0].tolerate_absence);
	assert_str(s->listen[1].address, "[::1]:8080");
	assert_true(s->listen[1].tolerate_absence);
	assert_int_equal(s->listen[0].line, 0);
	assert_int_equal(s->n_admin, 1);
	assert_str(s->admin[0].address, "127.0.0.1:8081");
	assert_int_equal(s->workers, 0);
	assert_int_equal(s->max_body_bytes, 10 * 1024 * 1024);
	assert_int_equal(s->memory_limit_bytes, 0);
	assert_int_equal(s->body_memory_bytes, 0);
	assert_int_equal(s->auth, RL_CFG_AUTH_AUTO);
	assert_false(rl_secret_is_set(s->admin_token));
	assert_int_equal(s->n_trusted_proxies, 0);
	assert_int_equal(s->hsts_ms, 0);
	assert_int_equal(s->keepalive_ms, 120000);
	assert_int_equal(s->header_ms, 10000);
	assert_int_equal(s->body_idle_ms, 30000);
	assert_int_equal(s->write_idle_ms, 60000);
	assert_int_equal(s->max_header_bytes, 65536);
	assert_int_equal(s->rate_inference.rate, 100);
	assert_int_equal(s->rate_inference.burst, 200);
	assert_int_equal(s->rate_auth.rate, 10);
	assert_int_equal(s->rate_auth.burst, 20);
	assert_true(s->http2.enabled);
	assert_int_equal(s->http2.max_streams, 100);
	assert_int_equal(s->http2.max_resets, 200);
	assert_int_equal(s->http2.max_control_frames, 1000);
	assert_int_equal(s->max_connections, 0);
	assert_int_equal(s->max_connections_per_address, 0);
	assert_int_equal(s->drain_delay_ms, 0);
	assert_int_equal(s->drain_deadline_ms, 30000);
	assert_str(s->control, "auto");
	assert_str(c->log.access, "stdout");
	assert_str(c->log.level, "info");
	assert_int_equal(c->n_providers + c->n_models + c->n_clients, 0);
}

static void test_defaults(void **state)
{
	static const char *const empty[] = {
		"",
		"# nothing\n",
		"\xEF\xBB\xBF",
		"~",
		"{}",
		"server:\nlog:\nproviders:\nmodels:\nclients:\n",
		"server: {drain: }\n",
		"---\n...\n",
		"x-mine: [1, {a: b}]\n",
	};
	struct rl_config *config;

	(void)state;
	for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
		config = load(empty[i], "");
		check_defaults(config);
		assert_str(config->path, "f");
		rl_config_free(config);
	}
	assert_int_equal(rl_config_defaults(&config), RL_OK);
	check_defaults(config);
	assert_str(config->path, "(no file)");
	rl_config_free(config);
	rl_config_free(NULL);
}

static void check_provider_defaults(const struct rl_cfg_provider *p)
{
	assert_str(p->name, "p");
	assert_str(p->dialect, "");
	assert_int_equal(p->base_url.n, 0);
	assert_int_equal(p->n_keys, 0);
	assert_false(p->key_missing);
	assert_false(p->local);
	assert_false(p->simulated);
	assert_true(p->stream_usage);
	assert_int_equal(p->timeouts.connect_ms, 5000);
	assert_int_equal(p->timeouts.send_ms, 60000);
	assert_int_equal(p->timeouts.first_byte_ms, 600000);
	assert_int_equal(p->timeouts.first_byte_stream_ms, 120000);
	assert_int_equal(p->timeouts.idle_ms, 120000);
	assert_int_equal(p->timeouts.deadline_ms, 600000);
	assert_int_equal(p->max_fails, 3);
	assert_int_equal(p->fail_timeout_ms, 10000);
	assert_int_equal(p->max_connections, 0);
	assert_int_equal(p->max_idle_connections, 32);
}

static void test_provider_defaults(void **state)
{
	struct rl_config *c = load(
		"providers: {p: , q: {timeouts: {connect: 1s}}}\nmodels: {m: {targets: [{provider: p, model: x}]}}\n",
		"");
	const struct rl_cfg_provider *p = &c->providers[0];

	(void)state;

	check_provider_defaults(p);
	assert_int_equal(p->line, 1);
	assert_int_equal(p->column, 13);
	assert_int_equal(c->providers[1].timeouts.connect_ms, 1000);
	assert_int_equal(c->providers[1].timeouts.send_ms, 60000);
	assert_str(c->models[0].strategy, "priority");
	assert_int_equal(c->models[0].targets[0].weight, 1);
	assert_int_equal(c->models[0].timeouts.connect_ms, 0);
	assert_int_equal(c->models[0].timeouts.deadline_ms, 0);
	/* The same without a file. */
	struct rl_cfg_provider found;

	struct rl_cfg_model model;

	rl_config_provider_defaults(&found);
	assert_int_equal(found.name.n, 0);
	found.name = RL_STR("p");
	check_provider_defaults(&found);
	rl_config_model_defaults(&model);
	assert_str(model.strategy, "priority");
	assert_int_equal(model.n_targets + model.timeouts.deadline_ms, 0);
	rl_config_free(c);
}

static const char full[] =
	"server:\n"
	"  listen: ['localhost:81', {address: 'unix:/run/r.sock'}, '0.0.0.0:82']\n"
	"  admin: []\n"
	"  workers: 3\n"
	"  max_body: 1MB\n"
	"  body_memory: 1.5GiB\n"
	"  auth: keys\n"
	"  admin_token: tok\n"
	"  trusted_proxies: [10.0.0.0/8, 'fd00::/8']\n"
	"  keepalive: 1m30s\n"
	"  header_timeout: 1.5s\n"
	"  body_idle: 250ms\n"
	"  write_idle: 1h\n"
	"  max_header_bytes: 8192\n"
	"  http2: {enabled: false, max_streams: 7, max_resets: 8, max_control_frames: 10}\n"
	"  max_connections: 1000\n"
	"  drain: {delay: 0, deadline: 1d}\n"
	"log: {access: /var/log/x.log, level: debug}\n"
	"providers:\n"
	"  one:\n"
	"    dialect: anthropic\n"
	"    base_url: http://[::1]:8000/v1\n"
	"    keys:\n"
	"      - {value: k1, weight: 5, models: [a, b]}\n"
	"      - {value: '${KEY}'}\n"
	"    local: true\n"
	"    simulated: true\n"
	"    headers: {set: {X-Team: a b, X-Empty: ''}, remove: [Referer]}\n"
	"    body:\n"
	"      set: {service_tier: flex, n: 1, t: 0.5, deep: {a: [1, 'x', ~, true]}, text: '7', odd: 007}\n"
	"      remove: [user]\n"
	"    models: [m1, 4.1]\n"
	"    quirks: [max_tokens, -no_n]\n"
	"    ca_file: /ca.pem\n"
	"    proxy: http://u:p@proxy.test:3128\n"
	"    client_certificate: /us.pem\n"
	"    client_key: /us.key\n"
	"    stream_usage: false\n"
	"    timeouts: {connect: 1s, send: 2s, first_byte: 3s, first_byte_stream: 4s, idle: 5s, deadline: 6s}\n"
	"    max_fails: 0\n"
	"    fail_timeout: 7s\n"
	"    max_connections: 8\n"
	"    max_idle_connections: 0\n"
	"models:\n"
	"  gpt/best:latest:\n"
	"    strategy: weighted\n"
	"    targets:\n"
	"      - {provider: one, model: m1, weight: 9}\n"
	"      - provider: one\n"
	"        model: 'meta/llama:7b'\n"
	"    timeouts: {deadline: 90s}\n"
	"clients:\n"
	"  c1: {key: 'sha256:000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1EfF', models: [x]}\n";

static void check_full_provider(const struct rl_cfg_provider *p)
{
	assert_str(p->dialect, "anthropic");
	assert_str(p->base_url, "http://[::1]:8000/v1");
	assert_int_equal(p->n_keys, 2);
	assert_str(rl_secret_reveal(p->keys[0].value), "k1");
	assert_int_equal(p->keys[0].weight, 5);
	assert_int_equal(p->keys[0].n_models, 2);
	assert_str(p->keys[0].models[1], "b");
	assert_str(rl_secret_reveal(p->keys[1].value), "sk-1");
	assert_int_equal(p->keys[1].weight, 1);
	assert_true(p->local && p->simulated && !p->stream_usage && !p->key_missing);
	assert_int_equal(p->n_headers_set, 2);
	assert_str(p->headers_set[0].name, "X-Team");
	assert_str(p->headers_set[0].value, "a b");
	assert_int_equal(p->headers_set[1].value.n, 0);
	assert_str(p->headers_remove[0], "Referer");
	assert_int_equal(p->n_quirks, 2);
	assert_str(p->quirks[1], "-no_n");
	assert_int_equal(p->n_body_set, 6);
	assert_str(p->body_set[0].value, "\"flex\"");
	assert_str(p->body_set[1].value, "1");
	assert_str(p->body_set[2].value, "0.5");
	assert_str(p->body_set[3].value, "{\"a\":[1,\"x\",null,true]}");
	assert_str(p->body_set[4].value, "\"7\"");
	assert_str(p->body_set[5].value, "\"007\"");
	assert_str(p->body_remove[0], "user");
	assert_str(p->models[1], "4.1");
	assert_str(p->ca_file, "/ca.pem");
	assert_str(rl_secret_reveal(p->proxy), "http://u:p@proxy.test:3128");
	assert_str(p->client_certificate, "/us.pem");
	assert_str(p->client_key, "/us.key");
	assert_int_equal(p->timeouts.connect_ms, 1000);
	assert_int_equal(p->timeouts.send_ms, 2000);
	assert_int_equal(p->timeouts.first_byte_ms, 3000);
	assert_int_equal(p->timeouts.first_byte_stream_ms, 4000);
	assert_int_equal(p->timeouts.idle_ms, 5000);
	assert_int_equal(p->timeouts.deadline_ms, 6000);
	assert_int_equal(p->max_fails, 0);
	assert_int_equal(p->fail_timeout_ms, 7000);
	assert_int_equal(p->max_connections, 8);
	assert_int_equal(p->max_idle_connections, 0);
}

static void test_everything(void **state)
{
	struct rl_config *c = load(full, "");
	const struct rl_cfg_server *s = &c->server;

	(void)state;
	assert_int_equal(s->n_listen, 4);
	assert_str(s->listen[0].address, "127.0.0.1:81");
	assert_str(s->listen[1].address, "[::1]:81");
	assert_true(s->listen[1].tolerate_absence && !s->listen[0].tolerate_absence);
	assert_str(s->listen[2].address, "unix:/run/r.sock");
	assert_str(s->listen[3].address, "0.0.0.0:82");
	assert_int_equal(s->listen[3].line, 2);
	assert_int_equal(s->n_admin, 0);
	assert_int_equal(s->workers, 3);
	assert_int_equal(s->max_body_bytes, 1000000);
	assert_int_equal(s->body_memory_bytes, UINT64_C(1610612736));
	assert_int_equal(s->auth, RL_CFG_AUTH_KEYS);
	assert_str(rl_secret_reveal(s->admin_token), "tok");
	assert_str(s->trusted_proxies[1], "fd00::/8");
	assert_int_equal(s->keepalive_ms, 90000);
	assert_int_equal(s->header_ms, 1500);
	assert_int_equal(s->body_idle_ms, 250);
	assert_int_equal(s->write_idle_ms, 3600000);
	assert_int_equal(s->max_header_bytes, 8192);
	assert_false(s->http2.enabled);
	assert_int_equal(s->http2.max_streams, 7);
	assert_int_equal(s->http2.max_resets, 8);
	assert_int_equal(s->http2.max_control_frames, 10);
	assert_int_equal(s->max_connections, 1000);
	assert_int_equal(s->drain_delay_ms, 0);
	assert_int_equal(s->drain_deadline_ms, 86400000);
	assert_str(c->log.access, "/var/log/x.log");
	assert_str(c->log.level, "debug");
	check_full_provider(&c->providers[0]);
	assert_str(c->models[0].name, "gpt/best:latest");
	assert_str(c->models[0].strategy, "weighted");
	assert_int_equal(c->models[0].n_targets, 2);
	assert_int_equal(c->models[0].targets[0].weight, 9);
	assert_str(c->models[0].targets[1].model, "meta/llama:7b");
	assert_int_equal(c->models[0].targets[1].line, 49);
	assert_int_equal(c->models[0].targets[1].column, 9);
	assert_int_equal(c->models[0].timeouts.deadline_ms, 90000);
	assert_int_equal(c->models[0].timeouts.connect_ms, 0);
	assert_int_equal(c->clients[0].key_sha256[1], 1);
	assert_int_equal(c->clients[0].key_sha256[31], 255);
	assert_str(c->clients[0].models[0], "x");
	rl_config_free(c);
}

static void test_variables_are_values(void **state)
{
	struct rl_config *c = load("server: {workers: '${FOUR}', max_connections: '${NOPE:-1}${FOUR}'}\n"
				   "log: {access: '/a/${KEY}-${EMPTY}-${EMPTY:-e}-$${KEY}-$KEY-$$'}\n"
				   "providers:\n"
				   "  p: {base_url: '${NOPE:-}', models: ['${YAML}']}\n"
				   "  q:\n"
				   "    body: {set: {'${KEY}': '${FOUR}'}}\n"
				   "  r:\n"
				   "    body:\n"
				   "      set:\n"
				   "        t: ${FOUR}\n"
				   "x-mine: '${NOT_LOOKED_AT}'\n",
				   "");

	(void)state;
	assert_int_equal(c->server.workers, 4);
	assert_int_equal(c->server.max_connections, 14);
	assert_str(c->log.access, "/a/sk-1--e-${KEY}-$KEY-$$");
	assert_str(c->log.level, "info");
	assert_int_equal(c->providers[0].base_url.n, 0);
	/* A value cannot open or close anything. */
	assert_int_equal(c->providers[0].n_models, 1);
	assert_str(c->providers[0].models[0], "x, workers: 9}\nlog: {level: debug");
	/* Names are not values; a quoted variable is text, a plain one may be a number. */
	assert_str(c->providers[1].body_set[0].name, "${KEY}");
	assert_str(c->providers[1].body_set[0].value, "\"4\"");
	assert_str(c->providers[2].body_set[0].value, "4");
	rl_config_free(c);
}

static void test_keys(void **state)
{
	struct rl_config *c =
		load("providers:\n"
		     "  set: {api_key: '${KEY}'}\n"
		     "  unset: {api_key: '${NOPE}'}\n"
		     "  empty: {api_key: '${EMPTY}'}\n"
		     "  none: {api_key: '${NOPE:-}'}\n"
		     "  file: {api_key: 'file:/key'}\n"
		     "  some: {keys: [{value: '${NOPE}'}, {value: b}]}\n"
		     "  off: {keys: [{value: '${NOPE}'}]}\n",
		     "f:3:20: warning: providers.unset.api_key: variable NOPE is not set: this provider is off\n"
		     "f:4:20: warning: providers.empty.api_key: variable EMPTY is not set: this provider is off\n"
		     "f:7:17: warning: providers.some.keys[0]: variable NOPE is not set: this key is left out\n"
		     "f:8:15: warning: providers.off.keys: no key is left: this provider is off\n"
		     "f:8:16: warning: providers.off.keys[0]: variable NOPE is not set: this key is left out\n");
	const struct rl_cfg_provider *p = c->providers;

	(void)state;
	assert_int_equal(p[0].n_keys, 1);
	assert_str(rl_secret_reveal(p[0].keys[0].value), "sk-1");
	assert_int_equal(p[0].keys[0].weight, 1);
	assert_true(!p[0].key_missing && p[1].key_missing && p[2].key_missing && !p[3].key_missing);
	assert_str(p[1].key_variable, "NOPE");
	assert_str(p[2].key_variable, "EMPTY");
	assert_int_equal(p[1].n_keys + p[2].n_keys + p[3].n_keys, 0);
	assert_str(rl_secret_reveal(p[4].keys[0].value), "sk-file");
	assert_int_equal(p[5].n_keys, 1);
	assert_str(rl_secret_reveal(p[5].keys[0].value), "b");
	assert_false(p[5].key_missing);
	assert_true(p[6].key_missing);
	assert_str(p[6].key_variable, "NOPE");
	rl_config_free(c);
}

static void test_anchors(void **state)
{
	struct rl_config *c = load("x-base: &base {local: true, max_fails: 7, timeouts: &t {connect: 1s}}\n"
				   "x-more: &more {max_fails: 8, ca_file: /x}\n"
				   "providers:\n"
				   "  a: {<<: *base, max_fails: 9}\n"
				   "  b: {<<: [*base, *more]}\n"
				   "  c: *base\n"
				   "models:\n"
				   "  m: {targets: &targets [{provider: a, model: x}], timeouts: *t}\n"
				   "  n: {targets: *targets}\n",
				   "");

	(void)state;
	assert_true(c->providers[0].local);
	assert_int_equal(c->providers[0].max_fails, 9);
	assert_int_equal(c->providers[1].max_fails, 7);
	assert_str(c->providers[1].ca_file, "/x");
	assert_int_equal(c->providers[2].max_fails, 7);
	assert_int_equal(c->providers[2].timeouts.connect_ms, 1000);
	assert_int_equal(c->models[0].timeouts.connect_ms, 1000);
	assert_str(c->models[1].targets[0].provider, "a");
	rl_config_free(c);
}

static void test_who_may_call(void **state)
{
	static const char *const open[] = {
		"server: {listen: '0.0.0.0:80', auth: none}\n",
		"server: {listen: '[::ffff:127.0.0.1]:80', admin: ['unix:/a', '127.9.9.9:1', '[::1]:2']}\n",
		"server: {listen: ['127.0.0.1:0', '127.0.0.1:0'], admin: '127.0.0.1:0'}\n",
		"server: {listen: '0.0.0.0:80', admin: '10.0.0.1:81', admin_token: t}\nclients: {c: {key: 'sha256:0000000000000000000000000000000000000000000000000000000000000001'}}\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
		rl_config_free(load(open[i], ""));
	rl_config_free(load("server: {auth: none}\nclients: {c: {key: "
			    "'sha256:0000000000000000000000000000000000000000000000000000000000000001'}}\n",
			    "f:1:16: warning: server.auth: 'none': the keys listed under clients are not asked for\n"));
}

/* --- from files --- */

static void write_file(const char *path, const char *text, size_t n)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

static enum rl_err load_file(const char *path, char **said)
{
	struct rl_config *config;
	struct rl_buf report;

	rl_buf_init(&report, 65536);
	enum rl_err err = rl_config_load(path, NULL, &report, &config);

	if (err == RL_OK)
		assert_true(rl_str_eq(config->path, rl_str_of(path)));
	else
		assert_null(config);
	rl_config_free(config);
	rl_buf_byte(&report, '\0');
	*said = report.p;
	return err;
}

static void expect_file(const char *path, enum rl_err err, const char *said)
{
	char *got, wanted[512];

	snprintf(wanted, sizeof wanted, "%s%s", *said ? path : "", said);
	assert_int_equal(load_file(path, &got), err);
	assert_string_equal(got, wanted);
	free(got);
}

static void test_files(void **state)
{
	char folder[] = "/tmp/relais-config-XXXXXX", path[64], secret[64], text[256];
	char *big = malloc((1 << 20) + 1);

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/relais.yaml", folder);
	snprintf(secret, sizeof secret, "%s/secret", folder);

	expect_file(path, RL_ERR_NOT_FOUND, ": cannot be opened: No such file or directory\n");
	expect_file(folder, RL_ERR_IO, ": is a directory\n");
	write_file(path, "", 0);
	expect_file(path, RL_OK, "");
	write_file(path, "server: {workers: x}\n", 21);
	expect_file(path, RL_ERR_SYNTAX, ":1:19: server.workers: expected an integer or 'auto', got 'x'\n");
	write_file(path, "a\0b", 3);
	expect_file(path, RL_ERR_SYNTAX, ": not UTF-8 text\n");

	/* Exactly 1 MiB is taken, a byte more is not. */
	assert_non_null(big);
	memset(big, '#', (1 << 20) + 1);
	write_file(path, big, 1 << 20);
	expect_file(path, RL_OK, "");
	write_file(path, big, (1 << 20) + 1);
	expect_file(path, RL_ERR_LIMIT, ": larger than 1 MiB\n");

	/* Secrets from real files. */
	snprintf(text, sizeof text, "server: {admin_token: 'file:%s'}\n", secret);
	write_file(path, text, strlen(text));
	expect_file(path, RL_ERR_SYNTAX, ":1:23: server.admin_token: the file it names cannot be read (not found)\n");
	write_file(secret, "token\n\n", 7);
	expect_file(path, RL_OK, "");
	write_file(secret, big, 65537);
	expect_file(path, RL_ERR_SYNTAX,
		    ":1:23: server.admin_token: the file it names cannot be read (larger than 64 KiB)\n");
	write_file(secret, big, 65536);
	expect_file(path, RL_OK, "");
	assert_int_equal(unlink(secret), 0);
	assert_int_equal(mkfifo(secret, 0600), 0);
	expect_file(path, RL_ERR_SYNTAX,
		    ":1:23: server.admin_token: the file it names cannot be read (the system call failed)\n");
	unlink(secret);
	unlink(path);
	rmdir(folder);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),     cmocka_unit_test(test_provider_defaults),
		cmocka_unit_test(test_everything),   cmocka_unit_test(test_variables_are_values),
		cmocka_unit_test(test_keys),         cmocka_unit_test(test_anchors),
		cmocka_unit_test(test_who_may_call), cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
