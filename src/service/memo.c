/* SPDX-License-Identifier: Apache-2.0 */
/* Whole answers that were given before (see struct sim_memo). */
#include "service/simulator_priv.h"

#include <assert.h>

/* Nothing but the scenario's own keys, nothing wrong, and no wait in which the memo could make room for another. */
static bool is_memorable(const struct sim_request *rq)
{
	const struct sim_behaviour *b = &rq->b;

	return rq->scenario->plain && !rq->overrides && rq->scenario == rq->sim->scenario && !b->fault.kind &&
	       b->status < 300 && !b->write_bytes &&
	       b->latency.a + b->latency.b + b->first_token.a + b->first_token.b + b->tokens_per_second <= 0;
}

bool rl_sim_memo_find(struct sim_request *rq)
{
	rq->memorable = is_memorable(rq);
	if (!rq->memorable)
		return false;
	for (size_t i = 0; i < SIM_MEMOS; i++) {
		const struct sim_memo *memo = &rq->sim->memos[i];
		uint64_t number = rq->entry.number;

		if (memo->operation != rq->operation || !rl_str_eq(rl_buf_str(&memo->body), rq->body))
			continue;
		/* Who sent it, and as what number, is this one's own. */
		char request_id[SIM_ID_KEPT];

		memcpy(request_id, rq->entry.request_id, sizeof request_id);
		rq->entry = memo->entry;
		rq->entry.number = number;
		memcpy(rq->entry.request_id, request_id, sizeof request_id);
		rq->memo = memo;
		return true;
	}
	return false;
}

void rl_sim_memo_keep(struct sim_request *rq, rl_str answer)
{
	struct sim_memo *memo = &rq->sim->memos[rq->sim->next_memo];
	const char *id;

	if (!rq->memorable || rq->entry.stream || answer.n > SIM_MEMO_MAX_BYTES || rq->body.n > SIM_MEMO_MAX_BYTES ||
	    rq->scenario != rq->sim->scenario)
		return;
	rq->sim->next_memo = (rq->sim->next_memo + 1) % SIM_MEMOS;
	rl_buf_reset(&memo->body);
	rl_buf_reset(&memo->answer);
	rl_buf_add(&memo->body, rq->body);
	rl_buf_add(&memo->answer, answer);
	id = memmem(answer.p, answer.n, rq->id.p, rq->id.n);
	memo->id_at = id ? (size_t)(id - answer.p) : SIZE_MAX;
	memo->entry = rq->entry;
	memo->operation = rl_buf_ok(&memo->body) && rl_buf_ok(&memo->answer) ? rq->operation : RL_OP_NONE;
}

rl_str rl_sim_memo_answer(struct sim_request *rq)
{
	struct sim_memo *memo = &rq->sim->memos[rq->memo - rq->sim->memos];

	assert(memo == rq->memo);
	if (memo->id_at != SIZE_MAX)
		memcpy(memo->answer.p + memo->id_at, rq->id.p, rq->id.n);
	return rl_buf_str(&memo->answer);
}

void rl_sim_memos_forget(struct rl_sim *sim)
{
	for (size_t i = 0; i < SIM_MEMOS; i++)
		sim->memos[i].operation = RL_OP_NONE;
}

void rl_sim_memos_fini(struct rl_sim *sim)
{
	for (size_t i = 0; i < SIM_MEMOS; i++) {
		rl_buf_fini(&sim->memos[i].body);
		rl_buf_fini(&sim->memos[i].answer);
	}
}
