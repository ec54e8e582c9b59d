/* SPDX-License-Identifier: Apache-2.0 */
/* See translate.h. */
#include "pipeline/translate.h"

#include "base/clock.h"

/* A message of many small parts is larger than its text, and escapes grow a body: an attacker's at most so much. */
#define MESSAGE_BYTES(body) (6 * (body) + (1u << 20))
#define WRITTEN_BYTES(body) (2 * (body) + (1u << 20))
#define ANSWER_BYTES_MAX (64u << 20)

bool rl_translate_needed(const struct rl_request *rq, const struct rl_provider *provider)
{
	enum rl_operation op = rq->route->operation;

	if (rq->route->kind != RL_ROUTE_INFERENCE || rq->upload)
		return false;
	return provider->dialect != rq->dialect || rl_provider_operation(provider, op) != op || rq->envelope.sealed ||
	       rq->path_array;
}

/* ---- requests ---- */

static enum rl_err begin(struct rl_request *rq)
{
	struct rl_translate *tr = RL_NEW(&rq->arena, struct rl_translate);

	if (!tr)
		return RL_ERR_NOMEM;
	rl_arena_init(&tr->arena, MESSAGE_BYTES(rq->body.n));
	rl_buf_init(&tr->body, WRITTEN_BYTES(rq->body.n));
	tr->client = rq->dialect;
	tr->operation = rq->route->operation;
	if (tr->operation == RL_OP_RESPONSE) { /* the same question in a dialect of its own */
		tr->client = rl_dialect_find(RL_STR("responses"));
		tr->operation = RL_OP_CHAT;
	}
	rq->translate = tr;
	return tr->client ? RL_OK : RL_ERR_UNSUPPORTED;
}

static enum rl_err parse(struct rl_request *rq)
{
	struct rl_translate *tr = rq->translate;
	enum rl_err err = tr->client->parse_request(tr->operation, rq->body, &tr->arena, &tr->message, &rq->fault);

	if (err == RL_ERR_NOMEM && tr->arena.limited) {
		rl_request_fail(
			rq, RL_FAULT_BAD_REQUEST, 413, "request_too_complex", NULL,
			"The request is made of too many small parts to be translated into another dialect: as a "
			"message it is more than six times its size. Use fewer and larger ones.");
		return RL_ERR_SYNTAX;
	}
	if (err)
		return err == RL_ERR_NOMEM ? err : RL_ERR_SYNTAX;
	tr->parsed = true;
	tr->message.stream = rq->envelope.stream;
	return RL_OK;
}

static void learn_facts(struct rl_request *rq, const struct rl_target *target)
{
	struct rl_translate *tr = rq->translate;
	const struct rl_cfg_provider *settings = target->provider->settings;

	rl_provider_facts(target->provider, target->model, &tr->facts);
	tr->wire = target->provider->dialect;
	rl_translation_init(&tr->t, &rq->arena, &tr->facts, rq->strict);
	/* Each target has its own name of the model, and its own way with usage. */
	tr->message.model = target->model;
	tr->message.include_usage = rq->envelope.stream && settings->stream_usage;
}

/* Members that the configuration sets or removes stand in the body of the provider's dialect. */
static enum rl_err edit(struct rl_request *rq, const struct rl_provider *p, rl_str parts[RL_BODY_PARTS_MAX], size_t *n)
{
	struct rl_translate *tr = rq->translate;
	struct rl_edit edit = {.model = tr->facts.model,
			       .set = p->body_set,
			       .n_set = p->settings->n_body_set,
			       .remove = p->settings->body_remove,
			       .n_remove = p->settings->n_body_remove};
	struct rl_envelope envelope = {.stream = false};
	struct rl_fault fault;

	/* What we wrote ourselves is no client's mistake, should it ever be refused. */
	if (tr->wire->read_envelope(tr->operation, tr->part, &rq->arena, &envelope, &fault))
		return RL_ERR_NOMEM;
	return tr->wire->edit_body(tr->part, &envelope, &edit, &rq->arena, parts, n);
}

static enum rl_err edit_written(struct rl_request *rq, const struct rl_provider *p, rl_str **parts, size_t *n)
{
	rl_str made[RL_BODY_PARTS_MAX];

	if (!p->settings->n_body_set && !p->settings->n_body_remove)
		return RL_OK;
	enum rl_err err = edit(rq, p, made, n);

	if (err)
		return err;
	*parts = rl_arena_alloc(&rq->arena, *n * sizeof **parts);
	if (!*parts)
		return RL_ERR_NOMEM;
	memcpy(*parts, made, *n * sizeof **parts);
	return RL_OK;
}

enum rl_err rl_translate_body(struct rl_request *rq, struct rl_attempt *a, rl_str **parts, size_t *n)
{
	enum rl_err err = rq->translate ? RL_OK : begin(rq);

	if (!err && !rq->translate->parsed)
		err = parse(rq);
	if (err)
		return err;
	struct rl_translate *tr = rq->translate;

	learn_facts(rq, a->candidate->target);
	rl_buf_reset(&tr->body);
	tr->wire->write_request(tr->operation, &tr->message, &tr->t, &tr->body);
	if (tr->t.err == RL_ERR_UNSUPPORTED)
		tr->refusal = tr->t.fault;
	if (tr->t.err)
		return tr->t.err;
	if (!rl_buf_ok(&tr->body))
		return RL_ERR_NOMEM;
	rl_body_reserve(rq, tr->arena.used_bytes + tr->body.cap);
	rq->held.max_bytes = ANSWER_BYTES_MAX; /* a whole answer is not passed on by pieces */
	tr->part = rl_buf_str(&tr->body);
	*parts = &tr->part;
	*n = 1;
	return edit_written(rq, a->candidate->target->provider, parts, n);
}

/* ---- streams ---- */

enum rl_err rl_translate_open(struct rl_request *rq)
{
	struct rl_translate *tr = rq->translate;
	struct rl_decoder *decoder = RL_NEW(&rq->arena, struct rl_decoder);

	if (!decoder)
		return RL_ERR_NOMEM;
	rl_decoder_init(decoder);
	rl_encoder_init(&tr->encoder, tr->operation, rq->envelope.usage_asked);
	tr->encoder.array = rq->path_array;
	if (tr->wire->decoder_bytes && !(decoder->own = rl_arena_zalloc(&rq->arena, 1, tr->wire->decoder_bytes)))
		return RL_ERR_NOMEM;
	if (tr->client->encoder_bytes && !(tr->encoder.own = rl_arena_zalloc(&rq->arena, 1, tr->client->encoder_bytes)))
		return RL_ERR_NOMEM;
	tr->encoder.request = &tr->message;
	tr->finished = false;
	tr->decoder = decoder;
	rl_frames_init(&tr->frames, tr->wire->framing, RL_EVENT_BYTES_MAX);
	return RL_OK;
}

struct telling {
	struct rl_request *rq;
	struct rl_buf *out;
	struct rl_glance *told;
	rl_str error_text;
};

/* What the provider did not say and every client expects. */
static struct rl_event complete_start(const struct rl_request *rq, const struct rl_event *event)
{
	struct rl_event start = *event;

	if (!start.created)
		start.created = (int64_t)(rq->wall_us / 1000000);
	if (!start.id.n)
		start.id = rq->id;
	if (!start.name.n)
		start.name = rq->attempt->candidate->target->model;
	return start;
}

static enum rl_err encode(struct telling *s, const struct rl_event *event)
{
	struct rl_translate *tr = s->rq->translate;

	tr->client->encode_event(&tr->encoder, event, s->out);
	return rl_buf_ok(s->out) ? RL_OK : RL_ERR_NOMEM;
}

static enum rl_err take_event(void *user, const struct rl_event *event)
{
	struct telling *s = user;
	struct rl_glance *told = s->told;
	struct rl_event start;

	switch (event->kind) {
	case RL_EVENT_START:
		start = complete_start(s->rq, event);
		return encode(s, &start);
	case RL_EVENT_TEXT:
	case RL_EVENT_REFUSAL:
	case RL_EVENT_REASONING:
	case RL_EVENT_TOOL_CALL_START:
	case RL_EVENT_TOOL_CALL_ARGUMENTS:
		told->content = true;
		break;
	case RL_EVENT_FINISH:
		told->finish = s->rq->translate->finished = true;
		told->finish_reason = event->finish;
		break;
	case RL_EVENT_USAGE:
		told->usage = event->usage;
		break;
	case RL_EVENT_ERROR:
		told->error = true;
		told->fault_class = event->fault->cls;
		s->error_text = rl_arena_dup(&s->rq->arena, event->fault->message);
		return RL_OK;
	case RL_EVENT_DONE:
		told->done = true;
		if (!s->rq->translate->finished)
			return RL_OK; /* not an end that a client may be shown */
		break;
	case RL_EVENT_CITATION:
	case RL_EVENT_EXTRA:
	case RL_EVENT_NONE:
	case RL_EVENT_COUNT:
		break;
	}
	return told->error ? RL_OK : encode(s, event);
}

enum rl_err rl_translate_next(struct rl_request *rq, bool last, struct rl_buf *out, struct rl_glance *told,
			      rl_str *error_text)
{
	struct rl_translate *tr = rq->translate;
	struct telling telling = {.rq = rq, .out = out, .told = told};
	struct rl_sse_event event;
	enum rl_err err = last ? rl_frames_last(&tr->frames, &event) : rl_frames_next(&tr->frames, &event);

	*told = (struct rl_glance){.content = false};
	if (err || !event.has_data)
		return err;
	err = tr->wire->decode_event(tr->operation, tr->decoder, event.name, event.data, &rq->worker->scratch,
				     take_event, &telling);
	rl_arena_reset(&rq->worker->scratch);
	*error_text = telling.error_text;
	return err == RL_ERR_AGAIN ? RL_ERR_SYNTAX : err;
}

void rl_translate_done(struct rl_request *rq, struct rl_buf *out)
{
	struct rl_translate *tr = rq->translate;

	if (!tr->encoder.ended)
		tr->client->encode_event(&tr->encoder, &(struct rl_event){.kind = RL_EVENT_DONE}, out);
}

void rl_translate_broken(struct rl_request *rq, const struct rl_fault *fault, struct rl_buf *out)
{
	struct rl_translate *tr = rq->translate;

	if (!tr->encoder.ended)
		tr->client->encode_event(&tr->encoder, &(struct rl_event){.kind = RL_EVENT_ERROR, .fault = fault}, out);
}

/* ---- whole answers ---- */

enum rl_err rl_translate_whole(struct rl_request *rq)
{
	struct rl_translate *tr = rq->translate;
	struct rl_chat_response response;
	struct rl_arena arena;
	struct rl_buf out;

	rl_arena_init(&arena, MESSAGE_BYTES(rq->held.n));
	enum rl_err err = tr->wire->parse_response(tr->operation, rl_buf_str(&rq->held), &arena, &response);

	rl_buf_init(&out, ANSWER_BYTES_MAX);
	if (!err) {
		response.created = response.created ? response.created : (int64_t)(rq->wall_us / 1000000);
		response.id = response.id.n ? response.id : rq->id;
		response.model = response.model.n ? response.model : tr->facts.model;
		response.encoding = tr->message.encoding;
		response.request = &tr->message;
		response.single_input = tr->message.single_input;
		tr->client->write_response(tr->operation, &response, &tr->t, &out);
		err = rl_buf_ok(&out) ? tr->t.err : RL_ERR_NOMEM;
	}
	if (!err) {
		rl_buf_fini(&rq->held);
		rq->held = out;
	} else {
		rl_buf_fini(&out);
	}
	rl_arena_fini(&arena);
	return err;
}

/* ---- the rest ---- */

rl_str rl_translate_dropped(struct rl_request *rq)
{
	struct rl_translate *tr = rq->translate;

	for (unsigned i = 0; i < tr->encoder.n_lost; i++)
		rl_drop(&tr->t, "%s", tr->encoder.lost[i]);
	return rl_dropped_text(&tr->t, &rq->arena);
}

void rl_translate_close(struct rl_request *rq)
{
	struct rl_translate *tr = rq->translate;

	if (!tr || !tr->decoder)
		return;
	rl_frames_fini(&tr->frames);
	if (tr->client->encoder_fini)
		tr->client->encoder_fini(&tr->encoder);
	rl_encoder_fini(&tr->encoder);
	tr->decoder = NULL;
}

void rl_translate_release(struct rl_request *rq)
{
	struct rl_translate *tr = rq->translate;

	if (!tr)
		return;
	rl_buf_fini(&tr->body);
	rl_arena_reset(&tr->arena);
	tr->encoder.request = NULL;
	tr->parsed = false;
}
