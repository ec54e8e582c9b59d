/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forms with files (multipart/form-data): streamed from the client to the provider,
 * never held whole, never sent twice.
 *
 * Which provider, only the form's `model` field says. Clients put it before the file
 * or behind it. When it comes within the first WINDOW bytes, what has come goes out,
 * with the provider's own name of the model in its place, and the rest follows as it
 * arrives. When it does not, the form is written to a file without a name until it is
 * whole, and sent from there. Forms without a model (files) are streamed from the
 * first byte. The scanner sees all of it in any case.
 *
 * In flight is one piece at a time: the call asks for the next (ROOM), the client is
 * read until it has given one (paused otherwise), and that one goes out.
 */
#include "pipeline/upload.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "message/multipart.h"

#define WINDOW_BYTES (192u * 1024) /* and one read beyond it */
#define BLOCK_BYTES 65536u         /* of the file, at a time */
#define SPOOLS_PER_LIMIT 4u        /* all files together: so many times the largest form */

struct rl_upload {
	struct rl_multipart scanner;
	uint64_t taken; /* of the client's body */
	bool ended;     /* it is whole */
	bool room;      /* the call asks for a piece */
	bool begun;     /* it got one */
	bool complete;  /* it got the last one */
	rl_str model;   /* what stands in the place of the field's value; p == NULL: the value */
	int fd;         /* -1: no file */
	uint64_t spooled, given;
};

bool rl_upload_begun(const struct rl_request *rq)
{
	return rq->upload && rq->upload->begun;
}

bool rl_upload_complete(const struct rl_request *rq)
{
	return rq->upload && rq->upload->complete;
}

static enum rl_move malformed(struct rl_request *rq)
{
	return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "invalid_multipart", NULL,
			       "The request body is not a form that can be taken: %s.", rq->upload->scanner.what);
}

enum rl_move rl_upload_begin(struct rl_request *rq)
{
	const struct rl_headers *headers = &rq->x->head.headers;
	struct rl_upload *u = rq->upload = RL_NEW(&rq->arena, struct rl_upload);
	rl_str encoding = rl_headers_value(headers, RL_H_CONTENT_ENCODING);

	if (!u)
		return rl_request_no_memory(rq);
	u->fd = -1;
	if (encoding.n && !rl_str_ieq(encoding, RL_STR("identity")))
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 415, "unsupported_content_encoding", NULL,
				       "A form cannot be compressed; send it as it is.");
	if (!rl_multipart_init(&u->scanner, rl_headers_value(headers, RL_H_CONTENT_TYPE), RL_STR("model")))
		return malformed(rq);
	if (rq->route->kind == RL_ROUTE_PASS) {
		rl_exchange_pause(rq->x);
		return RL_MOVE_NEXT;
	}
	rl_buf_init(&rq->chunked, WINDOW_BYTES + RL_LOOP_SCRATCH_BYTES);
	rl_exchange_continue(rq->x);
	return RL_MOVE_WAIT;
}

/* The next piece of the client's, looked at. */
static enum rl_move scan(struct rl_request *rq, rl_str piece)
{
	struct rl_upload *u = rq->upload;
	uint64_t max = rq->hold->snapshot->config->server.max_upload_bytes;

	u->taken += piece.n;
	rq->bytes_in = u->taken;
	if (u->taken > max)
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 413, "request_too_large", NULL,
				       "The request body is larger than the limit of %llu bytes (server.max_upload).",
				       (unsigned long long)max);
	if (rl_multipart_feed(&u->scanner, piece))
		return malformed(rq);
	/* The last piece of a known length ends the form for the provider: it must be right before it goes out. */
	bool last = rq->x->head.content_length == (int64_t)u->taken;

	return last && rl_multipart_finish(&u->scanner) ? malformed(rq) : RL_MOVE_NEXT;
}

static enum rl_move scan_end(struct rl_request *rq)
{
	rq->upload->ended = true;
	rq->body_end_us = rl_clock_us();
	return rl_multipart_finish(&rq->upload->scanner) ? malformed(rq) : RL_MOVE_NEXT;
}

/* ---- the file ---- */

static enum rl_move not_stored(struct rl_request *rq, const char *why)
{
	return rl_request_fail(rq, RL_FAULT_OVERLOADED, 503, "upload_not_stored", NULL,
			       "The form's model stands behind its file, so the gateway must keep the form until it is "
			       "whole, and cannot: %s. Put the model first.",
			       why);
}

static enum rl_move spool(struct rl_request *rq, rl_str bytes)
{
	struct rl_upload *u = rq->upload;
	struct rl_gateway *gateway = rq->worker->gateway;
	uint64_t max = rq->hold->snapshot->config->server.max_upload_bytes;

	atomic_fetch_add_explicit(&gateway->spool_bytes, bytes.n, memory_order_relaxed);
	u->spooled += bytes.n;
	if (atomic_load_explicit(&gateway->spool_bytes, memory_order_relaxed) / SPOOLS_PER_LIMIT > max)
		return not_stored(rq, "too many are kept already");
	while (bytes.n) {
		ssize_t n = write(u->fd, bytes.p, bytes.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return not_stored(rq, "there is no room in its temporary folder");
		bytes = rl_str_sub(bytes, (size_t)n, SIZE_MAX);
	}
	return RL_MOVE_WAIT;
}

/* What is held goes into a file that has no name, and the memory back. */
static enum rl_move open_spool(struct rl_request *rq)
{
	const char *folder = getenv("TMPDIR");

	rq->upload->fd = open(folder && *folder ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (rq->upload->fd < 0)
		return not_stored(rq, "its temporary folder ($TMPDIR) cannot be written");
	enum rl_move move = spool(rq, rq->body);

	rl_body_release(rq);
	return move;
}

void rl_upload_end(struct rl_request *rq)
{
	struct rl_upload *u = rq->upload;

	if (!u)
		return;
	if (u->fd >= 0)
		close(u->fd);
	atomic_fetch_sub_explicit(&rq->worker->gateway->spool_bytes, u->spooled, memory_order_relaxed);
	rq->upload = NULL;
}

/* ---- READ ---- */

/* The model is known, or there is none. */
static enum rl_move know_model(struct rl_request *rq)
{
	struct rl_upload *u = rq->upload;
	rl_str value = rl_multipart_value(&u->scanner);
	bool needed = rq->route->operation == RL_OP_TRANSCRIPTION || rq->route->operation == RL_OP_TRANSLATION;

	rl_timer_stop(&rq->timer);
	if (!u->ended)
		rl_exchange_pause(rq->x);
	if (needed && !value.n)
		return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "missing_required_parameter", "model",
				       "The form has no 'model'.");
	for (size_t i = 0; i < value.n; i++)
		if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7F)
			return rl_request_fail(rq, RL_FAULT_BAD_REQUEST, 400, "invalid_value", "model",
					       "The field 'model' holds a control character.");
	rq->envelope.model = value;
	return RL_MOVE_NEXT;
}

enum rl_move rl_upload_read(struct rl_request *rq, rl_str piece)
{
	struct rl_upload *u = rq->upload;
	enum rl_move move = scan(rq, piece);

	if (move != RL_MOVE_NEXT)
		return move;
	if (u->fd >= 0)
		return spool(rq, piece);
	move = rl_body_collect(rq, piece);
	if (move != RL_MOVE_WAIT || u->scanner.found)
		return move == RL_MOVE_WAIT ? know_model(rq) : move;
	return rq->body.n > WINDOW_BYTES ? open_spool(rq) : RL_MOVE_WAIT;
}

enum rl_move rl_upload_read_end(struct rl_request *rq)
{
	enum rl_move move = scan_end(rq);

	return move == RL_MOVE_NEXT ? know_model(rq) : move;
}

/* ---- ATTEMPT ---- */

void rl_upload_specify(struct rl_request *rq, const struct rl_target *target, struct rl_call_spec *spec)
{
	struct rl_upload *u = rq->upload;
	rl_str value = rl_multipart_value(&u->scanner);
	int64_t length = u->ended ? (int64_t)u->taken : rq->x->head.content_length;
	bool rename = rq->envelope.model.n && !rl_str_eq(value, target->model);

	assert(!u->begun);
	u->room = false;
	u->model = rename ? target->model : (rl_str){NULL, 0};
	if (rename && length >= 0)
		length += (int64_t)target->model.n - (int64_t)value.n;
	spec->streamed = true;
	spec->content_length = length;
	spec->replayable = false;
	spec->n_body = 0;
}

static void write_piece(struct rl_request *rq, rl_str piece, bool last)
{
	struct rl_upload *u = rq->upload;

	u->room = false;
	u->begun = true;
	u->complete = last;
	rl_call_write(rq->attempt->call, piece, last);
}

/* `bytes`, which begin at `at` of the form, with the provider's name of the model, into `out` where it is among them. */
static rl_str edited(const struct rl_upload *u, rl_str bytes, uint64_t at, struct rl_buf *out)
{
	uint64_t from = u->scanner.value_at, end = from + u->scanner.value_n;

	if (!u->model.p || from >= at + bytes.n || end <= at)
		return bytes;
	if (from >= at) {
		rl_buf_add(out, rl_str_sub(bytes, 0, (size_t)(from - at)));
		rl_buf_add(out, u->model);
	}
	if (end < at + bytes.n)
		rl_buf_add(out, rl_str_sub(bytes, (size_t)(end - at), SIZE_MAX));
	return rl_buf_str(out);
}

/* A piece of what was kept, in memory or in the file. */
static enum rl_move give_kept(struct rl_request *rq, rl_str bytes)
{
	struct rl_upload *u = rq->upload;
	struct rl_buf out;
	uint64_t at = u->given;

	rl_buf_init(&out, bytes.n + RL_MULTIPART_VALUE_MAX + 1024);
	rl_str piece = edited(u, bytes, at, &out);

	u->given += bytes.n;
	if (rl_buf_ok(&out))
		write_piece(rq, piece, u->ended && u->given == u->taken);
	enum rl_move move = rl_buf_ok(&out) ? RL_MOVE_WAIT : rl_request_no_memory(rq);

	rl_buf_fini(&out);
	return move;
}

static enum rl_move give_from_file(struct rl_request *rq)
{
	struct rl_upload *u = rq->upload;
	char *block = rl_loop_scratch(rq->worker->loop); /* nobody reads into it while a task runs */
	uint64_t left = u->spooled - u->given;
	ssize_t n = pread(u->fd, block, left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES, (off_t)u->given);

	return n > 0 ? give_kept(rq, rl_str_make(block, (size_t)n))
		     : not_stored(rq, "what was written cannot be read again");
}

/* The call asks for a piece: from what was kept, or else from the client. */
static enum rl_move give(struct rl_request *rq)
{
	struct rl_upload *u = rq->upload;

	if (u->given < u->spooled)
		return give_from_file(rq);
	if (rq->body.n) {
		enum rl_move move = give_kept(rq, rq->body);

		rl_body_release(rq);
		return move;
	}
	if (u->ended) {
		write_piece(rq, RL_STR(""), true);
		return RL_MOVE_WAIT;
	}
	rl_exchange_resume(rq->x);
	rl_exchange_continue(rq->x);
	return RL_MOVE_WAIT;
}

/* The form turned out to be malformed when part of it was with the provider, who will not see it end. */
static enum rl_move give_back(struct rl_request *rq, enum rl_move move)
{
	if (move != RL_MOVE_FAIL)
		return move;
	rl_attempt_settle(rq->attempt, RL_FAULT_BAD_REQUEST, rq->fault.message);
	rl_attempt_cancel(rq->attempt);
	rq->outcome = RL_OUTCOME_REFUSED;
	return RL_MOVE_FAIL;
}

static enum rl_move pass_on(struct rl_request *rq, rl_str piece)
{
	struct rl_upload *u = rq->upload;
	enum rl_move move = scan(rq, piece);

	if (move != RL_MOVE_NEXT)
		return give_back(rq, move);
	assert(u->room);
	rl_exchange_pause(rq->x);
	u->given += piece.n;
	write_piece(rq, piece, false);
	return RL_MOVE_WAIT;
}

enum rl_move rl_upload_wake(struct rl_request *rq, const struct rl_wake_in *in)
{
	struct rl_upload *u = rq->upload;
	enum rl_move move;

	switch (in->kind) {
	case RL_WAKE_ROOM:
		u->room = true;
		return give_back(rq, give(rq));
	case RL_WAKE_BODY:
		return pass_on(rq, in->piece);
	case RL_WAKE_BODY_END:
		move = scan_end(rq);
		if (move == RL_MOVE_NEXT && u->room)
			write_piece(rq, RL_STR(""), true);
		return move == RL_MOVE_NEXT ? RL_MOVE_WAIT : give_back(rq, move);
	default:
		rl_request_stray(rq, in);
	}
}
