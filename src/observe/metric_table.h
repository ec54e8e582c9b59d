/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every metric of the program, one row each. From it come the ids, the HELP and TYPE
 * lines, the reference (rl_metrics_reference) and the tests. A row whose source is
 * CALLBACK is fed by the room that knows the value, through rl_metrics_collect; the
 * others are counted from finished-request records (metrics.c).
 *
 * Names follow prometheus.io, "Metric and label naming": base units, _total for
 * counters. Labels hold names from the config, words of ours, or model names that a
 * provider has answered for: never free text of a client.
 */
#ifndef RL_OBSERVE_METRIC_TABLE_H
#define RL_OBSERVE_METRIC_TABLE_H

#define RL_LABELS(...)      \
	{                   \
		__VA_ARGS__ \
	}

/* clang-format off */
/*  id                   type       source    name                                  labels                                                         buckets               help */
#define RL_METRICS(X) \
	X(REQUESTS,          COUNTER,   RECORD,   "relais_requests_total",              RL_LABELS("route", "alias", "provider", "model", "code", "outcome"),   NULL,                 "Finished requests. alias: the configured model that was asked for; provider and model: who answered; code: the status sent to the client, 0 if none; outcome: ok, refused, passed_error, failed, cut or left.") \
	X(DURATION,          HISTOGRAM, RECORD,   "relais_request_duration_seconds",    RL_LABELS("route", "alias", "stream"),                                 &rl_buckets_latency,  "From the beginning of a request to the end of its answer.") \
	X(FIRST_BYTE,        HISTOGRAM, RECORD,   "relais_time_to_first_byte_seconds",  RL_LABELS("provider", "model"),                                        &rl_buckets_latency,  "From the beginning of a request to the first byte of its answer to the client, for answers that a provider gave.") \
	X(OVERHEAD,          HISTOGRAM, RECORD,   "relais_overhead_seconds",            RL_LABELS("route"),                                                    &rl_buckets_overhead, "The gateway's own part: time up to the head of the answer that was not spent waiting for client or provider.") \
	X(ATTEMPTS,          COUNTER,   RECORD,   "relais_attempts_total",              RL_LABELS("provider", "model", "result"),                              NULL,                 "Tries at a target. result: ok, or the class of the failure.") \
	X(FAILOVERS,         COUNTER,   RECORD,   "relais_failovers_total",             RL_LABELS("alias", "provider", "reason"),                              NULL,                 "Times that another target was tried. provider: the one that was left; reason: the class of its failure.") \
	X(MAYBE_BILLED,      COUNTER,   RECORD,   "relais_maybe_double_billed_total",   RL_LABELS("provider", "model"),                                        NULL,                 "Tries that failed after the request had been sent: the provider may have worked on it, and charge for it.") \
	X(TOKENS,            COUNTER,   RECORD,   "relais_tokens_total",                RL_LABELS("provider", "model", "kind"),                                NULL,                 "Tokens as reported by providers. prompt includes cached and cache_write, completion includes reasoning.") \
	X(REQUEST_TOKENS,    HISTOGRAM, RECORD,   "relais_request_tokens",              RL_LABELS("kind"),                                                     &rl_buckets_tokens,   "Tokens of one request, as reported by providers. kind: prompt or completion.") \
	X(STREAMS_CUT,       COUNTER,   RECORD,   "relais_streams_cut_total",           RL_LABELS("provider", "model"),                                        NULL,                 "Streams that broke after their first content had been sent.") \
	X(STREAM_EVENTS,     COUNTER,   RECORD,   "relais_stream_events_total",         RL_LABELS("provider", "model"),                                        NULL,                 "Events of streams forwarded to clients.") \
	X(BYTES,             COUNTER,   RECORD,   "relais_bytes_total",                 RL_LABELS("direction"),                                                NULL,                 "Bytes of bodies. direction: in from clients, out to clients.") \
	X(CONNECTIONS,       GAUGE,     CALLBACK, "relais_connections",                 RL_LABELS("side"),                                                     NULL,                 "Open connections. side: client or provider.") \
	X(IN_FLIGHT,         GAUGE,     CALLBACK, "relais_requests_in_flight",          RL_LABELS(),                                                           NULL,                 "Requests that have begun and not ended.") \
	X(TARGET_IN_FLIGHT,  GAUGE,     CALLBACK, "relais_target_in_flight",            RL_LABELS("provider", "model"),                                        NULL,                 "Tries under way at a configured target.") \
	X(TARGET_AVAILABLE,  GAUGE,     CALLBACK, "relais_target_available",            RL_LABELS("provider", "model"),                                        NULL,                 "1 if a configured target may be tried, 0 while it rests after failures.") \
	X(RELOADS,           COUNTER,   CALLBACK, "relais_config_reloads_total",        RL_LABELS("result"),                                                   NULL,                 "Reloads of the config. result: ok or rejected.") \
	X(RATE_LIMITED,      COUNTER,   CALLBACK, "relais_rate_limited_total",          RL_LABELS("limit"),                                                    NULL,                 "Requests refused because their address had made too many. limit: inference or auth, as in server.rate_limit.") \
	X(CROWDED_OUT,       COUNTER,   CALLBACK, "relais_connections_refused_total",   RL_LABELS(),                                                           NULL,                 "Connections closed at once because their address had as many as server.max_connections_per_address.") \
	X(SHED,              COUNTER,   CALLBACK, "relais_connections_shed_total",      RL_LABELS(),                                                           NULL,                 "Idle connections closed in favour of new clients while there were as many as server.max_connections.") \
	X(TLS_FAILURES,      COUNTER,   CALLBACK, "relais_tls_handshake_failures_total",RL_LABELS("reason"),                                                   NULL,                 "TLS handshakes with clients that came to nothing. reason: version, cipher, certificate (the client refuses ours), client_certificate, not_tls, timeout, closed (the client left) or other.") \
	X(LOG_RECORDS,       COUNTER,   CALLBACK, "relais_access_log_records_total",    RL_LABELS(),                                                           NULL,                 "Records given to the access log.") \
	X(LOG_DROPPED,       COUNTER,   CALLBACK, "relais_access_log_dropped_total",    RL_LABELS(),                                                           NULL,                 "Records of the access log that could not be written.") \
	X(BUILD,             GAUGE,     CALLBACK, "relais_build_info",                  RL_LABELS("version"),                                                  NULL,                 "Always 1; the version stands in the label.") \
	X(PROCESS_CPU,       COUNTER,   CALLBACK, "process_cpu_seconds_total",          RL_LABELS(),                                                           NULL,                 "User and system CPU time of the process.") \
	X(PROCESS_RESIDENT,  GAUGE,     CALLBACK, "process_resident_memory_bytes",      RL_LABELS(),                                                           NULL,                 "Resident memory.") \
	X(PROCESS_VIRTUAL,   GAUGE,     CALLBACK, "process_virtual_memory_bytes",       RL_LABELS(),                                                           NULL,                 "Virtual memory.") \
	X(PROCESS_FDS,       GAUGE,     CALLBACK, "process_open_fds",                   RL_LABELS(),                                                           NULL,                 "Open descriptors.") \
	X(PROCESS_MAX_FDS,   GAUGE,     CALLBACK, "process_max_fds",                    RL_LABELS(),                                                           NULL,                 "The most descriptors that may be open.") \
	X(PROCESS_START,     GAUGE,     CALLBACK, "process_start_time_seconds",         RL_LABELS(),                                                           NULL,                 "When the process began, in Unix time.")
/* clang-format on */

#endif
