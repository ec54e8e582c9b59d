/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes in any framing: the first byte picks the framing and seeds the cuts. What comes out must be the same however
 * the stream was cut, and the raw texts must be its beginning. What the writer of messages makes is read as it was meant.
 */
#include <stdlib.h>

#include "base/random.h"
#include "frame/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_EVENT 4096u

struct seen {
	struct rl_buf text, raw;
	enum rl_err end;
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void note(struct seen *seen, const struct rl_sse_event *e)
{
	rl_buf_printf(&seen->text, "%zu %zu %d ", e->name.n, e->data.n, e->has_data);
	rl_buf_add(&seen->text, e->name);
	rl_buf_add(&seen->text, e->data);
	rl_buf_add(&seen->raw, e->raw);
}

static void read_cut(struct seen *seen, enum rl_framing framing, rl_str stream, struct rl_rng *rng)
{
	struct rl_frames frames;
	struct rl_sse_event e;

	seen->end = RL_ERR_AGAIN;
	rl_frames_init(&frames, framing, MAX_EVENT);
	while (stream.n && seen->end == RL_ERR_AGAIN) {
		size_t n = rng ? 1 + (size_t)rl_rng_below(rng, rl_rng_below(rng, 4) ? 8 : 300) : stream.n;
		rl_str piece = rl_str_sub(stream, 0, n);
		char *copy = malloc(piece.n);

		must(copy);
		memcpy(copy, piece.p, piece.n);
		rl_frames_feed(&frames, rl_str_make(copy, piece.n));
		while ((seen->end = rl_frames_next(&frames, &e)) == RL_OK)
			note(seen, &e);
		free(copy);
		stream = rl_str_sub(stream, piece.n, SIZE_MAX);
	}
	if (seen->end == RL_ERR_AGAIN && (seen->end = rl_frames_last(&frames, &e)) == RL_OK)
		note(seen, &e);
	rl_frames_fini(&frames);
}

static void write_and_read(rl_str text)
{
	rl_str name = rl_str_sub(text, 0, 20), payload = rl_str_sub(text, 20, 2000);
	struct rl_sse_event e;
	struct rl_frames frames;
	struct rl_buf out;

	rl_buf_init(&out, 1 << 20);
	size_t at = rl_eventstream_open(&out, name);

	rl_eventstream_close(&out, at);
	at = rl_eventstream_open(&out, name);
	rl_buf_add(&out, payload);
	rl_eventstream_close(&out, at);
	rl_frames_init(&frames, RL_FRAMING_EVENTSTREAM, MAX_EVENT);
	rl_frames_feed(&frames, rl_buf_str(&out));
	must(rl_frames_next(&frames, &e) == RL_OK && rl_str_eq(e.name, name));
	must(rl_frames_next(&frames, &e) == RL_OK && rl_str_eq(e.name, name));
	must(rl_str_eq(e.data, payload) || rl_str_starts(name, RL_STR("exception:")));
	must(rl_frames_next(&frames, &e) == RL_ERR_AGAIN && rl_frames_last(&frames, &e) == RL_ERR_AGAIN);
	rl_frames_fini(&frames);
	rl_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = {0}, cut = {0};
	struct rl_rng rng;

	if (size < 1)
		return 0;
	rl_str stream = rl_str_make(data + 1, size - 1);
	enum rl_framing framing = (enum rl_framing)(data[0] % 4);

	rl_rng_seed(&rng, data[0]);
	rl_buf_init(&whole.text, 1 << 26);
	rl_buf_init(&whole.raw, 1 << 26);
	rl_buf_init(&cut.text, 1 << 26);
	rl_buf_init(&cut.raw, 1 << 26);
	read_cut(&whole, framing, stream, NULL);
	read_cut(&cut, framing, stream, &rng);
	must(rl_str_eq(rl_buf_str(&whole.text), rl_buf_str(&cut.text)) && whole.end == cut.end);
	if (framing != RL_FRAMING_SSE) /* whose last event gets a blank line */
		must(rl_str_starts(stream, rl_buf_str(&whole.raw)) && rl_str_starts(stream, rl_buf_str(&cut.raw)));
	rl_buf_fini(&whole.text);
	rl_buf_fini(&whole.raw);
	rl_buf_fini(&cut.text);
	rl_buf_fini(&cut.raw);
	write_and_read(stream);
	return 0;
}
