/* SPDX-License-Identifier: Apache-2.0 */
/* `relais keys`: client keys and their hashes. A key is printed once, here, and stored nowhere. */
#include <stdio.h>
#include <unistd.h>

#include "app/command.h"
#include "policy/caller.h"

static int print_key(const char *name, const char *key, const char *hash)
{
	if (key)
		printf("%s%s\n", isatty(STDOUT_FILENO) || name ? "# the key, shown only now: " : "", key);
	if (name)
		printf("clients:\n  %s: { key: \"%s\" }\n", name, hash);
	else
		printf("%s\n", hash);
	return RL_EXIT_OK;
}

static int hash_input(const char *name)
{
	char line[4096], hash[RL_CLIENT_HASH_LEN + 1];

	if (!fgets(line, sizeof line, stdin)) {
		fprintf(stderr, "relais: no key on standard input\n");
		return RL_EXIT_USAGE;
	}
	rl_str key = rl_str_make(line, strcspn(line, "\r\n"));

	if (key.n < 16) {
		fprintf(stderr,
			"relais: a client key of fewer than 16 characters is too easy to guess; use 'relais keys new'\n");
		return RL_EXIT_USAGE;
	}
	rl_caller_hash(key, hash);
	return print_key(name, NULL, hash);
}

int rl_cmd_keys(const struct rl_args *args)
{
	const char *what = args->n_words ? args->words[0] : "", *name = args->values[0];
	char key[RL_CLIENT_KEY_LEN + 1], hash[RL_CLIENT_HASH_LEN + 1];

	if (strcmp(what, "hash") == 0)
		return hash_input(name);
	if (strcmp(what, "new") != 0) {
		fprintf(stderr, "relais: 'keys' takes 'new' or 'hash'\n");
		return RL_EXIT_USAGE;
	}
	rl_caller_new_key(key);
	rl_caller_hash(rl_str_of(key), hash);
	return print_key(name, key, hash);
}
