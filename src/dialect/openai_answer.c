/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI answers, whole ones, to ours: choices, embeddings, usage. Streams are read in openai_decode.c. */
#include "dialect/openai_priv.h"
#include "dialect/table.h"

static void read_usage(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_response *response = field;

	(void)p, (void)at;
	if (rl_json_type_of(value) != RL_JSON_OBJECT)
		return;
	rl_openai_read_usage(value, &response->usage);
	response->usage_json = value;
}

static void read_finish(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_choice *choice = field;
	rl_str word = {NULL, 0};

	rl_read_text(p, at, value, &word);
	choice->finish = rl_finish_parse(word);
	if (choice->finish == RL_FINISH_OTHER)
		choice->finish_word = word;
}

static void read_answer_message(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_choice *choice = field;

	/* Some servers leave the role out: there is only one that it can be. */
	rl_openai_read_message(p, at, value, RL_ROLE_ASSISTANT, &choice->message);
}

static void read_answer_text(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_choice *choice = field;
	struct rl_part *part = rl_table_make(p, 1, sizeof *part);

	if (!part)
		return;
	part->kind = RL_PART_TEXT;
	rl_read_text(p, at, value, &part->text);
	choice->message.parts = part;
	choice->message.n_parts = 1;
}

static const struct rl_field choice_fields[] = {
	RL_FIELD(struct rl_choice, index, "index", rl_read_u32),
	RL_FIELD(struct rl_choice, logprobs, "logprobs", rl_read_raw),
	RL_WHOLE("message", read_answer_message),
	RL_WHOLE("text", read_answer_text),
	RL_WHOLE("finish_reason", read_finish),
};

/* vLLM says which stop sequence was met; a number there is a token, and theirs. */
static void take_stop_sequence(struct rl_reader *p, struct rl_choice *choice)
{
	static const rl_str key = RL_STR_INIT("\"stop_reason\"");

	if (rl_json_type_of(rl_table_find(choice->extras, key)) == RL_JSON_STRING)
		rl_read_text(p, NULL, rl_table_take(&choice->extras, key), &choice->stop_sequence);
}

static bool has_call(const struct rl_message *message)
{
	for (size_t i = 0; i < message->n_parts; i++)
		if (message->parts[i].kind == RL_PART_TOOL_CALL)
			return true;
	return false;
}

static void read_choices(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_chat_response *response = field;
	struct rl_json_iter iter;
	rl_str element;

	if (rl_json_type_of(value) != RL_JSON_ARRAY) {
		rl_table_fail(p, at, "must be an array");
		return;
	}
	response->choices = rl_table_make(p, rl_table_count(value), sizeof *response->choices);
	response->n_choices = 0;
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {at, NULL, response->n_choices};
		struct rl_choice *choice = &response->choices[response->n_choices];

		choice->index = (uint32_t)response->n_choices++;
		choice->message.role = RL_ROLE_ASSISTANT;
		rl_table_read(p, &here, element, choice_fields, RL_N_FIELDS(choice_fields), choice, &choice->extras);
		if (choice->extras.n)
			take_stop_sequence(p, choice);
		/* A call that stopped for no reason of its own stopped for the call. */
		if (choice->finish == RL_FINISH_STOP && has_call(&choice->message))
			choice->finish = RL_FINISH_TOOL_CALLS;
	}
}

static void read_embedding_data(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	struct rl_embedding *embedding = field;

	switch (rl_json_type_of(value)) {
	case RL_JSON_ARRAY:
		embedding->encoding = RL_ENCODING_FLOAT;
		embedding->data = value;
		break;
	case RL_JSON_STRING:
		embedding->encoding = RL_ENCODING_BASE64;
		rl_read_text(p, at, value, &embedding->data);
		break;
	default:
		rl_table_fail(p, at, "must be an array or a string");
	}
}

static void read_embeddings(struct rl_reader *p, const struct rl_place *at, rl_str value, void *field)
{
	static const struct rl_field fields[] = {
		RL_FIELD(struct rl_embedding, index, "index", rl_read_u32),
		RL_WHOLE("embedding", read_embedding_data),
		RL_WHOLE("object", rl_read_nothing),
	};
	struct rl_chat_response *response = field;
	struct rl_json_iter iter;
	rl_str element;

	if (rl_json_type_of(value) != RL_JSON_ARRAY) {
		rl_table_fail(p, at, "must be an array");
		return;
	}
	response->embeddings = rl_table_make(p, rl_table_count(value), sizeof *response->embeddings);
	response->n_embeddings = 0;
	rl_json_iter_array(&iter, value);
	while (!p->err && rl_json_iter_next(&iter, &element)) {
		struct rl_place here = {at, NULL, response->n_embeddings};
		struct rl_embedding *embedding = &response->embeddings[response->n_embeddings];

		embedding->index = (uint32_t)response->n_embeddings++;
		rl_table_read(p, &here, element, fields, RL_N_FIELDS(fields), embedding, &embedding->extras);
		if (!embedding->encoding)
			rl_table_fail(p, &here, "has no embedding");
	}
}

#define RESPONSE(member, name, read) RL_FIELD(struct rl_chat_response, member, name, read)

static const struct rl_field response_fields[] = {
	RESPONSE(id, "id", rl_read_text),           RESPONSE(model, "model", rl_read_text),
	RESPONSE(created, "created", rl_read_time), RL_WHOLE("object", rl_read_nothing),
	RL_WHOLE("choices", read_choices),          RL_WHOLE("usage", read_usage),
};

static const struct rl_field embedding_response_fields[] = {
	RESPONSE(model, "model", rl_read_text),
	RL_WHOLE("object", rl_read_nothing),
	RL_WHOLE("data", read_embeddings),
	RL_WHOLE("usage", read_usage),
};

enum rl_err rl_openai_parse_response(enum rl_operation op, rl_str body, struct rl_arena *arena,
				     struct rl_chat_response *out)
{
	struct rl_reader p = {.arena = arena};
	bool embedding = op == RL_OP_EMBEDDING;

	*out = (struct rl_chat_response){.dialect = RL_STR(RL_OPENAI_NAME)};
	if (rl_json_scan(body, NULL, 0, RL_JSON_LAX, NULL, NULL))
		return RL_ERR_SYNTAX;
	if (embedding)
		rl_table_read(&p, NULL, body, embedding_response_fields, RL_N_FIELDS(embedding_response_fields), out,
			      &out->extras);
	else
		rl_table_read(&p, NULL, body, response_fields, RL_N_FIELDS(response_fields), out, &out->extras);
	if (!p.err && (embedding ? !out->embeddings : !out->n_choices))
		p.err = RL_ERR_SYNTAX;
	return p.err;
}
