/* SPDX-License-Identifier: Apache-2.0 */
/* See provider.h. */
#include "provider/provider.h"

#include "provider/preset.h"
#include "provider/proxy.h"
#include "version.h"

#define ORIGIN_IDLE_MS 60000u

static bool parse_port(rl_str text, uint16_t *out)
{
	unsigned port;

	if (text.n > 5 || !rl_str_number(text, UINT16_MAX, &port) || !port)
		return false;
	*out = (uint16_t)port;
	return true;
}

/* What may stand in a host, and in a path (RFC 3986): nothing that could end a line of the request. */
static bool host_ok(rl_str host, bool literal)
{
	for (size_t i = 0; i < host.n; i++) {
		char c = host.p[i];
		bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');

		if (!hex && c != '.' &&
		    (literal ? c != ':' : !((c >= 'g' && c <= 'z') || (c >= 'G' && c <= 'Z') || c == '-' || c == '_')))
			return false;
	}
	return host.n > 0 && host.n <= 253;
}

static bool path_ok(rl_str path)
{
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] <= ' ' || path.p[i] >= 0x7f || path.p[i] == '?' || path.p[i] == '#')
			return false;
	return true;
}

/* Splits "host", "host:port", "[v6]:port". */
static bool parse_authority(rl_str text, struct rl_url *out)
{
	rl_str port = {NULL, 0};
	size_t at;

	if (text.n && text.p[0] == '[') {
		at = rl_str_find(text, ']');
		if (at == SIZE_MAX || at < 2)
			return false;
		out->host = rl_str_sub(text, 1, at - 1);
		text = rl_str_sub(text, at + 1, SIZE_MAX);
		if (!host_ok(out->host, true) || (text.n && text.p[0] != ':'))
			return false;
		port = rl_str_sub(text, 1, SIZE_MAX);
		return text.n == 0 || parse_port(port, &out->port);
	}
	at = rl_str_find(text, ':');
	out->host = rl_str_sub(text, 0, at == SIZE_MAX ? text.n : at);
	if (!host_ok(out->host, false))
		return false;
	return at == SIZE_MAX || parse_port(rl_str_sub(text, at + 1, SIZE_MAX), &out->port);
}

#define UNIX_PATH_MAX 107u /* sun_path with its NUL */

/*
 * "unix:/run/llama.sock:/v1", as addresses to listen on are written here, and as nginx separates the two paths. What
 * goes into Host is "localhost": servers on sockets hardly look at it, but it must be there (RFC 9110 §7.2).
 */
static bool parse_unix(rl_str text, struct rl_url *out)
{
	size_t colon = rl_str_find(text, ':');

	out->host = RL_STR("localhost");
	out->port = 80;
	out->unix_path = rl_str_sub(text, 0, colon == SIZE_MAX ? text.n : colon);
	out->path = rl_str_sub(text, colon == SIZE_MAX ? text.n : colon + 1, SIZE_MAX);
	return out->unix_path.n > 1 && out->unix_path.n <= UNIX_PATH_MAX && out->unix_path.p[0] == '/' &&
	       path_ok(out->unix_path) && (out->path.n == 0 || out->path.p[0] == '/');
}

/* Takes the slashes at its end off the path. */
static enum rl_err finish_path(struct rl_url *out, const char **why)
{
	while (out->path.n && out->path.p[out->path.n - 1] == '/')
		out->path.n--;
	if (path_ok(out->path))
		return RL_OK;
	*why = "an address must not have a query, a fragment, blanks or control characters";
	return RL_ERR_SYNTAX;
}

enum rl_err rl_url_parse(rl_str text, struct rl_url *out, const char **why)
{
	*out = (struct rl_url){0};
	if (rl_str_starts(text, RL_STR("unix:"))) {
		if (parse_unix(rl_str_sub(text, 5, SIZE_MAX), out))
			return finish_path(out, why);
		*why = "a socket's address is written unix:/path/of.sock:/path";
		return RL_ERR_SYNTAX;
	}
	if (rl_str_starts(text, RL_STR("https://"))) {
		out->https = true;
		out->port = 443;
		text = rl_str_sub(text, 8, SIZE_MAX);
	} else if (rl_str_starts(text, RL_STR("http://"))) {
		out->port = 80;
		text = rl_str_sub(text, 7, SIZE_MAX);
	} else {
		*why = "an address must start with https://, http:// or unix:/";
		return RL_ERR_SYNTAX;
	}
	size_t slash = rl_str_find(text, '/');

	out->path = rl_str_sub(text, slash == SIZE_MAX ? text.n : slash, SIZE_MAX);
	if (finish_path(out, why))
		return RL_ERR_SYNTAX;
	if (!parse_authority(rl_str_sub(text, 0, slash == SIZE_MAX ? text.n : slash), out)) {
		*why = "host or port of the address is malformed";
		return RL_ERR_SYNTAX;
	}
	return RL_OK;
}

static rl_str join3(struct rl_arena *arena, rl_str a, rl_str b, rl_str c)
{
	char *p = rl_arena_alloc(arena, a.n + b.n + c.n + 1);

	if (!p)
		return (rl_str){NULL, 0};
	if (a.n)
		memcpy(p, a.p, a.n);
	if (b.n)
		memcpy(p + a.n, b.p, b.n);
	if (c.n)
		memcpy(p + a.n + b.n, c.p, c.n);
	p[a.n + b.n + c.n] = '\0';
	return rl_str_make(p, a.n + b.n + c.n);
}

static enum rl_err make_keys(struct rl_provider *p, struct rl_arena *arena)
{
	const struct rl_cfg_provider *s = p->settings;

	p->keys = RL_NEW_ARRAY(arena, struct rl_provider_key, s->n_keys ? s->n_keys : 1);
	if (!p->keys)
		return RL_ERR_NOMEM;
	for (size_t i = 0; i < s->n_keys; i++) {
		if (!rl_secret_is_set(s->keys[i].value))
			continue;
		rl_str scheme = p->key_field == RL_H_AUTHORIZATION ? RL_STR("Bearer ") : RL_STR("");
		rl_str value = join3(arena, scheme, rl_secret_reveal(s->keys[i].value), RL_STR(""));

		if (!value.p)
			return RL_ERR_NOMEM;
		p->keys[p->n_keys++] = (struct rl_provider_key){
			.authorization = rl_secret_make(value),
			.weight = s->keys[i].weight ? s->keys[i].weight : 1,
			.models = s->keys[i].models,
			.n_models = s->keys[i].n_models,
		};
	}
	return RL_OK;
}

bool rl_provider_header_is_set(const struct rl_provider *provider, rl_str name)
{
	const struct rl_cfg_provider *s = provider->settings;

	for (size_t i = 0; i < s->n_headers_remove; i++)
		if (rl_str_ieq(s->headers_remove[i], name))
			return true;
	for (size_t i = 0; i < s->n_headers_set; i++)
		if (rl_str_ieq(s->headers_set[i].name, name))
			return true;
	return false;
}

static enum rl_err make_headers(struct rl_provider *p, const struct rl_provider_env *env)
{
	const struct rl_cfg_provider *s = p->settings;
	const struct rl_header own[] = {
		{RL_H_ACCEPT_ENCODING, RL_STR_INIT("accept-encoding"), RL_STR_INIT("identity")},
		{RL_H_USER_AGENT, RL_STR_INIT("user-agent"), RL_STR_INIT("relais/" RL_VERSION)},
		{RL_H_VIA, RL_STR_INIT("via"), join3(env->arena, RL_STR("1.1 "), env->via, RL_STR(""))},
	};

	p->headers = RL_NEW_ARRAY(env->arena, struct rl_header, 3 + s->n_headers_set);
	if (!p->headers || !own[2].value.p)
		return RL_ERR_NOMEM;
	for (size_t i = 0; i < 3; i++)
		if (own[i].field == RL_H_VIA ||
		    !rl_provider_header_is_set(p, own[i].name)) /* Via stays: it stops loops */
			p->headers[p->n_headers++] = own[i];
	for (size_t i = 0; i < s->n_headers_set; i++)
		p->headers[p->n_headers++] = (struct rl_header){
			.field = rl_field_find(s->headers_set[i].name),
			.name = s->headers_set[i].name,
			.value = s->headers_set[i].value,
		};
	return RL_OK;
}

static enum rl_err make_body_members(struct rl_provider *p, struct rl_arena *arena)
{
	const struct rl_cfg_provider *s = p->settings;
	struct rl_body_member *members = RL_NEW_ARRAY(arena, struct rl_body_member, s->n_body_set ? s->n_body_set : 1);

	if (!members)
		return RL_ERR_NOMEM;
	for (size_t i = 0; i < s->n_body_set; i++)
		members[i] = (struct rl_body_member){s->body_set[i].name, s->body_set[i].value};
	p->body_set = members;
	return RL_OK;
}

/* What is known of the vendor at its own address, and what the configuration knows better. */
static void gather_quirks(struct rl_provider *p)
{
	const struct rl_preset *preset = rl_preset_find(p->name);

	if (preset && rl_preset_is_at(preset, p->settings->base_url))
		p->quirks = preset->quirks;
	for (size_t i = 0; i < p->settings->n_quirks; i++) {
		rl_str name = p->settings->quirks[i];
		bool less = name.n && name.p[0] == '-';
		enum rl_quirk quirk = rl_quirk_find(rl_str_sub(name, less, SIZE_MAX));

		if (quirk == RL_QUIRK_COUNT) /* the config room lets no others through */
			continue;
		if (less)
			p->quirks &= ~((uint64_t)1 << quirk);
		else
			p->quirks |= (uint64_t)1 << quirk;
	}
}

static enum rl_err connect_origin(struct rl_provider *p, const struct rl_provider_env *env, const char **why)
{
	const struct rl_cfg_provider *s = p->settings;
	const struct rl_preset *preset = rl_preset_find(p->name);
	rl_str base = s->base_url.n ? s->base_url : preset ? preset->base_url : (rl_str){NULL, 0};
	struct rl_url url;

	if (!base.n) {
		*why = "base_url is needed: this provider's name has no address that relais knows";
		return RL_ERR_NOT_FOUND;
	}
	enum rl_err err = rl_url_parse(base, &url, why);

	if (err)
		return err;
	p->base_path = url.path;
	for (int op = 1; op < RL_OP_COUNT; op++) {
		rl_str path = p->dialect->path((enum rl_operation)op);

		if (path.n && !(p->paths[op] = join3(env->arena, url.path, path, RL_STR(""))).p)
			return RL_ERR_NOMEM;
	}
	struct rl_proxy_env environment = rl_proxy_env_read();
	struct rl_proxy proxy;

	err = rl_proxy_choose(s->proxy, &environment, &url, s->local, env->arena, &proxy, why);
	if (err)
		return err;
	struct rl_origin_spec spec = {
		.https = url.https,
		.host = url.host,
		.port = url.port,
		.unix_path = url.unix_path,
		.proxy_host = proxy.host,
		.proxy_port = proxy.port,
		.proxy_credentials = proxy.credentials,
		.tls = {.ca_file = s->ca_file, .certificate_file = s->client_certificate, .key_file = s->client_key},
		.max_connections = s->max_connections,
		.max_idle = s->max_idle_connections,
		.idle_ms = ORIGIN_IDLE_MS,
		.http2 = s->http2,
	};
	return rl_live_origin(env->live, &spec, &p->origin, why);
}

/* The one that is configured, or that a known provider of this name speaks where it usually is. */
static rl_str dialect_of(const struct rl_cfg_provider *settings)
{
	const struct rl_preset *preset = rl_preset_find(settings->name);

	if (settings->dialect.n)
		return settings->dialect;
	return preset && rl_preset_is_at(preset, settings->base_url) ? preset->dialect : RL_STR("openai");
}

enum rl_err rl_provider_init(struct rl_provider *provider, const struct rl_cfg_provider *settings,
			     const struct rl_provider_env *env, const char **why)
{
	*provider = (struct rl_provider){.name = settings->name, .settings = settings, .cards = env->cards};
	*why = "out of memory";
	provider->dialect = rl_dialect_find(dialect_of(settings));
	if (!provider->dialect) {
		*why = "unknown dialect";
		return RL_ERR_NOT_FOUND;
	}
	provider->key_header = provider->dialect->key_header;
	if (provider->key_header.n) {
		provider->key_field = rl_field_find(provider->key_header);
	} else {
		provider->key_field = RL_H_AUTHORIZATION;
		provider->key_header = rl_field_name(RL_H_AUTHORIZATION);
	}
	provider->live = rl_live_provider(env->live, settings->name);
	provider->live_any = rl_live_target(env->live, settings->name, RL_STR(""));
	if (!provider->live || !provider->live_any)
		return RL_ERR_NOMEM;
	if (settings->key_missing) {
		provider->off = join3(env->arena, settings->key_variable, RL_STR(" is not set"), RL_STR(""));
		if (!provider->off.p)
			return RL_ERR_NOMEM;
	}
	gather_quirks(provider);
	enum rl_err err = make_keys(provider, env->arena);

	if (!err)
		err = make_headers(provider, env);
	if (!err)
		err = make_body_members(provider, env->arena);
	if (!err)
		err = connect_origin(provider, env, why);
	if (err)
		rl_provider_fini(provider);
	return err;
}

enum rl_operation rl_provider_operation(const struct rl_provider *provider, enum rl_operation wanted)
{
	if (provider->paths[wanted].n)
		return wanted;
	return wanted == RL_OP_RESPONSE && provider->paths[RL_OP_CHAT].n ? RL_OP_CHAT : RL_OP_NONE;
}

void rl_provider_facts(const struct rl_provider *provider, rl_str model, struct rl_facts *out)
{
	const struct rl_card *card = rl_cards_find_at(provider->cards, provider->name, model);

	*out = (struct rl_facts){.provider = provider->name, .model = model, .quirks = provider->quirks};
	if (card && card->max_output_tokens != RL_CARD_UNKNOWN)
		out->max_output_tokens = card->max_output_tokens;
}

void rl_provider_fini(struct rl_provider *provider)
{
	if (!provider)
		return;
	rl_origin_unref(provider->origin);
	provider->origin = NULL;
}

static bool key_serves(const struct rl_provider_key *key, rl_str model)
{
	for (size_t i = 0; i < key->n_models; i++)
		if (rl_str_eq(key->models[i], model))
			return true;
	return key->n_models == 0;
}

const struct rl_provider_key *rl_provider_next_key(const struct rl_provider *provider, rl_str model)
{
	uint64_t total = 0;

	if (provider->n_keys == 1)
		return key_serves(&provider->keys[0], model) ? &provider->keys[0] : NULL;
	for (size_t i = 0; i < provider->n_keys; i++)
		if (key_serves(&provider->keys[i], model))
			total += provider->keys[i].weight;
	if (!total)
		return NULL;
	uint64_t turn = atomic_fetch_add_explicit(&provider->live->key_turn, 1, memory_order_relaxed) % total;

	for (size_t i = 0; i < provider->n_keys; i++) {
		if (!key_serves(&provider->keys[i], model))
			continue;
		if (turn < provider->keys[i].weight)
			return &provider->keys[i];
		turn -= provider->keys[i].weight;
	}
	return NULL;
}
