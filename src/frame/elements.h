/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The elements of one JSON array that arrives in pieces, each an event (Gemini's
 * streamGenerateContent without alt=sse). Only strings and brackets are looked at,
 * to see where an element ends: whether it is valid JSON is for its reader to say.
 */
#ifndef RL_FRAME_ELEMENTS_H
#define RL_FRAME_ELEMENTS_H

#include "frame/carry.h"
#include "frame/sse.h"

struct rl_elements {
	struct rl_carry carry;
	unsigned state;
	bool in_string, escaped;
	uint32_t depth; /* open brackets of the element */
	size_t before;  /* bytes of the raw text that stand before the element: commas and white space */
	size_t length;  /* bytes of the element so far */
};

void rl_elements_init(struct rl_elements *elements, size_t max_event_bytes);
/* As rl_sse_next. SYNTAX: it is no array, or its elements are not parted by commas. */
enum rl_err rl_elements_next(struct rl_elements *elements, struct rl_sse_event *out) RL_MUST_CHECK;
/* As rl_frames_last: AGAIN when the array was closed, SYNTAX when it was cut. */
enum rl_err rl_elements_last(const struct rl_elements *elements) RL_MUST_CHECK;

#endif
