/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol's parser: whatever arrives, it never reads beyond it (the bytes stand in a heap block of
 * exactly their size), keeps its bounds, and says the same of any cut: good so far until the head is whole, then the
 * same head however much follows.
 */
#include <stdlib.h>

#include "net/proxy_protocol.h"

static void check(int ok)
{
	if (!ok)
		abort();
}

static enum rl_err parse(const unsigned char *data, size_t n, struct rl_proxy_head *out)
{
	char *copy = malloc(n ? n : 1);

	check(copy != NULL);
	if (n)
		memcpy(copy, data, n);
	enum rl_err err = rl_proxy_parse(rl_str_make(copy, n), out);

	free(copy);
	return err;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct rl_proxy_head whole, part;
	enum rl_err err = parse(data, size, &whole);

	check(err == RL_OK || err == RL_ERR_AGAIN || err == RL_ERR_SYNTAX);
	check(err != RL_ERR_AGAIN || size < RL_PROXY_BYTES_MAX);
	if (err == RL_OK) {
		check(whole.n > 0 && whole.n <= size && whole.n <= RL_PROXY_BYTES_MAX);
		check(!whole.named || rl_addr_is_loopback(&whole.peer) || whole.peer.len > 0);
		for (size_t n = 0; n < whole.n; n++)
			check(parse(data, n, &part) == RL_ERR_AGAIN);
		check(parse(data, whole.n, &part) == RL_OK && part.n == whole.n && part.named == whole.named);
	} else if (err == RL_ERR_SYNTAX && size > 0) {
		/* A head that is no good does not become good by cutting it. */
		check(parse(data, size - 1, &part) != RL_OK);
	} else if (err == RL_ERR_AGAIN && size > 0) {
		check(parse(data, size - 1, &part) == RL_ERR_AGAIN);
	}
	return 0;
}
