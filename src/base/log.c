/* SPDX-License-Identifier: Apache-2.0 */
/* See log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static _Atomic int current = RL_LOG_INFO;

static const struct {
	const char *name, *colour;
} levels[] = {
	[RL_LOG_ERROR] = {"error", "\033[31m"},
	[RL_LOG_WARN] = {"warn", "\033[33m"},
	[RL_LOG_INFO] = {"info", "\033[36m"},
	[RL_LOG_DEBUG] = {"debug", "\033[90m"},
};

void rl_log_set_level(enum rl_log_level level)
{
	atomic_store_explicit(&current, (int)level, memory_order_relaxed);
}

enum rl_log_level rl_log_level(void)
{
	return (enum rl_log_level)atomic_load_explicit(&current, memory_order_relaxed);
}

int rl_log_level_parse(const char *name)
{
	for (int i = 0; i < (int)(sizeof levels / sizeof levels[0]); i++)
		if (strcmp(levels[i].name, name) == 0)
			return i;
	return -1;
}

void rl_log_write(enum rl_log_level level, const char *room, const char *format, ...)
{
	char text[2048], line[4096], when[RL_CLOCK_RFC3339_LEN + 1];
	bool colour = isatty(STDERR_FILENO);
	va_list ap;

	va_start(ap, format);
	int made = vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	if (made < 0)
		return;

	rl_clock_rfc3339(rl_clock_wall_us(), when);
	int head = snprintf(line, sizeof line, "%s %s%-5s%s %s: ", when, colour ? levels[level].colour : "",
			    levels[level].name, colour ? "\033[0m" : "", room);
	size_t at = (size_t)head;

	for (const unsigned char *c = (const unsigned char *)text; *c && at < sizeof line - 6; c++) {
		if (*c < 0x20 || *c == 0x7F)
			at += (size_t)snprintf(line + at, 5, "\\x%02x", *c);
		else
			line[at++] = (char)*c;
	}
	line[at++] = '\n';
	ssize_t ignored = write(STDERR_FILENO, line, at);
	(void)ignored; /* nowhere left to complain */
}
