/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's own log (not the access log): one line an event to standard
 * error, coloured only on a terminal. Never on the path of a request that goes
 * well. Control bytes in arguments are escaped, so that a hostile name cannot
 * forge a line (FAULTS 91).
 */
#ifndef RL_BASE_LOG_H
#define RL_BASE_LOG_H

enum rl_log_level { RL_LOG_ERROR, RL_LOG_WARN, RL_LOG_INFO, RL_LOG_DEBUG };

void rl_log_set_level(enum rl_log_level level);
enum rl_log_level rl_log_level(void);
/* "error", "warn", "info", "debug" to the level; -1 if none of them. */
int rl_log_level_parse(const char *name);

/* Thread-safe; one write(2) a line. `room` names where it comes from. */
void rl_log_write(enum rl_log_level level, const char *room, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define RL_LOG_(level, room, ...)                               \
	do {                                                    \
		if ((level) <= rl_log_level())                  \
			rl_log_write(level, room, __VA_ARGS__); \
	} while (0)
#define RL_ERROR(room, ...) RL_LOG_(RL_LOG_ERROR, room, __VA_ARGS__)
#define RL_WARN(room, ...) RL_LOG_(RL_LOG_WARN, room, __VA_ARGS__)
#define RL_INFO(room, ...) RL_LOG_(RL_LOG_INFO, room, __VA_ARGS__)
#define RL_DEBUG(room, ...) RL_LOG_(RL_LOG_DEBUG, room, __VA_ARGS__)

#endif
