/* SPDX-License-Identifier: Apache-2.0 */
/* See frames.h. */
#include "frame/frames.h"

void rl_frames_init(struct rl_frames *frames, enum rl_framing framing, size_t max_event_bytes)
{
	*frames = (struct rl_frames){.framing = framing};
	switch (framing) {
	case RL_FRAMING_SSE:
		rl_sse_init(&frames->sse, max_event_bytes);
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
	}
}

void rl_frames_feed(struct rl_frames *frames, rl_str piece)
{
	switch (frames->framing) {
	case RL_FRAMING_SSE:
		rl_sse_feed(&frames->sse, piece);
		break;
	}
}

enum rl_err rl_frames_next(struct rl_frames *frames, struct rl_sse_event *out)
{
	switch (frames->framing) {
	case RL_FRAMING_SSE:
		return rl_sse_next(&frames->sse, out);
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
	}
	return RL_ERR_UNSUPPORTED;
}
