/* SPDX-License-Identifier: Apache-2.0 */
/* See proxy.h. */
#include "provider/proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define PROXY_BYTES_MAX 2048u

/* ---- the environment ---- */

static rl_str variable(const char *lower, const char *upper)
{
	const char *value = getenv(lower);

	if (!value || !*value)
		value = getenv(upper);
	return rl_str_of(value);
}

struct rl_proxy_env rl_proxy_env_read(void)
{
	/* HTTP_PROXY in capitals is a danger to CGI programs only, where a client can set it (httpoxy); relais is none. */
	return (struct rl_proxy_env){
		.https = rl_secret_make(variable("https_proxy", "HTTPS_PROXY")),
		.http = rl_secret_make(variable("http_proxy", "HTTP_PROXY")),
		.none = variable("no_proxy", "NO_PROXY"),
	};
}

/* ---- NO_PROXY ---- */

struct ip {
	unsigned char bytes[16];
	unsigned n; /* 4 or 16 */
};

static bool parse_ip(rl_str text, struct ip *out)
{
	char copy[INET6_ADDRSTRLEN];

	if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
		text = rl_str_sub(text, 1, text.n - 2);
	if (text.n == 0 || text.n >= sizeof copy)
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = 0;
	out->n = rl_str_find(text, ':') == SIZE_MAX ? 4 : 16;
	return inet_pton(out->n == 4 ? AF_INET : AF_INET6, copy, out->bytes) == 1;
}

static bool in_network(const struct ip *ip, const struct ip *network, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	unsigned mask = 0xff00u >> rest & 0xffu;

	return ip->n == network->n && memcmp(ip->bytes, network->bytes, whole) == 0 &&
	       (rest == 0 || ((ip->bytes[whole] ^ network->bytes[whole]) & mask) == 0);
}

/* An entry that is an address or a network; *is_one tells whether it is. */
static bool matches_network(rl_str entry, const struct ip *ip, bool *is_one)
{
	size_t slash = rl_str_find(entry, '/');
	struct ip network;
	unsigned bits;

	*is_one = parse_ip(rl_str_sub(entry, 0, slash), &network);
	if (!*is_one)
		return false;
	bits = network.n * 8;
	if (slash != SIZE_MAX && !rl_str_number(rl_str_sub(entry, slash + 1, SIZE_MAX), bits, &bits))
		return false;
	return ip && in_network(ip, &network, bits);
}

static bool matches_name(rl_str entry, rl_str host)
{
	if (rl_str_starts(entry, RL_STR("*.")))
		entry = rl_str_sub(entry, 1, SIZE_MAX);
	if (entry.n && entry.p[0] == '.')
		entry = rl_str_sub(entry, 1, SIZE_MAX);
	if (entry.n && entry.p[entry.n - 1] == '.')
		entry.n--;
	if (entry.n == 0 || host.n < entry.n)
		return false;
	if (!rl_str_ieq(rl_str_sub(host, host.n - entry.n, entry.n), entry))
		return false;
	return host.n == entry.n || host.p[host.n - entry.n - 1] == '.';
}

/* Takes ":port" off the end of an entry; an IPv6 address needs its brackets for that. False: not of this port. */
static bool take_port(rl_str *entry, uint16_t port)
{
	size_t colon = entry->n;
	unsigned wanted;

	while (colon > 0 && entry->p[colon - 1] != ':')
		colon--;
	if (colon < 2)
		return true;
	bool bracket = entry->p[colon - 2] == ']';

	if (!bracket && rl_str_find(*entry, ':') != colon - 1)
		return true; /* an IPv6 address */
	if (!bracket && entry->p[0] == '[')
		return true; /* the colon is inside the brackets */
	if (!rl_str_number(rl_str_sub(*entry, colon, SIZE_MAX), 65535, &wanted) || wanted != port)
		return false;
	entry->n = colon - 1;
	return true;
}

static bool matches(rl_str entry, rl_str host, const struct ip *ip, uint16_t port)
{
	bool is_network;

	if (!take_port(&entry, port))
		return false;
	if (rl_str_eq(entry, RL_STR("*")))
		return true;
	bool match = matches_network(entry, ip, &is_network);

	return is_network ? match : !ip && matches_name(entry, host);
}

bool rl_proxy_is_bypassed(rl_str no_proxy, rl_str host, uint16_t port)
{
	struct ip ip;
	bool is_ip = parse_ip(host, &ip);
	size_t begin = 0;

	if (!is_ip && host.n && host.p[host.n - 1] == '.')
		host.n--;
	for (size_t i = 0; i <= no_proxy.n; i++) {
		if (i < no_proxy.n && no_proxy.p[i] != ',' && no_proxy.p[i] != ' ' && no_proxy.p[i] != '\t')
			continue;
		rl_str entry = rl_str_sub(no_proxy, begin, i - begin);

		begin = i + 1;
		if (entry.n && matches(entry, host, is_ip ? &ip : NULL, port))
			return true;
	}
	return false;
}

/* ---- which proxy ---- */

static bool is_this_machine(rl_str host)
{
	static const struct ip v4 = {.bytes = {127}, .n = 4}, v6 = {.bytes = {[15] = 1}, .n = 16};
	struct ip ip;

	if (parse_ip(host, &ip))
		return in_network(&ip, &v4, 8) || in_network(&ip, &v6, 128);
	if (host.n && host.p[host.n - 1] == '.')
		host.n--;
	return matches_name(RL_STR("localhost"), host); /* RFC 6761 §6.3 */
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* "user:password" with its percent-encoding taken off (RFC 3986 §2.1, §3.2.1). */
static bool decode(rl_str in, struct rl_arena *arena, rl_str *out)
{
	char *p = rl_arena_alloc(arena, in.n + 1);
	size_t n = 0;

	if (!p)
		return false;
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];

		if (c == '%') {
			int high = in.n - i > 2 ? hex_digit(in.p[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(in.p[i + 2]) : -1;

			if (low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		}
		p[n++] = c;
	}
	*out = rl_str_make(p, n);
	return true;
}

/* [http://][user[:password]@]host[:port][/] */
static enum rl_err parse(rl_str text, struct rl_arena *arena, struct rl_proxy *out, const char **why)
{
	struct rl_url url;
	rl_str credentials;

	*why = "its proxy must be an address such as http://proxy.example:3128, or the word none";
	if (text.n > PROXY_BYTES_MAX)
		return RL_ERR_SYNTAX;
	if (rl_str_starts(text, RL_STR("http://"))) {
		text = rl_str_sub(text, 7, SIZE_MAX);
	} else if (memmem(text.p, text.n, "://", 3)) {
		*why = "its proxy must be reached by http://: proxies of other kinds are not supported";
		return RL_ERR_SYNTAX;
	}
	size_t at = text.n;

	while (at > 0 && text.p[at - 1] != '@')
		at--;
	if (at > 0) {
		if (!decode(rl_str_sub(text, 0, at - 1), arena, &credentials))
			return RL_ERR_SYNTAX;
		out->credentials = rl_secret_make(credentials);
	}
	const char *ignored;
	rl_str address = rl_arena_printf(arena, "http://%.*s", RL_STR_ARG(rl_str_sub(text, at, SIZE_MAX)));

	if (!address.p)
		return RL_ERR_NOMEM;
	if (rl_url_parse(address, &url, &ignored) || url.path.n)
		return RL_ERR_SYNTAX;
	out->host = url.host;
	out->port = url.port;
	return RL_OK;
}

enum rl_err rl_proxy_choose(struct rl_secret setting, const struct rl_proxy_env *env, const struct rl_url *url,
			    bool local, struct rl_arena *arena, struct rl_proxy *out, const char **why)
{
	rl_str text = rl_secret_reveal(setting);

	*out = (struct rl_proxy){0};
	if (text.n == 0) {
		if (local || url->unix_path.n || is_this_machine(url->host) ||
		    rl_proxy_is_bypassed(env->none, url->host, url->port))
			return RL_OK;
		text = rl_secret_reveal(url->https ? env->https : env->http);
	}
	if (text.n == 0 || rl_str_eq(text, RL_STR("none")))
		return RL_OK;
	if (url->unix_path.n) {
		*why = "no proxy leads to a Unix socket";
		return RL_ERR_SYNTAX;
	}
	return parse(text, arena, out, why);
}
