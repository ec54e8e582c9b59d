/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of application/vnd.amazon.eventstream (Bedrock's streams), both ways. A
 * message is, big-endian: total length, length of the headers, CRC-32 of these eight
 * bytes, headers, payload, CRC-32 of all before. Both checksums are checked: a
 * message whose sum is wrong ends the stream, for nothing says where the next begins.
 * Source: the Smithy specification, "Amazon Event Stream", and recorded streams.
 *
 * An event's name is its ":event-type". An exception of the model has the name
 * "exception:" and its ":exception-type"; one without a model the same with its
 * ":error-code", and as data an object with the ":error-message".
 */
#ifndef RL_FRAME_EVENTSTREAM_H
#define RL_FRAME_EVENTSTREAM_H

#include "frame/carry.h"
#include "frame/sse.h"

#define RL_EVENTSTREAM_EXCEPTION "exception:"
#define RL_EVENTSTREAM_NAME_MAX 128u

struct rl_eventstream {
	struct rl_carry carry;
	struct rl_buf made; /* data of an exception that has none */
	char name[sizeof RL_EVENTSTREAM_EXCEPTION - 1 + RL_EVENTSTREAM_NAME_MAX];
};

void rl_eventstream_init(struct rl_eventstream *stream, size_t max_event_bytes);
void rl_eventstream_fini(struct rl_eventstream *stream);
/* As rl_sse_next. SYNTAX: lengths or checksums are wrong, or the headers are not headers. */
enum rl_err rl_eventstream_next(struct rl_eventstream *stream, struct rl_sse_event *out) RL_MUST_CHECK;
/* As rl_frames_last: a message that is cut cannot be read in part. */
enum rl_err rl_eventstream_last(const struct rl_eventstream *stream) RL_MUST_CHECK;

/*
 * Writing: open gives where the message begins, the payload is appended by the caller, close fills in lengths and
 * sums. A name that begins with "exception:" makes an exception. Failures stay in `out`.
 */
size_t rl_eventstream_open(struct rl_buf *out, rl_str name);
void rl_eventstream_close(struct rl_buf *out, size_t at);

#endif
