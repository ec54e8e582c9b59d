/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of what stands on a snapshot: one made from the text of a configuration, with its live state. */
#ifndef POLICY_KIT_H
#define POLICY_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "app/setup.h"
#include "policy/snapshot.h"

static inline struct rl_config *kit_config(const char *text)
{
	struct rl_config *config = NULL;
	struct rl_buf report;

	rl_buf_init(&report, RL_SETUP_REPORT_MAX);
	enum rl_err err = rl_config_parse(rl_str_of(text), "test.yaml", rl_setup_names(), &report, &config);

	if (err)
		fprintf(stderr, "%.*s", RL_STR_ARG(rl_buf_str(&report)));
	rl_buf_fini(&report);
	assert_int_equal(err, RL_OK);
	return config;
}

static inline struct rl_snapshot *kit_snapshot(const char *text, struct rl_live *live)
{
	struct rl_config *config = kit_config(text);
	struct rl_snapshot *snapshot = NULL;
	struct rl_buf report;

	rl_buf_init(&report, RL_SETUP_REPORT_MAX);
	enum rl_err err = rl_snapshot_new(&config, live, RL_STR("relais-test"), 1, &report, &snapshot);

	if (err)
		fprintf(stderr, "%.*s", RL_STR_ARG(rl_buf_str(&report)));
	rl_buf_fini(&report);
	assert_int_equal(err, RL_OK);
	return snapshot;
}

static inline struct rl_live *kit_live(void)
{
	struct rl_live *live = NULL;

	assert_int_equal(rl_live_new(&live), RL_OK);
	return live;
}

#define assert_str(got, want)                                                                     \
	do {                                                                                      \
		rl_str got_ = (got), want_ = rl_str_of(want);                                     \
		if (!rl_str_eq(got_, want_))                                                      \
			fail_msg("'%.*s' is not '%s'", RL_STR_ARG(got_), want_.p ? want_.p : ""); \
	} while (0)

#endif
