/* SPDX-License-Identifier: Apache-2.0 */
/* What a simulated model says: text in pieces, vectors; all from the seed or from the request. */
#include "service/simulator_priv.h"

#include <assert.h>
#include <math.h>

#define WORDS_MAX_BYTES 32768u
#define PIECE_MAX_BYTES 24u /* of a text of one's own without blanks */

static const char *const vocabulary[] = {
	"the",     "a",      "river",   "and",    "of",     "stone",  "light",   "over",     "when",  "quiet",
	"morning", "field",  "north",   "letter", "under",  "window", "garden",  "seven",    "small", "bridge",
	"cloud",   "winter", "answer",  "simple", "road",   "paper",  "evening", "with",     "from",  "green",
	"harbour", "sound",  "between", "house",  "silver", "glass",  "long",    "question", "water", "tree",
};
#define N_VOCABULARY (sizeof vocabulary / sizeof vocabulary[0])

enum rl_err rl_sim_words_make(struct rl_sim *sim)
{
	struct rl_rng rng;

	rl_rng_seed(&rng, sim->seed);
	rl_buf_reset(&sim->words);
	sim->words.max_bytes = WORDS_MAX_BYTES;
	for (size_t i = 0; i < SIM_WORDS; i++) {
		rl_buf_byte(&sim->words, ' ');
		rl_buf_add(&sim->words, rl_str_of(vocabulary[rl_rng_below(&rng, N_VOCABULARY)]));
		sim->word_ends[i] = (uint32_t)sim->words.n;
	}
	return rl_buf_ok(&sim->words) ? RL_OK : RL_ERR_NOMEM;
}

/* Behind the word that begins at `at`, with the blank before it; never inside a character. */
static size_t own_end(rl_str source, size_t at)
{
	size_t end = at + 1;

	while (end < source.n && source.p[end] != ' ' && source.p[end] != '\n' && end - at < PIECE_MAX_BYTES)
		end++;
	while (end < source.n && (source.p[end] & 0xC0) == 0x80)
		end++;
	return end;
}

void rl_sim_text_own(struct sim_text *text, rl_str source)
{
	*text = (struct sim_text){.kind = SIM_TEXT_OWN, .source = source};
	for (size_t at = 0; at < source.n; at = own_end(source, at))
		text->pieces++;
}

void rl_sim_text_words(struct sim_text *text, uint64_t pieces)
{
	*text = (struct sim_text){.kind = SIM_TEXT_WORDS, .pieces = pieces};
}

/* `bytes` of the default text, again and again. */
static rl_str repeat_words(const struct rl_sim *sim, size_t bytes, struct rl_arena *arena)
{
	rl_str words = rl_buf_str(&sim->words);

	if (bytes < words.n)
		return rl_str_sub(words, 1, bytes);
	char *made = rl_arena_alloc(arena, bytes);

	for (size_t at = 0; made && at < bytes; at++)
		made[at] = words.p[(at + 1) % words.n];
	return rl_str_make(made, made ? bytes : 0);
}

bool rl_sim_text_even(const struct rl_sim *sim, struct sim_text *text, uint64_t bytes, uint64_t pieces,
		      struct rl_arena *arena)
{
	if (pieces > bytes || !pieces)
		pieces = bytes;
	*text = (struct sim_text){.kind = SIM_TEXT_EVEN, .parts = pieces, .pieces = pieces};
	text->source = repeat_words(sim, (size_t)bytes, arena);
	return text->source.p != NULL;
}

static rl_str next_word(const struct rl_sim *sim, uint64_t index)
{
	size_t i = (size_t)(index % SIM_WORDS);
	size_t from = i ? sim->word_ends[i - 1] : 0;

	/* An answer does not begin with a blank. */
	if (index == 0)
		from = 1;
	return rl_str_make(sim->words.p + from, sim->word_ends[i] - from);
}

bool rl_sim_text_next(const struct rl_sim *sim, struct sim_text *text, rl_str *piece)
{
	size_t end;

	if (text->done >= text->pieces)
		return false;
	if (text->kind == SIM_TEXT_WORDS) {
		*piece = next_word(sim, text->done++);
		return true;
	}
	if (text->at >= text->source.n)
		text->at = 0;
	if (text->kind == SIM_TEXT_OWN)
		end = own_end(text->source, text->at);
	else
		end = (size_t)(text->source.n * (text->done % text->parts + 1) / text->parts);
	*piece = rl_str_make(text->source.p + text->at, text->source.n ? end - text->at : 0);
	text->at = end;
	text->done++;
	return true;
}

/* Where a text of one's own ends if it is cut short. */
static rl_str own_all(const struct sim_text *text)
{
	size_t at = 0;

	for (uint64_t i = 0; i < text->pieces && at < text->source.n; i++)
		at = own_end(text->source, at);
	return rl_str_sub(text->source, 0, at);
}

rl_str rl_sim_text_all(const struct rl_sim *sim, const struct sim_text *text, struct rl_arena *arena)
{
	uint64_t n = text->pieces, rounds = n / SIM_WORDS;

	if (!n)
		return RL_STR("");
	if (text->kind == SIM_TEXT_OWN)
		return own_all(text);
	if (text->kind == SIM_TEXT_EVEN)
		return rl_str_sub(text->source, 0, (size_t)(text->source.n * n / text->parts));
	if (rounds > SIM_WHOLE_MAX_BYTES / 4 / sim->words.n)
		return rl_str_make(NULL, 0);
	size_t bytes = (size_t)rounds * sim->words.n + (n % SIM_WORDS ? sim->word_ends[n % SIM_WORDS - 1] : 0);

	return repeat_words(sim, bytes - 1, arena);
}

/* FNV-1a (Fowler, Noll, Vo): the same in every process, unlike rl_hash. */
static uint64_t stable_hash(rl_str s)
{
	uint64_t hash = 0xCBF29CE484222325u;

	for (size_t i = 0; i < s.n; i++)
		hash = (hash ^ (unsigned char)s.p[i]) * 0x100000001B3u;
	return hash;
}

void rl_sim_vector(uint64_t seed, rl_str input, int32_t *out, size_t n)
{
	struct rl_rng rng;
	double sum = 0;

	rl_rng_seed(&rng, seed ^ stable_hash(input));
	for (size_t i = 0; i < n; i++) {
		out[i] = (int32_t)rl_rng_below(&rng, 2000001) - 1000000;
		sum += (double)out[i] * out[i];
	}
	double length = sum > 0 ? sqrt(sum) : 1;

	for (size_t i = 0; i < n; i++)
		out[i] = (int32_t)(out[i] / length * 1e6);
}
