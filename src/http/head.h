/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heads of requests and answers (RFC 9110), without a trace of which HTTP
 * version carried them: what lies above net sees only these.
 */
#ifndef RL_HTTP_HEAD_H
#define RL_HTTP_HEAD_H

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

/* Field names that the gateway knows; all others are RL_H_OTHER. Spelled in lower case as in HTTP/2. */
#define RL_FIELDS(X)                              \
	X(ACCEPT, "accept")                       \
	X(ACCEPT_ENCODING, "accept-encoding")     \
	X(AUTHORIZATION, "authorization")         \
	X(CACHE_CONTROL, "cache-control")         \
	X(CONNECTION, "connection")               \
	X(CONTENT_ENCODING, "content-encoding")   \
	X(CONTENT_LENGTH, "content-length")       \
	X(CONTENT_TYPE, "content-type")           \
	X(COOKIE, "cookie")                       \
	X(DATE, "date")                           \
	X(EXPECT, "expect")                       \
	X(FORWARDED, "forwarded")                 \
	X(HOST, "host")                           \
	X(KEEP_ALIVE, "keep-alive")               \
	X(LOCATION, "location")                   \
	X(ORIGIN, "origin")                       \
	X(PROXY_CONNECTION, "proxy-connection")   \
	X(RETRY_AFTER, "retry-after")             \
	X(RETRY_AFTER_MS, "retry-after-ms")       \
	X(SEC_FETCH_SITE, "sec-fetch-site")       \
	X(SERVER, "server")                       \
	X(SET_COOKIE, "set-cookie")               \
	X(TE, "te")                               \
	X(TRAILER, "trailer")                     \
	X(TRANSFER_ENCODING, "transfer-encoding") \
	X(UPGRADE, "upgrade")                     \
	X(USER_AGENT, "user-agent")               \
	X(VIA, "via")                             \
	X(X_API_KEY, "x-api-key")                 \
	X(X_FORWARDED_FOR, "x-forwarded-for")     \
	X(X_REQUEST_ID, "x-request-id")           \
	X(X_SHOULD_RETRY, "x-should-retry")

enum rl_field {
	RL_H_OTHER = 0,
#define X(id, name) RL_H_##id,
	RL_FIELDS(X)
#undef X
		RL_H_COUNT
};

/* Case-insensitive; RL_H_OTHER for a name not in the table. */
enum rl_field rl_field_find(rl_str name);
rl_str rl_field_name(enum rl_field field);

struct rl_header {
	enum rl_field field;
	rl_str name, value; /* value without outer blanks */
};

struct rl_headers {
	struct rl_header *v; /* in order of arrival */
	uint32_t n, cap;
};

/* First header of that field, or NULL. */
const struct rl_header *rl_headers_get(const struct rl_headers *headers, enum rl_field field);
/* Its value, or the empty slice. */
rl_str rl_headers_value(const struct rl_headers *headers, enum rl_field field);
/* The same by name, whatever its case: for fields that have no number. */
rl_str rl_headers_named(const struct rl_headers *headers, rl_str name);
/* First header of that name (case-insensitive), for names outside the table. */
const struct rl_header *rl_headers_find(const struct rl_headers *headers, rl_str name);
/* Appends; name and value are borrowed. `arena` grows the array. For RL_H_OTHER give the name. */
enum rl_err rl_headers_add(struct rl_headers *headers, struct rl_arena *arena, enum rl_field field, rl_str name,
			   rl_str value) RL_MUST_CHECK;
/* Whether a Content-Type names this media type, whatever its parameters (RFC 9110 §8.3.1). */
bool rl_media_is(rl_str value, rl_str wanted);
/* True when `value` can stand in a header: no CR, LF, NUL or other control byte but tab (RFC 9110 §5.5). */
bool rl_header_value_ok(rl_str value);
/* True when `name` is a token (RFC 9110 §5.1). */
bool rl_header_name_ok(rl_str name);

#define RL_METHODS(X) X(GET) X(HEAD) X(POST) X(PUT) X(DELETE) X(PATCH) X(OPTIONS)
enum rl_method {
	RL_METHOD_OTHER = 0,
#define X(id) RL_METHOD_##id,
	RL_METHODS(X)
#undef X
};
rl_str rl_method_name(enum rl_method method);

#define RL_HTTP_VERSIONS(X) X(1_0, "1.0") X(1_1, "1.1") X(2, "2")
enum rl_http_version {
	RL_HTTP_NONE = 0,
#define X(id, name) RL_HTTP_##id,
	RL_HTTP_VERSIONS(X)
#undef X
};
/* "1.1"; empty for NONE. */
rl_str rl_http_version_name(enum rl_http_version version);

struct rl_request_head {
	enum rl_method method;
	rl_str path;      /* as sent, starts with '/', no query; checked: no control bytes, no fragment */
	rl_str query;     /* after '?', or empty */
	rl_str authority; /* of Host or :authority, one value */
	struct rl_headers headers;
	int64_t content_length; /* -1: unknown (chunked); 0: no body */
	bool expects_continue;
};

struct rl_response_head {
	uint16_t status;
	struct rl_headers headers;
	int64_t content_length; /* -1: unknown until the end */
};

/* Reason phrase of a status (RFC 9110 §15), for HTTP/1; never NULL. */
const char *rl_status_text(uint16_t status);

#endif
