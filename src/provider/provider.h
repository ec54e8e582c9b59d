/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider as a snapshot holds it: settings resolved into what a call needs
 * (paths, header lines, origin). Immutable; its memory is the snapshot's arena;
 * what changes lives in rl_provider_live.
 */
#ifndef RL_PROVIDER_PROVIDER_H
#define RL_PROVIDER_PROVIDER_H

#include "catalog/cards.h"
#include "config/config.h"
#include "dialect/dialect.h"
#include "provider/live.h"

struct rl_provider_key {
	struct rl_secret authorization; /* the whole header value, of `key_header` */
	uint32_t weight;
	rl_str *models; /* restricted to these; none = all */
	size_t n_models;
};

struct rl_provider {
	rl_str name;
	const struct rl_dialect *dialect;
	const struct rl_cfg_provider *settings;
	struct rl_origin *origin;  /* one reference; NULL when off */
	rl_str base_path;          /* of the address; empty: "/" alone */
	rl_str paths[RL_OP_COUNT]; /* base path and operation path; empty: not offered */
	enum rl_field key_field;   /* where its keys are shown: authorization, or as its dialect says */
	rl_str key_header;
	struct rl_provider_key *keys; /* none: calls go without credentials */
	size_t n_keys;
	struct rl_header *headers; /* sent with each call, after the credentials */
	size_t n_headers;
	const struct rl_cards *cards; /* what is known of models */
	const struct rl_body_member *body_set;
	uint64_t quirks; /* bits of enum rl_quirk: the preset's and the configured ones */
	struct rl_provider_live *live;
	struct rl_target_live *live_any; /* for models that no alias names */
	rl_str off;                      /* why it is not used ("OPENAI_API_KEY is not set"); empty = on */
};

/* What one provider needs from outside its settings. */
struct rl_provider_env {
	struct rl_arena *arena;
	struct rl_live *live;
	const struct rl_cards *cards; /* what is known of models; outlives the provider */
	rl_str via;                   /* our own pseudonym for Via */
};

/* On failure *why says what is wrong (address, trust store), naming no secret. */
enum rl_err rl_provider_init(struct rl_provider *provider, const struct rl_cfg_provider *settings,
			     const struct rl_provider_env *env, const char **why) RL_MUST_CHECK;
void rl_provider_fini(struct rl_provider *provider); /* accepts NULL */

/*
 * What a request for this operation asks of the provider: the same; CHAT where a response is asked of one that has no
 * such route; NONE: it has nothing of the kind.
 */
enum rl_operation rl_provider_operation(const struct rl_provider *provider, enum rl_operation wanted);
/* What a writer of its dialect must know of it and of one of its models. */
void rl_provider_facts(const struct rl_provider *provider, rl_str model, struct rl_facts *out);

/* The configuration sets or removes this header of calls: whatever else would be sent under its name is not. */
bool rl_provider_header_is_set(const struct rl_provider *provider, rl_str name);

/* The key for the next call for `model`, in turn by weight; NULL if the provider has none for it. */
const struct rl_provider_key *rl_provider_next_key(const struct rl_provider *provider, rl_str model);

/* "http://host:port/path" or "unix:/path.sock:/path" in its parts; RL_ERR_SYNTAX with *why if it is not such an address. */
struct rl_url {
	bool https;
	rl_str host; /* without brackets */
	uint16_t port;
	rl_str unix_path; /* of the socket, where the address is one; host is "localhost" then */
	rl_str path;      /* without the slash at its end; may be empty */
};
enum rl_err rl_url_parse(rl_str text, struct rl_url *out, const char **why) RL_MUST_CHECK;

#endif
