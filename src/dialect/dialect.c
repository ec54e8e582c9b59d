/* SPDX-License-Identifier: Apache-2.0 */
/* The list of dialects: a new one is its file and one line here. */
#include "dialect/dialect.h"

#include <assert.h>

extern const struct rl_dialect rl_dialect_anthropic;
extern const struct rl_dialect rl_dialect_gemini;
extern const struct rl_dialect rl_dialect_openai;
extern const struct rl_dialect rl_dialect_ollama;
extern const struct rl_dialect rl_dialect_responses;

const struct rl_dialect *const rl_dialects[] = {
	&rl_dialect_openai, &rl_dialect_anthropic, &rl_dialect_ollama, &rl_dialect_responses, &rl_dialect_gemini, NULL,
};

static const char *const operation_names[RL_OP_COUNT] = {
#define X(id, name) [RL_OP_##id] = name,
	RL_OPERATIONS(X)
#undef X
};

const char *rl_operation_name(enum rl_operation op)
{
	assert((unsigned)op < RL_OP_COUNT);
	return operation_names[op];
}

const struct rl_dialect *rl_dialect_find(rl_str name)
{
	for (size_t i = 0; rl_dialects[i]; i++)
		if (rl_str_eq(name, rl_dialects[i]->name))
			return rl_dialects[i];
	return NULL;
}
