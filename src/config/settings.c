/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of relais.yaml: one row a key. A new setting is a field of config.h
 * and a row here; reading, default, bounds, reference page, JSON Schema and
 * example follow from the row.
 */
#include "config/settings_priv.h"

#include "config/rules_priv.h"

#include <assert.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define MINUTE UINT64_C(60000)
#define HOUR (60 * MINUTE)
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* The engine writes both through one offset. */
#define POSITIONED(type)                                                                               \
	static_assert(offsetof(struct type, column) == offsetof(struct type, line) + sizeof(unsigned), \
		      "line and column of " #type)
POSITIONED(rl_cfg_listen);
POSITIONED(rl_cfg_provider);
POSITIONED(rl_cfg_target);
POSITIONED(rl_cfg_model);
POSITIONED(rl_cfg_client);

#define F(type, field) RL_SCHEMA_FIELD(struct type, field)
#define MANY(type, field) RL_SCHEMA_MANY(struct type, field, n_##field)

/* --- server --- */

static const struct rl_schema_row certificate_rows[] = {
	{.key = "certificate",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_certificate, certificate),
	 .flags = RL_SCHEMA_REQUIRED,
	 .min = 1,
	 .max = 4096,
	 .example = "/etc/relais/example.org.crt",
	 .doc = "PEM file of the certificate, then those that lead to its authority."},
	{.key = "key",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_certificate, key),
	 .flags = RL_SCHEMA_REQUIRED,
	 .min = 1,
	 .max = 4096,
	 .example = "/etc/relais/example.org.key",
	 .doc = "PEM file of its private key, without a pass phrase."},
};
static const struct rl_schema certificate_schema = {
	.size = sizeof(struct rl_cfg_certificate),
	.rows = certificate_rows,
	.n_rows = COUNT(certificate_rows),
	.check = rl_check_certificate,
	.doc = "A certificate and its key.",
};

/* clang-format off */
#define TLS_ROWS                                                                                                     \
	{.key = "certificate",                                                                                       \
	 .type = RL_SCHEMA_STRING,                                                                                   \
	 F(rl_cfg_tls, pair.certificate),                                                                            \
	 .flags = RL_SCHEMA_ASIDE,                                                                                   \
	 .min = 1,                                                                                                   \
	 .max = 4096,                                                                                                \
	 .example = "/etc/relais/server.crt",                                                                        \
	 .doc = "PEM file of the certificate, then those that lead to its authority. Read again by every reload."},  \
	{.key = "key",                                                                                               \
	 .type = RL_SCHEMA_STRING,                                                                                   \
	 F(rl_cfg_tls, pair.key),                                                                                    \
	 .flags = RL_SCHEMA_ASIDE,                                                                                   \
	 .min = 1,                                                                                                   \
	 .max = 4096,                                                                                                \
	 .example = "/etc/relais/server.key",                                                                        \
	 .doc = "PEM file of its private key, without a pass phrase."},                                              \
	{.key = "certificates",                                                                                      \
	 .type = RL_SCHEMA_LIST,                                                                                     \
	 MANY(rl_cfg_tls, certificates),                                                                             \
	 .flags = RL_SCHEMA_ASIDE,                                                                                   \
	 .max = 100,                                                                                                 \
	 .child = &certificate_schema,                                                                               \
	 .doc = "More of them. A client gets the first that is for the host it names (SNI), an exact name before a " \
		"wildcard, else the very first."},                                                                   \
	{.key = "client_ca",                                                                                         \
	 .type = RL_SCHEMA_STRING,                                                                                   \
	 F(rl_cfg_tls, client_ca),                                                                                   \
	 .flags = RL_SCHEMA_ASIDE,                                                                                   \
	 .max = 4096,                                                                                                \
	 .example = "/etc/relais/clients-ca.crt",                                                                    \
	 .doc = "PEM file of authorities. Only clients that show a certificate of theirs are let in, which must be " \
		"good for clients (extended key usage `clientAuth`, where it names any). Empty: nobody must."}
/* clang-format on */

static const struct rl_schema_row listen_tls_rows[] = {
	{.key = "enabled",
	 .type = RL_SCHEMA_BOOL,
	 F(rl_cfg_tls, on),
	 .initial = "false",
	 .type_text = "true or false",
	 .doc = "Whether to. Without this key: yes, once `tls` is written; `tls: true` is the short form."},
	TLS_ROWS,
};
static const struct rl_schema listen_tls_schema = {
	.rows = listen_tls_rows,
	.n_rows = COUNT(listen_tls_rows),
	.scalar = "enabled",
	.check = rl_check_listen_tls,
	.doc = "TLS 1.2 and 1.3. What is not written is taken from `server.tls`; `true` takes all of it.",
};
static const struct rl_schema_row server_tls_rows[] = {TLS_ROWS};
static const struct rl_schema server_tls_schema = {
	.rows = server_tls_rows,
	.n_rows = COUNT(server_tls_rows),
	.check = rl_check_server_tls,
	.doc = "Certificates for the listeners that have `tls: true` or name none of their own. By itself it changes "
	       "nothing.",
};

static const struct rl_schema_row listen_rows[] = {
	{.key = "address",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_listen, address),
	 .flags = RL_SCHEMA_REQUIRED,
	 .min = 1,
	 .check = rl_rule_address,
	 .example = "127.0.0.1:8080",
	 .doc = "`IPv4:port`, `[IPv6]:port`, `localhost:port` (both) or `unix:/path`. Port 0 lets the system choose."},
	{.key = "tls",
	 .type = RL_SCHEMA_SECTION,
	 F(rl_cfg_listen, tls),
	 .child = &listen_tls_schema,
	 .doc = "Speak TLS here: `true`, or certificates of its own."},
	{.key = "proxy_protocol",
	 .type = RL_SCHEMA_BOOL,
	 F(rl_cfg_listen, proxied),
	 .initial = "false",
	 .doc = "Connections come from a balancer that writes a PROXY head (version 1 or 2) before all else; without one "
		"they are closed. Only from `trusted_proxies`, loopback and Unix sockets."},
	{.key = "mode",
	 .type = RL_SCHEMA_CUSTOM,
	 F(rl_cfg_listen, mode),
	 .initial = "0660",
	 .parse = rl_rule_mode,
	 .type_text = "octal permissions",
	 .doc = "Of a Unix socket's file, whatever the umask: who may write to it may call."},
};
static const struct rl_schema listen_schema = {
	.size = sizeof(struct rl_cfg_listen),
	.position_at = 1 + offsetof(struct rl_cfg_listen, line),
	.rows = listen_rows,
	.n_rows = COUNT(listen_rows),
	.scalar = "address",
	.check = rl_check_listen,
	.doc = "An address to listen on; the address alone may stand for it.",
};

static const struct rl_schema_row drain_rows[] = {
	{.key = "delay",
	 .type = RL_SCHEMA_DURATION,
	 F(rl_cfg_server, drain_delay_ms),
	 .initial = "0s",
	 .max = HOUR,
	 .doc = "After SIGTERM, how long connections are still accepted while `/ready` already says no."},
	{.key = "deadline",
	 .type = RL_SCHEMA_DURATION,
	 F(rl_cfg_server, drain_deadline_ms),
	 .initial = "30s",
	 .max = 24 * HOUR,
	 .doc = "How long running requests may then take before they are cut."},
};
static const struct rl_schema drain_schema = {
	.rows = drain_rows,
	.n_rows = COUNT(drain_rows),
	.doc = "How the program stops.",
};

/* Of both limits; only the defaults differ. */
#define RATE_ROWS(rate_default, burst_default)                                          \
	{.key = "rate",                                                                 \
	 .type = RL_SCHEMA_INT,                                                         \
	 F(rl_cfg_rate, rate),                                                          \
	 .initial = rate_default,                                                       \
	 .max = 1000000,                                                                \
	 .doc = "Requests a second that an address may make; 0: as many as it likes."}, \
		{.key = "burst",                                                        \
		 .type = RL_SCHEMA_INT,                                                 \
		 F(rl_cfg_rate, burst),                                                 \
		 .initial = burst_default,                                              \
		 .min = 1,                                                              \
		 .max = 1000000,                                                        \
		 .doc = "Requests that an address which has been quiet may make at once."},

static const struct rl_schema_row rate_inference_rows[] = {RATE_ROWS("100", "200")};
static const struct rl_schema rate_inference_schema = {
	.rows = rate_inference_rows,
	.n_rows = COUNT(rate_inference_rows),
	.doc = "Requests that may be made at all: to models, and for their list.",
};
static const struct rl_schema_row rate_auth_rows[] = {RATE_ROWS("10", "20")};
static const struct rl_schema rate_auth_schema = {
	.rows = rate_auth_rows,
	.n_rows = COUNT(rate_auth_rows),
	.doc = "Requests that may be refused with 401; beyond that its keys and tokens are not looked at.",
};

static const struct rl_schema_row rate_limit_rows[] = {
	{.key = "inference",
	 .type = RL_SCHEMA_SECTION,
	 F(rl_cfg_server, rate_inference),
	 .child = &rate_inference_schema,
	 .doc = "Requests that may be made at all: to models, and for their list."},
	{.key = "auth",
	 .type = RL_SCHEMA_SECTION,
	 F(rl_cfg_server, rate_auth),
	 .child = &rate_auth_schema,
	 .doc = "Requests that may be refused with 401; beyond that its keys and tokens are not looked at."},
};
static const struct rl_schema rate_limit_schema = {
	.rows = rate_limit_rows,
	.n_rows = COUNT(rate_limit_rows),
	.doc = "What one client address may do; loopback and Unix sockets are free.",
};

static const struct rl_schema_row cors_rows[] = {
	{.key = "origins",
	 .type = RL_SCHEMA_STRINGS,
	 MANY(rl_cfg_server, cors_origins),
	 .flags = RL_SCHEMA_ONE_OR_MANY,
	 .max = 100,
	 .check = rl_rule_origin,
	 .type_text = "origin, or list of origins",
	 .doc = "Origins whose pages may call, exactly as browsers send them (`https://app.example`), or `*` for all."},
};
static const struct rl_schema cors_schema = {
	.rows = cors_rows,
	.n_rows = COUNT(cors_rows),
	.doc = "Which web pages may call from a browser.",
};

static const struct rl_schema_row http2_rows[] = {
	{.key = "enabled",
	 .type = RL_SCHEMA_BOOL,
	 F(rl_cfg_server, http2.enabled),
	 .initial = "true",
	 .doc = "Whether clients may speak HTTP/2: over TLS where they agree on it (ALPN), in plain text by prior knowledge."},
	{.key = "max_streams",
	 .type = RL_SCHEMA_INT,
	 F(rl_cfg_server, http2.max_streams),
	 .initial = "100",
	 .min = 1,
	 .max = 10000,
	 .doc = "Requests that a connection may have running at one time."},
	{.key = "max_resets",
	 .type = RL_SCHEMA_INT,
	 F(rl_cfg_server, http2.max_resets),
	 .initial = "200",
	 .min = 1,
	 .max = 1000000,
	 .doc = "Requests reset before they were answered, within 10 s, that a connection survives unless they are less "
		"than half of all."},
	{.key = "max_control_frames",
	 .type = RL_SCHEMA_INT,
	 F(rl_cfg_server, http2.max_control_frames),
	 .initial = "1000",
	 .min = 10,
	 .max = 10000000,
	 .doc = "PING, SETTINGS, empty DATA and other frames that carry nothing, within 10 s, that a connection survives; "
		"what answers frames of ours is not counted."},
};
static const struct rl_schema http2_schema = {
	.rows = http2_rows,
	.n_rows = COUNT(http2_rows),
	.doc = "HTTP/2 with clients.",
};

static const char *const auth_words[] = {"auto", "none", "keys", NULL};

static const struct rl_schema_row server_rows[] = {
	{.key = "listen",
	 .type = RL_SCHEMA_LIST,
	 MANY(rl_cfg_server, listen),
	 .flags = RL_SCHEMA_ONE_OR_MANY,
	 .initial = "['127.0.0.1:8080', '[::1]:8080']",
	 .min = 1,
	 .max = 64,
	 .child = &listen_schema,
	 .type_text = "address, or list of addresses",
	 .doc = "Where inference requests are served. By default both loopback addresses, IPv6 only where there is one."},
	{.key = "admin",
	 .type = RL_SCHEMA_LIST,
	 MANY(rl_cfg_server, admin),
	 .flags = RL_SCHEMA_ONE_OR_MANY,
	 .initial = "['127.0.0.1:8081']",
	 .max = 64,
	 .child = &listen_schema,
	 .type_text = "address, or list of addresses",
	 .doc = "Where metrics, status and reload are served; an empty list `[]` for nowhere."},
	{.key = "tls",
	 .type = RL_SCHEMA_SECTION,
	 F(rl_cfg_server, tls),
	 .child = &server_tls_schema,
	 .doc = "What listeners with `tls` use, such as `listen: {address: '0.0.0.0:8443', tls: true}`."},
	{.key = "workers",
	 .type = RL_SCHEMA_INT,
	 F(rl_cfg_server, workers),
	 .flags = RL_SCHEMA_AUTO,
	 .initial = "auto",
	 .min = 1,
	 .max = 256,
	 .doc = "Threads that serve. `auto`: the processors this process may use, by affinity and cgroup quota."},
	{.key = "max_body",
	 .type = RL_SCHEMA_SIZE,
	 F(rl_cfg_server, max_body_bytes),
	 .initial = "10MiB",
	 .min = KIB,
	 .max = GIB,
	 .doc = "Largest request body; a larger one is answered with 413."},
	{.key = "memory_limit",
	 .type = RL_SCHEMA_SIZE,
	 F(rl_cfg_server, memory_limit_bytes),
	 .flags = RL_SCHEMA_AUTO,
	 .initial = "auto",
	 .min = 16 * MIB,
	 .max = 1024 * GIB,
	 .doc = "Memory that the process may have resident; from nine tenths of it on new requests are answered with "
		"503. `auto`: what the machine has, or the control group allows."},
	{.key = "max_upload",
	 .type = RL_SCHEMA_SIZE,
	 F(rl_cfg_server, max_upload_bytes),
	 .initial = "512MiB",
	 .min = KIB,
	 .max = 1024 * GIB,
	 .doc = "Largest form with files (`/v1/files`, `/v1/audio/transcriptions` ...), which is streamed and never held."},
	{.key = "body_memory",
	 .type = RL_SCHEMA_SIZE,
	 F(rl_cfg_server, body_memory_bytes),
	 .flags = RL_SCHEMA_AUTO,
	 .initial = "auto",
	 .min = MIB,
	 .max = 1024 * GIB,
	 .doc = "Memory for all request bodies held at one time. `auto`: a quarter of `memory_limit`."},
	{.key = "passthrough_provider",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_server, passthrough_provider),
	 .flags = RL_SCHEMA_ASIDE,
	 .min = 1,
	 .example = "openai",
	 .doc = "Provider of requests that name no model (`/v1/files`, `/v1/batches`, `/v1/assistants` ...) and carry no "
		"`x-relais-provider` header; without it they are answered with 400."},
	{.key = "auth",
	 .type = RL_SCHEMA_ENUM,
	 F(rl_cfg_server, auth),
	 .words = auth_words,
	 .initial = "auto",
	 .doc = "Who may call. `auto`: client keys if any are listed, else everyone on loopback; `keys`: client keys "
		"always; `none`: everyone, on any address."},
	{.key = "admin_token",
	 .type = RL_SCHEMA_SECRET,
	 F(rl_cfg_server, admin_token),
	 .doc = "Token for the admin plane (`Authorization: Bearer ...`). Required when it listens beyond loopback."},
	{.key = "trusted_proxies",
	 .type = RL_SCHEMA_STRINGS,
	 MANY(rl_cfg_server, trusted_proxies),
	 .max = 1000,
	 .check = rl_rule_cidr,
	 .doc = "Networks whose `X-Forwarded-For`, `Forwarded` and PROXY heads are believed, such as `10.0.0.0/8`."},
	{.key = "keepalive",
	 .type = RL_SCHEMA_DURATION,
	 F(rl_cfg_server, keepalive_ms),
	 .initial = "120s",
	 .min = 1,
	 .max = 24 * HOUR,
	 .doc = "How long a client's connection may be idle between requests."},
	{.key = "header_timeout",
	 .type = RL_SCHEMA_DURATION,
	 F(rl_cfg_server, header_ms),
	 .initial = "10s",
	 .min = 1,
	 .max = HOUR,
	 .doc = "Time to receive a request's head."},
	{.key = "body_idle",
	 .type = RL_SCHEMA_DURATION,
	 F(rl_cfg_server, body_idle_ms),
	 .initial = "30s",
	 .min = 1,
	 .max = HOUR,
	 .doc = "Longest gap while a request's body arrives."},
	{.key = "write_idle",
	 .type = RL_SCHEMA_DURATION,
	 F(rl_cfg_server, write_idle_ms),
	 .initial = "60s",
	 .min = 1,
	 .max = HOUR,
	 .doc = "How long a client may take nothing of its answer before it is given up."},
	{.key = "tunnel_idle",
	 .type = RL_SCHEMA_DURATION,
	 F(rl_cfg_server, tunnel_idle_ms),
	 .initial = "5m",
	 .min = 1,
	 .max = 24 * HOUR,
	 .doc = "How long a WebSocket may be open with neither side saying anything."},
	{.key = "max_header_bytes",
	 .type = RL_SCHEMA_SIZE,
	 F(rl_cfg_server, max_header_bytes),
	 .initial = "64KiB",
	 .min = KIB,
	 .max = MIB,
	 .doc = "Largest request head; a larger one is answered with 431."},
	{.key = "max_connections",
	 .type = RL_SCHEMA_INT,
	 F(rl_cfg_server, max_connections),
	 .initial = "0",
	 .max = 10000000,
	 .doc = "Client connections of the whole process; 0: as many as the descriptor limit allows. When all places are "
		"taken, those idle for longest make room for new clients."},
	{.key = "max_connections_per_address",
	 .type = RL_SCHEMA_INT,
	 F(rl_cfg_server, max_connections_per_address),
	 .initial = "0",
	 .max = 10000000,
	 .doc = "Connections that one client address (IPv6: one /64) may have open; one more is closed at once. 0: no "
		"cap. Trusted proxies and Unix sockets have none; loopback has."},
	{.key = "cors",
	 .type = RL_SCHEMA_SECTION,
	 .child = &cors_schema,
	 .doc = "Which web pages may call from a browser, without its cookies. By default none but local ones."},
	{.key = "hsts",
	 .type = RL_SCHEMA_DURATION,
	 F(rl_cfg_server, hsts_ms),
	 .initial = "0s",
	 .max = 1000 * 24 * HOUR,
	 .doc = "For how long browsers may reach this host by TLS only (`Strict-Transport-Security`, said on TLS "
		"listeners); 0: not said."},
	{.key = "rate_limit",
	 .type = RL_SCHEMA_SECTION,
	 .child = &rate_limit_schema,
	 .doc = "What one client address (IPv6: one /64) may do, with status 429 beyond it. Loopback and Unix sockets "
		"are free; behind `trusted_proxies` the client's own address counts."},
	{.key = "control",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_server, control),
	 .initial = "auto",
	 .min = 1,
	 .max = 90, /* what a socket's address holds, less the room for a name beside it while it is made */
	 .type_text = "`auto`, `off` or a path",
	 .doc = "The control socket, by which `relais serve --takeover` asks for the listening sockets. `auto`: "
		"`control.sock` in `$RUNTIME_DIRECTORY`, `$STATE_DIRECTORY`, `$XDG_STATE_HOME/relais` or `./relais-data`."},
	{.key = "http2", .type = RL_SCHEMA_SECTION, .child = &http2_schema, .doc = "HTTP/2 with clients."},
	{.key = "drain", .type = RL_SCHEMA_SECTION, .child = &drain_schema, .doc = "How the program stops."},
};
static const struct rl_schema server_schema = {
	.rows = server_rows,
	.n_rows = COUNT(server_rows),
	.check = rl_check_server,
	.doc = "The gateway's own side.",
};

/* --- log --- */

static const char *const level_words[] = {"error", "warn", "info", "debug", NULL};

static const struct rl_schema_row log_rows[] = {
	{.key = "access",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_log, access),
	 .initial = "stdout",
	 .min = 1,
	 .max = 4096,
	 .type_text = "`stdout`, `off` or a path",
	 .doc = "The access log: one JSON line a request. A file is opened again on SIGUSR1."},
	{.key = "level",
	 .type = RL_SCHEMA_WORD,
	 F(rl_cfg_log, level),
	 .words = level_words,
	 .initial = "info",
	 .doc = "What the program says about itself on standard error."},
};
static const struct rl_schema log_schema = {
	.rows = log_rows,
	.n_rows = COUNT(log_rows),
	.doc = "What is written where.",
};

/* --- timeouts: a provider's have defaults, a model's stand instead of them where written --- */

/*      key                  field                 default  what */
#define TIMEOUTS(X)                                                                                 \
	X("connect", connect_ms, "5s", "To resolve, connect and finish TLS.")                       \
	X("send", send_ms, "60s", "To send the request.")                                           \
	X("first_byte", first_byte_ms, "600s", "To the first byte of an answer that is no stream.") \
	X("first_byte_stream", first_byte_stream_ms, "120s", "To the first byte of a stream.")      \
	X("idle", idle_ms, "120s", "Longest gap inside an answer.")                                 \
	X("deadline", deadline_ms, "600s", "From the request to the commit point, over all attempts.")

#define TIMEOUT_ROW(name, field, text, ...) \
	{.key = name,                       \
	 .type = RL_SCHEMA_DURATION,        \
	 F(rl_cfg_timeouts, field),         \
	 .min = 1,                          \
	 .max = 24 * HOUR,                  \
	 .doc = text,                       \
	 __VA_ARGS__},
#define X(name, field, preset, text) TIMEOUT_ROW(name, field, text, .initial = preset)
static const struct rl_schema_row provider_timeout_rows[] = {TIMEOUTS(X)};
#undef X
#define X(name, field, preset, text) TIMEOUT_ROW(name, field, text, .flags = RL_SCHEMA_ASIDE, .example = preset)
static const struct rl_schema_row model_timeout_rows[] = {TIMEOUTS(X)};
#undef X
static const struct rl_schema provider_timeouts_schema = {
	.rows = provider_timeout_rows,
	.n_rows = COUNT(provider_timeout_rows),
	.doc = "How long each part of a request to this provider may take.",
};
static const struct rl_schema model_timeouts_schema = {
	.rows = model_timeout_rows,
	.n_rows = COUNT(model_timeout_rows),
	.doc = "Instead of the provider's, for this model. What is not written is the provider's.",
};

/* --- providers --- */

static const struct rl_schema_row header_rows[] = {
	{.key = "value",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_header, value),
	 .flags = RL_SCHEMA_HIDDEN,
	 .max = 8192,
	 .check = rl_rule_header_value,
	 .doc = "The header's value."},
};
static const struct rl_schema header_schema = {
	.size = sizeof(struct rl_cfg_header),
	.name_at = 1 + offsetof(struct rl_cfg_header, name),
	.rows = header_rows,
	.n_rows = COUNT(header_rows),
	.scalar = "value",
	.scalar_only = true,
	.check_name = rl_rule_header_name,
	.doc = "A header's name and value.",
};

static const struct rl_schema_row member_rows[] = {
	{.key = "value", .type = RL_SCHEMA_JSON, F(rl_cfg_header, value), .doc = "The member's value."},
};
static const struct rl_schema member_schema = {
	.size = sizeof(struct rl_cfg_header),
	.name_at = 1 + offsetof(struct rl_cfg_header, name),
	.rows = member_rows,
	.n_rows = COUNT(member_rows),
	.scalar = "value",
	.scalar_only = true,
	.check_name = rl_rule_body_name,
	.doc = "A member's name and value.",
};

static const struct rl_schema_row headers_rows[] = {
	{.key = "set",
	 .type = RL_SCHEMA_MAP,
	 MANY(rl_cfg_provider, headers_set),
	 .max = 100,
	 .child = &header_schema,
	 .type_text = "map from name to value",
	 .doc = "Headers to send, instead of any that would be sent."},
	{.key = "remove",
	 .type = RL_SCHEMA_STRINGS,
	 MANY(rl_cfg_provider, headers_remove),
	 .max = 100,
	 .check = rl_rule_header_name,
	 .doc = "Headers not to send."},
};
static const struct rl_schema headers_schema = {
	.rows = headers_rows,
	.n_rows = COUNT(headers_rows),
	.doc = "Changes to the headers of requests.",
};

static const struct rl_schema_row body_rows[] = {
	{.key = "set",
	 .type = RL_SCHEMA_MAP,
	 MANY(rl_cfg_provider, body_set),
	 .max = 100,
	 .child = &member_schema,
	 .type_text = "map from name to any value",
	 .doc = "Top-level members of the JSON request to set, such as `service_tier: flex`. Values may be nested."},
	{.key = "remove",
	 .type = RL_SCHEMA_STRINGS,
	 MANY(rl_cfg_provider, body_remove),
	 .max = 100,
	 .check = rl_rule_body_name,
	 .doc = "Top-level members to take out."},
};
static const struct rl_schema body_schema = {
	.rows = body_rows,
	.n_rows = COUNT(body_rows),
	.doc = "Changes to the JSON body of requests.",
};

static const struct rl_schema_row key_rows[] = {
	{.key = "value",
	 .type = RL_SCHEMA_SECRET,
	 F(rl_cfg_key, value),
	 .flags = RL_SCHEMA_REQUIRED | RL_SCHEMA_MAY_LACK,
	 .missing_at = offsetof(struct rl_cfg_key, missing_variable),
	 .min = 1,
	 .example = "\"${OPENAI_API_KEY_2}\"",
	 .doc = "The key. If its variable is unset, the entry is left out with a warning."},
	{.key = "weight",
	 .type = RL_SCHEMA_INT,
	 F(rl_cfg_key, weight),
	 .initial = "1",
	 .min = 1,
	 .max = 1000000,
	 .doc = "Share of the requests that use this key."},
	{.key = "models",
	 .type = RL_SCHEMA_STRINGS,
	 MANY(rl_cfg_key, models),
	 .max = 1000,
	 .doc = "The provider's model ids that this key is used for; none listed: all."},
};
static const struct rl_schema key_schema = {
	.size = sizeof(struct rl_cfg_key),
	.rows = key_rows,
	.n_rows = COUNT(key_rows),
	.doc = "One of several keys.",
};

static const struct rl_schema_row provider_rows[] = {
	{.key = "dialect",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_provider, dialect),
	 .max = 64,
	 .example = "anthropic",
	 .doc = "The wire format that the provider speaks: `openai`, `responses`, `anthropic`, `gemini` or `ollama`. If empty, "
		"that of the known provider of this name at its known address, otherwise `openai`."},
	{.key = "base_url",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_provider, base_url),
	 .max = 2048,
	 .check = rl_rule_url,
	 .doc = "Where its API begins, as its official SDK has it (with `/v1` where that does). A provider on a Unix "
		"socket is written `unix:/run/model.sock:/v1`, the path of the API behind the second colon. If empty, "
		"the known address of a provider of this name or dialect."},
	{.key = "api_key",
	 .type = RL_SCHEMA_SECRET,
	 F(rl_cfg_provider, api_key),
	 .flags = RL_SCHEMA_MAY_LACK,
	 .missing_at = offsetof(struct rl_cfg_provider, key_variable),
	 .example = "\"${OPENAI_API_KEY}\"",
	 .doc = "Its key. If the variable is unset, the provider is off and a warning says so."},
	{.key = "keys",
	 .type = RL_SCHEMA_LIST,
	 MANY(rl_cfg_provider, keys),
	 .flags = RL_SCHEMA_ASIDE,
	 .min = 1,
	 .max = 1000,
	 .child = &key_schema,
	 .doc = "Several keys, instead of `api_key`."},
	{.key = "local",
	 .type = RL_SCHEMA_BOOL,
	 F(rl_cfg_provider, local),
	 .initial = "false",
	 .doc = "The provider runs on this machine or network and costs nothing."},
	{.key = "simulated",
	 .type = RL_SCHEMA_BOOL,
	 F(rl_cfg_provider, simulated),
	 .initial = "false",
	 .doc = "It is a `relais simulate`: `x-sim-*` request headers are forwarded to it."},
	{.key = "headers",
	 .type = RL_SCHEMA_SECTION,
	 .child = &headers_schema,
	 .doc = "Changes to the headers of requests."},
	{.key = "body",
	 .type = RL_SCHEMA_SECTION,
	 .child = &body_schema,
	 .doc = "Changes to the JSON body of requests."},
	{.key = "models",
	 .type = RL_SCHEMA_STRINGS,
	 MANY(rl_cfg_provider, models),
	 .max = 10000,
	 .doc = "Model ids to offer without asking the provider for its list."},
	{.key = "quirks",
	 .type = RL_SCHEMA_STRINGS,
	 MANY(rl_cfg_provider, quirks),
	 .max = 64,
	 .example = "[max_tokens, -no_developer_role]",
	 .doc = "How its way of speaking the dialect differs from the original's, beside what is known of a provider of "
		"this name at its own address; a `-` in front takes one away. For what is translated: "
		"`no_developer_role` (instructions are of the role system), `max_tokens` or `max_completion_tokens` (the "
		"name of the limit), `no_n`, `no_seed`, `random_seed`, `no_logprobs`, `no_schema`, `json_object_schema`, "
		"`no_tool_choice`, `tool_choice_any`, `short_tool_ids`, `no_stream_options`, `no_sampling`, `top_k`, "
		"`no_image_url`, `no_reasoning_effort`, `reasoning_back` (thoughts of earlier turns are sent back), "
		"`reasoning_field` (they are called `reasoning`), `cache_breakpoint` and `cache_control` (marks for caches "
		"that it takes), `no_adaptive_thinking`, `schema_subset`."},
	{.key = "ca_file",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_provider, ca_file),
	 .max = 4096,
	 .doc = "PEM file of the authorities to trust for this provider, instead of the system's. Read again on "
		"reload."},
	{.key = "proxy",
	 .type = RL_SCHEMA_SECRET,
	 F(rl_cfg_provider, proxy),
	 .example = "\"http://proxy.example:3128\"",
	 .doc = "HTTP proxy that leads to it, `http://[user:password@]host[:port]`, or `none`. Not written: what "
		"`HTTPS_PROXY` or `HTTP_PROXY` (by the scheme of `base_url`) and `NO_PROXY` say, except for a provider "
		"that is `local` or on this machine."},
	{.key = "client_certificate",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_provider, client_certificate),
	 .max = 4096,
	 .doc = "PEM file of the certificate to show to this provider, and of those that lead to its authority. Read "
		"again on reload."},
	{.key = "client_key",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_provider, client_key),
	 .max = 4096,
	 .doc = "PEM file of the private key of `client_certificate`, without a pass phrase."},
	{.key = "stream_usage",
	 .type = RL_SCHEMA_BOOL,
	 F(rl_cfg_provider, stream_usage),
	 .initial = "true",
	 .doc = "Ask streams to end with their token usage, so that it can be accounted."},
	{.key = "timeouts",
	 .type = RL_SCHEMA_SECTION,
	 F(rl_cfg_provider, timeouts),
	 .child = &provider_timeouts_schema,
	 .doc = "How long each part of a request may take."},
	{.key = "max_fails",
	 .type = RL_SCHEMA_INT,
	 F(rl_cfg_provider, max_fails),
	 .initial = "3",
	 .max = 1000000,
	 .doc = "Failures in a row, within `fail_timeout`, after which a target is left alone for as long; 0: never."},
	{.key = "fail_timeout",
	 .type = RL_SCHEMA_DURATION,
	 F(rl_cfg_provider, fail_timeout_ms),
	 .initial = "10s",
	 .min = 1,
	 .max = 24 * HOUR,
	 .doc = "See `max_fails`."},
	{.key = "max_connections",
	 .type = RL_SCHEMA_INT,
	 F(rl_cfg_provider, max_connections),
	 .initial = "0",
	 .max = 1000000,
	 .doc = "Connections to it, of the whole process; 0: unlimited."},
	{.key = "max_idle_connections",
	 .type = RL_SCHEMA_INT,
	 F(rl_cfg_provider, max_idle_connections),
	 .initial = "32",
	 .max = 100000,
	 .doc = "Idle connections to keep for it."},
	{.key = "http2",
	 .type = RL_SCHEMA_BOOL,
	 F(rl_cfg_provider, http2),
	 .initial = "false",
	 .doc = "Speak HTTP/2 to it, with up to 32 requests on a connection. Over `https` where it takes it (ALPN), else "
		"HTTP/1.1; over `http` always, as nothing is negotiated there. Each worker has connections of its own, "
		"so that `max_connections` should allow one for each."},
};
const struct rl_schema rl_settings_provider = {
	.size = sizeof(struct rl_cfg_provider),
	.name_at = 1 + offsetof(struct rl_cfg_provider, name),
	.position_at = 1 + offsetof(struct rl_cfg_provider, line),
	.rows = provider_rows,
	.n_rows = COUNT(provider_rows),
	.check_name = rl_rule_name,
	.check = rl_check_provider,
	.doc = "Who answers. Clients may ask for `<name>/<the provider's model id>`.",
};

/* --- models --- */

static const struct rl_schema_row target_rows[] = {
	{.key = "provider",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_target, provider),
	 .flags = RL_SCHEMA_REQUIRED,
	 .min = 1,
	 .max = 128,
	 .example = "openai",
	 .doc = "A name listed under `providers`."},
	{.key = "model",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_target, model),
	 .flags = RL_SCHEMA_REQUIRED,
	 .min = 1,
	 .max = 256,
	 .example = "gpt-4o-mini",
	 .doc = "The provider's own id of the model."},
	{.key = "weight",
	 .type = RL_SCHEMA_INT,
	 F(rl_cfg_target, weight),
	 .initial = "1",
	 .min = 1,
	 .max = 1000000,
	 .doc = "Share of the requests, for the strategies that weigh."},
};
static const struct rl_schema target_schema = {
	.size = sizeof(struct rl_cfg_target),
	.position_at = 1 + offsetof(struct rl_cfg_target, line),
	.rows = target_rows,
	.n_rows = COUNT(target_rows),
	.check = rl_check_target,
	.doc = "One place to go.",
};

static const struct rl_schema_row model_rows[] = {
	{.key = "strategy",
	 .type = RL_SCHEMA_STRING,
	 F(rl_cfg_model, strategy),
	 .initial = "priority",
	 .min = 1,
	 .max = 64,
	 .doc = "In which order targets are tried: `priority` (as listed), `round_robin`, `weighted`, "
		"`least_connections`."},
	{.key = "targets",
	 .type = RL_SCHEMA_LIST,
	 MANY(rl_cfg_model, targets),
	 .flags = RL_SCHEMA_REQUIRED,
	 .min = 1,
	 .max = 1000,
	 .child = &target_schema,
	 .doc = "Who may serve it. When one fails, the next is tried."},
	{.key = "timeouts",
	 .type = RL_SCHEMA_SECTION,
	 F(rl_cfg_model, timeouts),
	 .child = &model_timeouts_schema,
	 .doc = "Instead of the provider's, for this model."},
};
const struct rl_schema rl_settings_model = {
	.size = sizeof(struct rl_cfg_model),
	.name_at = 1 + offsetof(struct rl_cfg_model, name),
	.position_at = 1 + offsetof(struct rl_cfg_model, line),
	.rows = model_rows,
	.n_rows = COUNT(model_rows),
	.check_name = rl_rule_model_name,
	.check = rl_check_model,
	.doc = "Names of your own that clients may ask for, each with the targets that serve it.",
};

/* --- clients --- */

static const struct rl_schema_row client_rows[] = {
	{.key = "key",
	 .type = RL_SCHEMA_CUSTOM,
	 F(rl_cfg_client, key_sha256),
	 .flags = RL_SCHEMA_REQUIRED | RL_SCHEMA_HIDDEN,
	 .parse = rl_rule_key_hash,
	 .type_text = "`sha256:` and 64 hex digits",
	 .example = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	 .doc = "The hash of the client's key; `relais keys hash` makes it. The key itself is never kept."},
	{.key = "models",
	 .type = RL_SCHEMA_STRINGS,
	 MANY(rl_cfg_client, models),
	 .max = 1000,
	 .doc = "Model names that it may ask for; none listed: all."},
	{.key = "passthrough",
	 .type = RL_SCHEMA_BOOL,
	 F(rl_cfg_client, passthrough),
	 .initial = "false",
	 .doc = "Whether a client that `models` restricts may also use the routes without a model (`/v1/files`, "
		"`/v1/batches`, `/v1/assistants` ...), where no model's name is checked. Others may always."},
};
static const struct rl_schema client_schema = {
	.size = sizeof(struct rl_cfg_client),
	.name_at = 1 + offsetof(struct rl_cfg_client, name),
	.position_at = 1 + offsetof(struct rl_cfg_client, line),
	.rows = client_rows,
	.n_rows = COUNT(client_rows),
	.check_name = rl_rule_name,
	.check = rl_check_client,
	.doc = "Who may call, by key (`Authorization: Bearer <key>`).",
};

/* --- the file --- */

static const struct rl_schema_row root_rows[] = {
	{.key = "server",
	 .type = RL_SCHEMA_SECTION,
	 F(rl_config, server),
	 .child = &server_schema,
	 .doc = "The gateway's own side."},
	{.key = "log",
	 .type = RL_SCHEMA_SECTION,
	 F(rl_config, log),
	 .child = &log_schema,
	 .doc = "What is written where."},
	{.key = "providers",
	 .type = RL_SCHEMA_MAP,
	 MANY(rl_config, providers),
	 .max = 1000,
	 .child = &rl_settings_provider,
	 .example = "openai",
	 .doc = "Who answers."},
	{.key = "models",
	 .type = RL_SCHEMA_MAP,
	 MANY(rl_config, models),
	 .max = 10000,
	 .child = &rl_settings_model,
	 .example = "assistant",
	 .doc = "Names that clients may ask for."},
	{.key = "clients",
	 .type = RL_SCHEMA_MAP,
	 MANY(rl_config, clients),
	 .max = 10000,
	 .flags = RL_SCHEMA_ASIDE,
	 .child = &client_schema,
	 .example = "team-a",
	 .doc = "Who may call."},
	{.key = "catalog",
	 .type = RL_SCHEMA_STRING,
	 F(rl_config, catalog),
	 .flags = RL_SCHEMA_ASIDE,
	 .min = 1,
	 .max = 4096,
	 .example = "/etc/relais/catalog.json",
	 .doc = "File with facts about models (windows, limits, prices), as `relais catalog import` writes it; they go "
		"before the built-in ones. Read again by every reload."},
};
const struct rl_schema rl_settings = {
	.rows = root_rows,
	.n_rows = COUNT(root_rows),
	.extensions = true,
	.doc = "The settings of relais: `relais.yaml`.",
};
