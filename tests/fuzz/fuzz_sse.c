/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events from any bytes: first byte seeds the cuts, the rest is the stream. What comes out must be the same
 * however it was cut, the raw texts must add up to the input, and a slow, literal reading of the WHATWG rules must
 * see the same events.
 */
#include <stdlib.h>

#include "base/random.h"
#include "frame/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_EVENT 4096u

struct seen {
	struct rl_buf text, raw;
	unsigned events;
	bool limit;
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void write_event(struct rl_buf *text, rl_str name, rl_str id, rl_str data, bool has_data)
{
	rl_buf_printf(text, "%zu %zu %zu %d ", name.n, id.n, data.n, has_data);
	rl_buf_add(text, name);
	rl_buf_add(text, id);
	rl_buf_add(text, data);
}

static void read_cut(struct seen *seen, rl_str stream, struct rl_rng *rng)
{
	struct rl_sse sse;
	struct rl_sse_event e;
	enum rl_err err = RL_ERR_AGAIN;

	rl_sse_init(&sse, MAX_EVENT);
	while (stream.n && err == RL_ERR_AGAIN) {
		size_t n = rng ? 1 + (size_t)rl_rng_below(rng, rl_rng_below(rng, 4) ? 8 : 300) : stream.n;
		rl_str piece = rl_str_sub(stream, 0, n);
		char *copy = malloc(piece.n);
		must(copy);
		memcpy(copy, piece.p, piece.n);
		rl_sse_feed(&sse, rl_str_make(copy, piece.n));
		while ((err = rl_sse_next(&sse, &e)) == RL_OK) {
			write_event(&seen->text, e.name, e.id, e.data, e.has_data);
			rl_buf_add(&seen->raw, e.raw);
			seen->events++;
		}
		free(copy);
		stream = rl_str_sub(stream, piece.n, SIZE_MAX);
	}
	seen->limit = err == RL_ERR_LIMIT;
	if (!seen->limit)
		rl_buf_add(&seen->raw, rl_sse_rest(&sse));
	rl_sse_fini(&sse);
}

/* One line as WHATWG HTML has it, "process the field". */
static void literal_line(rl_str line, rl_str *name, rl_str *id, struct rl_buf *data, bool *has_data)
{
	size_t colon = rl_str_find(line, ':');
	rl_str field = colon == SIZE_MAX ? line : rl_str_sub(line, 0, colon);
	rl_str value = colon == SIZE_MAX ? (rl_str){NULL, 0} : rl_str_sub(line, colon + 1, SIZE_MAX);

	if (value.n && *value.p == ' ')
		value = rl_str_sub(value, 1, SIZE_MAX);
	if (rl_str_eq(field, RL_STR("event"))) {
		*name = value;
	} else if (rl_str_eq(field, RL_STR("id")) && (!value.n || !memchr(value.p, 0, value.n))) {
		*id = value;
	} else if (rl_str_eq(field, RL_STR("data"))) {
		rl_buf_add(data, value);
		rl_buf_byte(data, '\n');
		*has_data = true;
	}
}

/* The events of the stream, written down until there are `most`; a byte at a time. */
static void read_literally(struct rl_buf *text, rl_str s, unsigned most)
{
	rl_str name = {NULL, 0}, id = {NULL, 0};
	bool has_data = false;
	struct rl_buf data;
	unsigned events = 0;
	size_t from = 0;

	rl_buf_init(&data, 1 << 24);
	if (rl_str_starts(s, RL_STR("\xEF\xBB\xBF")))
		s = rl_str_sub(s, 3, SIZE_MAX);
	for (size_t i = 0; i < s.n && events < most; i++) {
		if (s.p[i] != '\n' && s.p[i] != '\r')
			continue;
		rl_str line = rl_str_sub(s, from, i - from);
		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
			i++;
		from = i + 1;
		if (line.n) {
			literal_line(line, &name, &id, &data, &has_data);
			continue;
		}
		if (has_data)
			data.n--;
		write_event(text, name, id, rl_buf_str(&data), has_data);
		events++;
		name = id = (rl_str){NULL, 0};
		has_data = false;
		rl_buf_reset(&data);
	}
	must(events == most);
	rl_buf_fini(&data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = {0}, cut = {0};
	struct rl_buf literal;
	struct rl_rng rng;

	if (size < 1)
		return 0;
	rl_str stream = rl_str_make(data + 1, size - 1);

	rl_rng_seed(&rng, data[0]);
	rl_buf_init(&whole.text, 1 << 26);
	rl_buf_init(&whole.raw, 1 << 26);
	rl_buf_init(&cut.text, 1 << 26);
	rl_buf_init(&cut.raw, 1 << 26);
	rl_buf_init(&literal, 1 << 26);
	read_cut(&whole, stream, NULL);
	read_cut(&cut, stream, &rng);
	must(rl_str_eq(rl_buf_str(&whole.text), rl_buf_str(&cut.text)) && whole.limit == cut.limit);
	if (!whole.limit)
		must(rl_str_eq(rl_buf_str(&whole.raw), stream) && rl_str_eq(rl_buf_str(&cut.raw), stream));
	read_literally(&literal, stream, whole.events);
	must(rl_str_eq(rl_buf_str(&literal), rl_buf_str(&whole.text)));
	rl_buf_fini(&whole.text);
	rl_buf_fini(&whole.raw);
	rl_buf_fini(&cut.text);
	rl_buf_fini(&cut.raw);
	rl_buf_fini(&literal);
	return 0;
}
