/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's HTTP/2 on any frames, in any cuts, with a client that takes answers in any portions. What comes out is not
 * compared: which frames stand first depends on the cuts. Nothing may be left behind, and no limit be passed.
 *
 * First byte: seed; its lowest bit: whether the bytes behind the greeting are frames as they are, or stand for frames:
 * type, flags, stream and length of one byte each, then as many bytes.
 */
#include "server_rig.h"

#define GREETING "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
#define FRAME_TYPES 11u /* the ten of RFC 9113, and one that nobody knows */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expand(rl_str s, struct rl_buf *out)
{
	while (s.n >= 4) {
		const uint8_t *p = (const uint8_t *)s.p;
		rl_str payload = rl_str_sub(s, 4, p[3]);
		const char head[9] = {0, 0, (char)payload.n,    (char)(p[0] % FRAME_TYPES), (char)p[1], 0,
				      0, 0, (char)(p[2] & 0x7F)};

		rl_buf_add(out, rl_str_make(head, sizeof head));
		rl_buf_add(out, payload);
		s = rl_str_sub(s, 4 + payload.n, SIZE_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rl_buf input, whole, cut;
	struct rl_rng rng;

	if (size < 1 || size > 20000)
		return 0;
	rl_str rest = rl_str_make(data + 1, size - 1);

	rl_buf_init(&input, 1u << 20);
	RL_BUF_LIT(&input, GREETING);
	if (data[0] & 1)
		expand(rest, &input);
	else
		rl_buf_add(&input, rest);
	rl_rng_seed(&rng, data[0]);
	run(rl_buf_str(&input), NULL, true, &whole);
	run(rl_buf_str(&input), &rng, true, &cut);
	rl_buf_fini(&input);
	rl_buf_fini(&whole);
	rl_buf_fini(&cut);
	return 0;
}
