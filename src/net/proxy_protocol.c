/* SPDX-License-Identifier: Apache-2.0 */
/* See proxy_protocol.h. Section numbers are those of the document named there. */
#include "net/proxy_protocol.h"

#include <arpa/inet.h>

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n"; /* §2.2 */
#define SIGNATURE_BYTES 12u
#define V2_HEAD_BYTES 16u
#define V2_INET_BYTES 12u
#define V2_INET6_BYTES 36u
#define V2_UNIX_BYTES 216u

/* ---- version 1: a line of text (§2.1) ---- */

/* Decimal, no leading zeros. */
static bool parse_port(rl_str text, uint16_t *out)
{
	unsigned port;

	if (text.n > 5 || (text.n > 1 && text.p[0] == '0') || !rl_str_number(text, UINT16_MAX, &port))
		return false;
	*out = (uint16_t)port;
	return true;
}

static void set_peer(struct rl_addr *out, int family, const void *ip, uint16_t port_net)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port_net};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port_net};

	*out = (struct rl_addr){.len = family == AF_INET ? sizeof v4 : sizeof v6};
	if (family == AF_INET) {
		memcpy(&v4.sin_addr, ip, sizeof v4.sin_addr);
		memcpy(&out->sa, &v4, sizeof v4);
	} else {
		memcpy(&v6.sin6_addr, ip, sizeof v6.sin6_addr);
		memcpy(&out->sa, &v6, sizeof v6);
	}
}

static bool parse_ip(int family, rl_str text, unsigned char out[16])
{
	char copy[INET6_ADDRSTRLEN];

	if (!text.n || text.n >= sizeof copy || memchr(text.p, 0, text.n))
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = 0;
	return inet_pton(family, copy, out) == 1;
}

/* "TCP4 source destination sport dport"; exactly one space between them. */
static bool parse_line(rl_str line, struct rl_proxy_head *out)
{
	unsigned char from[16], to[16];
	uint16_t from_port, to_port;
	rl_str word = rl_str_cut(&line, ' ');
	int family = rl_str_eq(word, RL_STR("TCP4")) ? AF_INET : AF_INET6;

	if (rl_str_eq(word, RL_STR("UNKNOWN")))
		return true; /* whatever follows is to be ignored */
	if (family == AF_INET6 && !rl_str_eq(word, RL_STR("TCP6")))
		return false;
	if (!parse_ip(family, rl_str_cut(&line, ' '), from) || !parse_ip(family, rl_str_cut(&line, ' '), to) ||
	    !parse_port(rl_str_cut(&line, ' '), &from_port) || !line.p || !parse_port(line, &to_port))
		return false;
	out->named = true;
	set_peer(&out->peer, family, from, htons(from_port));
	return true;
}

static enum rl_err parse_v1(rl_str bytes, struct rl_proxy_head *out)
{
	rl_str prefix = RL_STR("PROXY "), line = rl_str_sub(bytes, 0, RL_PROXY_V1_BYTES_MAX);
	size_t end = rl_str_find(line, '\n');

	if (!rl_str_starts(prefix, rl_str_sub(bytes, 0, prefix.n)))
		return RL_ERR_SYNTAX;
	if (end == SIZE_MAX)
		return bytes.n < RL_PROXY_V1_BYTES_MAX ? RL_ERR_AGAIN : RL_ERR_SYNTAX;
	if (end <= prefix.n || line.p[end - 1] != '\r')
		return RL_ERR_SYNTAX;
	out->n = end + 1;
	return parse_line(rl_str_sub(line, prefix.n, end - 1 - prefix.n), out) ? RL_OK : RL_ERR_SYNTAX;
}

/* ---- version 2: binary (§2.2) ---- */

/* The address block; what follows it (TLVs) is skipped. */
static enum rl_err parse_block(unsigned family, rl_str block, struct rl_proxy_head *out)
{
	uint16_t port;

	switch (family) {
	case 0x11: /* TCP over IPv4: source, destination, source port, destination port */
		if (block.n < V2_INET_BYTES)
			return RL_ERR_SYNTAX;
		memcpy(&port, block.p + 8, sizeof port);
		set_peer(&out->peer, AF_INET, block.p, port);
		out->named = true;
		return RL_OK;
	case 0x21: /* TCP over IPv6 */
		if (block.n < V2_INET6_BYTES)
			return RL_ERR_SYNTAX;
		memcpy(&port, block.p + 32, sizeof port);
		set_peer(&out->peer, AF_INET6, block.p, port);
		out->named = true;
		return RL_OK;
	case 0x31: /* a Unix stream: a path of the balancer's machine, which tells us nothing */
		return block.n < V2_UNIX_BYTES ? RL_ERR_SYNTAX : RL_OK;
	case 0x00: /* not said */
		return RL_OK;
	default: /* datagrams, which no connection of ours carries, and what the document does not know */
		return RL_ERR_SYNTAX;
	}
}

static enum rl_err parse_v2(rl_str bytes, struct rl_proxy_head *out)
{
	const unsigned char *at = (const unsigned char *)bytes.p;

	if (bytes.n > SIGNATURE_BYTES && at[12] != 0x20 && at[12] != 0x21) /* version 2, LOCAL or PROXY */
		return RL_ERR_SYNTAX;
	if (bytes.n < V2_HEAD_BYTES)
		return RL_ERR_AGAIN;

	size_t more = (size_t)at[14] << 8 | at[15];

	if (V2_HEAD_BYTES + more > RL_PROXY_BYTES_MAX)
		return RL_ERR_SYNTAX;
	if (bytes.n < V2_HEAD_BYTES + more)
		return RL_ERR_AGAIN;
	out->n = V2_HEAD_BYTES + more;
	if (at[12] == 0x20)
		return RL_OK; /* a check of the balancer's: whatever stands in the block is to be ignored */
	return parse_block(at[13], rl_str_sub(bytes, V2_HEAD_BYTES, more), out);
}

enum rl_err rl_proxy_parse(rl_str bytes, struct rl_proxy_head *out)
{
	*out = (struct rl_proxy_head){.n = 0};
	if (!bytes.n)
		return RL_ERR_AGAIN;
	if (bytes.p[0] == 'P')
		return parse_v1(bytes, out);
	if (!rl_str_starts(rl_str_make(signature, SIGNATURE_BYTES), rl_str_sub(bytes, 0, SIGNATURE_BYTES)))
		return RL_ERR_SYNTAX;
	return parse_v2(bytes, out);
}
