/* SPDX-License-Identifier: Apache-2.0 */
/* See fault.h: names of the classes, and which of them another target may cure. */
#include "message/fault.h"

#include <assert.h>

static const struct {
	const char *name;
	bool failover;
} classes[RL_FAULT_CLASS_COUNT] = {
#define X(id, text, again) [RL_FAULT_##id] = {text, again},
	RL_FAULT_CLASSES(X)
#undef X
};

const char *rl_fault_class_name(enum rl_fault_class cls)
{
	assert((unsigned)cls < RL_FAULT_CLASS_COUNT);
	return classes[cls].name;
}

rl_str rl_fault_class_code(enum rl_fault_class cls)
{
	switch (cls) {
	case RL_FAULT_CONTEXT_LENGTH:
		return RL_STR("context_length_exceeded");
	case RL_FAULT_CONTENT_FILTER:
		return RL_STR("content_filter");
	case RL_FAULT_NOT_FOUND:
		return RL_STR("model_not_found");
	default:
		return rl_str_make(NULL, 0);
	}
}

bool rl_fault_class_failover(enum rl_fault_class cls)
{
	assert((unsigned)cls < RL_FAULT_CLASS_COUNT);
	return classes[cls].failover;
}
