/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax of single values: see rules_priv.h. */
#include "config/rules_priv.h"

#include "config/value_priv.h"

#include <arpa/inet.h>

#define PATH_MAX_BYTES 107u /* of a Unix socket: sun_path with its NUL */
#define NAME_MAX_BYTES 128u

static bool parse_ip(int family, rl_str text, unsigned char out[16])
{
	char copy[INET6_ADDRSTRLEN + 1];

	if (text.n >= sizeof copy)
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	return inet_pton(family, copy, out) == 1;
}

static bool parse_port(rl_str text, uint64_t *out)
{
	return text.n <= 5 && rl_value_u64(text, out) && *out <= 65535;
}

const char *rl_rule_address(rl_str value)
{
	unsigned char ip[16];
	uint64_t port;
	rl_str host = value, rest;

	if (rl_str_starts(value, RL_STR("unix:"))) {
		size_t n = value.n - strlen("unix:");

		return n > 0 && n <= PATH_MAX_BYTES ? NULL : "unix: needs a path of 1 to 107 bytes";
	}
	while (host.n && host.p[host.n - 1] != ':')
		host.n--;
	if (!host.n)
		return "expected an address with its port, such as 127.0.0.1:8080, [::1]:8080 or unix:/run/relais.sock";
	rest = rl_str_sub(value, host.n, value.n);
	host.n--;
	if (!parse_port(rest, &port))
		return "the port must be a number from 0 to 65535";
	if (!host.n || rl_str_eq(host, RL_STR("*")))
		return "write 0.0.0.0:PORT for all IPv4 addresses of this machine, [::]:PORT for all of IPv6";
	if (host.p[0] == '[' && host.p[host.n - 1] == ']')
		return parse_ip(AF_INET6, rl_str_sub(host, 1, host.n - 2), ip) ? NULL : "not an IPv6 address";
	if (rl_str_find(host, ':') != SIZE_MAX)
		return "an IPv6 address is written in brackets, as in [::1]:8080";
	if (!rl_str_eq(host, RL_STR("localhost")) && !parse_ip(AF_INET, host, ip))
		return "expected an IP address of this machine, or localhost";
	return NULL;
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* Whether s is made of letters, digits and `others`. */
static bool made_of(rl_str s, const char *others)
{
	for (size_t i = 0; i < s.n; i++)
		if (!s.p[i] || (!is_alnum(s.p[i]) && !strchr(others, s.p[i])))
			return false;
	return s.n > 0;
}

/* host[:port] of a URL (RFC 3986 §3.2, without user information). */
static const char *authority_wrong(rl_str authority)
{
	unsigned char ip[16];
	uint64_t port = 1;
	rl_str rest;

	if (rl_str_find(authority, '@') != SIZE_MAX)
		return "a URL here holds no user or password: keys belong in api_key";
	if (authority.n && authority.p[0] == '[') {
		size_t end = rl_str_find(authority, ']');

		if (end == SIZE_MAX || !parse_ip(AF_INET6, rl_str_sub(authority, 1, end - 1), ip))
			return "not an IPv6 address in the URL";
		rest = rl_str_sub(authority, end + 1, authority.n);
	} else {
		rl_str host = rl_str_sub(authority, 0, rl_str_find(authority, ':'));

		rest = rl_str_sub(authority, host.n, authority.n);
		if (host.n > 253 || !made_of(host, "-._"))
			return host.n ? "not a host name in the URL" : "the URL needs a host";
	}
	if (rest.n && (rest.p[0] != ':' || !parse_port(rl_str_sub(rest, 1, rest.n), &port) || !port))
		return "the URL's port must be a number from 1 to 65535";
	return NULL;
}

/* pchar of RFC 3986 §3.3 and '/'. */
#define PATH_CHARACTERS "/-._~%!$&'()*+,;=:@"

/* unix:/run/model.sock:/v1, the second path being that of the API. */
static const char *unix_url_wrong(rl_str rest)
{
	size_t colon = rl_str_find(rest, ':');
	rl_str socket = rl_str_sub(rest, 0, colon);
	rl_str path = rl_str_sub(rest, colon == SIZE_MAX ? rest.n : colon + 1, rest.n);

	if (socket.n < 2 || socket.n > PATH_MAX_BYTES || socket.p[0] != '/')
		return "unix: needs an absolute path of 2 to 107 bytes, as in unix:/run/model.sock:/v1";
	if (!made_of(socket, PATH_CHARACTERS))
		return "the socket's path holds a character that is not possible here";
	if (path.n && (path.p[0] != '/' || !made_of(path, PATH_CHARACTERS)))
		return "after the socket's path comes ':' and the path of the API, as in unix:/run/model.sock:/v1";
	return NULL;
}

const char *rl_rule_url(rl_str value)
{
	rl_str rest;

	if (rl_str_starts(value, RL_STR("unix:")))
		return unix_url_wrong(rl_str_sub(value, 5, value.n));
	if (rl_str_starts(value, RL_STR("https://")))
		rest = rl_str_sub(value, 8, value.n);
	else if (rl_str_starts(value, RL_STR("http://")))
		rest = rl_str_sub(value, 7, value.n);
	else
		return "expected a URL that begins with https:// or http://, or unix:/path/of.sock:/path";
	if (rl_str_find(value, '?') != SIZE_MAX || rl_str_find(value, '#') != SIZE_MAX)
		return "a URL here has no query and no fragment";
	size_t slash = rl_str_find(rest, '/');
	const char *wrong = authority_wrong(rl_str_sub(rest, 0, slash));

	if (wrong)
		return wrong;
	if (slash != SIZE_MAX && !made_of(rl_str_sub(rest, slash, rest.n), PATH_CHARACTERS))
		return "the URL's path holds a character that must be percent-encoded";
	return NULL;
}

const char *rl_rule_cidr(rl_str value)
{
	static const char wrong[] = "expected a network such as 10.0.0.0/8 or fd00::/8";
	unsigned char ip[16];
	size_t slash = rl_str_find(value, '/');
	rl_str address = rl_str_sub(value, 0, slash);
	uint64_t bits;

	if (slash == SIZE_MAX || !rl_value_u64(rl_str_sub(value, slash + 1, value.n), &bits))
		return wrong;
	if (parse_ip(AF_INET, address, ip))
		return bits <= 32 ? NULL : "an IPv4 network has at most 32 bits";
	if (parse_ip(AF_INET6, address, ip))
		return bits <= 128 ? NULL : "an IPv6 network has at most 128 bits";
	return wrong;
}

/* As browsers serialise it (RFC 6454 §6.2; default ports of WHATWG URL): it is compared byte by byte. */
const char *rl_rule_origin(rl_str value)
{
	static const char wrong[] = "expected an origin such as https://app.example or http://localhost:3000, or '*'";
	size_t colon = rl_str_find(value, ':');
	rl_str scheme = rl_str_sub(value, 0, colon), rest = rl_str_sub(value, colon, value.n);

	if (rl_str_eq(value, RL_STR("*")))
		return NULL;
	if (rl_str_eq(value, RL_STR("null")))
		return "'null' is what every sandboxed page and local file calls itself: nobody can be told by it";
	if (colon == SIZE_MAX || !rl_str_starts(rest, RL_STR("://")) || !made_of(scheme, "+-."))
		return wrong;
	rest = rl_str_sub(rest, 3, rest.n);
	if (rl_str_find(rest, '/') != SIZE_MAX)
		return "an origin ends with its host or port: no slash and no path";
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] >= 'A' && value.p[i] <= 'Z')
			return "an origin is written in lower case, as browsers send it";
	if (rl_str_find(rest, '*') != SIZE_MAX)
		return "an origin is written out: '*' stands alone, for all of them";
	if ((rl_str_eq(scheme, RL_STR("https")) && rl_str_ends(rest, RL_STR(":443"))) ||
	    (rl_str_eq(scheme, RL_STR("http")) && rl_str_ends(rest, RL_STR(":80"))))
		return "browsers leave the default port out of an origin";
	return authority_wrong(rest) ? wrong : NULL;
}

const char *rl_rule_header_name(rl_str value)
{
	/* Those of the connection (RFC 9110 §7.6.1), and those that frame or address the message. */
	static const rl_str reserved[] = {
		RL_STR_INIT("connection"),
		RL_STR_INIT("keep-alive"),
		RL_STR_INIT("proxy-connection"),
		RL_STR_INIT("te"),
		RL_STR_INIT("trailer"),
		RL_STR_INIT("transfer-encoding"),
		RL_STR_INIT("upgrade"),
		RL_STR_INIT("host"),
		RL_STR_INIT("content-length"),
		RL_STR_INIT("expect"),
		RL_STR_INIT("proxy-authenticate"),
		RL_STR_INIT("proxy-authorization"),
		RL_STR_INIT("http2-settings"),
	};

	/* token of RFC 9110 §5.6.2 */
	if (!made_of(value, "!#$%&'*+-.^_`|~") || value.n > NAME_MAX_BYTES)
		return "not a header name";
	for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
		if (rl_str_ieq(value, reserved[i]))
			return "this header belongs to the connection and is the gateway's own";
	return NULL;
}

const char *rl_rule_header_value(rl_str value)
{
	for (size_t i = 0; i < value.n; i++)
		if (((unsigned char)value.p[i] < 0x20 && value.p[i] != '\t') || value.p[i] == 0x7F)
			return "a header's value holds no line ends or control characters";
	if (rl_str_trim(value).n != value.n)
		return "a header's value does not begin or end with a space";
	return NULL;
}

const char *rl_rule_body_name(rl_str value)
{
	if (!value.n || value.n > NAME_MAX_BYTES)
		return "a member's name has 1 to 128 bytes";
	if (rl_str_eq(value, RL_STR("model")) || rl_str_eq(value, RL_STR("stream")))
		return "this member is the gateway's own: 'model' comes from the target, 'stream' from the client";
	return NULL;
}

const char *rl_rule_name(rl_str value)
{
	return made_of(value, "_.-") && value.n <= NAME_MAX_BYTES
		       ? NULL
		       : "a name is made of 1 to 128 letters, digits, '_', '.' and '-'";
}

const char *rl_rule_model_name(rl_str value)
{
	return made_of(value, "_.-:/@+") && value.n <= NAME_MAX_BYTES
		       ? NULL
		       : "a model's name is made of 1 to 128 letters, digits and '_.-:/@+'";
}

const char *rl_rule_key_hash(struct rl_arena *arena, rl_str text, void *field)
{
	unsigned char *out = field;
	rl_str hex = rl_str_sub(text, strlen("sha256:"), text.n);

	(void)arena;
	if (!rl_str_starts(text, RL_STR("sha256:")))
		return "expected the key's hash (sha256: and 64 hex digits), not the key: `relais keys hash` makes one";
	if (hex.n != 64)
		return "sha256: must be followed by 64 hex digits (`relais keys hash` makes them)";
	for (size_t i = 0; i < 32; i++) {
		int high = rl_hex_digit(hex.p[2 * i]), low = rl_hex_digit(hex.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return "sha256: must be followed by 64 hex digits (`relais keys hash` makes them)";
		out[i] = (unsigned char)(high << 4 | low);
	}
	return NULL;
}

const char *rl_rule_mode(struct rl_arena *arena, rl_str text, void *field)
{
	uint32_t mode = 0;

	(void)arena;
	if (text.n < 3 || text.n > 4 || (text.n == 4 && text.p[0] != '0'))
		return "expected permissions as three octal digits, such as 0660";
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '7')
			return "expected permissions as three octal digits, such as 0660";
		mode = mode << 3 | (uint32_t)(text.p[i] - '0');
	}
	*(uint32_t *)field = mode;
	return NULL;
}
