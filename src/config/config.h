/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of one relais.yaml, typed and checked. A struct rl_config is
 * immutable once loaded and owns all its memory (one arena); the snapshot that
 * the workers share is built from it. Every field below is filled by one row of
 * the schema table in schema.c, which also gives the default, the documentation
 * and the JSON Schema.
 */
#ifndef RL_CONFIG_CONFIG_H
#define RL_CONFIG_CONFIG_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

enum rl_cfg_auth { RL_CFG_AUTH_AUTO = 0, RL_CFG_AUTH_NONE, RL_CFG_AUTH_KEYS };

struct rl_cfg_spot { /* where a value stands in the file; 0: nowhere */
	unsigned line, column;
};

struct rl_cfg_certificate { /* paths of PEM files */
	rl_str certificate, key;
	struct rl_cfg_spot certificate_at, key_at;
};

struct rl_cfg_tls {
	bool on;                        /* of a listener; server.tls only gives what listeners do not say themselves */
	struct rl_cfg_certificate pair; /* as written; use `certificates`, whose first it becomes */
	struct rl_cfg_certificate *certificates;
	size_t n_certificates;
	rl_str client_ca; /* clients must show a certificate of these authorities; empty: need not */
	struct rl_cfg_spot client_ca_at;
	bool on_said, client_ca_said; /* used while loading: written, be it empty */
};

/*
 * `address` is "v4:port", "[v6]:port" or "unix:/path": no names are left ("localhost:80" became
 * two entries). Port 0 lets the system choose. What `tls` lacked has been taken from server.tls.
 */
struct rl_cfg_listen {
	rl_str address;
	struct rl_cfg_tls tls;
	uint32_t mode;         /* of a Unix socket's file */
	bool proxied;          /* connections begin with a PROXY head */
	bool tolerate_absence; /* the machine may lack this address family: [::1] of the default and of "localhost" */
	unsigned line, column;
};

struct rl_cfg_rate {    /* server.rate_limit.X: of one client address */
	uint32_t rate;  /* requests a second; 0 = unlimited */
	uint32_t burst; /* that may come at once, 1 at least */
};

struct rl_cfg_http2 { /* server.http2; what is counted is counted within ten seconds */
	bool enabled;
	uint32_t max_streams, max_resets, max_control_frames; /* of one connection */
};

struct rl_cfg_server {
	struct rl_cfg_listen *listen; /* server.listen: string, map or list */
	size_t n_listen;
	struct rl_cfg_listen *admin; /* server.admin: the same */
	size_t n_admin;
	struct rl_cfg_tls tls; /* what listeners with tls use that say nothing else */
	uint32_t workers;      /* 0 = auto */
	uint64_t max_body_bytes;
	uint64_t memory_limit_bytes; /* of the process; 0 = what machine and control groups allow */
	uint64_t body_memory_bytes;  /* budget of all request bodies held; 0 = a quarter of memory_limit_bytes */
	uint64_t max_upload_bytes;   /* of a form with files, which is streamed */
	rl_str passthrough_provider; /* of requests that name neither a model nor a provider; empty: they are refused */
	enum rl_cfg_auth auth;
	struct rl_secret admin_token;
	rl_str *trusted_proxies; /* CIDRs, checked */
	size_t n_trusted_proxies;
	rl_str *cors_origins; /* server.cors.origins: exact, or "*" alone */
	size_t n_cors_origins;
	uint64_t hsts_ms;        /* Strict-Transport-Security on TLS listeners; 0 = not said */
	uint64_t keepalive_ms;   /* idle between requests of a client, 120 s */
	uint64_t header_ms;      /* to receive a request's head, 10 s */
	uint64_t body_idle_ms;   /* gap while a body arrives, 30 s */
	uint64_t write_idle_ms;  /* a client that takes nothing, 60 s */
	uint64_t tunnel_idle_ms; /* a WebSocket on which neither side says anything, 5 min */
	uint64_t max_header_bytes;
	struct rl_cfg_rate rate_inference, rate_auth; /* server.rate_limit.{inference,auth} */
	struct rl_cfg_http2 http2;
	uint32_t max_connections;                   /* downstream, whole process; 0 = descriptor limit less a reserve */
	uint32_t max_connections_per_address;       /* 0 = no cap */
	uint64_t drain_delay_ms, drain_deadline_ms; /* server.drain.{delay,deadline} */
	rl_str control;                             /* "auto", "off" or the control socket's path */
};

struct rl_cfg_log {
	rl_str access; /* "stdout", "off" or a path */
	rl_str level;  /* error, warn, info, debug */
};

struct rl_cfg_header {
	rl_str name, value;
};

struct rl_cfg_timeouts { /* milliseconds; a provider's are all set (defaults), a model's 0 = the provider's */
	uint64_t connect_ms, send_ms, first_byte_ms, first_byte_stream_ms, idle_ms, deadline_ms;
};

struct rl_cfg_key { /* an entry of provider.keys */
	struct rl_secret value;
	rl_str missing_variable; /* used while loading: entries whose variable is unset are left out */
	uint32_t weight;         /* share of the requests, 1..1000000 */
	rl_str *models;          /* provider's ids that it may be used for; none listed = all */
	size_t n_models;
};

struct rl_cfg_provider {
	rl_str name; /* the map key; [A-Za-z0-9_.-]+ */
	rl_str dialect;
	rl_str base_url;          /* empty: the dialect's or preset's own */
	struct rl_secret api_key; /* as written; use `keys`, which it becomes one entry of (weight 1) */
	struct rl_cfg_key *keys;
	size_t n_keys;
	bool key_missing;    /* all its keys named unset variables: provider is off, said at start and in /status */
	rl_str key_variable; /* the first such variable's name */
	bool local, simulated;
	struct rl_cfg_header *headers_set;
	size_t n_headers_set;
	rl_str *headers_remove;
	size_t n_headers_remove;
	struct rl_cfg_header *body_set; /* name and JSON text of top-level request members */
	size_t n_body_set;
	rl_str *body_remove;
	size_t n_body_remove;
	rl_str *models; /* ids known without asking the provider */
	size_t n_models;
	rl_str *quirks; /* names; with "-" in front: taken away from the preset's */
	size_t n_quirks;
	rl_str ca_file;                        /* instead of the system's */
	struct rl_secret proxy;                /* address with credentials, or "none"; unset: the environment decides */
	rl_str client_certificate, client_key; /* PEM files; both or none */
	bool stream_usage;                     /* ask streams for usage (default yes) */
	struct rl_cfg_timeouts timeouts;
	uint32_t max_fails; /* 0 = never marked down */
	uint64_t fail_timeout_ms;
	uint32_t max_connections; /* 0 = unlimited */
	uint32_t max_idle_connections;
	bool http2;
	unsigned line, column;
};

struct rl_cfg_target {
	rl_str provider, model;
	uint32_t weight;
	unsigned line, column;
};

struct rl_cfg_model {
	rl_str name;
	rl_str strategy; /* checked against the names the caller gives */
	struct rl_cfg_target *targets;
	size_t n_targets;
	struct rl_cfg_timeouts timeouts;
	unsigned line, column;
};

struct rl_cfg_client { /* clients: { name: { key: "sha256:<64 hex>", models: [...] } } */
	rl_str name;
	unsigned char key_sha256[32];
	rl_str *models; /* names it may ask for; none listed = all */
	size_t n_models;
	bool passthrough; /* it may use routes without a model although `models` restricts it */
	unsigned line, column;
};

struct rl_config {
	struct rl_arena arena;
	rl_str path; /* for messages; "(no file)" without one */
	struct rl_cfg_server server;
	struct rl_cfg_log log;
	struct rl_cfg_provider *providers;
	size_t n_providers;
	struct rl_cfg_model *models;
	size_t n_models;
	struct rl_cfg_client *clients;
	size_t n_clients;
	rl_str catalog; /* path of a file with facts about models; empty: the built-in ones alone */
};

/* What the loader must know of rooms above it, to check names and suggest near ones. */
struct rl_config_names {
	const rl_str *dialects; /* none given: not checked */
	size_t n_dialects;
	const rl_str *strategies;
	size_t n_strategies;
	const rl_str *quirks; /* none given: not checked */
	size_t n_quirks;
};

/*
 * Loads and checks a file. All errors are appended to `report`, one line each:
 *   file:line:column: path: what, did you mean 'x'?
 * Warnings (an unset provider key) likewise with "warning: " after the position.
 * Returns RL_OK with *out (the caller frees it), RL_ERR_SYNTAX when the report holds
 * errors, RL_ERR_NOT_FOUND/RL_ERR_IO when the file cannot be read, RL_ERR_LIMIT when it is
 * larger than 1 MiB, RL_ERR_NOMEM when its settings need more than 64 MiB (all said in the report).
 * Paths and `file:` references count from the working directory.
 */
enum rl_err rl_config_load(const char *path, const struct rl_config_names *names, struct rl_buf *report,
			   struct rl_config **out) RL_MUST_CHECK;
/* The same from memory; `name` stands for the file in messages. */
enum rl_err rl_config_parse(rl_str text, const char *name, const struct rl_config_names *names, struct rl_buf *report,
			    struct rl_config **out) RL_MUST_CHECK;
/* The same with variables and secrets from elsewhere than the process's environment and files (tests, fuzzing). */
struct rl_schema_hooks;
enum rl_err rl_config_parse_with(rl_str text, const char *name, const struct rl_config_names *names,
				 const struct rl_schema_hooks *hooks, struct rl_buf *report,
				 struct rl_config **out) RL_MUST_CHECK;
/* All defaults, no providers and no models: the start of a run without a file. The caller may add providers and models (in its arena). */
enum rl_err rl_config_defaults(struct rl_config **out) RL_MUST_CHECK;
/*
 * All defaults of one provider or model, for callers that add their own: the rest is zero, the name
 * is still to be set. Takes no memory.
 */
void rl_config_provider_defaults(struct rl_cfg_provider *out);
void rl_config_model_defaults(struct rl_cfg_model *out);
void rl_config_free(struct rl_config *config); /* accepts NULL */

/* Documents made from the schema table. */
void rl_config_reference(struct rl_buf *out);   /* Markdown: docs/configuration.md */
void rl_config_json_schema(struct rl_buf *out); /* JSON Schema, draft 2020-12 */
void rl_config_example(struct rl_buf *out);     /* a commented relais.yaml that loads */

#endif
