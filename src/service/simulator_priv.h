/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the simulator share. simulator.c owns the listener and the
 * routes; a request is begun there, gets its content from content.c, and is played
 * to its end by play.c in the bytes of wire.c; control.c answers /sim/...
 * Private to this room.
 */
#ifndef RL_SERVICE_SIMULATOR_PRIV_H
#define RL_SERVICE_SIMULATOR_PRIV_H

#include "dialect/dialect.h"
#include "http/server.h"
#include "net/listener.h"
#include "service/ledger.h"
#include "service/scenario.h"

#define SIM_BODY_MAX_BYTES (32u << 20)  /* of a request */
#define SIM_WHOLE_MAX_BYTES (48u << 20) /* of an answer that is made before it is sent */
#define SIM_WORDS 1024u                 /* of the default text, which then repeats */
#define SIM_CHOICES_MAX 16u
#define SIM_HANGING_MAX 1024u /* connections accepted and never read */
#define SIM_NAME_MAX 64u

struct sim_request;

/*
 * A whole answer, kept because the same request tends to come again and again: a
 * benchmark should measure the gateway, not how its provider escapes JSON. Only
 * for answers that follow from scenario and body alone.
 */
#define SIM_MEMOS 4u
#define SIM_MEMO_MAX_BYTES 65536u

struct sim_memo {
	enum rl_operation operation;
	struct rl_buf body, answer;
	size_t id_at; /* of the answer's id in it; SIZE_MAX: it has none */
	struct sim_entry entry;
};

struct rl_sim {
	struct rl_loop *loop;
	struct rl_server *server;
	struct rl_listener *listener; /* NULL while it refuses */
	struct rl_tls_server *tls;
	struct rl_buf ca_pem;
	struct rl_addr addr;
	char addr_text[RL_ADDR_TEXT_MAX];
	char name[SIM_NAME_MAX + 1];
	struct rl_sim_scenario *scenario;
	uint64_t seed, own_seed; /* in force; given at the start (0: the scenario's) */
	struct sim_override_cache overrides;
	struct sim_ledger ledger;
	uint64_t n_requests, n_connections;
	bool stopped;

	struct rl_timer refusing; /* until the listener opens again */
	struct rl_task refuse;    /* closes it when the answer to the call is out */
	uint64_t refuse_ms;
	bool refuse_drop; /* connections too */

	int hanging[SIM_HANGING_MAX];
	size_t n_hanging;

	/* The default text (a blank and a word, SIM_WORDS times), and where its words end. */
	struct rl_buf words;
	uint32_t word_ends[SIM_WORDS];

	/* Streams that yielded to others, to go on in the next turn. */
	struct rl_mail mail;
	bool mail_posted;
	struct sim_request *yielded;

	struct sim_memo memos[SIM_MEMOS];
	unsigned next_memo;

	/* Scratch: valid until anything else of this simulator is written. */
	struct rl_buf unit, whole;
};

/* Text that is cut into pieces (tokens). */
struct sim_text {
	enum { SIM_TEXT_WORDS = 0, SIM_TEXT_EVEN, SIM_TEXT_OWN } kind;
	rl_str source;   /* begins anew when it is used up and pieces are left */
	size_t at;       /* of the next piece in it */
	uint64_t parts;  /* EVEN: into how many the source is cut */
	uint64_t pieces; /* how many are given; UINT64_MAX: no end */
	uint64_t done;   /* given so far */
};

/* What a stream is made of, in order. */
enum sim_unit { SIM_UNIT_START = 0, SIM_UNIT_CONTENT, SIM_UNIT_FINISH, SIM_UNIT_DONE, SIM_UNIT_END };

enum sim_phase {
	SIM_READING = 0, /* the request */
	SIM_WAITING,     /* for the time of the head */
	SIM_HEAD_OUT,    /* the head is due */
	SIM_THINKING,    /* for the time of the first token */
	SIM_CONTENT,     /* pieces go out */
	SIM_TAIL,        /* what ends the answer */
	SIM_STALLED,
	SIM_BREAKING, /* the last bytes have a moment to arrive before the connection is reset */
	SIM_OVER,
};

struct sim_request {
	struct rl_exchange *x;
	struct rl_sim *sim;
	const struct rl_dialect *dialect;
	enum rl_operation operation;
	struct rl_sim_scenario *scenario; /* counted */
	struct sim_overrides *overrides;  /* counted, or NULL */
	struct sim_behaviour b;
	struct rl_rng rng;
	struct sim_entry entry;

	struct rl_buf body_more; /* of a body in several pieces */
	rl_str body;
	struct rl_chat_request message;
	struct sim_text text;
	rl_str tool;       /* to be called, or empty */
	bool tool_started; /* its name is out */
	rl_str id;         /* of the answer */
	uint32_t choices, choice;
	enum rl_finish finish;

	enum sim_unit stage; /* the unit of the stream that comes next */
	rl_str piece;        /* of text, while it goes out for each choice */

	enum sim_phase phase, resume; /* resume: after a stall */
	struct rl_timer timer;
	uint64_t content_since_ms; /* when content began: the pace counts from there */
	bool paced;                /* content_since_ms is set */
	bool encoding;
	struct rl_encoder encoder;
	bool break_due;  /* as soon as what waits is out */
	bool break_done; /* the interruption has been, and is over */
	bool begun_said, ending_said;
	bool yielded;
	struct sim_request *next_yielded;

	bool memorable;              /* the answer may be kept */
	const struct sim_memo *memo; /* it is known from before */

	rl_str rest;  /* of a body that is sent in raw parts: what is still to come */
	size_t whole; /* its length */

	/* wire.c */
	bool raw;          /* bytes as they are */
	bool chunked;      /* raw: in chunks */
	struct rl_buf out; /* raw bytes that wait for their turn; or a batch of events */
	size_t out_at;
	uint32_t batched;
	uint64_t sent; /* raw bytes given to the connection */
	bool gap;      /* raw: waits between two writes */
};

/* --- memo.c --- */

/* Looks the request up; then its account stands as it was. */
bool rl_sim_memo_find(struct sim_request *rq);
void rl_sim_memo_keep(struct sim_request *rq, rl_str answer);
/* The answer with this request's id. */
rl_str rl_sim_memo_answer(struct sim_request *rq);
void rl_sim_memos_forget(struct rl_sim *sim);
void rl_sim_memos_fini(struct rl_sim *sim);

/* --- content.c --- */

/* The request is whole: what the answer will say. False: *fault says what is wrong with it. */
bool rl_sim_content_prepare(struct sim_request *rq, struct rl_fault *fault);
/* The body of a whole answer, appended. */
void rl_sim_content_whole(struct sim_request *rq, struct rl_buf *out);
/* The next events of a stream, appended; which of them carry content is the last one of a CONTENT unit. */
enum sim_unit rl_sim_content_next(struct sim_request *rq, struct rl_buf *out);
/* An error's body by the behaviour, appended; its media type. */
rl_str rl_sim_content_error(struct sim_request *rq, struct rl_buf *out);
/* A page that a proxy would show. */
void rl_sim_html_page(uint16_t status, struct rl_buf *out);

/* --- text.c --- */

/* Words drawn from the seed. */
enum rl_err rl_sim_words_make(struct rl_sim *sim) RL_MUST_CHECK;
/* The next piece; false at the end. It lives as long as the source, or the simulator. */
bool rl_sim_text_next(const struct rl_sim *sim, struct sim_text *text, rl_str *piece);
/* All that is still to come, in one; p NULL without memory. */
rl_str rl_sim_text_all(const struct rl_sim *sim, const struct sim_text *text, struct rl_arena *arena);
/* A text of one's own, cut into its words; the default one of so many words; the same of so many bytes and pieces. */
void rl_sim_text_own(struct sim_text *text, rl_str source);
void rl_sim_text_words(struct sim_text *text, uint64_t pieces);
bool rl_sim_text_even(const struct rl_sim *sim, struct sim_text *text, uint64_t bytes, uint64_t pieces,
		      struct rl_arena *arena);
/* A vector for this input: `n` numbers in millionths, of length about 1. */
void rl_sim_vector(uint64_t seed, rl_str input, int32_t *out, size_t n);

/* --- play.c --- */

/* The request is ready to be answered. */
void rl_sim_play(struct sim_request *rq);
/* The connection takes more. */
void rl_sim_play_on(struct sim_request *rq);
/* The end of the account, and of the request's memory; the exchange is the caller's to end, before. */
void rl_sim_finish(struct sim_request *rq, enum sim_end end);
/* Resumes the streams that yielded. */
void rl_sim_on_mail(struct rl_mail *mail, struct rl_loop *loop);

/* --- wire.c --- */

/* Whether the behaviour needs bytes of our own in place of a framed answer. */
bool rl_sim_wire_is_raw(const struct sim_request *rq);
/* A whole answer, framed, in one write; ends the exchange. */
void rl_sim_wire_reply(struct sim_request *rq, uint16_t status, rl_str media_type, rl_str body);
/* Status and headers; length -1: chunks; -2: neither. */
void rl_sim_wire_head(struct sim_request *rq, uint16_t status, rl_str media_type, int64_t length);
/* A piece of the body. */
void rl_sim_wire_body(struct sim_request *rq, rl_str piece);
/* An event of a stream; joins a batch if there is one. */
void rl_sim_wire_event(struct sim_request *rq, rl_str event, bool last);
/* The terminator of the chunks; framed: ends the exchange. */
void rl_sim_wire_end(struct sim_request *rq);
/* Raw: sends what waits. False: something waits still (for room, for the next write's time, or broken off). */
bool rl_sim_wire_pump(struct sim_request *rq);

/* --- control.c --- */

/* Answers what is not inference: the ledger, the scenario, health, models, and 404 for all the rest. */
void rl_sim_control(struct sim_request *rq);
/* An answer in JSON or text. */
void rl_sim_reply(struct rl_exchange *x, uint16_t status, rl_str media_type, rl_str body);

/* --- canned.c --- */

/* Answers a request for what is always the same; false: there is no such thing. */
bool rl_sim_canned(struct sim_request *rq);

/* --- certificate.c --- */

/* A server context of this kind for clients that connect to `addr`, and the authority's certificate. */
enum rl_err rl_sim_certificate_make(enum rl_sim_tls kind, const struct rl_addr *addr, struct rl_buf *ca_pem,
				    struct rl_tls_server **out, const char **why) RL_MUST_CHECK;

#endif
