/* SPDX-License-Identifier: Apache-2.0 */
/* The names of the message's enums are complete and distinct; the codecs' marks are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "message/event.h"

#define assert_names(function, type, count)                                            \
	for (unsigned i = 0; i < (count); i++) {                                       \
		assert_true(strlen(function((type)i)) > 0);                            \
		for (unsigned k = 0; k < i; k++)                                       \
			assert_string_not_equal(function((type)i), function((type)k)); \
	}

static void names_are_distinct(void **state)
{
	(void)state;
	assert_names(rl_fault_class_name, enum rl_fault_class, RL_FAULT_CLASS_COUNT);
	assert_names(rl_role_name, enum rl_role, RL_ROLE_COUNT);
	assert_names(rl_part_kind_name, enum rl_part_kind, RL_PART_COUNT);
	assert_names(rl_tool_kind_name, enum rl_tool_kind, RL_TOOL_KIND_COUNT);
	assert_names(rl_finish_name, enum rl_finish, RL_FINISH_COUNT);
	assert_names(rl_event_kind_name, enum rl_event_kind, RL_EVENT_COUNT);
}

static void finish_words(void **state)
{
	(void)state;
	assert_int_equal(rl_finish_parse(RL_STR("")), RL_FINISH_NONE);
	assert_int_equal(rl_finish_parse(RL_STR("stop")), RL_FINISH_STOP);
	assert_int_equal(rl_finish_parse(RL_STR("length")), RL_FINISH_LENGTH);
	assert_int_equal(rl_finish_parse(RL_STR("content_filter")), RL_FINISH_CONTENT_FILTER);
	assert_int_equal(rl_finish_parse(RL_STR("error")), RL_FINISH_ERROR);
	assert_int_equal(rl_finish_parse(RL_STR("insufficient_system_resource")), RL_FINISH_OTHER);
	/* Our own words for the absence of one are no provider's. */
	assert_int_equal(rl_finish_parse(RL_STR("none")), RL_FINISH_OTHER);
	assert_int_equal(rl_finish_parse(RL_STR("other")), RL_FINISH_OTHER);
}

static void which_classes_fail_over(void **state)
{
	(void)state;
	assert_true(rl_fault_class_failover(RL_FAULT_RATE_LIMIT));
	assert_true(rl_fault_class_failover(RL_FAULT_AUTH));
	assert_true(rl_fault_class_failover(RL_FAULT_INVALID_RESPONSE));
	assert_false(rl_fault_class_failover(RL_FAULT_BAD_REQUEST));
	assert_false(rl_fault_class_failover(RL_FAULT_CONTEXT_LENGTH));
	assert_false(rl_fault_class_failover(RL_FAULT_CANCELLED));
}

static void marks(void **state)
{
	uint64_t bits[RL_CODEC_CHOICES_MAX / 64] = {0};

	(void)state;
	for (uint32_t i = 0; i < RL_CODEC_CHOICES_MAX; i++) {
		assert_false(rl_codec_marked(bits, i));
		assert_false(rl_codec_mark(bits, i));
		assert_true(rl_codec_mark(bits, i));
	}
	assert_true(rl_codec_mark(bits, RL_CODEC_CHOICES_MAX));
	assert_true(rl_codec_marked(bits, UINT32_MAX));
}

static void encoder_holds_nothing_at_first(void **state)
{
	struct rl_encoder codec;

	(void)state;
	rl_encoder_init(&codec, 1, true);
	assert_null(codec.head.p);
	assert_null(codec.usage.p);
	rl_encoder_fini(&codec);
	rl_encoder_fini(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_distinct),
		cmocka_unit_test(finish_words),
		cmocka_unit_test(which_classes_fail_over),
		cmocka_unit_test(marks),
		cmocka_unit_test(encoder_holds_nothing_at_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
