/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rule of paths on any bytes: what it takes must mean the same to a party that decodes it once, twice, or
 * normalises it before or after: no dot segment, no slash, backslash or NUL appears by decoding, and decoding twice
 * changes nothing more. A route that is found must be one of the table.
 */
#include <stdint.h>
#include <stdlib.h>

#include "pipeline/route.h"
#include "policy/path_rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static size_t decode(const char *in, size_t n, char *out)
{
	size_t m = 0;

	for (size_t i = 0; i < n; i++) {
		if (in[i] == '%' && i + 2 < n && hex(in[i + 1]) >= 0 && hex(in[i + 2]) >= 0) {
			out[m++] = (char)(hex(in[i + 1]) * 16 + hex(in[i + 2]));
			i += 2;
		} else {
			out[m++] = in[i];
		}
	}
	return m;
}

static size_t count(rl_str text, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += text.p[i] == c;
	return n;
}

static void check(rl_str path)
{
	char *once = malloc(path.n + 1), *twice = malloc(path.n + 1);

	must(once && twice);
	rl_str text = rl_str_make(once, decode(path.p, path.n, once));

	must(decode(text.p, text.n, twice) == text.n);
	must(count(text, '/') == count(path, '/') && !count(text, '\\') && !count(text, '\0') && !count(text, ';'));
	for (rl_str rest = rl_str_sub(text, 1, SIZE_MAX); rest.p;) {
		rl_str segment = rl_str_cut(&rest, '/');

		must(!rl_str_eq(segment, RL_STR(".")) && !rl_str_eq(segment, RL_STR("..")) && (segment.n || !rest.p));
	}
	free(once);
	free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	rl_str path = rl_str_make(data, size);
	unsigned allowed;
	const struct rl_route *route = rl_route_find(RL_METHOD_GET, path, &allowed);

	if (!rl_path_refused(path))
		check(path);
	if (route)
		must(rl_str_starts(path, route->path));
	if (!rl_query_refused(path))
		must(!memchr(size ? (const char *)data : "", '\n', size));
	return 0;
}
