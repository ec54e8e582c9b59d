/* SPDX-License-Identifier: Apache-2.0 */
/* See frames.h. */
#include "frame/frames.h"

rl_str rl_framing_type(enum rl_framing framing)
{
	switch (framing) {
	case RL_FRAMING_SSE:
		return RL_STR("text/event-stream");
	case RL_FRAMING_NDJSON:
		return RL_STR("application/x-ndjson");
	case RL_FRAMING_EVENTSTREAM:
		return RL_STR("application/vnd.amazon.eventstream");
	case RL_FRAMING_ARRAY:
		return RL_STR("application/json");
	}
	return RL_STR("");
}

void rl_frames_init(struct rl_frames *frames, enum rl_framing framing, size_t max_event_bytes)
{
	*frames = (struct rl_frames){.framing = framing};
	switch (framing) {
	case RL_FRAMING_SSE:
		rl_sse_init(&frames->sse, max_event_bytes);
		break;
	case RL_FRAMING_NDJSON:
		rl_carry_init(&frames->lines, max_event_bytes);
		break;
	case RL_FRAMING_EVENTSTREAM:
		rl_eventstream_init(&frames->messages, max_event_bytes);
		break;
	case RL_FRAMING_ARRAY:
		rl_elements_init(&frames->elements, max_event_bytes);
		break;
	}
}

void rl_frames_fini(struct rl_frames *frames)
{
	if (!frames)
		return;
	switch (frames->framing) {
	case RL_FRAMING_SSE:
		rl_sse_fini(&frames->sse);
		break;
	case RL_FRAMING_NDJSON:
		rl_carry_fini(&frames->lines);
		break;
	case RL_FRAMING_EVENTSTREAM:
		rl_eventstream_fini(&frames->messages);
		break;
	case RL_FRAMING_ARRAY:
		rl_carry_fini(&frames->elements.carry);
		break;
	}
}

void rl_frames_feed(struct rl_frames *frames, rl_str piece)
{
	switch (frames->framing) {
	case RL_FRAMING_SSE:
		rl_sse_feed(&frames->sse, piece);
		break;
	case RL_FRAMING_NDJSON:
		rl_carry_feed(&frames->lines, piece);
		break;
	case RL_FRAMING_EVENTSTREAM:
		rl_carry_feed(&frames->messages.carry, piece);
		break;
	case RL_FRAMING_ARRAY:
		rl_carry_feed(&frames->elements.carry, piece);
		break;
	}
}

enum rl_err rl_frames_next(struct rl_frames *frames, struct rl_sse_event *out)
{
	switch (frames->framing) {
	case RL_FRAMING_SSE:
		return rl_sse_next(&frames->sse, out);
	case RL_FRAMING_NDJSON:
		return rl_ndjson_next(&frames->lines, out);
	case RL_FRAMING_EVENTSTREAM:
		return rl_eventstream_next(&frames->messages, out);
	case RL_FRAMING_ARRAY:
		return rl_elements_next(&frames->elements, out);
	}
	return RL_ERR_UNSUPPORTED;
}

/* The blank line that is missing. */
static enum rl_err last_sse(struct rl_sse *sse, struct rl_sse_event *out)
{
	if (!rl_sse_rest(sse).n)
		return RL_ERR_AGAIN;
	rl_sse_feed(sse, RL_STR("\n\n"));
	return rl_sse_next(sse, out);
}

enum rl_err rl_frames_last(struct rl_frames *frames, struct rl_sse_event *out)
{
	switch (frames->framing) {
	case RL_FRAMING_SSE:
		return last_sse(&frames->sse, out);
	case RL_FRAMING_NDJSON:
		return rl_ndjson_last(&frames->lines, out);
	case RL_FRAMING_EVENTSTREAM:
		return rl_eventstream_last(&frames->messages);
	case RL_FRAMING_ARRAY:
		return rl_elements_last(&frames->elements);
	}
	return RL_ERR_UNSUPPORTED;
}
