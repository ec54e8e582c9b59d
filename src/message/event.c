/* SPDX-License-Identifier: Apache-2.0 */
/* See event.h: names of the events, and the life of the codecs. */
#include "message/event.h"

#include <assert.h>

/* A model's name and an answer's id, escaped, with the vendor's members that repeat in each chunk. */
#define HEAD_MAX_BYTES 8192
/* A usage object: ours is below 300 bytes, vendors add their own details. */
#define USAGE_MAX_BYTES 16384
/* A seal holds a thought, encrypted: as long as an answer may be. */
#define SEAL_MAX_BYTES (1024u * 1024)

static const char *const kind_names[RL_EVENT_COUNT] = {
#define X(id, name) [RL_EVENT_##id] = name,
	RL_EVENTS(X)
#undef X
};

const char *rl_event_kind_name(enum rl_event_kind kind)
{
	assert((unsigned)kind < RL_EVENT_COUNT);
	return kind_names[kind];
}

void rl_decoder_init(struct rl_decoder *codec)
{
	*codec = (struct rl_decoder){.started = false};
}

void rl_encoder_init(struct rl_encoder *codec, unsigned operation, bool include_usage)
{
	*codec = (struct rl_encoder){.operation = operation, .include_usage = include_usage};
	rl_buf_init(&codec->head, HEAD_MAX_BYTES);
	rl_buf_init(&codec->usage, USAGE_MAX_BYTES);
	rl_buf_init(&codec->seal.bytes, SEAL_MAX_BYTES);
}

void rl_encoder_fini(struct rl_encoder *codec)
{
	if (!codec)
		return;
	rl_buf_fini(&codec->head);
	rl_buf_fini(&codec->usage);
	rl_buf_fini(&codec->seal.bytes);
}

void rl_encoder_lose(struct rl_encoder *codec, const char *what)
{
	for (unsigned i = 0; i < codec->n_lost; i++)
		if (strcmp(codec->lost[i], what) == 0)
			return;
	if (codec->n_lost < RL_ENCODER_LOST_MAX)
		codec->lost[codec->n_lost++] = what;
}

bool rl_codec_marked(const uint64_t bits[RL_CODEC_CHOICES_MAX / 64], uint32_t at)
{
	return at >= RL_CODEC_CHOICES_MAX || (bits[at / 64] >> (at % 64) & 1);
}

bool rl_codec_mark(uint64_t bits[RL_CODEC_CHOICES_MAX / 64], uint32_t at)
{
	bool was = rl_codec_marked(bits, at);

	if (!was)
		bits[at / 64] |= (uint64_t)1 << (at % 64);
	return was;
}
