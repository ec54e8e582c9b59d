/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1 request (RFC 9112): its grammar without any leniency, and
 * on top of it every rule whose neglect has let requests be smuggled: one Host,
 * one length, one framing, one authority. Pure: bytes in, head or refusal out.
 */
#ifndef RL_HTTP_H1_PARSE_H
#define RL_HTTP_H1_PARSE_H

#include "http/head.h"

/* How a request must be answered that cannot be served. */
struct rl_h1_refusal {
	uint16_t status;
	const char *text; /* static */
};

struct rl_h1_request {
	bool http10;
	bool keep_alive; /* the connection may go on after the answer */
	bool chunked;
};

/*
 * `raw` is a complete head with the empty line that ends it, of `lines` header lines; it and *head live in the arena.
 * True, or *refusal says why not. No memory is a refusal too (503).
 */
bool rl_h1_parse(rl_str raw, uint32_t lines, struct rl_arena *arena, struct rl_request_head *head,
		 struct rl_h1_request *request, struct rl_h1_refusal *refusal) RL_MUST_CHECK;

/*
 * A field line without its CRLF: name ":" OWS value OWS (RFC 9112 §5), no blank before the colon, no fold, no control
 * byte. False: it is not one.
 */
bool rl_h1_field(rl_str line, struct rl_header *out) RL_MUST_CHECK;
/* Decimal digits alone, up to INT64_MAX: a Content-Length. */
bool rl_h1_length(rl_str value, int64_t *out) RL_MUST_CHECK;

/* The parts of a request line, by the same rules in HTTP/2 (there the target is never absolute). */
bool rl_h1_method(rl_str name, struct rl_request_head *head, struct rl_h1_refusal *refusal) RL_MUST_CHECK;
bool rl_h1_target(rl_str target, struct rl_request_head *head, struct rl_h1_refusal *refusal) RL_MUST_CHECK;

/* Looks at a request line (without its CRLF) for the protocol's name and version only. */
bool rl_h1_version_ok(rl_str line, struct rl_h1_refusal *refusal) RL_MUST_CHECK;
/* Neither one of HTTP/1's methods at the beginning of a line nor a version in it: whoever sent this speaks something else. */
bool rl_h1_is_foreign(rl_str line);

/* One host, name or literal, with or without a port (RFC 9110 §7.2), no userinfo, no list. */
bool rl_h1_authority_ok(rl_str authority);

#endif
