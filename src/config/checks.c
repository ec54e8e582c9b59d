/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no single key of relais.yaml can know by itself: references between
 * sections, contradictions, and whether what is open may be open. Runs after the
 * whole file was read (see rl_schema.check); also finishes the typed settings
 * (an api_key becomes an entry of keys, localhost becomes addresses).
 */
#include "config/rules_priv.h"

#include <assert.h>
#include <stdio.h>

/* --- who may listen where --- */

static bool is_loopback(rl_str address)
{
	return rl_str_starts(address, RL_STR("unix:")) || rl_str_starts(address, RL_STR("127.")) ||
	       rl_str_starts(address, RL_STR("localhost:")) || rl_str_starts(address, RL_STR("[::1]:")) ||
	       rl_str_starts(address, RL_STR("[::ffff:127."));
}

/* The spot of one address for a message: "listen" when it is written alone, else "listen[2]". */
static void element_key(char out[32], const char *key, size_t n, size_t i)
{
	if (n > 1)
		snprintf(out, 32, "%s[%zu]", key, i);
	else
		snprintf(out, 32, "%s", key);
}

/* The part from the port's colon on, if `address` is one of this machine's two that `localhost` stands for. */
static rl_str local_port(rl_str address)
{
	static const rl_str hosts[] = {RL_STR_INIT("localhost:"), RL_STR_INIT("127.0.0.1:"), RL_STR_INIT("[::1]:")};

	for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
		if (rl_str_starts(address, hosts[i]))
			return rl_str_sub(address, hosts[i].n - 1, address.n);
	return rl_str_of(NULL);
}

static bool clash(rl_str a, rl_str b)
{
	bool by_name = rl_str_starts(a, RL_STR("localhost:")) || rl_str_starts(b, RL_STR("localhost:"));

	/* Port 0 is another one each time. */
	if (!a.n || (rl_str_ends(a, RL_STR(":0")) && !rl_str_starts(a, RL_STR("unix:"))))
		return false;
	return rl_str_eq(a, b) || (by_name && local_port(a).n && rl_str_eq(local_port(a), local_port(b)));
}

/* Reports address i of `later` if it stands already among the first n of `earlier`. */
static void check_duplicate(struct rl_schema_cx *cx, const struct rl_cfg_listen *earlier, size_t n, const char *key,
			    const struct rl_cfg_listen *later, size_t n_later, size_t i)
{
	char spot[32];

	element_key(spot, key, n_later, i);
	for (size_t k = 0; k < n; k++) {
		if (!clash(earlier[k].address, later[i].address))
			continue;
		rl_schema_fail(cx, spot, "the address is already listened on");
		return;
	}
}

static void check_duplicates(struct rl_schema_cx *cx, const struct rl_cfg_server *server)
{
	for (size_t i = 0; i < server->n_listen; i++) {
		check_duplicate(cx, server->listen, i, "listen", server->listen, server->n_listen, i);
		/* Against the admin plane's default, the fault is that of the address which is written. */
		if (!rl_schema_written(cx, "admin"))
			check_duplicate(cx, server->admin, server->n_admin, "listen", server->listen, server->n_listen,
					i);
	}
	for (size_t i = 0; i < server->n_admin && rl_schema_written(cx, "admin"); i++) {
		check_duplicate(cx, server->admin, i, "admin", server->admin, server->n_admin, i);
		check_duplicate(cx, server->listen, server->n_listen, "admin", server->admin, server->n_admin, i);
	}
}

/* "localhost:80" becomes 127.0.0.1:80 and, where there is IPv6, [::1]:80. */
static void expand_localhost(struct rl_schema_cx *cx, struct rl_cfg_listen **list, size_t *n)
{
	struct rl_cfg_listen *out = *n ? rl_schema_alloc(cx, *n * 2, sizeof *out) : NULL;
	struct rl_config *config = rl_schema_root(cx);
	size_t m = 0;

	for (size_t i = 0; out && i < *n; i++) {
		rl_str address = (*list)[i].address;

		out[m++] = (*list)[i];
		if (!rl_str_starts(address, RL_STR("localhost:")))
			continue;
		address = rl_str_sub(address, strlen("localhost"), address.n);
		out[m] = out[m - 1];
		out[m - 1].address = rl_arena_printf(&config->arena, "127.0.0.1%.*s", RL_STR_ARG(address));
		/* Port 0 gives two different ports: one family must do then. */
		if (rl_str_eq(address, RL_STR(":0")))
			continue;
		out[m].address = rl_arena_printf(&config->arena, "[::1]%.*s", RL_STR_ARG(address));
		out[m++].tolerate_absence = true;
	}
	if (out) {
		*list = out;
		*n = m;
	}
}

static void check_open(struct rl_schema_cx *cx, const struct rl_cfg_server *server, size_t n_clients)
{
	char spot[32];

	for (size_t i = 0; i < server->n_listen; i++) {
		if (!server->listen[i].address.n || is_loopback(server->listen[i].address))
			continue;
		if (n_clients || server->auth != RL_CFG_AUTH_AUTO)
			continue;
		element_key(spot, "listen", server->n_listen, i);
		rl_schema_fail(cx, spot,
			       "open to other machines without client keys: list keys under clients, or write auth: "
			       "none if everyone may call");
	}
	for (size_t i = 0; i < server->n_admin; i++) {
		if (!server->admin[i].address.n || is_loopback(server->admin[i].address) ||
		    rl_secret_is_set(server->admin_token))
			continue;
		element_key(spot, "admin", server->n_admin, i);
		rl_schema_fail(cx, spot,
			       "the admin plane is open to other machines without a token: set server.admin_token, "
			       "or listen on loopback");
	}
}

/* '*' beside others would hide that they mean nothing; and on an open listener it means everybody's pages. */
static void check_cors(struct rl_schema_cx *cx, const struct rl_cfg_server *server, size_t n_clients)
{
	bool open = server->auth == RL_CFG_AUTH_NONE || (server->auth == RL_CFG_AUTH_AUTO && !n_clients);

	for (size_t i = 0; i < server->n_cors_origins; i++) {
		if (!rl_str_eq(server->cors_origins[i], RL_STR("*")))
			continue;
		if (server->n_cors_origins > 1)
			rl_schema_fail(cx, "cors", "'*' allows every origin: it stands alone in origins");
		else if (open)
			rl_schema_warn(cx, "cors",
				       "no key is asked for, so every web page that a user opens can use the models");
		return;
	}
}

/* --- TLS --- */

void rl_check_certificate(struct rl_schema_cx *cx, void *object)
{
	struct rl_cfg_certificate *c = object;

	rl_schema_position(cx, "certificate", &c->certificate_at.line, &c->certificate_at.column);
	rl_schema_position(cx, "key", &c->key_at.line, &c->key_at.column);
}

/* The pair that is written without a list becomes the list's first. */
static void finish_tls(struct rl_schema_cx *cx, struct rl_cfg_tls *tls)
{
	bool certificate = rl_schema_written(cx, "certificate"), key = rl_schema_written(cx, "key");

	tls->client_ca_said = rl_schema_written(cx, "client_ca");
	rl_schema_position(cx, "client_ca", &tls->client_ca_at.line, &tls->client_ca_at.column);
	if (certificate != key)
		rl_schema_fail(cx, certificate ? "certificate" : "key", "a certificate and its key: write both");
	if (!certificate || !key)
		return;
	struct rl_cfg_certificate *all = rl_schema_alloc(cx, tls->n_certificates + 1, sizeof *all);

	if (!all)
		return;
	rl_check_certificate(cx, &tls->pair);
	all[0] = tls->pair;
	if (tls->n_certificates)
		memcpy(all + 1, tls->certificates, tls->n_certificates * sizeof *all);
	tls->certificates = all;
	tls->n_certificates++;
}

void rl_check_listen_tls(struct rl_schema_cx *cx, void *object)
{
	struct rl_cfg_tls *tls = object;

	finish_tls(cx, tls);
	tls->on_said = rl_schema_written(cx, "enabled");
}

void rl_check_listen(struct rl_schema_cx *cx, void *object)
{
	struct rl_cfg_listen *listen = object;

	if (rl_schema_written(cx, "tls") && !listen->tls.on_said)
		listen->tls.on = true;
	if (rl_schema_written(cx, "mode") && listen->address.n && !rl_str_starts(listen->address, RL_STR("unix:")))
		rl_schema_fail(cx, "mode", "only Unix sockets have one");
}

void rl_check_server_tls(struct rl_schema_cx *cx, void *object)
{
	finish_tls(cx, object);
}

/* Which has been complained of. */
static bool half_written(const struct rl_cfg_tls *tls)
{
	return !tls->pair.certificate.n != !tls->pair.key.n;
}

static bool inherit_tls(struct rl_schema_cx *cx, const struct rl_cfg_server *server, const char *key,
			struct rl_cfg_listen *list, size_t n)
{
	bool used = false;

	for (size_t i = 0; i < n; i++) {
		struct rl_cfg_tls *tls = &list[i].tls;
		char spot[32];

		used |= tls->on;
		if (tls->on && !tls->n_certificates) {
			tls->certificates = server->tls.certificates;
			tls->n_certificates = server->tls.n_certificates;
		}
		if (tls->on && !tls->client_ca_said) {
			tls->client_ca = server->tls.client_ca;
			tls->client_ca_at = server->tls.client_ca_at;
		}
		element_key(spot, key, n, i);
		if (tls->on && !tls->n_certificates && !half_written(tls) && !half_written(&server->tls))
			rl_schema_fail(cx, spot, "tls needs a certificate and its key, here or in server.tls");
	}
	return used;
}

static void check_tls(struct rl_schema_cx *cx, struct rl_cfg_server *server)
{
	bool data = inherit_tls(cx, server, "listen", server->listen, server->n_listen);
	bool admin = inherit_tls(cx, server, "admin", server->admin, server->n_admin);

	if (server->tls.n_certificates && !data && !admin)
		rl_schema_warn(cx, "tls", "no listener uses it: write `tls: true` at one");
}

/* A key that names a provider: there must be one of that name. */
static void check_provider_name(struct rl_schema_cx *cx, const char *key, rl_str name)
{
	const struct rl_config *config = rl_schema_root(cx);

	if (!name.n)
		return;
	for (size_t i = 0; i < config->n_providers; i++)
		if (rl_str_eq(name, config->providers[i].name))
			return;
	rl_str *names = rl_schema_alloc(cx, config->n_providers + 1, sizeof *names);

	for (size_t i = 0; names && i < config->n_providers; i++)
		names[i] = config->providers[i].name;
	rl_schema_fail_unknown(cx, key, "provider", names, names ? config->n_providers : 0);
}

void rl_check_server(struct rl_schema_cx *cx, void *object)
{
	struct rl_cfg_server *server = object;
	const struct rl_config *config = rl_schema_root(cx);

	check_duplicates(cx, server);
	check_open(cx, server, config->n_clients);
	check_cors(cx, server, config->n_clients);
	check_tls(cx, server);
	check_provider_name(cx, "passthrough_provider", server->passthrough_provider);
	if (server->auth == RL_CFG_AUTH_KEYS && !config->n_clients)
		rl_schema_fail(cx, "auth", "'keys' needs at least one client under clients");
	if (server->auth == RL_CFG_AUTH_NONE && config->n_clients)
		rl_schema_warn(cx, "auth", "'none': the keys listed under clients are not asked for");
	for (size_t i = 0; i < server->n_listen && !rl_schema_written(cx, "listen"); i++)
		server->listen[i].tolerate_absence = rl_str_starts(server->listen[i].address, RL_STR("["));
	expand_localhost(cx, &server->listen, &server->n_listen);
	expand_localhost(cx, &server->admin, &server->n_admin);
}

/* --- providers --- */

static bool among(rl_str name, const rl_str *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (rl_str_eq(name, names[i]))
			return true;
	return false;
}

/* Leaves out the keys whose variable is unset; without any left the provider is off. */
static void finish_keys(struct rl_schema_cx *cx, struct rl_cfg_provider *provider)
{
	size_t n = 0, n_before = provider->n_keys;

	for (size_t i = 0; i < provider->n_keys; i++) {
		struct rl_cfg_key *key = &provider->keys[i];
		char spot[32];

		if (rl_secret_is_set(key->value)) {
			provider->keys[n++] = *key;
			continue;
		}
		element_key(spot, "keys", SIZE_MAX, i);
		if (!key->missing_variable.n)
			continue; /* an empty value: refused by its row */
		if (!provider->key_variable.n)
			provider->key_variable = key->missing_variable;
		rl_schema_warn(cx, spot, "variable %.*s is not set: this key is left out",
			       RL_STR_ARG(key->missing_variable));
	}
	provider->n_keys = n;
	if (!n && n_before && provider->key_variable.n) {
		provider->key_missing = true;
		rl_schema_warn(cx, "keys", "no key is left: this provider is off");
	}
}

static void finish_api_key(struct rl_schema_cx *cx, struct rl_cfg_provider *provider)
{
	if (provider->key_variable.n) {
		provider->key_missing = true;
		rl_schema_warn(cx, "api_key", "variable %.*s is not set: this provider is off",
			       RL_STR_ARG(provider->key_variable));
	}
	if (!rl_secret_is_set(provider->api_key))
		return;
	struct rl_cfg_key *key = rl_schema_alloc(cx, 1, sizeof *key);

	if (!key)
		return;
	key->value = provider->api_key;
	key->weight = 1;
	provider->keys = key;
	provider->n_keys = 1;
}

static void check_set_and_removed(struct rl_schema_cx *cx, const char *key, const struct rl_cfg_header *set,
				  size_t n_set, const rl_str *removed, size_t n_removed, bool ignore_case)
{
	for (size_t i = 0; i < n_set; i++)
		for (size_t k = 0; k < n_removed; k++)
			if (ignore_case ? rl_str_ieq(set[i].name, removed[k]) : rl_str_eq(set[i].name, removed[k]))
				rl_schema_fail(cx, key, "'%.*s' is both set and removed", RL_STR_ARG(set[i].name));
}

void rl_check_provider(struct rl_schema_cx *cx, void *object)
{
	struct rl_cfg_provider *provider = object;
	const struct rl_config_names *names = rl_schema_user(cx);

	if (names && names->n_dialects && provider->dialect.n &&
	    !among(provider->dialect, names->dialects, names->n_dialects))
		rl_schema_fail_unknown(cx, "dialect", "dialect", names->dialects, names->n_dialects);
	for (size_t i = 0; names && names->n_quirks && i < provider->n_quirks; i++) {
		char key[32];
		rl_str quirk = provider->quirks[i];

		snprintf(key, sizeof key, "quirks[%zu]", i);
		if (!among(rl_str_sub(quirk, quirk.n && quirk.p[0] == '-', SIZE_MAX), names->quirks, names->n_quirks))
			rl_schema_fail_unknown(cx, key, "quirk", names->quirks, names->n_quirks);
	}
	if (rl_schema_written(cx, "api_key") && rl_schema_written(cx, "keys"))
		rl_schema_fail(cx, "keys", "stands beside api_key: write one of the two");
	else if (rl_schema_written(cx, "keys"))
		finish_keys(cx, provider);
	else
		finish_api_key(cx, provider);
	if ((provider->client_certificate.n > 0) != (provider->client_key.n > 0))
		rl_schema_fail(cx, provider->client_key.n ? "client_key" : "client_certificate",
			       "client_certificate and client_key belong together");
	check_set_and_removed(cx, "headers", provider->headers_set, provider->n_headers_set, provider->headers_remove,
			      provider->n_headers_remove, true);
	check_set_and_removed(cx, "body", provider->body_set, provider->n_body_set, provider->body_remove,
			      provider->n_body_remove, false);
}

/* --- models and clients --- */

void rl_check_target(struct rl_schema_cx *cx, void *object)
{
	const struct rl_cfg_target *target = object;

	check_provider_name(cx, "provider", target->provider);
}

void rl_check_model(struct rl_schema_cx *cx, void *object)
{
	const struct rl_cfg_model *model = object;
	const struct rl_config_names *names = rl_schema_user(cx);

	if (names && names->n_strategies && model->strategy.n &&
	    !among(model->strategy, names->strategies, names->n_strategies))
		rl_schema_fail_unknown(cx, "strategy", "strategy", names->strategies, names->n_strategies);
	for (size_t i = 0; i < model->n_targets; i++)
		for (size_t k = 0; k < i; k++) {
			char spot[32];
			bool same = model->targets[i].provider.n && model->targets[i].model.n &&
				    rl_str_eq(model->targets[i].provider, model->targets[k].provider) &&
				    rl_str_eq(model->targets[i].model, model->targets[k].model);

			if (!same)
				continue;
			element_key(spot, "targets", SIZE_MAX, i);
			rl_schema_fail(cx, spot, "the same provider and model as targets[%zu]", k);
			break;
		}
}

void rl_check_client(struct rl_schema_cx *cx, void *object)
{
	static const unsigned char none[32]; /* the key was found wrong already */
	const struct rl_cfg_client *client = object;
	const struct rl_config *config = rl_schema_root(cx);

	if (memcmp(client->key_sha256, none, sizeof none) == 0)
		return;
	for (const struct rl_cfg_client *other = config->clients; other < client; other++) {
		if (memcmp(other->key_sha256, client->key_sha256, sizeof none) != 0)
			continue;
		rl_schema_fail(cx, "key", "is the key of '%.*s' too", RL_STR_ARG(other->name));
		return;
	}
}
