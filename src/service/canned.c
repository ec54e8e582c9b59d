/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are always the same, for the routes beside chat: enough for a client of
 * the OpenAI API to have somebody to talk to. Nothing is kept: a file that is uploaded
 * is the one that is always there.
 */
#include "service/simulator_priv.h"

#define GET RL_METHOD_GET
#define POST RL_METHOD_POST
#define DELETE RL_METHOD_DELETE

#define JSON RL_STR_INIT("application/json")
#define FILE_JSON                                                                                              \
	"{\"id\":\"file-sim\",\"object\":\"file\",\"bytes\":15,\"created_at\":1700000000,\"expires_at\":null," \
	"\"filename\":\"simulated.txt\",\"purpose\":\"user_data\",\"status\":\"processed\",\"status_details\":null}"
/* One grey pixel. */
#define PIXEL "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
#define IMAGE                                                                                            \
	"{\"created\":1700000000,\"data\":[{\"b64_json\":\"" PIXEL "\"}],\"usage\":{\"input_tokens\":8," \
	"\"output_tokens\":16,\"total_tokens\":24,\"input_tokens_details\":{\"text_tokens\":8,\"image_tokens\":0}}}"
#define SPOKEN                                                                                     \
	"{\"text\":\"This is what was said.\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14," \
	"\"output_tokens\":6,\"total_tokens\":20,\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":14}}}"
/* A WAV of no samples: 8,000 a second, 16 bits, one channel. */
#define SILENCE "RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0"

static const struct {
	enum rl_method method;
	rl_str path; /* with a slash at its end: and whatever follows */
	rl_str media_type, body;
} answers[] = {
	{POST, RL_STR_INIT("/v1/moderations"), JSON,
	 RL_STR_INIT("{\"id\":\"modr-sim\",\"model\":\"sim\",\"results\":[{\"flagged\":false,\"categories\":{},"
		     "\"category_scores\":{},\"category_applied_input_types\":{}}]}")},
	{POST, RL_STR_INIT("/v1/images/generations"), JSON, RL_STR_INIT(IMAGE)},
	{POST, RL_STR_INIT("/v1/images/edits"), JSON, RL_STR_INIT(IMAGE)},
	{POST, RL_STR_INIT("/v1/images/variations"), JSON, RL_STR_INIT(IMAGE)},
	{POST, RL_STR_INIT("/v1/audio/transcriptions"), JSON, RL_STR_INIT(SPOKEN)},
	{POST, RL_STR_INIT("/v1/audio/translations"), JSON, RL_STR_INIT(SPOKEN)},
	{POST, RL_STR_INIT("/v1/audio/speech"), RL_STR_INIT("audio/wav"), {SILENCE, sizeof SILENCE - 1}},
	{GET, RL_STR_INIT("/v1/files"), JSON,
	 RL_STR_INIT("{\"object\":\"list\",\"data\":[" FILE_JSON "],\"first_id\":\"file-sim\","
		     "\"last_id\":\"file-sim\",\"has_more\":false}")},
	{POST, RL_STR_INIT("/v1/files"), JSON, RL_STR_INIT(FILE_JSON)},
	{GET, RL_STR_INIT("/v1/files/file-sim/content"), RL_STR_INIT("text/plain"), RL_STR_INIT("simulated text\n")},
	{GET, RL_STR_INIT("/v1/files/"), JSON, RL_STR_INIT(FILE_JSON)},
	{DELETE, RL_STR_INIT("/v1/files/"), JSON,
	 RL_STR_INIT("{\"id\":\"file-sim\",\"object\":\"file\",\"deleted\":true}")},
};

bool rl_sim_canned(struct sim_request *rq)
{
	const struct rl_request_head *head = &rq->x->head;

	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		rl_str path = answers[i].path;
		bool below = path.p[path.n - 1] == '/';

		if (head->method != answers[i].method ||
		    !(below ? rl_str_starts(head->path, path) : rl_str_eq(head->path, path)))
			continue;
		rl_sim_reply(rq->x, 200, answers[i].media_type, answers[i].body);
		rl_sim_finish(rq, SIM_END_NONE);
		return true;
	}
	return false;
}
