/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One finished request as one line of JSON. All keys are always there, in this order;
 * what is not known is null. Text of strangers is cut to the bounds below and escaped,
 * so that a line is a line, valid UTF-8, and inert on a terminal (FAULTS 91).
 */
#ifndef RL_OBSERVE_ACCESS_LINE_H
#define RL_OBSERVE_ACCESS_LINE_H

#include "base/buf.h"
#include "observe/record.h"

/* The most that is kept, in bytes before escaping; in attempts, the first ones. */
#define RL_LINE_PATH_MAX 1024u
#define RL_LINE_NAME_MAX 256u
#define RL_LINE_TEXT_MAX 512u
#define RL_LINE_ATTEMPTS_MAX 32u
/* No line is longer: every text at its bound and every byte escaped. */
#define RL_LINE_MAX (256u * 1024u)

/* Appends the line with its line feed. A buffer with max_bytes - n >= RL_LINE_MAX fails only without memory. */
void rl_access_line(const struct rl_record *record, struct rl_buf *out);

#endif
