/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See route.h. The routes without a model are those of the OpenAI API that act on what
 * a provider keeps for its customer. Not among them, on purpose: what manages an
 * organisation, what makes keys that clients would use past the gateway
 * (/v1/realtime/client_secrets), and what changes models.
 */
#include "pipeline/route.h"

#include "base/buf.h"

#define OPENAI RL_STR_INIT("openai")
#define GET RL_METHOD_BIT(RL_METHOD_GET)
#define POST RL_METHOD_BIT(RL_METHOD_POST)
#define DELETE RL_METHOD_BIT(RL_METHOD_DELETE)
/* clang-format off */
#define INFERENCE(path, op) \
	{RL_STR_INIT(path), RL_STR_INIT(path), POST, RL_ROUTE_INFERENCE, RL_OP_##op, OPENAI, false, false, {NULL, 0}, false},
#define INFERENCE_FORM(path, op) \
	{RL_STR_INIT(path), RL_STR_INIT(path), POST, RL_ROUTE_INFERENCE, RL_OP_##op, OPENAI, false, true, {NULL, 0}, false},
/* Of another dialect; `verb` stands behind the model's name, which its path then holds. */
#define FOREIGN(path, op, dialect) \
	{RL_STR_INIT(path), RL_STR_INIT(path), POST, RL_ROUTE_INFERENCE, RL_OP_##op, RL_STR_INIT(dialect), false, false, {NULL, 0}, false},
#define VERB(path, verb, op, dialect, stream) \
	{RL_STR_INIT(path "{model}" verb), RL_STR_INIT(path), POST, RL_ROUTE_INFERENCE, RL_OP_##op, RL_STR_INIT(dialect), false, false, RL_STR_INIT(verb), stream},
/* `head` is what stands before the first id; the rest may be empty. */
#define PASS(head, rest, methods) \
	{RL_STR_INIT(head rest), RL_STR_INIT(head), methods, RL_ROUTE_PASS, RL_OP_PASS, OPENAI, false, false, {NULL, 0}, false},
#define TUNNEL(path) \
	{RL_STR_INIT(path), RL_STR_INIT(path), GET, RL_ROUTE_TUNNEL, RL_OP_PASS, OPENAI, false, false, {NULL, 0}, false},
#define PASS_FORM(head, rest) \
	{RL_STR_INIT(head rest), RL_STR_INIT(head), POST, RL_ROUTE_PASS, RL_OP_PASS, OPENAI, false, true, {NULL, 0}, false},

const struct rl_route rl_routes[] = {
	INFERENCE("/v1/chat/completions", CHAT)
	INFERENCE("/v1/completions", COMPLETION)
	INFERENCE("/v1/embeddings", EMBEDDING)
	INFERENCE("/v1/responses", RESPONSE)
	FOREIGN("/v1/messages", CHAT, "anthropic")
	FOREIGN("/v1/messages/count_tokens", COUNT_TOKENS, "anthropic")
	VERB("/v1beta/models/", ":generateContent", CHAT, "gemini", false)
	VERB("/v1beta/models/", ":streamGenerateContent", CHAT, "gemini", true)
	VERB("/v1beta/models/", ":countTokens", COUNT_TOKENS, "gemini", false)
	VERB("/v1beta/models/", ":embedContent", EMBEDDING, "gemini", false)
	VERB("/v1beta/models/", ":batchEmbedContents", EMBEDDING, "gemini", false)
	INFERENCE("/v1/moderations", MODERATION)
	INFERENCE("/v1/images/generations", IMAGE)
	INFERENCE("/v1/audio/speech", SPEECH)
	INFERENCE_FORM("/v1/audio/transcriptions", TRANSCRIPTION)
	INFERENCE_FORM("/v1/audio/translations", TRANSLATION)
	INFERENCE_FORM("/v1/images/edits", IMAGE_EDIT)
	INFERENCE_FORM("/v1/images/variations", IMAGE_VARIATION)
	{RL_STR_INIT("/v1/models"), RL_STR_INIT("/v1/models"), GET, RL_ROUTE_MODELS, RL_OP_MODELS, OPENAI, false, false, {NULL, 0}, false},
	{RL_STR_INIT("/v1/models/{id}"), RL_STR_INIT("/v1/models/"), GET, RL_ROUTE_MODEL, RL_OP_MODELS, OPENAI, false, false, {NULL, 0}, false},
	{RL_STR_INIT("/health"), RL_STR_INIT("/health"), GET, RL_ROUTE_HEALTH, RL_OP_NONE, OPENAI, true, false, {NULL, 0}, false},
	{RL_STR_INIT("/ready"), RL_STR_INIT("/ready"), GET, RL_ROUTE_READY, RL_OP_NONE, OPENAI, true, false, {NULL, 0}, false},

	TUNNEL("/v1/realtime")
	TUNNEL("/v1/responses")
	PASS("/v1/responses/", "{id}", GET | DELETE)
	PASS("/v1/responses/", "{id}/cancel", POST)
	PASS("/v1/responses/", "{id}/input_items", GET)
	PASS("/v1/conversations", "", POST)
	PASS("/v1/conversations/", "{id}", GET | POST | DELETE)
	PASS("/v1/conversations/", "{id}/items", GET | POST)
	PASS("/v1/conversations/", "{id}/items/{id}", GET | DELETE)
	PASS("/v1/files", "", GET)
	PASS_FORM("/v1/files", "")
	PASS("/v1/files/", "{id}", GET | DELETE)
	PASS("/v1/files/", "{id}/content", GET)
	PASS("/v1/uploads", "", POST)
	PASS_FORM("/v1/uploads/", "{id}/parts")
	PASS("/v1/uploads/", "{id}/complete", POST)
	PASS("/v1/uploads/", "{id}/cancel", POST)
	PASS("/v1/batches", "", GET | POST)
	PASS("/v1/batches/", "{id}", GET)
	PASS("/v1/batches/", "{id}/cancel", POST)
	PASS("/v1/fine_tuning/jobs", "", GET | POST)
	PASS("/v1/fine_tuning/jobs/", "{id}", GET)
	PASS("/v1/fine_tuning/jobs/", "{id}/cancel", POST)
	PASS("/v1/fine_tuning/jobs/", "{id}/pause", POST)
	PASS("/v1/fine_tuning/jobs/", "{id}/resume", POST)
	PASS("/v1/fine_tuning/jobs/", "{id}/events", GET)
	PASS("/v1/fine_tuning/jobs/", "{id}/checkpoints", GET)
	PASS("/v1/assistants", "", GET | POST)
	PASS("/v1/assistants/", "{id}", GET | POST | DELETE)
	PASS("/v1/threads", "", POST)
	PASS("/v1/threads/runs", "", POST)
	PASS("/v1/threads/", "{id}", GET | POST | DELETE)
	PASS("/v1/threads/", "{id}/messages", GET | POST)
	PASS("/v1/threads/", "{id}/messages/{id}", GET | POST | DELETE)
	PASS("/v1/threads/", "{id}/runs", GET | POST)
	PASS("/v1/threads/", "{id}/runs/{id}", GET | POST)
	PASS("/v1/threads/", "{id}/runs/{id}/cancel", POST)
	PASS("/v1/threads/", "{id}/runs/{id}/submit_tool_outputs", POST)
	PASS("/v1/threads/", "{id}/runs/{id}/steps", GET)
	PASS("/v1/threads/", "{id}/runs/{id}/steps/{id}", GET)
	PASS("/v1/vector_stores", "", GET | POST)
	PASS("/v1/vector_stores/", "{id}", GET | POST | DELETE)
	PASS("/v1/vector_stores/", "{id}/search", POST)
	PASS("/v1/vector_stores/", "{id}/files", GET | POST)
	PASS("/v1/vector_stores/", "{id}/files/{id}", GET | POST | DELETE)
	PASS("/v1/vector_stores/", "{id}/files/{id}/content", GET)
	PASS("/v1/vector_stores/", "{id}/file_batches", POST)
	PASS("/v1/vector_stores/", "{id}/file_batches/{id}", GET)
	PASS("/v1/vector_stores/", "{id}/file_batches/{id}/cancel", POST)
	PASS("/v1/vector_stores/", "{id}/file_batches/{id}/files", GET)
	PASS("/v1/containers", "", GET | POST)
	PASS("/v1/containers/", "{id}", GET | DELETE)
	PASS("/v1/containers/", "{id}/files", GET)
	PASS_FORM("/v1/containers/", "{id}/files")
	PASS("/v1/containers/", "{id}/files/{id}", GET | DELETE)
	PASS("/v1/containers/", "{id}/files/{id}/content", GET)
	PASS("/v1/evals", "", GET | POST)
	PASS("/v1/evals/", "{id}", GET | POST | DELETE)
	PASS("/v1/evals/", "{id}/runs", GET | POST)
	PASS("/v1/evals/", "{id}/runs/{id}", GET | POST | DELETE)
	PASS("/v1/evals/", "{id}/runs/{id}/output_items", GET)
	PASS("/v1/evals/", "{id}/runs/{id}/output_items/{id}", GET)
	PASS("/v1/videos", "", GET)
	PASS("/v1/videos/", "{id}", GET | DELETE)
	PASS("/v1/videos/", "{id}/content", GET)
	PASS("/v1/videos/", "{id}/remix", POST)
	{.path = {NULL, 0}},
};
/* clang-format on */

/* Segment by segment; "{id}" takes any that is not empty. */
static bool pattern_is(rl_str pattern, rl_str path)
{
	while (pattern.p && path.p) {
		rl_str wanted = rl_str_cut(&pattern, '/'), is = rl_str_cut(&path, '/');

		if (rl_str_eq(wanted, RL_STR("{id}")) ? !is.n : !rl_str_eq(wanted, is))
			return false;
	}
	return !pattern.p && !path.p;
}

/* The path names the model: "/v1beta/models/{model}:verb". The name may hold slashes. */
static bool verb_is(const struct rl_route *route, rl_str path)
{
	rl_str verb = route->verb;

	return path.n > route->path.n + verb.n && rl_str_starts(path, route->path) &&
	       memcmp(path.p + path.n - verb.n, verb.p, verb.n) == 0;
}

static bool path_is(const struct rl_route *route, rl_str path)
{
	if (route->verb.n)
		return verb_is(route, path);
	if (route->path.n == route->pattern.n)
		return rl_str_eq(path, route->path);
	if (path.n <= route->path.n || !rl_str_starts(path, route->path))
		return false;
	return route->kind == RL_ROUTE_MODEL || pattern_is(rl_str_sub(route->pattern, route->path.n, SIZE_MAX),
							   rl_str_sub(path, route->path.n, SIZE_MAX));
}

const struct rl_route *rl_route_find(enum rl_method method, rl_str path, unsigned *allowed)
{
	*allowed = 0;
	if (method == RL_METHOD_HEAD)
		method = RL_METHOD_GET;
	for (const struct rl_route *route = rl_routes; route->path.n; route++) {
		if (!path_is(route, path))
			continue;
		if (route->methods & RL_METHOD_BIT(method))
			return route;
		*allowed |= route->methods;
	}
	return NULL;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

rl_str rl_path_decode(rl_str raw, struct rl_arena *arena)
{
	char *out = rl_arena_alloc(arena, raw.n + 1);
	size_t n = 0;

	for (size_t i = 0; out && i < raw.n; i++) {
		int c = (unsigned char)raw.p[i];
		if (c == '%') {
			int high = i + 2 < raw.n ? hex(raw.p[i + 1]) : -1;
			int low = i + 2 < raw.n ? hex(raw.p[i + 2]) : -1;
			if (high < 0 || low < 0)
				return (rl_str){NULL, 0};
			c = high * 16 + low;
			i += 2;
		}
		if (c < 0x20 || c == 0x7f)
			return (rl_str){NULL, 0};
		out[n++] = (char)c;
	}
	return rl_str_make(out, n);
}

rl_str rl_route_allow(unsigned methods, struct rl_arena *arena)
{
	static const enum rl_method all[] = {RL_METHOD_GET, RL_METHOD_HEAD, RL_METHOD_POST, RL_METHOD_DELETE};
	struct rl_buf text;

	if (methods & GET)
		methods |= RL_METHOD_BIT(RL_METHOD_HEAD);
	rl_buf_init(&text, 64);
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (methods & RL_METHOD_BIT(all[i]))
			rl_buf_printf(&text, "%s%.*s", text.n ? ", " : "", RL_STR_ARG(rl_method_name(all[i])));
	rl_str copy = rl_arena_dup(arena, rl_buf_str(&text));

	rl_buf_fini(&text);
	return copy;
}
