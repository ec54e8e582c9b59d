/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See inflate.h. zlib does the work; here are the choice between the two kinds of
 * "deflate" (servers disagree about it, so the first two bytes decide), gzip
 * members one after the other, and the caps.
 */
#include "http/inflate.h"

#include <assert.h>
#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>

#define OUT_BYTES 32768u
#define GZIP_BITS (15 + 16)
#define ZLIB_BITS 15
#define RAW_BITS (-15)

enum state {
	STATE_SNIFF = 0, /* deflate: zlib or raw is not known yet */
	STATE_RUN,
	STATE_BETWEEN, /* a member has ended; another one may follow (gzip only) */
};

struct rl_inflate {
	z_stream z;
	enum state state;
	bool gzip;
	bool begun;             /* a byte has been fed */
	unsigned char first[2]; /* what the sniffing has seen */
	unsigned n_first;
	rl_str left; /* of the piece */
	char *held;  /* copy that `left` points into after hold, or NULL */
	uint64_t in_bytes, out_bytes;
	unsigned char out[OUT_BYTES];
};

enum rl_err rl_inflate_new(rl_str encoding, struct rl_inflate **out)
{
	bool gzip = rl_str_ieq(encoding, RL_STR("gzip")) || rl_str_ieq(encoding, RL_STR("x-gzip"));

	if (!gzip && !rl_str_ieq(encoding, RL_STR("deflate")))
		return RL_ERR_UNSUPPORTED;
	struct rl_inflate *inf = calloc(1, sizeof *inf);

	if (!inf)
		return RL_ERR_NOMEM;
	inf->gzip = gzip;
	inf->state = gzip ? STATE_RUN : STATE_SNIFF;
	if (inflateInit2(&inf->z, gzip ? GZIP_BITS : ZLIB_BITS) != Z_OK) {
		free(inf);
		return RL_ERR_NOMEM;
	}
	*out = inf;
	return RL_OK;
}

void rl_inflate_free(struct rl_inflate *inf)
{
	if (!inf)
		return;
	inflateEnd(&inf->z);
	free(inf->held);
	free(inf);
}

void rl_inflate_feed(struct rl_inflate *inf, rl_str piece)
{
	assert(inf->left.n == 0);
	free(inf->held);
	inf->held = NULL;
	inf->left = piece;
	inf->begun = inf->begun || piece.n > 0;
}

enum rl_err rl_inflate_hold(struct rl_inflate *inf)
{
	if (!inf->left.n || inf->held)
		return RL_OK;
	inf->held = malloc(inf->left.n);
	if (!inf->held)
		return RL_ERR_NOMEM;
	memcpy(inf->held, inf->left.p, inf->left.n);
	inf->left.p = inf->held;
	return RL_OK;
}

bool rl_inflate_ended(const struct rl_inflate *inf)
{
	return inf->left.n == 0 && (inf->state == STATE_BETWEEN || !inf->begun);
}

/* A zlib header: method 8, and a check value that makes the pair a multiple of 31 (RFC 1950 §2.2). */
static bool is_zlib(const unsigned char first[2])
{
	return (first[0] & 0x0F) == 8 && ((unsigned)first[0] << 8 | first[1]) % 31 == 0;
}

/* Takes input into the two bytes that decide; true when they have. */
static bool sniff(struct rl_inflate *inf)
{
	while (inf->n_first < 2 && inf->left.n) {
		inf->first[inf->n_first++] = (unsigned char)*inf->left.p++;
		inf->left.n--;
	}
	if (inf->n_first < 2)
		return false;
	if (!is_zlib(inf->first))
		inflateReset2(&inf->z, RAW_BITS);
	inf->state = STATE_RUN;
	return true;
}

/* One call of zlib with `n` bytes at p; *used says how many it took. */
static int step(struct rl_inflate *inf, const unsigned char *p, size_t n, size_t *used)
{
	inf->z.next_in = p;
	inf->z.avail_in = n > UINT32_MAX ? UINT32_MAX : (uInt)n;
	uInt given = inf->z.avail_in;
	int rc = inflate(&inf->z, Z_NO_FLUSH);

	*used = given - inf->z.avail_in;
	inf->in_bytes += *used;
	return rc;
}

/* The sniffed bytes go first, from their own place. */
static int run(struct rl_inflate *inf)
{
	size_t used = 0;

	if (inf->n_first) {
		unsigned seen = 2 - inf->n_first;
		int rc = step(inf, inf->first + seen, inf->n_first, &used);

		inf->n_first -= (unsigned)used;
		if (rc != Z_OK || inf->n_first)
			return rc;
	}
	int rc = step(inf, (const unsigned char *)inf->left.p, inf->left.n, &used);

	inf->left.p += used;
	inf->left.n -= used;
	return rc;
}

static bool over_cap(const struct rl_inflate *inf)
{
	if (inf->out_bytes > RL_INFLATE_MAX_BYTES)
		return true;
	return inf->out_bytes > RL_INFLATE_FREE_BYTES && inf->out_bytes / RL_INFLATE_MAX_RATIO > inf->in_bytes;
}

/* What zlib's answer means. */
static enum rl_err judge(struct rl_inflate *inf, int rc)
{
	switch (rc) {
	case Z_OK:
	case Z_BUF_ERROR: /* nothing to be done without more input */
		return RL_OK;
	case Z_STREAM_END:
		inf->state = STATE_BETWEEN;
		return inf->n_first ? RL_ERR_PROTOCOL : RL_OK;
	case Z_MEM_ERROR:
		return RL_ERR_NOMEM;
	default:
		return RL_ERR_PROTOCOL;
	}
}

enum rl_err rl_inflate_next(struct rl_inflate *inf, rl_str *out)
{
	for (;;) {
		if (inf->state == STATE_BETWEEN) {
			if (!inf->left.n)
				return RL_ERR_AGAIN;
			if (!inf->gzip)
				return RL_ERR_PROTOCOL; /* bytes after the end */
			inflateReset(&inf->z);
			inf->state = STATE_RUN;
		}
		if (inf->state == STATE_SNIFF && !sniff(inf))
			return RL_ERR_AGAIN;
		inf->z.next_out = inf->out;
		inf->z.avail_out = OUT_BYTES;

		size_t before = inf->left.n + inf->n_first;
		enum rl_err err = judge(inf, run(inf));
		size_t got = OUT_BYTES - inf->z.avail_out;

		if (err != RL_OK)
			return err;
		inf->out_bytes += got;
		if (over_cap(inf))
			return RL_ERR_LIMIT;
		if (got) {
			*out = rl_str_make(inf->out, got);
			return RL_OK;
		}
		if (inf->state == STATE_RUN && inf->left.n + inf->n_first == before)
			return RL_ERR_AGAIN; /* no output and no progress: it wants more */
	}
}
