/* SPDX-License-Identifier: Apache-2.0 */
/* See clock.h. The calendar part of the last second is kept per thread: a log line then costs three digits. */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

static _Thread_local struct {
	uint64_t second;
	char text[RL_CLOCK_RFC3339_LEN + 1];
} last;

static void put_digits(char *at, int width, unsigned v)
{
	for (int i = width - 1; i >= 0; i--, v /= 10)
		at[i] = (char)('0' + v % 10);
}

void rl_clock_rfc3339(uint64_t wall_us, char out[RL_CLOCK_RFC3339_LEN + 1])
{
	uint64_t second = wall_us / 1000000u;

	if (second != last.second || !last.text[0]) {
		time_t t = (time_t)second;
		struct tm tm;

		gmtime_r(&t, &tm);
		memcpy(last.text, "0000-00-00T00:00:00.000Z", RL_CLOCK_RFC3339_LEN + 1);
		put_digits(last.text, 4, (unsigned)tm.tm_year + 1900u);
		put_digits(last.text + 5, 2, (unsigned)tm.tm_mon + 1u);
		put_digits(last.text + 8, 2, (unsigned)tm.tm_mday);
		put_digits(last.text + 11, 2, (unsigned)tm.tm_hour);
		put_digits(last.text + 14, 2, (unsigned)tm.tm_min);
		put_digits(last.text + 17, 2, (unsigned)tm.tm_sec);
		last.second = second;
	}
	memcpy(out, last.text, RL_CLOCK_RFC3339_LEN + 1);
	put_digits(out + 20, 3, (unsigned)(wall_us / 1000u % 1000u));
}
