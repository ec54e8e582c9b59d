/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request to what is answered, in the terms of the message room; the
 * dialect makes bytes of it. Nothing here knows of time or of the connection.
 */
#include "service/simulator_priv.h"

#include <assert.h>

#define CREATED 1760000000 /* answers are the same on every run; so they all have one date */
#define GARBAGE_BYTES 256u

/* ---- what the request asks for ---- */

static rl_str last_user_text(const struct rl_chat_request *message, struct rl_arena *arena)
{
	for (size_t i = message->n_messages; i-- > 0;) {
		const struct rl_message *m = &message->messages[i];
		rl_str text = {"", 0};

		if (m->role != RL_ROLE_USER)
			continue;
		for (size_t j = 0; j < m->n_parts; j++) {
			if (m->parts[j].kind != RL_PART_TEXT)
				continue;
			rl_str next = m->parts[j].text;

			text = text.n ? rl_arena_printf(arena, "%.*s\n%.*s", RL_STR_ARG(text), RL_STR_ARG(next)) : next;
		}
		return text;
	}
	return RL_STR("");
}

static uint64_t prompt_bytes(const struct rl_chat_request *message)
{
	uint64_t n = 0;

	for (size_t i = 0; i < message->n_messages; i++)
		for (size_t j = 0; j < message->messages[i].n_parts; j++)
			if (message->messages[i].parts[j].kind == RL_PART_TEXT)
				n += message->messages[i].parts[j].text.n;
	for (size_t i = 0; i < message->n_inputs; i++)
		n += message->inputs[i].text.n;
	return n;
}

/* The tool that is called, if any. */
static rl_str find_tool(const struct sim_request *rq)
{
	const struct rl_chat_request *message = &rq->message;

	if (rq->operation != RL_OP_CHAT || !rl_str_eq(rq->b.tool_call, RL_STR("*")))
		return rq->operation == RL_OP_CHAT ? rq->b.tool_call : rl_str_make(NULL, 0);
	for (size_t i = 0; i < message->n_tools; i++)
		if (message->tools[i].kind == RL_TOOL_KIND_FUNCTION)
			return message->tools[i].name;
	return rl_str_make(NULL, 0);
}

static bool is_echo(rl_str model)
{
	return rl_str_eq(model, RL_STR("echo")) || rl_str_ends(model, RL_STR("/echo"));
}

static bool prepare_text(struct sim_request *rq)
{
	const struct sim_behaviour *b = &rq->b;
	struct rl_arena *arena = &rq->x->arena;
	rl_str first_input =
		rq->message.n_inputs && !rq->message.inputs[0].is_tokens ? rq->message.inputs[0].text : RL_STR("");

	rq->tool = find_tool(rq);
	if (rq->tool.n)
		rl_sim_text_own(&rq->text, b->tool_arguments);
	else if (b->content.n)
		rl_sim_text_own(&rq->text, b->content);
	else if (b->content_bytes)
		return rl_sim_text_even(rq->sim, &rq->text, b->content_bytes, b->tokens, arena);
	else if (is_echo(rq->message.model))
		rl_sim_text_own(&rq->text,
				rq->operation == RL_OP_CHAT ? last_user_text(&rq->message, arena) : first_input);
	else
		rl_sim_text_words(&rq->text, b->tokens);
	return true;
}

/* The tighter of the request's limits. */
static uint64_t token_limit(const struct rl_chat_request *message)
{
	uint64_t limit = UINT64_MAX;

	if (message->max_tokens > 0)
		limit = (uint64_t)message->max_tokens;
	if (message->max_completion_tokens > 0 && (uint64_t)message->max_completion_tokens < limit)
		limit = (uint64_t)message->max_completion_tokens;
	return limit;
}

static void prepare_finish(struct sim_request *rq)
{
	uint64_t limit = token_limit(&rq->message);

	rq->finish = rq->tool.n ? RL_FINISH_TOOL_CALLS : RL_FINISH_STOP;
	if (!rq->tool.n && rq->text.pieces > limit) {
		rq->text.pieces = limit;
		rq->finish = RL_FINISH_LENGTH;
	}
	if (rq->b.finish_reason.n)
		rq->finish = rl_finish_parse(rq->b.finish_reason);
	if (rq->b.fault.kind == SIM_FAULT_ENDLESS)
		rq->text.pieces = UINT64_MAX;
	rq->choices = rq->message.n > 0 ? (uint32_t)rq->message.n : 1;
}

static bool fail(struct rl_fault *fault, const char *message, const char *param)
{
	*fault = (struct rl_fault){.cls = RL_FAULT_BAD_REQUEST,
				   .status = 400,
				   .message = rl_str_of(message),
				   .param = rl_str_of(param),
				   .retry_after_s = -1};
	return false;
}

static void count_tokens(struct sim_request *rq)
{
	struct sim_entry *entry = &rq->entry;

	entry->prompt_tokens = rq->b.prompt_tokens ? rq->b.prompt_tokens : (prompt_bytes(&rq->message) + 3) / 4;
	if (rq->operation != RL_OP_EMBEDDING && rq->text.pieces != UINT64_MAX)
		entry->completion_tokens = rq->text.pieces * rq->choices;
}

bool rl_sim_content_prepare(struct sim_request *rq, struct rl_fault *fault)
{
	if (rq->message.n > SIM_CHOICES_MAX)
		return fail(fault, "The simulator gives at most 16 choices.", "n");
	if (rq->operation == RL_OP_EMBEDDING) {
		if (rq->message.dimensions > 16384 || rq->message.dimensions == 0)
			return fail(fault, "'dimensions' must be between 1 and 16384.", "dimensions");
		count_tokens(rq);
		return true;
	}
	if (!prepare_text(rq))
		return fail(fault, "The simulator is out of memory.", NULL);
	prepare_finish(rq);
	count_tokens(rq);
	return true;
}

/* ---- whole answers ---- */

static struct rl_usage usage_of(const struct sim_request *rq)
{
	return (struct rl_usage){
		.known = true,
		.prompt_tokens = rq->entry.prompt_tokens,
		.completion_tokens = rq->entry.completion_tokens,
	};
}

static void fill_part(const struct sim_request *rq, rl_str text, struct rl_part *part)
{
	if (!rq->tool.n) {
		*part = (struct rl_part){.kind = RL_PART_TEXT, .text = text};
		return;
	}
	*part = (struct rl_part){.kind = RL_PART_TOOL_CALL,
				 .call = {.kind = RL_TOOL_KIND_FUNCTION,
					  .id = RL_STR("call_simulated_0"),
					  .name = rq->tool,
					  .arguments = text}};
}

static void write_response(struct sim_request *rq, const struct rl_chat_response *response, struct rl_buf *out)
{
	static const struct rl_facts facts = {.provider = RL_STR_INIT("simulator")};
	struct rl_translation t;

	rl_translation_init(&t, &rq->x->arena, &facts, false);
	rq->dialect->write_response(rq->operation, response, &t, out);
	out->failed |= t.err != RL_OK;
}

static void write_choices(struct sim_request *rq, struct rl_buf *out)
{
	struct rl_choice choices[SIM_CHOICES_MAX];
	struct rl_part part;
	rl_str text = rl_sim_text_all(rq->sim, &rq->text, &rq->x->arena);

	if (!text.p) {
		out->failed = true;
		return;
	}
	fill_part(rq, text, &part);
	for (uint32_t i = 0; i < rq->choices; i++)
		choices[i] = (struct rl_choice){
			.index = i,
			.finish = rq->finish,
			.finish_word = rq->b.finish_reason,
			.message = {.role = RL_ROLE_ASSISTANT, .parts = &part, .n_parts = 1},
		};
	struct rl_chat_response response = {
		.id = rq->id,
		.model = rq->message.model,
		.created = CREATED,
		.choices = choices,
		.n_choices = rq->choices,
	};

	if (rq->b.usage != SIM_USAGE_NEVER)
		response.usage = usage_of(rq);
	write_response(rq, &response, out);
}

/* Millionths as decimals in an array. */
static void write_numbers(const int32_t *numbers, size_t n, struct rl_buf *out)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t v = (uint32_t)(numbers[i] < 0 ? -numbers[i] : numbers[i]);
		char text[12], *at = text;

		*at++ = i ? ',' : '[';
		if (numbers[i] < 0)
			*at++ = '-';
		*at++ = (char)('0' + v / 1000000);
		*at++ = '.';
		for (uint32_t unit = 100000; unit; unit /= 10)
			*at++ = (char)('0' + v / unit % 10);
		rl_buf_add(out, rl_str_make(text, (size_t)(at - text)));
	}
	rl_buf_byte(out, ']');
}

/* The same as base64 of little-endian float32. */
static void write_base64(const int32_t *numbers, size_t n, struct rl_buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0, held = 0;

	for (size_t i = 0; i < n; i++) {
		float value = (float)(numbers[i] / 1e6);
		uint32_t word;

		memcpy(&word, &value, sizeof word);
		for (unsigned byte = 0; byte < 4; byte++) {
			bits = bits << 8 | (word >> (8 * byte) & 0xFF);
			for (held += 8; held >= 6; held -= 6)
				rl_buf_byte(out, digits[bits >> (held - 6) & 63]);
		}
	}
	if (held)
		rl_buf_byte(out, digits[bits << (6 - held) & 63]);
	for (uint32_t padding = held == 2 ? 2 : held == 4 ? 1 : 0; padding; padding--)
		rl_buf_byte(out, '=');
}

/* One vector into `list`, which moves as it grows: the slice is made when all are there. */
static void write_vector(struct sim_request *rq, rl_str input, int32_t *numbers, size_t n, struct rl_buf *list)
{
	rl_sim_vector(rq->sim->seed, input, numbers, n);
	if (rq->message.encoding == RL_ENCODING_BASE64)
		write_base64(numbers, n, list);
	else
		write_numbers(numbers, n, list);
}

static void write_embeddings(struct sim_request *rq, struct rl_buf *out)
{
	const struct rl_chat_request *message = &rq->message;
	size_t n = message->dimensions > 0 ? (size_t)message->dimensions : rq->b.dimensions;
	size_t count = message->n_inputs;
	struct rl_embedding *embeddings = RL_NEW_ARRAY(&rq->x->arena, struct rl_embedding, count ? count : 1);
	int32_t *numbers = RL_NEW_ARRAY(&rq->x->arena, int32_t, n);
	enum rl_encoding encoding = message->encoding == RL_ENCODING_BASE64 ? RL_ENCODING_BASE64 : RL_ENCODING_FLOAT;
	struct rl_buf list;
	size_t at = 0;

	if (!embeddings || !numbers) {
		out->failed = true;
		return;
	}
	rl_buf_init(&list, SIM_WHOLE_MAX_BYTES);
	for (size_t i = 0; i < count && rl_buf_ok(&list); i++) {
		size_t from = list.n;

		write_vector(rq, message->inputs[i].text, numbers, n, &list);
		embeddings[i] = (struct rl_embedding){.index = (uint32_t)i, .encoding = encoding};
		embeddings[i].data.n = list.n - from;
	}
	for (size_t i = 0; i < count; at += embeddings[i].data.n, i++)
		embeddings[i].data.p = list.p + at;
	struct rl_chat_response response = {
		.id = rq->id,
		.model = message->model,
		.created = CREATED,
		.embeddings = embeddings,
		.n_embeddings = count,
		.encoding = encoding,
		.usage = usage_of(rq),
	};

	response.usage.known = rq->b.usage != SIM_USAGE_NEVER;
	if (rl_buf_ok(&list))
		write_response(rq, &response, out);
	else
		out->failed = true;
	rl_buf_fini(&list);
}

void rl_sim_content_whole(struct sim_request *rq, struct rl_buf *out)
{
	if (rq->operation == RL_OP_EMBEDDING)
		write_embeddings(rq, out);
	else
		write_choices(rq, out);
}

/* ---- streams ---- */

static void encode(struct sim_request *rq, const struct rl_event *event, struct rl_buf *out)
{
	rq->dialect->encode_event(&rq->encoder, event, out);
}

static void encode_start(struct sim_request *rq, struct rl_buf *out)
{
	bool usage = rq->b.usage == SIM_USAGE_ALWAYS || (rq->b.usage == SIM_USAGE_ASKED && rq->message.include_usage);

	rl_encoder_init(&rq->encoder, rq->operation, usage);
	if (rq->dialect->encoder_bytes &&
	    !(rq->encoder.own = rl_arena_zalloc(&rq->x->arena, 1, rq->dialect->encoder_bytes))) {
		out->failed = true;
		return;
	}
	rq->encoding = true;
	encode(rq,
	       &(struct rl_event){.kind = RL_EVENT_START, .id = rq->id, .name = rq->message.model, .created = CREATED},
	       out);
}

/* The giant one stands for the first piece. */
static bool next_piece(struct sim_request *rq)
{
	if (!rl_sim_text_next(rq->sim, &rq->text, &rq->piece))
		return false;
	if (rq->b.fault.kind == SIM_FAULT_GIANT_EVENT && rq->text.done == 1) {
		size_t n = rq->b.fault.n < SIM_BODY_MAX_BYTES ? (size_t)rq->b.fault.n : SIM_BODY_MAX_BYTES;
		char *giant = rl_arena_alloc(&rq->x->arena, n ? n : 1);

		if (giant) {
			memset(giant, 'x', n);
			rq->piece = rl_str_make(giant, n);
		}
	}
	return true;
}

/* A piece for one choice; false when there is none left. */
static bool encode_content(struct sim_request *rq, struct rl_buf *out)
{
	struct rl_event event = {.kind = RL_EVENT_TEXT, .choice = rq->choice};

	if (rq->tool.n && !rq->tool_started) {
		event.kind = RL_EVENT_TOOL_CALL_START;
		event.tool_kind = RL_TOOL_KIND_FUNCTION;
		event.id = RL_STR("call_simulated_0");
		event.name = rq->tool;
	} else {
		if (rq->choice == 0 && !next_piece(rq))
			return false;
		event.text = rq->piece;
	}
	if (rq->tool.n && rq->tool_started) {
		event.kind = RL_EVENT_TOOL_CALL_ARGUMENTS;
		event.tool_kind = RL_TOOL_KIND_FUNCTION;
	}
	encode(rq, &event, out);
	if (++rq->choice == rq->choices) {
		rq->choice = 0;
		rq->tool_started = true;
	}
	return true;
}

static void encode_finish(struct sim_request *rq, struct rl_buf *out)
{
	encode(rq,
	       &(struct rl_event){.kind = RL_EVENT_FINISH,
				  .choice = rq->choice,
				  .finish = rq->finish,
				  .finish_word = rq->b.finish_reason},
	       out);
	if (++rq->choice == rq->choices)
		rq->stage = SIM_UNIT_DONE;
}

enum sim_unit rl_sim_content_next(struct sim_request *rq, struct rl_buf *out)
{
	enum sim_unit unit = rq->stage;

	switch (unit) {
	case SIM_UNIT_START:
		encode_start(rq, out);
		rq->stage = SIM_UNIT_CONTENT;
		return unit;
	case SIM_UNIT_CONTENT:
		if (encode_content(rq, out))
			return unit;
		rq->stage = SIM_UNIT_FINISH;
		__attribute__((fallthrough));
	case SIM_UNIT_FINISH:
		encode_finish(rq, out);
		return SIM_UNIT_FINISH;
	case SIM_UNIT_DONE:
		encode(rq, &(struct rl_event){.kind = RL_EVENT_USAGE, .usage = usage_of(rq)}, out);
		encode(rq, &(struct rl_event){.kind = RL_EVENT_DONE}, out);
		rq->stage = SIM_UNIT_END;
		return unit;
	case SIM_UNIT_END:
		break;
	}
	return SIM_UNIT_END;
}

/* ---- errors ---- */

void rl_sim_html_page(uint16_t status, struct rl_buf *out)
{
	rl_buf_printf(out,
		      "<html>\r\n<head><title>%u %s</title></head>\r\n<body>\r\n<center><h1>%u %s</h1></center>\r\n"
		      "<hr><center>simulated proxy</center>\r\n</body>\r\n</html>\r\n",
		      status, rl_status_text(status), status, rl_status_text(status));
}

static void write_garbage(struct sim_request *rq, struct rl_buf *out)
{
	for (size_t i = 0; i < GARBAGE_BYTES; i++)
		rl_buf_byte(out, (char)rl_rng_below(&rq->rng, 256));
}

rl_str rl_sim_content_error(struct sim_request *rq, struct rl_buf *out)
{
	const struct sim_behaviour *b = &rq->b;
	struct rl_fault fault = {
		.cls = RL_FAULT_SERVER_ERROR,
		.status = (uint16_t)(b->status < 300 ? 500 : b->status),
		.type = b->error_type,
		.code = b->error_code,
		.message = b->error_message,
		.retry_after_s = -1,
	};

	switch (b->error_body) {
	case SIM_ERROR_OPENAI:
		rq->dialect->write_error(&fault, out);
		break;
	case SIM_ERROR_HTML:
		rl_sim_html_page(fault.status, out);
		return RL_STR("text/html");
	case SIM_ERROR_TEXT:
		rl_buf_add(out, b->error_message);
		rl_buf_byte(out, '\n');
		return RL_STR("text/plain");
	case SIM_ERROR_EMPTY:
		break;
	case SIM_ERROR_GARBAGE:
		write_garbage(rq, out);
		break;
	}
	return RL_STR("application/json");
}
