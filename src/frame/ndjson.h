/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Newline-delimited JSON (application/x-ndjson): every line is an event. A line
 * without text is one without data, so that the raw bytes of all events are the
 * bytes of the stream.
 */
#ifndef RL_FRAME_NDJSON_H
#define RL_FRAME_NDJSON_H

#include "frame/carry.h"
#include "frame/sse.h"

/* As rl_sse_next. */
enum rl_err rl_ndjson_next(struct rl_carry *carry, struct rl_sse_event *out) RL_MUST_CHECK;
/* As rl_frames_last: a last line may lack its newline. */
enum rl_err rl_ndjson_last(struct rl_carry *carry, struct rl_sse_event *out) RL_MUST_CHECK;

#endif
