/* SPDX-License-Identifier: Apache-2.0 */
/* See ndjson.h. */
#include "frame/ndjson.h"

static void read_line(rl_str raw, struct rl_sse_event *out)
{
	rl_str line = raw;

	while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
		line.n--;
	line = rl_str_trim(line);
	*out = (struct rl_sse_event){.raw = raw, .data = line, .has_data = line.n > 0};
}

enum rl_err rl_ndjson_next(struct rl_carry *carry, struct rl_sse_event *out)
{
	rl_str raw;

	if (carry->failed)
		return carry->failed;
	rl_carry_begin(carry);
	if (!carry->piece.n)
		return RL_ERR_AGAIN;
	size_t end = rl_str_find(carry->piece, '\n');

	if (end == SIZE_MAX)
		return rl_carry_keep(carry);
	enum rl_err err = rl_carry_take(carry, end + 1, &raw);

	if (!err)
		read_line(raw, out);
	return err;
}

enum rl_err rl_ndjson_last(struct rl_carry *carry, struct rl_sse_event *out)
{
	if (carry->failed)
		return carry->failed;
	if (!rl_carry_rest(carry).n)
		return RL_ERR_AGAIN;
	carry->whole = true;
	read_line(rl_buf_str(&carry->held), out);
	return RL_OK;
}
