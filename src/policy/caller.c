/* SPDX-License-Identifier: Apache-2.0 */
/* See caller.h. */
#include "policy/caller.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/random.h"
#include "loop/dns.h"

static bool all_on_loopback(const struct rl_cfg_server *server)
{
	for (size_t i = 0; i < server->n_listen; i++) {
		rl_str address = server->listen[i].address;
		struct rl_addr addr;

		if (rl_str_starts(address, RL_STR("unix:")))
			continue;
		if (rl_addr_parse(address, &addr) == RL_OK ? !rl_addr_is_loopback(&addr)
							   : !rl_str_starts(address, RL_STR("localhost:")))
			return false;
	}
	return true;
}

void rl_callers_init(struct rl_callers *callers, const struct rl_config *config)
{
	callers->list = config->clients;
	callers->n = config->n_clients;
	callers->open = config->server.auth == RL_CFG_AUTH_NONE ||
			(config->server.auth == RL_CFG_AUTH_AUTO && config->n_clients == 0);
	callers->host_bound = callers->open && all_on_loopback(&config->server);
}

const struct rl_cfg_client *rl_callers_find(const struct rl_callers *callers, rl_str presented)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	const struct rl_cfg_client *found = NULL;

	if (!presented.n)
		return NULL;
	SHA256((const unsigned char *)presented.p, presented.n, digest);
	for (size_t i = 0; i < callers->n; i++)
		if (CRYPTO_memcmp(digest, callers->list[i].key_sha256, sizeof digest) == 0)
			found = &callers->list[i]; /* and go on: all are compared */
	return found;
}

bool rl_caller_may_use(const struct rl_cfg_client *client, rl_str model)
{
	if (!client || !client->n_models)
		return true;
	for (size_t i = 0; i < client->n_models; i++)
		if (rl_str_eq(client->models[i], model))
			return true;
	return false;
}

bool rl_caller_may_pass(const struct rl_cfg_client *client)
{
	return !client || !client->n_models || client->passthrough;
}

bool rl_caller_secret_is(struct rl_secret right, rl_str presented)
{
	unsigned char a[SHA256_DIGEST_LENGTH], b[SHA256_DIGEST_LENGTH];
	rl_str text = rl_secret_reveal(right);

	if (!text.n)
		return false;
	SHA256((const unsigned char *)text.p, text.n, a);
	SHA256((const unsigned char *)(presented.n ? presented.p : ""), presented.n, b);
	return CRYPTO_memcmp(a, b, sizeof a) == 0;
}

rl_str rl_caller_bearer(rl_str authorization)
{
	if (authorization.n < 8 || strncasecmp(authorization.p, "Bearer ", 7) != 0)
		return (rl_str){NULL, 0};
	return rl_str_trim(rl_str_sub(authorization, 7, SIZE_MAX));
}

void rl_caller_new_key(char out[RL_CLIENT_KEY_LEN + 1])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned char bytes[33] = {0};

	rl_random_bytes(bytes, 32);
	memcpy(out, "rl-", 3);
	for (size_t i = 0; i < 43; i++) {
		size_t bit = i * 6, at = bit / 8, shift = bit % 8;
		unsigned pair = (unsigned)bytes[at] << 8 | bytes[at + 1];
		out[3 + i] = digits[pair >> (10 - shift) & 63];
	}
	out[RL_CLIENT_KEY_LEN] = '\0';
	OPENSSL_cleanse(bytes, sizeof bytes);
}

void rl_caller_hash(rl_str key, char out[RL_CLIENT_HASH_LEN + 1])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char digest[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)key.p, key.n, digest);
	memcpy(out, "sha256:", 7);
	for (size_t i = 0; i < sizeof digest; i++) {
		out[7 + 2 * i] = hex[digest[i] >> 4];
		out[8 + 2 * i] = hex[digest[i] & 15];
	}
	out[RL_CLIENT_HASH_LEN] = '\0';
}
