/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scanner of multipart/form-data (RFC 7578) that a body runs through in pieces of
 * any size: nothing is kept of it but the header of the present part and the value of
 * one field. It is strict where two readers could differ: the first line must be a
 * delimiter, headers end in CRLF, each part has one name, spelled plainly, and the
 * field that is looked for is there once at most.
 */
#ifndef RL_MESSAGE_MULTIPART_H
#define RL_MESSAGE_MULTIPART_H

#include "base/err.h"
#include "base/slice.h"

#define RL_MULTIPART_BOUNDARY_MAX 70u /* RFC 2046 §5.1.1 */
#define RL_MULTIPART_PARTS_MAX 1000u
#define RL_MULTIPART_HEADER_MAX 4096u /* of one part */
#define RL_MULTIPART_VALUE_MAX 256u

enum rl_multipart_state {
	RL_MULTIPART_START = 0, /* within the first delimiter */
	RL_MULTIPART_BEHIND,    /* behind a delimiter: CRLF or "--" */
	RL_MULTIPART_HEADER,
	RL_MULTIPART_BODY,
	RL_MULTIPART_END, /* the last delimiter is through */
};

struct rl_multipart {
	rl_str wanted; /* the field's name */
	char delimiter[4 + RL_MULTIPART_BOUNDARY_MAX];
	size_t delimiter_n;
	enum rl_multipart_state state;
	size_t matched;  /* bytes of what is expected next, or of the delimiter */
	char behind;     /* the first byte behind a delimiter */
	uint64_t offset; /* bytes taken so far */
	unsigned parts;
	bool in_wanted;
	bool found; /* the field has come whole */
	uint64_t value_at;
	size_t value_n;
	char value[RL_MULTIPART_VALUE_MAX];
	size_t header_n;
	char header[RL_MULTIPART_HEADER_MAX];
	const char *what; /* what was wrong, for the client */
};

/* False with scanner->what set when it is not the media type of a form with one usable boundary. */
bool rl_multipart_init(struct rl_multipart *scanner, rl_str content_type, rl_str wanted);
/*
 * The next bytes. RL_ERR_SYNTAX, RL_ERR_LIMIT, RL_ERR_DUPLICATE (the field comes again), with scanner->what; nothing may
 * follow then.
 */
enum rl_err rl_multipart_feed(struct rl_multipart *scanner, rl_str piece) RL_MUST_CHECK;
/* The body is over: whether it was whole. RL_ERR_SYNTAX. */
enum rl_err rl_multipart_finish(struct rl_multipart *scanner) RL_MUST_CHECK;

static inline rl_str rl_multipart_value(const struct rl_multipart *scanner)
{
	return rl_str_make(scanner->value, scanner->value_n);
}

#endif
