/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `relais ask`: one question, its answer streamed to the terminal, straight from a
 * provider: no gateway runs. It stands on the client side of the dialects, and fails
 * over to the next target as long as nothing has been printed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/command.h"
#include "app/setup.h"
#include "frame/frames.h"
#include "policy/plan.h"
#include "policy/snapshot.h"
#include "provider/catalog.h"
#include "service/simulator.h"

enum { OPT_MODEL, OPT_CONFIG, OPT_SYSTEM, OPT_JSON };

#define ANSWER_BYTES_MAX (16u << 20)
#define ERROR_BYTES_MAX 65536u
#define EVENT_BYTES_MAX (1u << 20)
#define PATH_BYTES_MAX 8192u
#define CALL_HEADERS_MAX 128u /* 100 of the configuration, and ours */

struct asking {
	struct rl_loop *loop;
	struct rl_pool *pool;
	struct rl_arena arena, scratch; /* scratch: reset with each event */
	struct rl_plan plan;
	size_t next;
	const struct rl_target *target;
	const char *instructions, *prompt;
	bool json;
	uint16_t status;
	struct rl_buf request, path, body, answer; /* body: of an error; answer: the whole text */
	rl_str body_slice;
	struct rl_frames frames;
	struct rl_decoder decoder;
	struct rl_usage usage;
	struct rl_call *call;
	bool printed, complete;
	char said[256];    /* an error that the provider told in the stream */
	char failure[512]; /* why the last target failed */
};

static void next_target(struct asking *a);

static void done(struct asking *a)
{
	a->call = NULL;
	rl_loop_stop(a->loop);
}

/* Another target may still answer if nothing of this one's answer was shown. */
static void failed(struct asking *a, const char *why, rl_str detail)
{
	a->call = NULL;
	snprintf(a->failure, sizeof a->failure, "%.*s/%.*s: %s%s%.*s", RL_STR_ARG(a->target->provider->name),
		 RL_STR_ARG(a->target->model), why, detail.n ? ": " : "", RL_STR_ARG(detail));
	if (a->printed)
		done(a);
	else
		next_target(a);
}

static enum rl_err on_event(void *user, const struct rl_event *event)
{
	struct asking *a = user;

	switch (event->kind) {
	case RL_EVENT_TEXT:
	case RL_EVENT_REFUSAL:
		rl_buf_add(&a->answer, event->text);
		a->printed = true;
		if (!a->json) {
			fwrite(event->text.p, 1, event->text.n, stdout);
			fflush(stdout);
		}
		break;
	case RL_EVENT_USAGE:
		a->usage = event->usage;
		break;
	case RL_EVENT_FINISH:
	case RL_EVENT_DONE:
		a->complete = true;
		break;
	case RL_EVENT_ERROR:
		snprintf(a->said, sizeof a->said, "%.*s", RL_STR_ARG(event->fault->message));
		return RL_ERR_CANCELLED;
	default:
		break;
	}
	return RL_OK;
}

static void on_head(struct rl_call *call, const struct rl_response_head *head)
{
	((struct asking *)call->owner)->status = head->status;
}

/* False: the stream cannot be read, or tells of an error. */
static bool take_event(struct asking *a, const struct rl_sse_event *event)
{
	rl_arena_reset(&a->scratch);
	return !event->has_data || !a->target->provider->dialect->decode_event(RL_OP_CHAT, &a->decoder, event->name,
									       event->data, &a->scratch, on_event, a);
}

static void broken(struct asking *a)
{
	failed(a, *a->said ? "error in the stream" : "the stream is not valid", rl_str_of(a->said));
}

static void on_body(struct rl_call *call, rl_str piece)
{
	struct asking *a = call->owner;
	struct rl_sse_event event;
	enum rl_err err;

	if (a->status != 200) {
		rl_buf_add(&a->body, rl_str_sub(piece, 0, ERROR_BYTES_MAX - a->body.n));
		return;
	}
	rl_frames_feed(&a->frames, piece);
	while ((err = rl_frames_next(&a->frames, &event)) == RL_OK && take_event(a, &event))
		;
	if (err == RL_ERR_AGAIN)
		return;
	rl_call_cancel(call);
	broken(a);
}

static void on_end(struct rl_call *call)
{
	struct asking *a = call->owner;
	struct rl_sse_event last;

	if (a->status == 200 && rl_frames_last(&a->frames, &last) == RL_OK && !take_event(a, &last)) {
		broken(a);
	} else if (a->status != 200) {
		char status[32];
		snprintf(status, sizeof status, "status %u", a->status);
		failed(a, status, a->target->provider->dialect->error_text(rl_buf_str(&a->body), &a->arena));
	} else if (!a->complete) {
		failed(a, "the stream ended before the answer was complete", rl_str_of(""));
	} else {
		done(a);
	}
}

static void on_fail(struct rl_call *call, enum rl_err reason)
{
	failed(call->owner, rl_err_text(reason), rl_str_of(call->detail));
}

static const struct rl_call_ops ops = {
	.name = "ask", .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail};

/* UNSUPPORTED: the target cannot take such a request. */
static enum rl_err write_request(struct asking *a)
{
	struct rl_part parts[2] = {{.kind = RL_PART_TEXT, .text = rl_str_of(a->instructions)},
				   {.kind = RL_PART_TEXT, .text = rl_str_of(a->prompt)}};
	struct rl_message messages[2] = {{.role = RL_ROLE_SYSTEM, .parts = &parts[0], .n_parts = 1},
					 {.role = RL_ROLE_USER, .parts = &parts[1], .n_parts = 1}};
	const struct rl_provider *p = a->target->provider;
	struct rl_facts facts;
	struct rl_translation translation;
	struct rl_chat_request request;

	rl_chat_request_init(&request);
	request.model = a->target->model;
	request.messages = a->instructions ? messages : messages + 1;
	request.n_messages = a->instructions ? 2 : 1;
	request.stream = request.include_usage = true;
	rl_buf_reset(&a->request);
	rl_provider_facts(p, a->target->model, &facts);
	rl_translation_init(&translation, &a->arena, &facts, false);
	p->dialect->write_request(RL_OP_CHAT, &request, &translation, &a->request);
	a->body_slice = rl_buf_str(&a->request);
	rl_buf_reset(&a->path);
	if (p->dialect->write_path) {
		rl_buf_add(&a->path, p->base_path);
		p->dialect->write_path(RL_OP_CHAT, &facts, true, &a->path);
	} else {
		rl_buf_add(&a->path, p->paths[RL_OP_CHAT]);
	}
	if (!rl_buf_ok(&a->request) || !rl_buf_ok(&a->path))
		return RL_ERR_LIMIT;
	return translation.err;
}

/* What the stream of this target's dialect is read with. */
static enum rl_err open_stream(struct asking *a)
{
	const struct rl_dialect *dialect = a->target->provider->dialect;

	rl_frames_fini(&a->frames);
	rl_frames_init(&a->frames, dialect->framing, EVENT_BYTES_MAX);
	rl_decoder_init(&a->decoder);
	if (dialect->decoder_bytes && !(a->decoder.own = rl_arena_zalloc(&a->arena, 1, dialect->decoder_bytes)))
		return RL_ERR_NOMEM;
	return RL_OK;
}

static enum rl_err start(struct asking *a)
{
	const struct rl_provider *p = a->target->provider;
	const struct rl_provider_key *key = p->n_keys ? rl_provider_next_key(p, a->target->model) : NULL;
	struct rl_header headers[CALL_HEADERS_MAX];
	size_t n = 0;

	if (p->n_keys && !key)
		return RL_ERR_NOT_FOUND;
	if (!rl_provider_header_is_set(p, rl_field_name(RL_H_CONTENT_TYPE)))
		headers[n++] =
			(struct rl_header){RL_H_CONTENT_TYPE, RL_STR("content-type"), RL_STR("application/json")};
	if (key && !rl_provider_header_is_set(p, p->key_header))
		headers[n++] = (struct rl_header){p->key_field, p->key_header, rl_secret_reveal(key->authorization)};
	for (size_t i = 0; i < p->n_headers && n < CALL_HEADERS_MAX; i++)
		headers[n++] = p->headers[i];
	for (const struct rl_name_value *h = p->dialect->headers; h && h->name.n && n < CALL_HEADERS_MAX; h++)
		if (!rl_provider_header_is_set(p, h->name))
			headers[n++] = (struct rl_header){RL_H_OTHER, h->name, h->value};
	enum rl_err err = write_request(a);

	if (!err)
		err = open_stream(a);
	if (err)
		return err;
	struct rl_call_spec spec = {
		.origin = p->origin,
		.method = RL_METHOD_POST,
		.path = rl_buf_str(&a->path),
		.headers = headers,
		.n_headers = n,
		.body = &a->body_slice,
		.n_body = 1,
		.times = {.connect_ms = a->target->times->connect_ms,
			  .send_ms = a->target->times->send_ms,
			  .first_byte_ms = a->target->times->first_byte_stream_ms,
			  .idle_ms = a->target->times->idle_ms},
		.max_head_bytes = 65536,
		.replayable = true,
	};
	rl_buf_reset(&a->body);
	return rl_call_start(a->pool, &spec, &ops, a, &a->call);
}

static void next_target(struct asking *a)
{
	while (a->next < a->plan.n) {
		a->target = a->plan.list[a->next++].target;
		a->said[0] = '\0';
		a->complete = false;
		enum rl_err err = start(a);
		if (!err)
			return;
		snprintf(a->failure, sizeof a->failure, "%.*s/%.*s: %s", RL_STR_ARG(a->target->provider->name),
			 RL_STR_ARG(a->target->model),
			 err == RL_ERR_NOT_FOUND ? "no key of this provider serves the model" : rl_err_text(err));
	}
	rl_loop_stop(a->loop);
}

/* ---- which model ---- */

static void first_id(void *ctx, rl_str id)
{
	rl_str *first = ctx;

	if (!first->p)
		*first = id;
}

static void on_listed(void *ctx, const struct rl_provider *provider, enum rl_err result, size_t n)
{
	(void)provider, (void)result, (void)n;
	rl_loop_stop(((struct asking *)ctx)->loop);
}

/* The first alias, or the first model of the first provider that is on; a local server is asked what it has. */
static rl_str default_model(struct asking *a, const struct rl_snapshot *s)
{
	if (s->n_models)
		return s->models[0].name;
	for (size_t i = 0; i < s->n_providers; i++) {
		const struct rl_provider *p = &s->providers[i];
		struct rl_catalog_call *fetch;
		rl_str id = {NULL, 0};

		if (p->off.n)
			continue;
		rl_catalog_each(p, first_id, &id);
		if (!id.p && rl_catalog_fetch(a->pool, p, on_listed, a, &fetch) == RL_OK) {
			rl_loop_run(a->loop);
			rl_catalog_each(p, first_id, &id);
		}
		if (id.p)
			return rl_arena_printf(&a->arena, "%.*s/%.*s", RL_STR_ARG(p->name), RL_STR_ARG(id));
	}
	return (rl_str){NULL, 0};
}

/* ---- the answer ---- */

static void print_json(const struct asking *a)
{
	struct rl_buf out;

	rl_buf_init(&out, 2 * ANSWER_BYTES_MAX);
	rl_buf_add(&out, RL_STR("{\"provider\":"));
	rl_buf_json(&out, a->target->provider->name);
	rl_buf_add(&out, RL_STR(",\"model\":"));
	rl_buf_json(&out, a->target->model);
	rl_buf_add(&out, RL_STR(",\"answer\":"));
	rl_buf_json(&out, rl_buf_str(&a->answer));
	if (a->usage.known)
		rl_buf_printf(&out, ",\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu}",
			      (unsigned long long)a->usage.prompt_tokens,
			      (unsigned long long)a->usage.completion_tokens);
	rl_buf_add(&out, RL_STR("}\n"));
	fwrite(out.p, 1, out.n, stdout);
	rl_buf_fini(&out);
}

static int conclude(const struct asking *a)
{
	bool newline = a->answer.n == 0 || a->answer.p[a->answer.n - 1] != '\n';

	if (!a->json && a->printed && newline)
		printf("\n");
	if (!a->complete) {
		fprintf(stderr, "relais: no %sanswer: %s\n", a->printed ? "complete " : "",
			*a->failure ? a->failure : "no provider can be asked");
		return RL_EXIT_FAILED;
	}
	if (a->json)
		print_json(a);
	else if (isatty(STDERR_FILENO))
		fprintf(stderr, "\033[90m%.*s/%.*s, %llu + %llu tokens\033[0m\n", RL_STR_ARG(a->target->provider->name),
			RL_STR_ARG(a->target->model), (unsigned long long)a->usage.prompt_tokens,
			(unsigned long long)a->usage.completion_tokens);
	return RL_EXIT_OK;
}

static int ask(struct asking *a, const struct rl_snapshot *snapshot, const char *model_name)
{
	const struct rl_model *model;
	rl_str name = model_name ? rl_str_of(model_name) : default_model(a, snapshot);

	if (!name.n) {
		fprintf(stderr, "relais: no model is known; name one with --model\n");
		return RL_EXIT_USAGE;
	}
	if (rl_snapshot_resolve(snapshot, name, &a->arena, &model)) {
		fprintf(stderr, "relais: there is no model '%.*s'\n", RL_STR_ARG(name));
		return RL_EXIT_USAGE;
	}
	if (rl_plan_make(model, RL_OP_CHAT, rl_loop_now_ms(a->loop), &a->arena, &a->plan))
		return RL_EXIT_FAILED;
	next_target(a);
	if (a->call)
		rl_loop_run(a->loop);
	return conclude(a);
}

/* The prompt, or standard input when it is "-". */
static char *read_prompt(const char *word)
{
	size_t n = 0, cap = 1u << 20;
	char *text = word && strcmp(word, "-") != 0 ? strdup(word) : NULL;

	if (text || !word)
		return text;
	text = malloc(cap + 1);
	if (!text)
		return NULL;
	n = fread(text, 1, cap, stdin);
	text[n] = '\0';
	return text;
}

int rl_cmd_ask(const struct rl_args *args)
{
	struct asking *a = calloc(1, sizeof *a);
	char *prompt = read_prompt(args->n_words ? args->words[0] : NULL);
	struct rl_setup setup = {.path = NULL};
	struct rl_live *live = NULL;
	struct rl_snapshot *snapshot = NULL;
	struct rl_buf report;
	int status = RL_EXIT_FAILED;

	rl_buf_init(&report, RL_SETUP_REPORT_MAX);
	signal(SIGPIPE, SIG_IGN);
	if (!a)
		goto out;
	rl_buf_init(&a->request, ANSWER_BYTES_MAX);
	rl_buf_init(&a->body, ERROR_BYTES_MAX);
	rl_buf_init(&a->answer, ANSWER_BYTES_MAX);
	rl_arena_init(&a->arena, ANSWER_BYTES_MAX);
	rl_arena_init(&a->scratch, ANSWER_BYTES_MAX);
	rl_frames_init(&a->frames, RL_FRAMING_SSE, EVENT_BYTES_MAX);
	rl_buf_init(&a->path, PATH_BYTES_MAX);
	if (!prompt || !*prompt) {
		fprintf(stderr,
			"relais: a prompt is needed: relais ask \"...\", or '-' to read it from standard input\n");
		status = RL_EXIT_USAGE;
		goto out;
	}
	a->prompt = prompt;
	a->instructions = args->values[OPT_SYSTEM];
	a->json = args->values[OPT_JSON] != NULL;
	if (rl_loop_new("ask", &a->loop) || rl_pool_new(a->loop, &a->pool) || rl_live_new(&live))
		goto out;
	status = rl_setup_load(args->values[OPT_CONFIG], a->loop, &setup);
	if (status)
		goto out;
	if (rl_snapshot_new(&setup.config, live, RL_STR("relais-ask"), 1, &report, &snapshot)) {
		fprintf(stderr, "%.*s", RL_STR_ARG(rl_buf_str(&report)));
		status = RL_EXIT_USAGE;
		goto out;
	}
	if (setup.sims[0] && isatty(STDERR_FILENO))
		fprintf(stderr, "No provider key is set: a simulated provider answers.\n");
	status = ask(a, snapshot, args->values[OPT_MODEL]);
out:
	if (a) {
		rl_pool_free(a->pool);
		for (size_t i = 0; i < 2; i++)
			if (setup.sims[i])
				rl_sim_stop(setup.sims[i]);
		rl_loop_free(a->loop);
		rl_frames_fini(&a->frames);
		rl_buf_fini(&a->path);
		rl_arena_fini(&a->arena);
		rl_arena_fini(&a->scratch);
		rl_buf_fini(&a->request);
		rl_buf_fini(&a->body);
		rl_buf_fini(&a->answer);
	}
	rl_snapshot_unref(snapshot);
	rl_live_free(live);
	rl_setup_fini(&setup);
	rl_buf_fini(&report);
	free(prompt);
	free(a);
	return status;
}
