/* SPDX-License-Identifier: Apache-2.0 */
/* See trusted.h. */
#include "policy/trusted.h"

#include <arpa/inet.h>
#include <stdio.h>

/* An address as 16 bytes; false for Unix sockets. */
static bool to_bytes(const struct rl_addr *addr, unsigned char out[16])
{
	if (addr->sa.ss_family == AF_INET6) {
		memcpy(out, &((const struct sockaddr_in6 *)&addr->sa)->sin6_addr, 16);
		return true;
	}
	if (addr->sa.ss_family != AF_INET)
		return false;
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, &((const struct sockaddr_in *)&addr->sa)->sin_addr, 4);
	return true;
}

/* A literal address with or without port or brackets. */
static bool parse_hop(rl_str text, struct rl_addr *out)
{
	char padded[80];
	bool v6 = text.n && (text.p[0] == '[' || memchr(text.p, ':', text.n) != memrchr(text.p, ':', text.n));

	if (rl_addr_parse(text, out) == RL_OK)
		return true;
	if (!text.n || text.n > 60)
		return false;
	int n = v6 && text.p[0] != '[' ? snprintf(padded, sizeof padded, "[%.*s]:0", RL_STR_ARG(text))
				       : snprintf(padded, sizeof padded, "%.*s:0", RL_STR_ARG(text));

	return n > 0 && rl_addr_parse(rl_str_make(padded, (size_t)n), out) == RL_OK;
}

static bool parse_cidr(rl_str text, struct rl_cidr *out)
{
	size_t slash = rl_str_find(text, '/');
	struct rl_addr addr;
	unsigned bits = 0;

	if (!parse_hop(rl_str_sub(text, 0, slash == SIZE_MAX ? text.n : slash), &addr) || !to_bytes(&addr, out->bytes))
		return false;
	unsigned base = addr.sa.ss_family == AF_INET ? 96 : 0;

	out->bits = 128;
	if (slash == SIZE_MAX)
		return true;
	for (size_t i = slash + 1; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9' || bits > 128)
			return false;
		bits = bits * 10 + (unsigned)(text.p[i] - '0');
	}
	out->bits = base + bits;
	return slash + 1 < text.n && out->bits <= 128;
}

enum rl_err rl_trusted_init(struct rl_trusted *trusted, const rl_str *cidrs, size_t n, struct rl_arena *arena)
{
	trusted->n = 0;
	trusted->list = RL_NEW_ARRAY(arena, struct rl_cidr, n ? n : 1);
	if (!trusted->list)
		return RL_ERR_NOMEM;
	for (size_t i = 0; i < n; i++) {
		if (!parse_cidr(cidrs[i], &trusted->list[i]))
			return RL_ERR_SYNTAX;
		trusted->n++;
	}
	return RL_OK;
}

bool rl_trusted_is(const struct rl_trusted *trusted, const struct rl_addr *addr)
{
	unsigned char bytes[16];

	if (!to_bytes(addr, bytes))
		return false;
	for (size_t i = 0; i < trusted->n; i++) {
		const struct rl_cidr *c = &trusted->list[i];
		unsigned whole = c->bits / 8, rest = c->bits % 8;

		if (memcmp(bytes, c->bytes, whole) == 0 &&
		    (!rest || (bytes[whole] ^ c->bytes[whole]) >> (8 - rest) == 0))
			return true;
	}
	return false;
}

/* The address in one hop: "1.2.3.4", or of Forwarded: for="[2001:db8::1]:47011";proto=https */
static rl_str hop_address(rl_str hop, bool forwarded)
{
	while (forwarded && hop.p) {
		rl_str pair = rl_str_trim(rl_str_cut(&hop, ';'));

		if (pair.n < 4 || strncasecmp(pair.p, "for=", 4) != 0)
			continue;
		pair = rl_str_sub(pair, 4, SIZE_MAX);
		if (pair.n >= 2 && pair.p[0] == '"' && pair.p[pair.n - 1] == '"')
			pair = rl_str_sub(pair, 1, pair.n - 2);
		return pair;
	}
	return forwarded ? (rl_str){NULL, 0} : rl_str_trim(hop);
}

struct rl_addr rl_trusted_client(const struct rl_trusted *trusted, const struct rl_addr *peer,
				 const struct rl_headers *headers)
{
	struct rl_addr client = *peer;

	if (!trusted->n || !rl_trusted_is(trusted, peer))
		return client;
	bool forwarded = !rl_headers_get(headers, RL_H_X_FORWARDED_FOR);
	enum rl_field field = forwarded ? RL_H_FORWARDED : RL_H_X_FORWARDED_FOR;

	for (size_t i = headers->n; i-- > 0;) { /* the last header's last hop is the nearest */
		if (headers->v[i].field != field)
			continue;
		rl_str rest = headers->v[i].value;
		while (rest.n) {
			const char *comma = memrchr(rest.p, ',', rest.n);
			size_t from = comma ? (size_t)(comma - rest.p) + 1 : 0;
			rl_str hop = hop_address(rl_str_sub(rest, from, SIZE_MAX), forwarded);
			struct rl_addr addr;

			if (!parse_hop(hop, &addr))
				return client; /* what cannot be read cannot be believed */
			client = addr;
			if (!rl_trusted_is(trusted, &addr))
				return client;
			rest.n = comma ? from - 1 : 0;
		}
	}
	return client;
}
