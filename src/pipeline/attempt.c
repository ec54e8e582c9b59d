/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ATTEMPT: the targets of the plan, one after the other, until one answers. What
 * comes of an answer is held back until the commit point: the first event with
 * content of a stream; otherwise the whole answer, checked, or RL_HOLD_BYTES_MAX
 * of it. Until then any failure leads to the next target, at once.
 */
#include "pipeline/translate.h"
#include "pipeline/tunnel.h"
#include "pipeline/upload.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "policy/health.h"

#define HEADERS_MAX 256u /* 100 of the configuration, up to 128 of the client's (x-sim-*), and ours */
#define REASON_MAX 300u
#define PATH_MAX_BYTES 4096u
#define RETRY_AFTER_MAX_S 86400
#define ERROR_BODY_MS 1000u /* for the body of an error: its status says enough */
#define TOKEN_CUT_BYTES 16u /* a token that is cut off is found wrong at most so far before the end */

/* ---- starting ---- */

struct outgoing {
	const struct rl_provider *provider;
	struct rl_header v[HEADERS_MAX];
	size_t n;
};

static void put(struct outgoing *out, enum rl_field field, rl_str name, rl_str value)
{
	if (value.n && out->n < HEADERS_MAX && !rl_provider_header_is_set(out->provider, name))
		out->v[out->n++] = (struct rl_header){field, name, value};
}

static void put_known(struct outgoing *out, enum rl_field field, rl_str value)
{
	put(out, field, rl_field_name(field), value);
}

static rl_str media_type(const struct rl_request *rq)
{
	if (rq->upload) /* it names the boundary */
		return rl_headers_value(&rq->x->head.headers, RL_H_CONTENT_TYPE);
	return rq->body.n ? RL_STR("application/json") : RL_STR("");
}

static rl_str acceptable(const struct rl_request *rq, const struct rl_provider *p)
{
	rl_str asked = {NULL, 0};

	if (!rl_pass_uninspected(rq))
		return rq->envelope.stream ? rl_framing_type(p->dialect->framing) : RL_STR("application/json");
	if (rq->route->kind == RL_ROUTE_PASS)
		asked = rl_headers_value(&rq->x->head.headers, RL_H_ACCEPT);
	return asked.n ? asked : RL_STR("*/*");
}

static void put_websocket(struct rl_request *rq, struct outgoing *out)
{
	static const rl_str as_they_are[] = {RL_STR_INIT("sec-websocket-key"), RL_STR_INIT("sec-websocket-version"),
					     RL_STR_INIT("sec-websocket-extensions")};

	for (size_t i = 0; i < sizeof as_they_are / sizeof as_they_are[0]; i++)
		put(out, RL_H_OTHER, as_they_are[i], rl_pass_asked(rq, as_they_are[i]));
	put(out, RL_H_OTHER, RL_STR("sec-websocket-protocol"), rl_tunnel_protocols(rq));
}

/* What the dialect itself wants: the client's word where it speaks the same one, else the usual one. */
static void put_dialect(const struct rl_request *rq, const struct rl_provider *p, struct outgoing *out)
{
	bool same = rq->own_headers && p->dialect == rq->dialect;

	for (uint32_t i = 0; same && i < rq->own_headers->n; i++)
		put(out, RL_H_OTHER, rq->own_headers->v[i].name, rq->own_headers->v[i].value);
	for (const struct rl_name_value *h = p->dialect->headers; h && h->name.n; h++)
		if (!same || !rl_headers_named(rq->own_headers, h->name).n)
			put(out, RL_H_OTHER, h->name, h->value);
}

/* An allow-list: nothing of the client's head goes on but what stands here. */
static void make_headers(struct rl_request *rq, const struct rl_target *target, const struct rl_provider_key *key,
			 struct outgoing *out)
{
	const struct rl_provider *p = target->provider;

	out->provider = p;
	out->n = 0;
	if (key)
		put(out, p->key_field, p->key_header, rl_secret_reveal(key->authorization));
	for (size_t i = 0; i < p->n_headers; i++)
		out->v[out->n++] = p->headers[i]; /* those of the configuration are among them */
	put_known(out, RL_H_CONTENT_TYPE, media_type(rq));
	put_known(out, RL_H_ACCEPT, acceptable(rq, p));
	if (rq->route->kind == RL_ROUTE_PASS) {
		put(out, RL_H_OTHER, RL_STR("range"), rl_pass_asked(rq, RL_STR("range")));
		put(out, RL_H_OTHER, RL_STR("if-range"), rl_pass_asked(rq, RL_STR("if-range")));
	}
	if (rq->route->kind == RL_ROUTE_TUNNEL)
		put_websocket(rq, out);
	put_known(out, RL_H_X_REQUEST_ID, rq->id);
	put(out, RL_H_OTHER, RL_STR("traceparent"), rq->traceparent);
	put(out, RL_H_OTHER, RL_STR("tracestate"), rq->tracestate);
	put(out, RL_H_OTHER, RL_STR("openai-beta"), rq->beta);
	put_dialect(rq, p, out);
	for (uint32_t i = 0; p->settings->simulated && rq->sim_headers && i < rq->sim_headers->n; i++)
		put(out, RL_H_OTHER, rq->sim_headers->v[i].name, rq->sim_headers->v[i].value);
}

static bool streams_usage(const struct rl_request *rq, const struct rl_target *target)
{
	return rq->envelope.stream && !rq->envelope.usage_asked && target->provider->settings->stream_usage &&
	       (rq->route->operation == RL_OP_CHAT || rq->route->operation == RL_OP_COMPLETION);
}

static enum rl_err make_body(struct rl_request *rq, struct rl_attempt *a, rl_str **parts, size_t *n)
{
	const struct rl_target *target = a->candidate->target;
	const struct rl_cfg_provider *settings = target->provider->settings;
	struct rl_edit edit = {
		.model = target->model,
		.want_usage = streams_usage(rq, target),
		.set = target->provider->body_set,
		.n_set = settings->n_body_set,
		.remove = settings->body_remove,
		.n_remove = settings->n_body_remove,
	};
	rl_str made[RL_BODY_PARTS_MAX] __attribute__((uninitialized));

	if (rq->route->kind != RL_ROUTE_INFERENCE || rq->upload) { /* as it came, if there is one */
		*parts = &rq->body;
		*n = rq->body.n > 0;
		return RL_OK;
	}
	a->translated = rl_translate_needed(rq, target->provider);
	if (a->translated)
		return rl_translate_body(rq, a, parts, n);
	enum rl_err err = target->provider->dialect->edit_body(rq->body, &rq->envelope, &edit, &rq->arena, made, n);

	if (err)
		return err;
	*parts = rl_arena_alloc(&rq->arena, *n * sizeof **parts);
	if (!*parts)
		return RL_ERR_NOMEM;
	memcpy(*parts, made, *n * sizeof **parts);
	return RL_OK;
}

/* Where the model's name stands in it. */
static bool write_path(struct rl_request *rq, const struct rl_target *target, enum rl_operation op, rl_str *path)
{
	struct rl_facts facts;
	struct rl_buf text;

	rl_provider_facts(target->provider, target->model, &facts);
	rl_buf_init(&text, PATH_MAX_BYTES);
	rl_buf_add(&text, target->provider->base_path);
	target->provider->dialect->write_path(op, &facts, rq->envelope.stream, &text);
	*path = rl_buf_ok(&text) ? rl_arena_dup(&rq->arena, rl_buf_str(&text)) : (rl_str){NULL, 0};
	rl_buf_fini(&text);
	return path->p != NULL;
}

static bool make_path(struct rl_request *rq, const struct rl_target *target, rl_str *path)
{
	rl_str query = rq->x->head.query;

	if (rq->route->kind == RL_ROUTE_INFERENCE) {
		enum rl_operation op = rl_provider_operation(target->provider, rq->route->operation);

		*path = target->provider->paths[op];
		return !target->provider->dialect->write_path || write_path(rq, target, op, path);
	}
	if (query.n && rq->route->kind == RL_ROUTE_TUNNEL && !(query = rl_tunnel_query(rq, target)).p)
		return false;
	*path = rl_pass_path(rq, target->provider, query);
	return path->p != NULL;
}

static enum rl_err start_call(struct rl_request *rq, struct rl_attempt *a)
{
	const struct rl_target *target = a->candidate->target;
	const struct rl_provider *p = target->provider;
	const struct rl_provider_key *key = p->n_keys ? rl_provider_next_key(p, target->model) : NULL;
	struct outgoing out __attribute__((uninitialized));
	struct rl_call_spec spec = {
		.origin = p->origin,
		.method = rq->method,
		.times =
			{
				.connect_ms = target->times->connect_ms,
				.send_ms = target->times->send_ms,
				.first_byte_ms = rq->envelope.stream ? target->times->first_byte_stream_ms
								     : target->times->first_byte_ms,
				.idle_ms = target->times->idle_ms,
			},
		.max_head_bytes = 65536,
		.replayable = rq->route->kind == RL_ROUTE_INFERENCE && !rq->envelope.stateful,
		.streamed = rq->route->kind == RL_ROUTE_TUNNEL,
		.upgrade = rq->route->kind == RL_ROUTE_TUNNEL,
	};
	rl_str *parts;

	if (!make_path(rq, target, &spec.path))
		return RL_ERR_NOMEM;
	if (p->n_keys && !key)
		return RL_ERR_NOT_FOUND;
	a->key = key;
	enum rl_err err = make_body(rq, a, &parts, &spec.n_body);

	if (err)
		return err;
	make_headers(rq, target, key, &out);
	spec.body = parts;
	if (rq->upload)
		rl_upload_specify(rq, target, &spec);
	spec.headers = out.v;
	spec.n_headers = out.n;
	return rl_call_start(rq->worker->pool, &spec, &rl_attempt_ops, a, &a->call);
}

/* ---- ending ---- */

void rl_attempt_cancel(struct rl_attempt *attempt)
{
	rl_call_cancel(attempt->call);
	attempt->call = NULL;
}

/* Takes over from the call what the account wants, while the call exists. */
static void note_times(struct rl_attempt *a)
{
	if (!a->call)
		return;
	a->reused = a->call->reused;
	a->connected_us = a->call->connected_us;
	if (!a->head_us)
		a->head_us = a->call->head_us;
}

static void say_health(const struct rl_target *target, bool up, enum rl_fault_class fault)
{
	if (up)
		RL_INFO("health", "%.*s/%.*s is up again", RL_STR_ARG(target->provider->name),
			RL_STR_ARG(target->model));
	else
		RL_WARN("health", "%.*s/%.*s is down for %llu ms after %u failures, the last one %s",
			RL_STR_ARG(target->provider->name), RL_STR_ARG(target->model),
			(unsigned long long)target->provider->settings->fail_timeout_ms,
			target->provider->settings->max_fails, rl_fault_class_name(fault));
}

void rl_attempt_settle(struct rl_attempt *a, enum rl_fault_class fault, rl_str reason)
{
	bool up;

	if (a->settled)
		return;
	note_times(a);
	a->settled = true;
	a->fault = fault;
	a->reason = rl_redact_copy(a->candidate->target->provider, reason, &a->request->arena);
	a->end_us = rl_clock_us();
	if (!a->request->committed)
		a->request->waited_us += a->end_us - a->begin_us;
	rl_candidate_release(a->candidate);
	if (rl_health_report(a->candidate->target, fault, a->request->committed && a == a->request->attempt,
			     rl_loop_now_ms(a->request->worker->loop), &up))
		say_health(a->candidate->target, up, fault);
}

/* This target failed before the commit point: the next one. */
static enum rl_move next_target(struct rl_request *rq, struct rl_attempt *a, enum rl_fault_class fault, rl_str reason)
{
	if (a->call && a->call->sent && !a->status)
		a->maybe_billed = true;
	rl_attempt_settle(a, fault, reason);
	rl_attempt_cancel(a);
	if (rl_upload_begun(rq))
		rq->next_candidate = rq->plan.n; /* what is streamed is there once */
	rq->held.n = 0;
	rq->held.failed = false;
	if (rq->sse_used)
		rl_sse_fini(&rq->sse);
	rl_translate_close(rq);
	rq->sse_used = rq->content_seen = rq->finish_seen = rq->done_seen = false;
	rq->usage = (struct rl_usage){0};
	return rl_request_jump(rq, RL_STEP_ATTEMPT);
}

enum rl_fault_class rl_attempt_class_of(enum rl_err err)
{
	switch (err) {
	case RL_ERR_TIMEOUT:
		return RL_FAULT_TIMEOUT;
	case RL_ERR_PROTOCOL:
	case RL_ERR_SYNTAX:
	case RL_ERR_LIMIT:
	case RL_ERR_UNSUPPORTED:
		return RL_FAULT_INVALID_RESPONSE;
	case RL_ERR_BUSY:
		return RL_FAULT_OVERLOADED;
	case RL_ERR_NOMEM:
		return RL_FAULT_INTERNAL;
	default:
		return RL_FAULT_CONNECT;
	}
}

/* "timeout (first_byte)", "tls (certificate has expired)". */
static rl_str call_reason(struct rl_request *rq, const struct rl_attempt *a, enum rl_err err)
{
	const char *detail = a->call && a->call->detail ? a->call->detail : "";

	if (!*detail)
		return rl_str_of(rl_err_name(err));
	return rl_arena_printf(&rq->arena, "%s (%.200s)", rl_err_name(err), detail);
}

/* ---- when all have failed ---- */

static bool all_are(const struct rl_request *rq, enum rl_fault_class one, enum rl_fault_class or_other)
{
	for (size_t i = 0; i < rq->n_attempts; i++)
		if (rq->attempts[i].fault != one && rq->attempts[i].fault != or_other)
			return false;
	return true;
}

static int64_t smallest_retry_after(const struct rl_request *rq)
{
	int64_t least = -1;

	for (size_t i = 0; i < rq->n_attempts; i++) {
		int64_t s = rq->attempts[i].retry_after_s;
		if (s >= 0 && (least < 0 || s < least))
			least = s;
	}
	return least;
}

static const struct {
	enum rl_fault_class one, other; /* all attempts failed in one of these ways */
	uint16_t status;
	enum rl_fault_class cls;
	const char *code;
} endings[] = {
	{RL_FAULT_RATE_LIMIT, RL_FAULT_QUOTA, 429, RL_FAULT_RATE_LIMIT, "rate_limit_exceeded"},
	{RL_FAULT_TIMEOUT, RL_FAULT_TIMEOUT, 504, RL_FAULT_TIMEOUT, "provider_timeout"},
	{RL_FAULT_AUTH, RL_FAULT_AUTH, 502, RL_FAULT_AUTH, "provider_auth"},
	{RL_FAULT_INTERNAL, RL_FAULT_INTERNAL, 503, RL_FAULT_INTERNAL, "out_of_memory"},
};

/* No target was asked, because none can express the request: then the client hears what it is, not who was tried. */
static bool all_refused(const struct rl_request *rq)
{
	return rq->translate && rq->translate->refusal.status &&
	       all_are(rq, RL_FAULT_BAD_REQUEST, RL_FAULT_BAD_REQUEST);
}

/* No provider was reached, because something of ours was used up: places, ports, descriptors. That passes. */
static bool is_shortage(const struct rl_request *rq)
{
	for (size_t i = 0; i < rq->n_attempts; i++)
		if (rq->attempts[i].fault != RL_FAULT_OVERLOADED || rq->attempts[i].status)
			return false;
	return true;
}

/* Nobody answered: which status that makes, and a body that says who was asked and why each failed. */
static enum rl_move give_up(struct rl_request *rq)
{
	assert(rq->n_attempts > 0);
	const bool shortage = is_shortage(rq);
	uint16_t status = 502;
	enum rl_fault_class cls = rq->attempts[rq->n_attempts - 1].fault;
	const char *code = "provider_error";
	struct rl_buf tried;

	if (all_refused(rq)) {
		rq->fault = rq->translate->refusal;
		return RL_MOVE_FAIL;
	}
	for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
		if (!all_are(rq, endings[i].one, endings[i].other))
			continue;
		status = endings[i].status;
		cls = endings[i].cls;
		code = endings[i].code;
		break;
	}
	if (shortage) {
		status = 503;
		code = "gateway_overloaded";
	}
	rl_buf_init(&tried, 900);
	for (size_t i = 0; i < rq->n_attempts && tried.n < 600; i++) {
		const struct rl_attempt *a = &rq->attempts[i];
		rl_str model = rl_str_sub(a->candidate->target->model, 0, 80);

		rl_buf_printf(&tried, "%s%.*s%s%.*s: %s", i ? "; " : "",
			      RL_STR_ARG(a->candidate->target->provider->name), model.n ? "/" : "", RL_STR_ARG(model),
			      rl_fault_class_name(a->fault));
		rl_str reason = rl_str_sub(a->reason, 0, 160);

		while (reason.n && reason.p[reason.n - 1] == '.')
			reason.n--; /* the sentence has a full stop of its own */
		if (reason.n)
			rl_buf_printf(&tried, ", %.*s", RL_STR_ARG(reason));
	}
	rl_str asked = rl_str_sub(rq->envelope.model, 0, 128);
	enum rl_move move = rl_request_fail(rq, cls, status, code, NULL, "No target%s%.*s%s answered. Tried %.*s.",
					    asked.n ? " of model '" : "", RL_STR_ARG(asked), asked.n ? "'" : "",
					    RL_STR_ARG(rl_buf_str(&tried)));

	rl_buf_fini(&tried);
	rq->outcome = RL_OUTCOME_FAILED;
	rq->should_not_retry = rq->n_attempts > 1 && !shortage;
	rq->fault.retry_after_s = status == 429 ? smallest_retry_after(rq) : shortage ? 1 : -1;
	return move;
}

/* The deadline to the commit point spans all attempts; the first one sets it. */
static void start_timer(struct rl_request *rq, uint64_t deadline_ms)
{
	uint64_t now_ms = rl_loop_now_ms(rq->worker->loop);

	if (!rq->deadline_ms)
		rq->deadline_ms = deadline_ms ? now_ms + deadline_ms : UINT64_MAX;
	if (rq->deadline_ms == UINT64_MAX)
		rl_timer_stop(&rq->timer);
	else
		rl_timer_start(rq->worker->loop, &rq->timer, rq->deadline_ms > now_ms ? rq->deadline_ms - now_ms : 0);
}

/* No target waits for a failed one's explanations. */
static void shorten_timer(struct rl_request *rq)
{
	uint64_t now_ms = rl_loop_now_ms(rq->worker->loop);

	if (rq->deadline_ms > now_ms + ERROR_BODY_MS)
		rl_timer_start(rq->worker->loop, &rq->timer, ERROR_BODY_MS);
}

/* The call could not even be started. */
static void settle_unsent(struct rl_attempt *a, enum rl_err err)
{
	if (err == RL_ERR_NOT_FOUND)
		rl_attempt_settle(a, RL_FAULT_AUTH, RL_STR("no key of this provider serves the model"));
	else if (err == RL_ERR_UNSUPPORTED && a->translated)
		rl_attempt_settle(a, RL_FAULT_BAD_REQUEST, a->request->translate->refusal.message);
	else
		rl_attempt_settle(a, RL_FAULT_INTERNAL, RL_STR("out of memory"));
}

/* The client's body is wrong, which only shows when it is read whole: no target has seen it. */
static enum rl_move misread(struct rl_request *rq, struct rl_attempt *a)
{
	rl_candidate_release(a->candidate);
	rq->n_attempts--;
	rq->attempt = NULL;
	rl_timer_stop(&rq->timer);
	return RL_MOVE_FAIL;
}

enum rl_move attempt_run(struct rl_request *rq)
{
	while (rq->next_candidate < rq->plan.n && rq->n_attempts < RL_ATTEMPTS_MAX) {
		struct rl_attempt *a = &rq->attempts[rq->n_attempts++];

		*a = (struct rl_attempt){
			.request = rq,
			.candidate = &rq->plan.list[rq->next_candidate++],
			.retry_after_s = -1,
			.begin_us = rl_clock_us(),
		};
		rq->attempt = a;
		if (!rq->upload) /* a form takes the time that it takes; the deadline counts from its end */
			start_timer(rq, a->candidate->target->times->deadline_ms);
		rl_candidate_claim(a->candidate);
		enum rl_err err = start_call(rq, a);

		if (!err)
			return RL_MOVE_WAIT;
		if (err == RL_ERR_SYNTAX && a->translated)
			return misread(rq, a);
		settle_unsent(a, err);
	}
	return give_up(rq);
}

/* ---- the head of an answer ---- */

/* Decimal digits alone; a number too large to mean anything stays large. -1: not a number. */
static int64_t whole_number(rl_str text)
{
	int64_t n = text.n ? 0 : -1;

	for (size_t i = 0; i < text.n && n >= 0; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return -1;
		n = n < INT64_MAX / 100 ? n * 10 + (text.p[i] - '0') : n;
	}
	return n;
}

/* Seconds until an HTTP date (RFC 9110 section 5.6.7, the preferred form). -1: not a date. */
static int64_t until_date(rl_str date)
{
	char text[64];
	struct tm tm = {0};

	if (date.n >= sizeof text)
		return -1;
	memcpy(text, date.p, date.n);
	text[date.n] = '\0';
	if (!strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm))
		return -1;
	int64_t s = (int64_t)timegm(&tm) - (int64_t)(rl_clock_wall_us() / 1000000u);

	return s < 0 ? 0 : s;
}

/* Seconds, from Retry-After in both its forms or from retry-after-ms. -1: none that is understood. */
static int64_t retry_after(const struct rl_headers *headers)
{
	rl_str value = rl_headers_value(headers, RL_H_RETRY_AFTER);
	int64_t s = whole_number(value);

	if (s < 0 && value.n)
		s = until_date(value);
	if (s < 0) {
		int64_t ms = whole_number(rl_headers_value(headers, RL_H_RETRY_AFTER_MS));
		s = ms < 0 ? -1 : ms / 1000 + (ms % 1000 != 0);
	}
	return s < RETRY_AFTER_MAX_S ? s : RETRY_AFTER_MAX_S;
}

static enum rl_move wake_head(struct rl_request *rq, struct rl_attempt *a, const struct rl_response_head *head)
{
	rl_str type = rl_headers_value(&head->headers, RL_H_CONTENT_TYPE);
	const struct rl_provider *provider = a->candidate->target->provider;

	a->status = head->status;
	a->head_us = a->call->head_us;
	a->retry_after_s = retry_after(&head->headers);
	if (rl_answer_keep(rq, a, head))
		return next_target(rq, a, RL_FAULT_INVALID_RESPONSE, RL_STR("its header is too large"));
	if (head->status == 101) { /* comes only where it was asked for */
		a->reading = RL_READING_BYTES;
		return rl_attempt_commit(rq);
	}
	if (head->status < 200 || head->status > 299) {
		a->reading = RL_READING_ERROR;
		shorten_timer(rq);
		return RL_MOVE_WAIT;
	}
	if (rl_pass_uninspected(rq)) {
		a->reading = RL_READING_BYTES;
		rq->tail_wanted =
			rl_media_is(type, RL_STR("application/json")) || rl_media_is(type, RL_STR("text/event-stream"));
		return RL_MOVE_WAIT;
	}
	if (rq->envelope.stream && rl_media_is(type, rl_framing_type(provider->dialect->framing))) {
		a->reading = RL_READING_STREAM;
		if (a->translated)
			return rl_translate_open(rq) ? next_target(rq, a, RL_FAULT_INTERNAL, RL_STR("out of memory"))
						     : RL_MOVE_WAIT;
		rl_sse_init(&rq->sse, RL_EVENT_BYTES_MAX);
		rq->sse_used = true;
		return RL_MOVE_WAIT;
	}
	if (!rl_media_is(type, RL_STR("application/json")))
		return next_target(rq, a, RL_FAULT_INVALID_RESPONSE,
				   rl_arena_printf(&rq->arena, "status %u with content type '%.*s'", head->status,
						   (int)(type.n < 80 ? type.n : 80), type.n ? type.p : ""));
	a->reading = RL_READING_WHOLE;
	return RL_MOVE_WAIT;
}

/* ---- its body ---- */

/* What outlives the snapshot when a long answer lets go of it. */
struct lasting {
	struct rl_target target;
	struct rl_provider provider;
	struct rl_cfg_provider settings;
	struct rl_provider_key key; /* the one that it may say back */
};

static bool keep_target(struct rl_request *rq, struct rl_attempt *a)
{
	const struct rl_target *t = a->candidate->target;
	struct lasting *l = RL_NEW(&rq->arena, struct lasting);

	if (!l)
		return false;
	l->settings.max_fails = t->provider->settings->max_fails;
	l->settings.fail_timeout_ms = t->provider->settings->fail_timeout_ms;
	l->provider.name = rl_arena_dup(&rq->arena, t->provider->name);
	l->provider.settings = &l->settings;
	if (a->key && a == rq->attempt) {
		rl_str shown = rl_arena_dup(&rq->arena, rl_secret_reveal(a->key->authorization));

		if (!shown.p)
			return false;
		l->key.authorization = rl_secret_make(shown);
		l->provider.keys = &l->key;
		l->provider.n_keys = 1;
	}
	l->target = (struct rl_target){.provider = &l->provider,
				       .model = rl_arena_dup(&rq->arena, t->model),
				       .live = t->live};
	a->key = NULL;
	a->candidate->target = &l->target;
	return l->provider.name.p && l->target.model.p;
}

/* A long answer must not pin an old configuration, nor the request's body. */
static void let_go(struct rl_request *rq)
{
	for (size_t i = 0; i < rq->n_attempts; i++)
		if (!keep_target(rq, &rq->attempts[i]))
			return; /* then it stays pinned: better than failing now */
	for (size_t i = rq->next_candidate; i < rq->plan.n; i++)
		rl_candidate_release(&rq->plan.list[i]);
	rq->plan.n = rq->next_candidate;
	rq->model = NULL;
	rq->client = NULL;
	rl_snapshot_hold_put(&rq->hold);
	if (rq->attempt->call && rq->attempt->call->sent)
		rl_body_release(rq);
}

enum rl_move rl_attempt_commit(struct rl_request *rq)
{
	rl_timer_stop(&rq->timer);
	note_times(rq->attempt);
	rq->waited_us += rl_clock_us() - rq->attempt->begin_us;
	rq->committed = true;
	if (rq->attempt->translated) /* names of what was left out, while its target is there */
		rq->dropped = rl_translate_dropped(rq);
	if (rl_health_answers(rq->attempt->candidate->target))
		say_health(rq->attempt->candidate->target, true, RL_FAULT_NONE);
	if (!rq->whole)
		let_go(rq);
	return rl_request_jump(rq, RL_STEP_RELAY);
}

static enum rl_move event_error(struct rl_request *rq, struct rl_attempt *a, const struct rl_sse_event *event,
				const struct rl_glance *glance)
{
	rl_str text = rq->dialect->error_text(event->data, &rq->arena);

	return next_target(rq, a, glance->fault_class ? glance->fault_class : RL_FAULT_SERVER_ERROR, text);
}

/* What an event that is held means for the attempt. */
static enum rl_move weigh(struct rl_request *rq, struct rl_attempt *a, const struct rl_glance *glance)
{
	if (glance->done && !glance->finish && !rq->finish_seen)
		return next_target(rq, a, RL_FAULT_INVALID_RESPONSE, RL_STR("the stream ended without an answer"));
	if (!rl_buf_ok(&rq->held))
		return next_target(rq, a, RL_FAULT_INTERNAL, RL_STR("out of memory"));
	rl_usage_take(&rq->usage, &glance->usage);
	rq->finish_seen |= glance->finish;
	rq->content_seen |= glance->content;
	rq->done_seen |= glance->done;
	if (glance->content || glance->finish || rq->held.n > RL_HOLD_BYTES_MAX)
		return rl_attempt_commit(rq);
	return RL_MOVE_WAIT;
}

/* Holds events until one shows that an answer is really coming. */
static enum rl_move hold_event(struct rl_request *rq, struct rl_attempt *a, const struct rl_sse_event *event)
{
	struct rl_glance glance;

	if (!event->has_data)
		return RL_MOVE_WAIT; /* a comment or a retry field: nothing to keep before the answer begins */
	if (a->candidate->target->provider->dialect->glance_event(rq->route->operation, event->name, event->data,
								  &rq->form, &glance))
		return next_target(rq, a, RL_FAULT_INVALID_RESPONSE, RL_STR("a stream event is malformed"));
	if (glance.error)
		return event_error(rq, a, event, &glance);
	if (!glance.usage_only || rq->envelope.usage_asked) {
		rl_buf_add(&rq->held, event->raw);
		rq->events++;
	}
	return weigh(rq, a, &glance);
}

/* The same through two dialects. */
static enum rl_move wake_foreign(struct rl_request *rq, struct rl_attempt *a, rl_str piece)
{
	struct rl_glance glance;
	rl_str text;
	enum rl_err err;

	rl_frames_feed(&rq->translate->frames, piece);
	while (!(err = rl_translate_next(rq, false, &rq->held, &glance, &text))) {
		if (glance.error)
			return next_target(rq, a, glance.fault_class ? glance.fault_class : RL_FAULT_SERVER_ERROR,
					   text);
		rq->events++;
		enum rl_move move = weigh(rq, a, &glance);
		if (move != RL_MOVE_WAIT)
			return move;
	}
	if (err == RL_ERR_AGAIN)
		return RL_MOVE_WAIT;
	if (err == RL_ERR_NOMEM)
		return next_target(rq, a, RL_FAULT_INTERNAL, RL_STR("out of memory"));
	return next_target(rq, a, RL_FAULT_INVALID_RESPONSE,
			   err == RL_ERR_LIMIT ? RL_STR("a stream event is too long")
					       : RL_STR("a stream event is malformed"));
}

static enum rl_move wake_stream(struct rl_request *rq, struct rl_attempt *a, rl_str piece)
{
	struct rl_sse_event event;
	enum rl_err err;

	if (a->translated)
		return wake_foreign(rq, a, piece);

	rl_sse_feed(&rq->sse, piece);
	while (!(err = rl_sse_next(&rq->sse, &event))) {
		enum rl_move move = hold_event(rq, a, &event);
		if (move != RL_MOVE_WAIT)
			return move;
	}
	if (err == RL_ERR_AGAIN)
		return RL_MOVE_WAIT;
	return next_target(rq, a, RL_FAULT_INVALID_RESPONSE, RL_STR("a stream event is too long"));
}

static enum rl_move judge_error(struct rl_request *rq, struct rl_attempt *a);

/* Whether what is held may be the beginning of an object. */
static bool begins_well(rl_str held)
{
	struct rl_json_error error;

	return rl_json_type_of(held) == RL_JSON_OBJECT &&
	       (!rl_json_scan(held, NULL, 0, 0, NULL, &error) || error.offset + TOKEN_CUT_BYTES >= held.n);
}

static enum rl_move wake_piece(struct rl_request *rq, struct rl_attempt *a, rl_str piece)
{
	switch (a->reading) {
	case RL_READING_STREAM:
		return wake_stream(rq, a, piece);
	case RL_READING_ERROR:
		rl_buf_add(&rq->held, rl_str_sub(piece, 0, RL_ERROR_BODY_MAX - rq->held.n));
		return rq->held.n < RL_ERROR_BODY_MAX ? RL_MOVE_WAIT : judge_error(rq, a);
	case RL_READING_WHOLE:
		rl_buf_add(&rq->held, piece);
		if (!rl_buf_ok(&rq->held))
			return next_target(rq, a, RL_FAULT_INTERNAL, RL_STR("out of memory"));
		/* An answer to a stream's request in one piece is an error or worthless: never sent on unseen. */
		if (rq->held.n > RL_HOLD_BYTES_MAX && !rq->envelope.stream && !a->translated)
			return begins_well(rl_buf_str(&rq->held)) ? rl_attempt_commit(rq)
								  : next_target(rq, a, RL_FAULT_INVALID_RESPONSE,
										RL_STR("the answer is not JSON"));
		return rq->held.n > 4 * RL_HOLD_BYTES_MAX && rq->envelope.stream
			       ? next_target(rq, a, RL_FAULT_INVALID_RESPONSE, RL_STR("an answer that is not a stream"))
			       : RL_MOVE_WAIT;
	case RL_READING_BYTES:
		rl_buf_add(&rq->held, piece);
		return rl_buf_ok(&rq->held) ? rl_attempt_commit(rq)
					    : next_target(rq, a, RL_FAULT_INTERNAL, RL_STR("out of memory"));
	case RL_READING_NOTHING:
		break;
	}
	return RL_MOVE_WAIT;
}

/* An error that is the client's own goes to it as it is; others lead to the next target. */
static enum rl_move judge_error(struct rl_request *rq, struct rl_attempt *a)
{
	const struct rl_dialect *dialect = a->candidate->target->provider->dialect;
	rl_str body = rl_buf_str(&rq->held);
	enum rl_fault_class fault = dialect->classify(a->status, body);

	if (body.n)
		rl_redact(a->candidate->target->provider, rq->held.p, rq->held.n);
	rl_str text = dialect->error_text(body, &rq->arena);
	bool last = rq->next_candidate >= rq->plan.n || rq->n_attempts >= RL_ATTEMPTS_MAX;
	bool mine = !rl_fault_class_failover(fault) || (fault == RL_FAULT_NOT_FOUND && last);

	if (!mine || a->status < 400 || a->status > 499)
		return next_target(rq, a, fault,
				   rl_arena_printf(&rq->arena, "status %u%s%.*s", a->status, text.n ? ": " : "",
						   (int)(text.n < REASON_MAX ? text.n : REASON_MAX),
						   text.n ? text.p : ""));
	if (!text.n)
		text = rl_arena_printf(&rq->arena, "The provider %.*s refused the request with status %u.",
				       RL_STR_ARG(a->candidate->target->provider->name), a->status);
	rl_attempt_settle(a, fault, text);
	rl_attempt_cancel(a);
	rq->pass_error = true;
	rq->outcome = RL_OUTCOME_PASSED_ERROR;
	rq->fault = (struct rl_fault){.cls = fault,
				      .status = a->status,
				      .code = rl_fault_class_code(fault),
				      .message = a->reason,
				      .retry_after_s = -1};
	return RL_MOVE_FAIL;
}

static enum rl_move judge_whole(struct rl_request *rq, struct rl_attempt *a)
{
	const struct rl_dialect *dialect = a->candidate->target->provider->dialect;
	enum rl_operation op = rl_provider_operation(a->candidate->target->provider, rq->route->operation);
	struct rl_glance glance;

	if (dialect->glance_answer(op, rl_buf_str(&rq->held), &glance))
		return next_target(rq, a, RL_FAULT_INVALID_RESPONSE, RL_STR("the answer is not what its dialect says"));
	if (glance.error)
		return next_target(rq, a, glance.fault_class ? glance.fault_class : RL_FAULT_SERVER_ERROR,
				   dialect->error_text(rl_buf_str(&rq->held), &rq->arena));
	if (rq->envelope.stream)
		return next_target(rq, a, RL_FAULT_INVALID_RESPONSE, RL_STR("an answer that is not a stream"));
	rq->usage = glance.usage;
	enum rl_err err = a->translated ? rl_translate_whole(rq) : RL_OK;

	if (err)
		return next_target(rq, a, err == RL_ERR_NOMEM ? RL_FAULT_INTERNAL : RL_FAULT_INVALID_RESPONSE,
				   err == RL_ERR_NOMEM ? RL_STR("out of memory")
						       : RL_STR("the answer is not what its dialect says"));
	rq->whole = true;
	return rl_attempt_commit(rq);
}

static enum rl_move wake_end(struct rl_request *rq, struct rl_attempt *a)
{
	note_times(a);
	a->call = NULL;
	switch (a->reading) {
	case RL_READING_WHOLE:
		return judge_whole(rq, a);
	case RL_READING_ERROR:
		return judge_error(rq, a);
	case RL_READING_BYTES:
		return rl_attempt_commit(rq);
	case RL_READING_STREAM:
	case RL_READING_NOTHING:
		break;
	}
	return next_target(rq, a, RL_FAULT_INVALID_RESPONSE, RL_STR("the stream ended without an answer"));
}

static enum rl_move wake_failed(struct rl_request *rq, struct rl_attempt *a, enum rl_err err)
{
	rl_str reason = call_reason(rq, a, err);

	if (a->call->sent && a->reading != RL_READING_ERROR)
		a->maybe_billed = true;
	note_times(a);
	a->call = NULL;
	if (a->reading == RL_READING_ERROR)
		return judge_error(rq, a); /* its status came: that is what it said */
	return next_target(rq, a, rl_attempt_class_of(err), reason);
}

/* The deadline to the commit point (no more targets), or the time for an error's body is over. */
static enum rl_move wake_deadline(struct rl_request *rq, struct rl_attempt *a)
{
	if (a->reading == RL_READING_ERROR)
		return judge_error(rq, a);
	next_target(rq, a, RL_FAULT_TIMEOUT, RL_STR("timeout (deadline)"));
	rq->next_candidate = rq->plan.n;
	return RL_MOVE_JUMP;
}

static enum rl_move wake_upload(struct rl_request *rq, struct rl_attempt *a, const struct rl_wake_in *in)
{
	enum rl_move move = rl_upload_wake(rq, in);

	if (move == RL_MOVE_WAIT && rl_upload_complete(rq) && !rq->deadline_ms)
		start_timer(rq, a->candidate->target->times->deadline_ms);
	return move;
}

enum rl_move attempt_wake(struct rl_request *rq, const struct rl_wake_in *in)
{
	struct rl_attempt *a = rq->attempt;

	switch (in->kind) {
	case RL_WAKE_HEAD:
		return wake_head(rq, a, in->head);
	case RL_WAKE_PIECE:
		return wake_piece(rq, a, in->piece);
	case RL_WAKE_END:
		return wake_end(rq, a);
	case RL_WAKE_FAILED:
		return wake_failed(rq, a, in->err);
	case RL_WAKE_TIMER:
		return wake_deadline(rq, a);
	case RL_WAKE_GONE:
		return rl_request_left(rq);
	case RL_WAKE_READ_END:
	case RL_WAKE_DRAIN:
		return RL_MOVE_WAIT;
	case RL_WAKE_ROOM:
	case RL_WAKE_BODY:
	case RL_WAKE_BODY_END:
		if (rq->upload)
			return wake_upload(rq, a, in);
		break; /* the body was complete before */
	case RL_WAKE_SHUT:
	case RL_WAKE_NONE:
		break;
	}
	rl_request_stray(rq, in);
}

/* ---- the call's callbacks ---- */

static void wake(struct rl_call *call, struct rl_wake_in in)
{
	struct rl_attempt *a = call->owner;

	rl_request_wake(a->request, &in);
}

static void on_head(struct rl_call *call, const struct rl_response_head *head)
{
	wake(call, (struct rl_wake_in){.kind = RL_WAKE_HEAD, .head = head});
}

static void on_body(struct rl_call *call, rl_str piece)
{
	wake(call, (struct rl_wake_in){.kind = RL_WAKE_PIECE, .piece = piece});
}

static void on_read_end(struct rl_call *call)
{
	wake(call, (struct rl_wake_in){.kind = RL_WAKE_READ_END});
}

static void on_drain(struct rl_call *call)
{
	wake(call, (struct rl_wake_in){.kind = RL_WAKE_ROOM});
}

static void on_shut(struct rl_call *call)
{
	wake(call, (struct rl_wake_in){.kind = RL_WAKE_SHUT});
}

static void on_end(struct rl_call *call)
{
	wake(call, (struct rl_wake_in){.kind = RL_WAKE_END});
}

static void on_fail(struct rl_call *call, enum rl_err reason)
{
	wake(call, (struct rl_wake_in){.kind = RL_WAKE_FAILED, .err = reason});
}

const struct rl_call_ops rl_attempt_ops = {
	.name = "attempt",
	.on_head = on_head,
	.on_body = on_body,
	.on_read_end = on_read_end,
	.on_end = on_end,
	.on_fail = on_fail,
	.on_drain = on_drain,
	.on_shut = on_shut,
};
