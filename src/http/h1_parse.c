/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See h1_parse.h. Cut by hand: the server has found the lines of the head before it comes here, so that what is left
 * of the grammar is a token, a colon and a value. llhttp, which reads byte by byte, took 15 % of all instructions of a
 * request for the same; it remains the judge in tests/fuzz/fuzz_h1_request.c, where whatever is taken here must be
 * taken by it too, as the same fields. Then the fields that decide about framing and identity are judged together.
 */
#include "http/h1_parse.h"

#include <assert.h>

#define METHOD_MAX_BYTES 32u
#define PORT_DIGITS_MAX 5u
#define LENGTH_DIGITS_MAX 19u

static bool refuse(struct rl_h1_refusal *refusal, uint16_t status, const char *text)
{
	*refusal = (struct rl_h1_refusal){.status = status, .text = text};
	return false;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ---- the request line ---- */

bool rl_h1_version_ok(rl_str line, struct rl_h1_refusal *refusal)
{
	static const char form[] = " HTTP/";
	size_t n = sizeof form - 1 + 3; /* and "1.1" */

	if (line.n <= n)
		return refuse(refusal, 400, "the request line has no protocol version");
	rl_str tail = rl_str_sub(line, line.n - n, n);
	const char *v = tail.p + sizeof form - 1;

	if (!rl_str_starts(tail, RL_STR(" HTTP/")) || !is_digit(v[0]) || v[1] != '.' || !is_digit(v[2]))
		return refuse(refusal, 400, "the request line does not end in a protocol version");
	if (v[0] != '1' || v[2] > '1')
		return refuse(refusal, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
	return true;
}

static enum rl_method method_of(rl_str name)
{
#define X(id)                             \
	if (rl_str_eq(name, RL_STR(#id))) \
		return RL_METHOD_##id;
	RL_METHODS(X)
#undef X
	return RL_METHOD_OTHER;
}

bool rl_h1_is_foreign(rl_str line)
{
	rl_str rest = line;

	if (line.n && line.p[line.n - 1] == '\r')
		rest.n--;
	return method_of(rl_str_cut(&rest, ' ')) == RL_METHOD_OTHER && !memmem(line.p, line.n, "HTTP/", 5);
}

bool rl_h1_method(rl_str name, struct rl_request_head *head, struct rl_h1_refusal *refusal)
{
	head->method = method_of(name);
	if (head->method != RL_METHOD_OTHER)
		return true;
	if (!rl_header_name_ok(name) || name.n > METHOD_MAX_BYTES)
		return refuse(refusal, 400, "malformed method");
	if (rl_str_eq(name, RL_STR("CONNECT")) || rl_str_eq(name, RL_STR("TRACE")))
		return refuse(refusal, 405, "CONNECT and TRACE are not offered");
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] >= 'a' && name.p[i] <= 'z')
			return refuse(refusal, 400, "methods are written in upper case");
	return refuse(refusal, 501, "unknown method");
}

static bool name_or_v4_ok(rl_str host)
{
	for (size_t i = 0; i < host.n; i++)
		if (!is_alnum(host.p[i]) && host.p[i] != '-' && host.p[i] != '.' && host.p[i] != '_')
			return false;
	return host.n > 0;
}

static bool v6_ok(rl_str host)
{
	for (size_t i = 0; i < host.n; i++) {
		char c = host.p[i];
		if (!is_digit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F') && c != ':' && c != '.')
			return false;
	}
	return host.n >= 2;
}

static bool port_ok(rl_str port)
{
	unsigned v = 0;

	if (!port.n || port.n > PORT_DIGITS_MAX)
		return false;
	for (size_t i = 0; i < port.n; i++) {
		if (!is_digit(port.p[i]))
			return false;
		v = v * 10 + (unsigned)(port.p[i] - '0');
	}
	return v <= 65535;
}

bool rl_h1_authority_ok(rl_str authority)
{
	rl_str rest;

	if (authority.n && authority.p[0] == '[') {
		size_t close = rl_str_find(authority, ']');
		if (close == SIZE_MAX || !v6_ok(rl_str_sub(authority, 1, close - 1)))
			return false;
		rest = rl_str_sub(authority, close + 1, SIZE_MAX);
	} else {
		size_t colon = rl_str_find(authority, ':');
		rest = rl_str_sub(authority, colon, SIZE_MAX);
		if (!name_or_v4_ok(rl_str_sub(authority, 0, colon)))
			return false;
	}
	return !rest.n || (rest.p[0] == ':' && port_ok(rl_str_sub(rest, 1, SIZE_MAX)));
}

/* "http://authority/path" (RFC 9112 §3.2.2); what is not absolute is left alone. */
static bool cut_authority(rl_str *target, struct rl_request_head *head, struct rl_h1_refusal *refusal)
{
	rl_str rest;

	if (target->n > 7 && strncasecmp(target->p, "http://", 7) == 0)
		rest = rl_str_sub(*target, 7, SIZE_MAX);
	else if (target->n > 8 && strncasecmp(target->p, "https://", 8) == 0)
		rest = rl_str_sub(*target, 8, SIZE_MAX);
	else
		return refuse(refusal, 400, "malformed request target");

	size_t n = 0;

	while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
		n++;
	head->authority = rl_str_sub(rest, 0, n);
	if (!rl_h1_authority_ok(head->authority))
		return refuse(refusal, 400, "malformed authority in the request target");
	*target = rl_str_sub(rest, n, SIZE_MAX);
	return true;
}

bool rl_h1_target(rl_str target, struct rl_request_head *head, struct rl_h1_refusal *refusal)
{
	if (!target.n)
		return refuse(refusal, 400, "the request line has no target");
	for (size_t i = 0; i < target.n; i++) {
		unsigned char c = (unsigned char)target.p[i];
		if (c <= 0x20 || c >= 0x7F || c == '#')
			return refuse(refusal, 400, "the request target holds a byte that it must not");
	}
	if (target.p[0] == '*') {
		if (target.n > 1 || head->method != RL_METHOD_OPTIONS)
			return refuse(refusal, 400, "the target '*' is for OPTIONS only");
		head->path = target;
		return true;
	}
	if (target.p[0] != '/' && !cut_authority(&target, head, refusal))
		return false;

	size_t mark = rl_str_find(target, '?');

	head->path = mark == 0 || !target.n ? RL_STR("/") : rl_str_sub(target, 0, mark);
	if (mark != SIZE_MAX)
		head->query = rl_str_sub(target, mark + 1, SIZE_MAX);
	return true;
}

static bool read_request_line(rl_str line, struct rl_request_head *head, struct rl_h1_request *request,
			      struct rl_h1_refusal *refusal)
{
	if (!rl_h1_version_ok(line, refusal))
		return false;
	request->http10 = line.p[line.n - 1] == '0';
	line.n -= sizeof " HTTP/1.1" - 1;

	size_t space = rl_str_find(line, ' ');

	if (space == SIZE_MAX)
		return refuse(refusal, 400, "the request line has no target");
	return rl_h1_method(rl_str_sub(line, 0, space), head, refusal) &&
	       rl_h1_target(rl_str_sub(line, space + 1, SIZE_MAX), head, refusal);
}

/* ---- the fields ---- */

/* Those that may come only once, or decide something. */
struct decisive {
	const struct rl_header *length, *coding, *host, *expect, *authorization;
	bool twice;
	bool close, keep_alive;
};

static void once(const struct rl_header **slot, const struct rl_header *h, bool *twice)
{
	if (*slot)
		*twice = true;
	*slot = h;
}

static void read_connection(struct decisive *d, rl_str value)
{
	while (value.p) {
		rl_str token = rl_str_trim(rl_str_cut(&value, ','));
		if (rl_str_ieq(token, RL_STR("close")))
			d->close = true;
		else if (rl_str_ieq(token, RL_STR("keep-alive")))
			d->keep_alive = true;
	}
}

static void gather(const struct rl_headers *headers, struct decisive *d)
{
	for (uint32_t i = 0; i < headers->n; i++) {
		const struct rl_header *h = &headers->v[i];
		switch (h->field) {
		case RL_H_CONTENT_LENGTH:
			once(&d->length, h, &d->twice);
			break;
		case RL_H_TRANSFER_ENCODING:
			once(&d->coding, h, &d->twice);
			break;
		case RL_H_HOST:
			once(&d->host, h, &d->twice);
			break;
		case RL_H_EXPECT:
			once(&d->expect, h, &d->twice);
			break;
		case RL_H_AUTHORIZATION: /* two callers at once: who is meant must not depend on who reads */
			once(&d->authorization, h, &d->twice);
			break;
		case RL_H_CONNECTION:
			read_connection(d, h->value);
			break;
		default:
			break;
		}
	}
}

bool rl_h1_length(rl_str value, int64_t *out)
{
	uint64_t v = 0;

	if (!value.n || value.n > LENGTH_DIGITS_MAX)
		return false;
	for (size_t i = 0; i < value.n; i++) {
		if (!is_digit(value.p[i]))
			return false;
		v = v * 10 + (uint64_t)(value.p[i] - '0');
	}
	if (v > INT64_MAX)
		return false;
	*out = (int64_t)v;
	return true;
}

/* A list in which chunked is not the last coding, or not only that, leaves the end of the body open (RFC 9112 §6.3). */
static bool cannot_end(rl_str codings)
{
	bool chunked = false, list = rl_str_find(codings, ',') != SIZE_MAX;

	while (codings.p) {
		if (chunked)
			return true;
		chunked = rl_str_ieq(rl_str_trim(rl_str_cut(&codings, ',')), RL_STR("chunked"));
	}
	return list && !chunked;
}

static bool judge_framing(const struct decisive *d, struct rl_request_head *head, struct rl_h1_request *request,
			  struct rl_h1_refusal *refusal)
{
	head->content_length = 0;
	if (d->coding) {
		if (d->length)
			return refuse(refusal, 400, "both Content-Length and Transfer-Encoding");
		if (request->http10)
			return refuse(refusal, 400, "Transfer-Encoding in HTTP/1.0");
		if (!rl_str_ieq(d->coding->value, RL_STR("chunked")))
			return refuse(refusal, cannot_end(d->coding->value) ? 400 : 501,
				      "the only transfer coding is 'chunked'");
		request->chunked = true;
		head->content_length = -1;
	} else if (d->length && !rl_h1_length(d->length->value, &head->content_length)) {
		return refuse(refusal, 400, "malformed Content-Length");
	}
	return true;
}

static bool judge(const struct decisive *d, struct rl_request_head *head, struct rl_h1_request *request,
		  struct rl_h1_refusal *refusal)
{
	if (d->twice)
		return refuse(refusal, 400, "a field that may come once came twice");
	if (!judge_framing(d, head, request, refusal))
		return false;
	if (d->host ? !rl_h1_authority_ok(d->host->value) : !request->http10)
		return refuse(refusal, 400, d->host ? "malformed Host" : "no Host");
	if (d->host && !head->authority.n)
		head->authority = d->host->value;
	if (d->expect && !rl_str_ieq(d->expect->value, RL_STR("100-continue")))
		return refuse(refusal, 417, "the only expectation is '100-continue'");
	head->expects_continue = d->expect && !request->http10 && head->content_length != 0;
	request->keep_alive = !d->close && (!request->http10 || d->keep_alive);
	return true;
}

bool rl_h1_field(rl_str line, struct rl_header *out)
{
	size_t colon = rl_str_find(line, ':');
	rl_str name = rl_str_sub(line, 0, colon == SIZE_MAX ? 0 : colon);
	rl_str value = rl_str_trim(rl_str_sub(line, name.n + 1, SIZE_MAX));

	if (!rl_header_name_ok(name) || !rl_header_value_ok(value))
		return false;
	*out = (struct rl_header){.field = rl_field_find(name), .name = name, .value = value};
	return true;
}

/* The lines behind the request line. The caller has seen that each ends in CRLF and that none begins with a blank. */
static bool read_fields(rl_str raw, uint32_t lines, struct rl_arena *arena, struct rl_request_head *head,
			struct rl_h1_refusal *refusal)
{
	struct rl_header *v = lines ? rl_arena_alloc(arena, lines * sizeof *v) : NULL;
	rl_str rest = raw;

	if (lines && !v)
		return refuse(refusal, 503, "out of memory");
	rl_str_cut(&rest, '\n');
	for (uint32_t i = 0; i < lines; i++) {
		rl_str line = rl_str_cut(&rest, '\n');

		if (!line.n || line.p[line.n - 1] != '\r' || !rl_h1_field(rl_str_sub(line, 0, line.n - 1), &v[i]))
			return refuse(refusal, 400, "malformed header");
	}
	if (!rl_str_eq(rest, RL_STR("\r\n")))
		return refuse(refusal, 400, "malformed header");
	head->headers = (struct rl_headers){.v = v, .n = lines, .cap = lines};
	return true;
}

bool rl_h1_parse(rl_str raw, uint32_t lines, struct rl_arena *arena, struct rl_request_head *head,
		 struct rl_h1_request *request, struct rl_h1_refusal *refusal)
{
	struct decisive d = {0};

	*request = (struct rl_h1_request){0};
	size_t lf = rl_str_find(raw, '\n');

	assert(lf != SIZE_MAX && lf > 0 && raw.p[lf - 1] == '\r');
	if (!read_request_line(rl_str_sub(raw, 0, lf - 1), head, request, refusal) ||
	    !read_fields(raw, lines, arena, head, refusal))
		return false;
	gather(&head->headers, &d);
	return judge(&d, head, request, refusal);
}
