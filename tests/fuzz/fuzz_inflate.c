/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed bodies from any bytes: the first byte says the coding, whether the rest is packed or is to be packed first,
 * and seeds the cuts. What comes out must be the same however it was cut and held, it must stay within its ratio, and
 * what was packed here must come back as it was.
 */
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST /* next_in points to const */
#include <zlib.h>

#include "base/buf.h"
#include "base/random.h"
#include "http/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX (RL_INFLATE_MAX_BYTES + (1u << 20))

struct seen {
	struct rl_buf text;
	enum rl_err err; /* OK: it came to its end */
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Takes what there is to take; AGAIN, or what went wrong. Now and then the rest of the piece is held in between. */
static enum rl_err take(struct rl_inflate *inf, struct rl_rng *rng, char *piece, size_t n, struct rl_buf *text)
{
	enum rl_err err;
	rl_str out;

	while ((err = rl_inflate_next(inf, &out)) == RL_OK) {
		must(out.n > 0);
		rl_buf_add(text, out);
		if (rng && rl_rng_below(rng, 4) == 0) {
			must(rl_inflate_hold(inf) == RL_OK);
			memset(piece, 0xA5, n); /* held is copied */
		}
	}
	return err;
}

/* Without rng in one piece. */
static void unpack(rl_str coding, rl_str packed, struct rl_rng *rng, struct seen *seen)
{
	struct rl_inflate *inf = NULL;
	enum rl_err err = RL_ERR_AGAIN;
	size_t fed = 0;

	rl_buf_init(&seen->text, TEXT_MAX);
	must(rl_inflate_new(coding, &inf) == RL_OK);
	while (fed < packed.n && err == RL_ERR_AGAIN) {
		rl_str piece = rl_str_sub(packed, fed, rng ? 1 + (size_t)rl_rng_below(rng, 40) : packed.n);
		char *copy = malloc(piece.n);

		must(copy);
		memcpy(copy, piece.p, piece.n);
		rl_inflate_feed(inf, rl_str_make(copy, piece.n));
		fed += piece.n;
		err = take(inf, rng, copy, piece.n, &seen->text);
		free(copy);
	}
	must(rl_buf_ok(&seen->text));
	/* At most one more output than its bounds allow. */
	must(seen->text.n <= RL_INFLATE_FREE_BYTES + fed * RL_INFLATE_MAX_RATIO + (1u << 17));
	seen->err = err == RL_ERR_AGAIN ? (rl_inflate_ended(inf) ? RL_OK : RL_ERR_EOF) : err;
	rl_inflate_free(inf);
}

static rl_str pack(rl_str text, bool gzip, int bits, uint8_t *room, size_t cap)
{
	z_stream z = {0};

	must(deflateInit2(&z, 1 + bits % 9, Z_DEFLATED,
			  gzip       ? 31
			  : bits & 1 ? -15
				     : 15,
			  8, Z_DEFAULT_STRATEGY) == Z_OK);
	z.next_in = (const Bytef *)text.p;
	z.avail_in = (uInt)text.n;
	z.next_out = room;
	z.avail_out = (uInt)cap;
	must(deflate(&z, Z_FINISH) == Z_STREAM_END);
	deflateEnd(&z);
	return rl_str_make(room, cap - z.avail_out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = {.err = RL_OK}, cut = {.err = RL_OK};
	struct rl_rng rng;
	uint8_t *room = NULL;

	if (size < 1 || size > 1u << 16)
		return 0;
	bool gzip = data[0] & 1, plain = data[0] & 2;
	rl_str coding = gzip ? RL_STR("gzip") : RL_STR("deflate");
	rl_str text = rl_str_make(data + 1, size - 1), packed = text;

	if (plain) {
		room = malloc(size + 1024);
		must(room);
		packed = pack(text, gzip, data[0] >> 2, room, size + 1024);
	}
	rl_rng_seed(&rng, data[0]);
	unpack(coding, packed, NULL, &whole);
	unpack(coding, packed, &rng, &cut);
	/* How far zlib has read ahead at a moment is its own affair: so the ratio may be seen on either side of a fault. */
	must(whole.err == cut.err || whole.err == RL_ERR_LIMIT || cut.err == RL_ERR_LIMIT);
	/* A fault may come to light before or behind the output that stands beside it, by how it was cut. */
	if (whole.err == RL_OK && cut.err == RL_OK)
		must(rl_str_eq(rl_buf_str(&whole.text), rl_buf_str(&cut.text)));
	if (plain && whole.err != RL_ERR_LIMIT)
		must(whole.err == RL_OK && rl_str_eq(rl_buf_str(&whole.text), text));
	rl_buf_fini(&whole.text);
	rl_buf_fini(&cut.text);
	free(room);
	return 0;
}
