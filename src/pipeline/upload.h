/* SPDX-License-Identifier: Apache-2.0 */
/* Forms with files, for the steps that meet them: see upload.c. Private to this room. */
#ifndef RL_PIPELINE_UPLOAD_H
#define RL_PIPELINE_UPLOAD_H

#include "pipeline/request.h"

struct rl_call_spec;
/* READ of a form: begins it; its pieces until the model is known; its end, should that come before. */
enum rl_move rl_upload_begin(struct rl_request *rq);
enum rl_move rl_upload_read(struct rl_request *rq, rl_str piece);
enum rl_move rl_upload_read_end(struct rl_request *rq);
/* What a call to this target must know of it. */
void rl_upload_specify(struct rl_request *rq, const struct rl_target *target, struct rl_call_spec *spec);
/* While the call is under way: BODY, BODY_END, ROOM. FAIL: the client's form is at fault. */
enum rl_move rl_upload_wake(struct rl_request *rq, const struct rl_wake_in *in);
/* Something of it was given to a call, so that no other may have it. */
bool rl_upload_begun(const struct rl_request *rq);
/* It was given whole. */
bool rl_upload_complete(const struct rl_request *rq);
void rl_upload_end(struct rl_request *rq); /* gives back what it holds; harmless without one */

#endif
