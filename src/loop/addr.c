/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses from text and to text, without asking anybody. See dns.h. */
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <sys/un.h>

#include "loop/addr_priv.h"

bool rl_addr_unix(rl_str path, struct rl_addr *out)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	if (path.n == 0 || path.n >= sizeof sa.sun_path || memchr(path.p, 0, path.n))
		return false;
	memcpy(sa.sun_path, path.p, path.n);
	*out = (struct rl_addr){.len = sizeof sa};
	memcpy(&out->sa, &sa, sizeof sa);
	return true;
}

bool rl_addr_literal(rl_str host, uint16_t port, struct rl_addr *out)
{
	char text[INET6_ADDRSTRLEN];
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	if (rl_str_starts(host, RL_STR("unix:")))
		return rl_addr_unix(rl_str_sub(host, strlen("unix:"), host.n), out);
	bool bracketed = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';

	if (bracketed)
		host = rl_str_sub(host, 1, host.n - 2);
	if (host.n == 0 || host.n >= sizeof text || memchr(host.p, 0, host.n))
		return false;
	memcpy(text, host.p, host.n);
	text[host.n] = 0;
	*out = (struct rl_addr){0};
	if (!bracketed && inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		memcpy(&out->sa, &v4, sizeof v4);
		out->len = sizeof v4;
	} else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
		memcpy(&out->sa, &v6, sizeof v6);
		out->len = sizeof v6;
	} else {
		return false;
	}
	return true;
}

static bool port_parse(rl_str text, uint16_t *out)
{
	unsigned port;

	if (text.n > 5 || !rl_str_number(text, UINT16_MAX, &port))
		return false;
	*out = (uint16_t)port;
	return true;
}

enum rl_err rl_addr_parse(rl_str text, struct rl_addr *out)
{
	size_t colon = text.n;
	uint16_t port;

	while (colon > 0 && text.p[colon - 1] != ':')
		colon--;
	if (colon < 2 || !port_parse(rl_str_sub(text, colon, text.n), &port))
		return RL_ERR_SYNTAX;

	rl_str host = rl_str_sub(text, 0, colon - 1);

	/* "::1:80" could be an address without a port: IPv6 wants its brackets (RFC 3986 §3.2.2). */
	if ((host.p[0] == '[') != (rl_str_find(host, ':') != SIZE_MAX))
		return RL_ERR_SYNTAX;
	return rl_addr_literal(host, port, out) ? RL_OK : RL_ERR_SYNTAX;
}

void rl_addr_text(const struct rl_addr *addr, char out[RL_ADDR_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN] = "";

	if (addr->sa.ss_family == AF_INET) {
		struct sockaddr_in v4;

		memcpy(&v4, &addr->sa, sizeof v4);
		inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
		snprintf(out, RL_ADDR_TEXT_MAX, "%s:%u", host, ntohs(v4.sin_port));
	} else if (addr->sa.ss_family == AF_INET6) {
		struct sockaddr_in6 v6;

		memcpy(&v6, &addr->sa, sizeof v6);
		inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
		snprintf(out, RL_ADDR_TEXT_MAX, "[%s]:%u", host, ntohs(v6.sin6_port));
	} else {
		snprintf(out, RL_ADDR_TEXT_MAX, "%s", addr->sa.ss_family == AF_UNIX ? "unix" : "unknown");
	}
}

/* The IPv4 address in host order, also out of ::ffff:a.b.c.d (RFC 4291 §2.5.5.2); false if it is not one. */
static bool as_v4(const struct rl_addr *addr, uint32_t *out)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (addr->sa.ss_family == AF_INET) {
		memcpy(&v4, &addr->sa, sizeof v4);
		*out = ntohl(v4.sin_addr.s_addr);
		return true;
	}
	if (addr->sa.ss_family != AF_INET6)
		return false;
	memcpy(&v6, &addr->sa, sizeof v6);
	if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
		return false;
	memcpy(out, &v6.sin6_addr.s6_addr[12], 4);
	*out = ntohl(*out);
	return true;
}

static bool v6_equals(const struct rl_addr *addr, const struct in6_addr *other)
{
	struct sockaddr_in6 v6;

	if (addr->sa.ss_family != AF_INET6)
		return false;
	memcpy(&v6, &addr->sa, sizeof v6);
	return memcmp(&v6.sin6_addr, other, sizeof *other) == 0;
}

bool rl_addr_is_loopback(const struct rl_addr *addr)
{
	uint32_t v4;

	if (addr->sa.ss_family == AF_UNIX)
		return true;
	if (as_v4(addr, &v4))
		return v4 >> 24 == 127;
	return v6_equals(addr, &in6addr_loopback);
}

bool rl_addr_is_any(const struct rl_addr *addr)
{
	uint32_t v4;

	if (as_v4(addr, &v4))
		return v4 == INADDR_ANY;
	return v6_equals(addr, &in6addr_any);
}
