/* SPDX-License-Identifier: Apache-2.0 */
/* See origin_rule.h. */
#include "policy/origin_rule.h"

#include "http/h1_parse.h"

static rl_str host_of(rl_str authority)
{
	size_t end;

	if (authority.n && authority.p[0] == '[') {
		end = rl_str_find(authority, ']');
		return end == SIZE_MAX ? authority : rl_str_sub(authority, 0, end + 1);
	}
	end = rl_str_find(authority, ':');
	return rl_str_sub(authority, 0, end == SIZE_MAX ? authority.n : end);
}

static bool is_v4_loopback(rl_str host)
{
	unsigned dots = 0;

	for (size_t i = 0; i < host.n; i++) {
		if (host.p[i] == '.')
			dots++;
		else if (host.p[i] < '0' || host.p[i] > '9')
			return false;
	}
	return dots == 3 && rl_str_starts(host, RL_STR("127."));
}

bool rl_authority_is_loopback(rl_str authority)
{
	rl_str host = host_of(authority);

	if (rl_str_ieq(host, RL_STR("localhost")) || rl_str_eq(host, RL_STR("[::1]")) || is_v4_loopback(host))
		return true;
	return host.n > 10 && strncasecmp(host.p + host.n - 10, ".localhost", 10) == 0;
}

/* "https://name:port" (RFC 6454 §6.1); "null" and whatever else has none. */
static rl_str authority_of(rl_str origin)
{
	size_t colon = rl_str_find(origin, ':');
	rl_str rest = rl_str_sub(origin, colon, SIZE_MAX);

	return rl_str_starts(rest, RL_STR("://")) ? rl_str_sub(rest, 3, SIZE_MAX) : (rl_str){NULL, 0};
}

const char *rl_open_listener_refuses(const struct rl_request_head *head, bool host_bound, bool allowed)
{
	const struct rl_header *origin = rl_headers_get(&head->headers, RL_H_ORIGIN);
	rl_str site = rl_headers_value(&head->headers, RL_H_SEC_FETCH_SITE);

	if (host_bound && head->authority.n && !rl_authority_is_loopback(head->authority))
		return "This listener asks for no key and therefore answers only to loopback names in Host. Use "
		       "127.0.0.1 or localhost, or configure client keys.";
	if (allowed)
		return NULL;
	if (rl_str_eq(site, RL_STR("cross-site")))
		return "This listener asks for no key and therefore refuses requests made by web pages of other sites.";
	if (!origin)
		return NULL;
	rl_str authority = authority_of(origin->value);

	if (rl_h1_authority_ok(authority) &&
	    (rl_authority_is_loopback(authority) || rl_str_ieq(authority, head->authority)))
		return NULL;
	return "This listener asks for no key and therefore refuses requests made by web pages of other sites.";
}
