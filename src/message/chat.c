/* SPDX-License-Identifier: Apache-2.0 */
/* See chat.h and finish.h: the names of roles, parts, tools and finish reasons. */
#include "message/chat.h"

#include <assert.h>

static const char *const role_names[RL_ROLE_COUNT] = {
#define X(id, name) [RL_ROLE_##id] = name,
	RL_ROLES(X)
#undef X
};

static const char *const part_names[RL_PART_COUNT] = {
#define X(id, name) [RL_PART_##id] = name,
	RL_PARTS(X)
#undef X
};

static const char *const tool_kind_names[RL_TOOL_KIND_COUNT] = {
#define X(id, name) [RL_TOOL_KIND_##id] = name,
	RL_TOOL_KINDS(X)
#undef X
};

static const rl_str finish_names[RL_FINISH_COUNT] = {
#define X(id, name) [RL_FINISH_##id] = RL_STR_INIT(name),
	RL_FINISHES(X)
#undef X
};

const char *rl_role_name(enum rl_role role)
{
	assert((unsigned)role < RL_ROLE_COUNT);
	return role_names[role];
}

const char *rl_part_kind_name(enum rl_part_kind kind)
{
	assert((unsigned)kind < RL_PART_COUNT);
	return part_names[kind];
}

const char *rl_tool_kind_name(enum rl_tool_kind kind)
{
	assert((unsigned)kind < RL_TOOL_KIND_COUNT);
	return tool_kind_names[kind];
}

const char *rl_finish_name(enum rl_finish finish)
{
	assert((unsigned)finish < RL_FINISH_COUNT);
	return finish_names[finish].p;
}

enum rl_finish rl_finish_parse(rl_str name)
{
	if (!name.n)
		return RL_FINISH_NONE;
	/* NONE and OTHER are our words: a provider that says them says something we do not know. */
	for (unsigned i = RL_FINISH_STOP; i < RL_FINISH_OTHER; i++)
		if (rl_str_eq(name, finish_names[i]))
			return (enum rl_finish)i;
	return RL_FINISH_OTHER;
}
