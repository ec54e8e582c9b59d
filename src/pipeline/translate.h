/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests whose client and provider speak different dialects: the body is read into
 * a message once, written anew for each target that is tried, and what the target
 * answers is read by its dialect and written by the client's. Used by ATTEMPT and
 * RELAY at the places where same-dialect traffic is only looked at; everything else
 * (order of targets, commit point, back-pressure) is the same.
 */
#ifndef RL_PIPELINE_TRANSLATE_H
#define RL_PIPELINE_TRANSLATE_H

#include "pipeline/request.h"

struct rl_translate {
	const struct rl_dialect *client; /* reads the request and writes the answer */
	enum rl_operation operation;     /* of the message, whatever the client's route calls it */
	struct rl_arena arena;           /* of the message; goes with the request's body */
	struct rl_chat_request message;
	bool parsed;
	struct rl_fault refusal; /* of the last target that could not express the request; status 0: none */

	/* of the attempt under way */
	const struct rl_dialect *wire;
	struct rl_facts facts;
	struct rl_translation t;
	struct rl_buf body; /* what was written for it */
	rl_str part;
	struct rl_frames frames;
	struct rl_decoder *decoder; /* NULL: its answer is no stream, or has not begun */
	struct rl_encoder encoder;
	bool finished; /* a finish reason has been read */
};

/*
 * Whether this target's answer to this request has to be translated; then *operation is what it will be asked for. A
 * target that lacks the operation altogether is not asked (rl_provider_operation).
 */
bool rl_translate_needed(const struct rl_request *rq, const struct rl_provider *provider);
/*
 * The body for this attempt's target, as one slice. RL_ERR_SYNTAX: the client's body is wrong, rq->fault says how.
 * RL_ERR_UNSUPPORTED: this target cannot express the request, translate->refusal says what. RL_ERR_NOMEM, RL_ERR_LIMIT.
 */
enum rl_err rl_translate_body(struct rl_request *rq, struct rl_attempt *a, rl_str **parts, size_t *n) RL_MUST_CHECK;
/* A stream begins: codecs for it. RL_ERR_NOMEM. */
enum rl_err rl_translate_open(struct rl_request *rq) RL_MUST_CHECK;
/*
 * The next event of the provider's stream, written for the client at the end of *out. OK: *told says what it meant; an
 * error is told and not written, its text is *error_text, in the request's arena. AGAIN: there is none yet. `last`: the
 * stream has ended, and what is left is all of it.
 */
enum rl_err rl_translate_next(struct rl_request *rq, bool last, struct rl_buf *out, struct rl_glance *told,
			      rl_str *error_text) RL_MUST_CHECK;
/* The end of an answer that was complete, in the client's framing; of one that broke off, with the reason. Once. */
void rl_translate_done(struct rl_request *rq, struct rl_buf *out);
void rl_translate_broken(struct rl_request *rq, const struct rl_fault *fault, struct rl_buf *out);
/* A whole answer in place of rq->held. RL_ERR_SYNTAX: it is none in its dialect. RL_ERR_NOMEM. */
enum rl_err rl_translate_whole(struct rl_request *rq) RL_MUST_CHECK;
/* What was left out, for the header; empty: nothing. */
rl_str rl_translate_dropped(struct rl_request *rq);
/* The attempt is over, or the request is: gives back what belongs to it. */
void rl_translate_close(struct rl_request *rq);
/* The message and the bodies made of it. */
void rl_translate_release(struct rl_request *rq);

#endif
