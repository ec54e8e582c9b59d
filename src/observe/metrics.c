/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See metrics.h. Most requests of a worker look alike to the metrics: same route, alias,
 * target, status and outcome. So each worker keeps the cells of such a kind of request
 * together (struct bundle) in a small table, found by one hash of the record's words.
 *
 * Which model names may become labels: those that the config names (the request came by
 * an alias), and those that a provider has answered for before. A client may pin any
 * name at all ("openai/<anything>"); until a provider has given an answer for it, it is
 * counted without its name (FAULTS 91). The series of FIRST_BYTE are the memory of who
 * has answered for what.
 */
#include "observe/metrics.h"

#include <assert.h>
#include <stdlib.h>

#include "observe/process_priv.h"

#define BUNDLES 64u         /* per worker; a power of two */
#define KEY_TEXT_BYTES 176u /* a request with longer names goes the slow way */

/*      id           name          where in struct rl_usage */
#define TOKEN_KINDS(X)                                    \
	X(PROMPT, "prompt", prompt_tokens)                \
	X(COMPLETION, "completion", completion_tokens)    \
	X(CACHED, "cached", cached_tokens)                \
	X(CACHE_WRITE, "cache_write", cache_write_tokens) \
	X(REASONING, "reasoning", reasoning_tokens)

enum token_kind {
#define X(id, name, member) KIND_##id,
	TOKEN_KINDS(X)
#undef X
		KIND_COUNT
};

/* What tells one kind of request from another. Text of route, alias, provider and model, end to end. */
struct key {
	uint64_t hash;
	uint16_t n[4];
	uint16_t status;
	uint8_t outcome;
	bool stream, answered;
	char text[KEY_TEXT_BYTES];
};

/* The cells of one kind of request; those that not every request of the kind counts in are found when first needed. */
struct bundle {
	struct key key;
	bool used;
	struct rl_counter *requests, *attempt_ok, *stream_events, *streams_cut;
	struct rl_counter *tokens[KIND_COUNT];
	struct rl_histogram *duration, *first_byte, *overhead;
};

/* What a worker writes. */
struct lane {
	struct rl_counter *bytes_in, *bytes_out;
	struct rl_histogram *request_tokens[2];
	struct bundle bundles[BUNDLES];
};

struct rl_metrics {
	struct rl_metric_set *set;
	unsigned n_workers;
	char version[64];
	struct lane *lanes[];
};

static const struct rl_metric table[] = {
#define X(id, kind, source, metric_name, label_names, bounds, text) \
	[RL_METRIC_##id] = {                                        \
		.name = metric_name, .help = text, .type = RL_##kind, .labels = label_names, .buckets = bounds},
	RL_METRICS(X)
#undef X
};

enum source { SOURCE_RECORD, SOURCE_CALLBACK };
static const enum source sources[] = {
#define X(id, type, source, name, labels, buckets, help) SOURCE_##source,
	RL_METRICS(X)
#undef X
};

static const rl_str token_kinds[] = {
#define X(id, name, member) RL_STR_INIT(name),
	TOKEN_KINDS(X)
#undef X
};

static void collect_build(void *user, struct rl_metric_out *out)
{
	const struct rl_metrics *metrics = user;

	rl_metric_sample(out, (rl_str[]){rl_str_of(metrics->version)}, 1);
}

/* Counters that can be named beforehand begin at 0 and not with their first value. */
static bool lane_init(struct rl_metrics *metrics, unsigned worker)
{
	struct lane *lane = calloc(1, sizeof *lane);
	struct rl_metric_set *set = metrics->set;

	if (!lane)
		return false;
	lane->bytes_in = rl_metric_counter(set, worker, RL_METRIC_BYTES, (rl_str[]){RL_STR("in")});
	lane->bytes_out = rl_metric_counter(set, worker, RL_METRIC_BYTES, (rl_str[]){RL_STR("out")});
	for (size_t i = 0; i < 2; i++)
		lane->request_tokens[i] = rl_metric_histogram(set, worker, RL_METRIC_REQUEST_TOKENS, &token_kinds[i]);
	metrics->lanes[worker] = lane;
	return true;
}

enum rl_err rl_metrics_new(unsigned workers, rl_str version, struct rl_metrics **out)
{
	struct rl_metrics *metrics = calloc(1, sizeof *metrics + workers * sizeof(struct lane *));

	*out = NULL;
	if (!metrics)
		return RL_ERR_NOMEM;
	metrics->n_workers = workers;
	version = rl_str_sub(version, 0, sizeof metrics->version - 1);
	if (version.n)
		memcpy(metrics->version, version.p, version.n);
	enum rl_err err = rl_metric_set_new(table, RL_METRIC_COUNT, workers, RL_METRIC_SERIES_MAX, &metrics->set);

	for (unsigned i = 0; i < workers && !err; i++)
		if (!lane_init(metrics, i))
			err = RL_ERR_NOMEM;
	if (err) {
		rl_metrics_free(metrics);
		return err;
	}
	rl_process_metrics_add(metrics->set);
	rl_metric_collect(metrics->set, RL_METRIC_BUILD, collect_build, metrics);
	*out = metrics;
	return RL_OK;
}

void rl_metrics_free(struct rl_metrics *metrics)
{
	if (!metrics)
		return;
	for (unsigned i = 0; i < metrics->n_workers; i++)
		free(metrics->lanes[i]);
	rl_metric_set_free(metrics->set);
	free(metrics);
}

/* ---- counting ---- */

/* The status as text, at most three digits. */
static rl_str code_text(uint16_t status, char out[4])
{
	size_t at = 4;

	status = status > 999 ? 0 : status;
	do {
		out[--at] = (char)('0' + status % 10);
		status = (uint16_t)(status / 10);
	} while (status);
	return rl_str_make(out + at, 4 - at);
}

/* Multiply and fold: quick, and good enough for a table where a collision only costs a look-up. */
static uint64_t mix(uint64_t hash, const char *p, size_t n)
{
	uint64_t word;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&word, p, 8);
		hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
		hash ^= hash >> 29;
	}
	word = 0;
	for (size_t i = 0; i < n; i++)
		word = word << 8 | (unsigned char)p[i];
	hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
	return hash ^ hash >> 32;
}

/* False if the names are too long for it. */
static bool key_make(struct key *key, const struct rl_record *record, bool answered)
{
	const rl_str words[] = {record->route, record->alias, record->provider, record->model};
	size_t n = 0;

	key->status = record->status;
	key->outcome = (uint8_t)record->outcome;
	key->stream = record->stream;
	key->answered = answered;
	for (size_t i = 0; i < 4; i++) {
		if (words[i].n > KEY_TEXT_BYTES - n)
			return false;
		if (words[i].n)
			memcpy(key->text + n, words[i].p, words[i].n);
		key->n[i] = (uint16_t)words[i].n;
		n += words[i].n;
	}
	uint64_t lengths =
		(uint64_t)key->n[0] << 48 | (uint64_t)key->n[1] << 32 | (uint64_t)key->n[2] << 16 | key->n[3];

	uint64_t rest =
		(uint64_t)key->status << 16 | (uint64_t)key->outcome << 2 | (uint64_t)key->stream << 1 | key->answered;

	key->hash = mix(mix(0, (const char *)&rest, sizeof rest) ^ lengths, key->text, n);
	return true;
}

static bool key_eq(const struct key *a, const struct key *b)
{
	return a->hash == b->hash && memcmp(a->n, b->n, sizeof a->n) == 0 && a->status == b->status &&
	       a->outcome == b->outcome && a->stream == b->stream && a->answered == b->answered &&
	       memcmp(a->text, b->text, (size_t)a->n[0] + a->n[1] + a->n[2] + a->n[3]) == 0;
}

/* Whether a provider gave the answer, wholly or in part. */
static bool was_answered(const struct rl_record *record)
{
	return record->provider.n && (record->outcome == RL_OUTCOME_OK || record->committed);
}

/* The model as a label: empty while nobody has vouched for the name. */
static rl_str model_label(const struct rl_metrics *metrics, const struct rl_record *record, rl_str provider,
			  rl_str model)
{
	if (record->alias.n || !model.n ||
	    rl_metric_exists(metrics->set, RL_METRIC_FIRST_BYTE, (rl_str[]){provider, model}))
		return model;
	return (rl_str){NULL, 0};
}

/* The cells that each request of the kind counts in. */
static void bundle_fill(struct rl_metrics *metrics, unsigned worker, const struct rl_record *record, rl_str model,
			bool answered, struct bundle *bundle)
{
	char code[4];

	bundle->requests = rl_metric_counter(metrics->set, worker, RL_METRIC_REQUESTS,
					     (rl_str[]){record->route, record->alias, record->provider, model,
							code_text(record->status, code),
							rl_str_of(rl_outcome_name(record->outcome))});
	bundle->duration = rl_metric_histogram(metrics->set, worker, RL_METRIC_DURATION,
					       (rl_str[]){record->route, record->alias,
							  record->stream ? RL_STR("true") : RL_STR("false")});
	bundle->overhead = rl_metric_histogram(metrics->set, worker, RL_METRIC_OVERHEAD, &record->route);
	if (answered)
		bundle->first_byte = rl_metric_histogram(metrics->set, worker, RL_METRIC_FIRST_BYTE,
							 (rl_str[]){record->provider, record->model});
}

/*
 * The bundle of the record's kind: from the table, or made in its place there; in
 * `spare` when it may not be kept, because its label is not what its key says.
 */
static struct bundle *bundle_get(struct rl_metrics *metrics, unsigned worker, const struct rl_record *record,
				 rl_str *model, struct bundle *spare)
{
	struct key key;
	bool answered = was_answered(record), fits = key_make(&key, record, answered);
	struct bundle *bundle = fits ? &metrics->lanes[worker]->bundles[key.hash % BUNDLES] : spare;

	if (fits && bundle->used && key_eq(&bundle->key, &key)) {
		*model = record->model;
		return bundle;
	}
	/* An answer vouches for the name, from this record on. */
	*model = answered ? record->model : model_label(metrics, record, record->provider, record->model);
	if (!rl_str_eq(*model, record->model))
		bundle = spare;
	*bundle = (struct bundle){.used = true};
	if (bundle != spare)
		bundle->key = key;
	bundle_fill(metrics, worker, record, *model, answered, bundle);
	return bundle;
}

static void count_attempts(struct rl_metrics *metrics, unsigned worker, const struct rl_record *record)
{
	for (size_t i = 0; i < record->n_attempts; i++) {
		const struct rl_attempt_record *attempt = &record->attempts[i];
		rl_str model = model_label(metrics, record, attempt->provider, attempt->model);
		rl_str result = rl_str_of(attempt->fault ? rl_fault_class_name(attempt->fault) : "ok");

		rl_counter_add(rl_metric_counter(metrics->set, worker, RL_METRIC_ATTEMPTS,
						 (rl_str[]){attempt->provider, model, result}),
			       1);
		if (attempt->maybe_billed)
			rl_counter_add(rl_metric_counter(metrics->set, worker, RL_METRIC_MAYBE_BILLED,
							 (rl_str[]){attempt->provider, model}),
				       1);
		/* The same target once more is a retry, not a failover. */
		const struct rl_attempt_record *next = attempt + 1;

		if (i + 1 < record->n_attempts &&
		    (!rl_str_eq(next->provider, attempt->provider) || !rl_str_eq(next->model, attempt->model)))
			rl_counter_add(rl_metric_counter(metrics->set, worker, RL_METRIC_FAILOVERS,
							 (rl_str[]){record->alias, attempt->provider, result}),
				       1);
	}
}

/* The usual case, one attempt that went well at the target that served, needs no look-up. */
static bool is_plain_success(const struct rl_record *record)
{
	const struct rl_attempt_record *only = record->attempts;

	return record->n_attempts == 1 && only->fault == RL_FAULT_NONE && !only->maybe_billed &&
	       rl_str_eq(only->provider, record->provider) && rl_str_eq(only->model, record->model);
}

static void count_tokens(struct rl_metrics *metrics, unsigned worker, const struct rl_record *record, rl_str model,
			 struct bundle *bundle)
{
	const uint64_t n[] = {
#define X(id, name, member) record->usage.member,
		TOKEN_KINDS(X)
#undef X
	};

	for (size_t i = 0; i < KIND_COUNT; i++) {
		if (!n[i])
			continue;
		if (!bundle->tokens[i])
			bundle->tokens[i] = rl_metric_counter(metrics->set, worker, RL_METRIC_TOKENS,
							      (rl_str[]){record->provider, model, token_kinds[i]});
		rl_counter_add(bundle->tokens[i], n[i]);
	}
	rl_histogram_observe(metrics->lanes[worker]->request_tokens[KIND_PROMPT], &rl_buckets_tokens, n[KIND_PROMPT]);
	rl_histogram_observe(metrics->lanes[worker]->request_tokens[KIND_COMPLETION], &rl_buckets_tokens,
			     n[KIND_COMPLETION]);
}

static void count_stream(struct rl_metrics *metrics, unsigned worker, const struct rl_record *record, rl_str model,
			 struct bundle *bundle)
{
	const rl_str target[] = {record->provider, model};

	if (record->events) {
		if (!bundle->stream_events)
			bundle->stream_events =
				rl_metric_counter(metrics->set, worker, RL_METRIC_STREAM_EVENTS, target);
		rl_counter_add(bundle->stream_events, record->events);
	}
	if (record->outcome == RL_OUTCOME_CUT) {
		if (!bundle->streams_cut)
			bundle->streams_cut = rl_metric_counter(metrics->set, worker, RL_METRIC_STREAMS_CUT, target);
		rl_counter_add(bundle->streams_cut, 1);
	}
}

static void consume(void *self, unsigned worker, const struct rl_record *record)
{
	struct rl_metrics *metrics = self;
	struct bundle spare __attribute__((uninitialized)); /* bundle_get fills it when it needs it */
	rl_str model;

	assert(worker < metrics->n_workers);
	struct bundle *bundle = bundle_get(metrics, worker, record, &model, &spare);

	rl_counter_add(bundle->requests, 1);
	rl_histogram_observe(bundle->duration, &rl_buckets_latency, record->total_us);
	rl_histogram_observe(bundle->overhead, &rl_buckets_overhead, record->overhead_us);
	if (bundle->first_byte && record->first_byte_us)
		rl_histogram_observe(bundle->first_byte, &rl_buckets_latency, record->first_byte_us);
	if (!is_plain_success(record)) {
		count_attempts(metrics, worker, record);
	} else {
		if (!bundle->attempt_ok)
			bundle->attempt_ok = rl_metric_counter(metrics->set, worker, RL_METRIC_ATTEMPTS,
							       (rl_str[]){record->provider, model, RL_STR("ok")});
		rl_counter_add(bundle->attempt_ok, 1);
	}
	if (record->usage.known)
		count_tokens(metrics, worker, record, model, bundle);
	if (record->stream)
		count_stream(metrics, worker, record, model, bundle);
	rl_counter_add(metrics->lanes[worker]->bytes_in, record->bytes_in);
	rl_counter_add(metrics->lanes[worker]->bytes_out, record->bytes_out);
}

const struct rl_sink rl_metrics_sink = {.name = "metrics", .consume = consume};

/* ---- reading ---- */

void rl_metrics_collect(struct rl_metrics *metrics, enum rl_metric_id id, rl_metric_collect_f collect, void *user)
{
	assert(id < RL_METRIC_COUNT && sources[id] == SOURCE_CALLBACK);
	rl_metric_collect(metrics->set, id, collect, user);
}

const char *rl_metrics_unfed(const struct rl_metrics *metrics)
{
	for (size_t i = 0; i < RL_METRIC_COUNT; i++)
		if (sources[i] == SOURCE_CALLBACK && !rl_metric_is_collected(metrics->set, i))
			return table[i].name;
	return NULL;
}

void rl_metrics_write(const struct rl_metrics *metrics, struct rl_buf *out)
{
	rl_metric_write(metrics->set, out);
}

static void reference_row(const struct rl_metric *row, struct rl_buf *out)
{
	rl_buf_printf(out, "| `%s` | %s | ", row->name, rl_metric_type_name(row->type));
	for (size_t i = 0; row->labels[i]; i++)
		rl_buf_printf(out, "%s`%s`", i ? ", " : "", row->labels[i]);
	rl_buf_printf(out, " | %s |\n", row->help);
}

static void reference_buckets(const struct rl_metric *row, struct rl_buf *out)
{
	double unit = 1;

	for (unsigned i = 0; i < row->buckets->decimals; i++)
		unit *= 10;
	rl_buf_printf(out, "- `%s`:", row->name);
	for (size_t i = 0; i < row->buckets->n; i++)
		rl_buf_printf(out, "%s %.10g", i ? "," : "", (double)row->buckets->bounds[i] / unit);
	rl_buf_byte(out, '\n');
}

void rl_metrics_reference(struct rl_buf *out)
{
	RL_BUF_LIT(out,
		   "# Metrics\n\n"
		   "`GET /metrics` on the admin plane, in Prometheus' text format. A metric appears with its first "
		   "value.\n\nLabels hold configured names, words of relais and models that a provider has answered "
		   "for; a model name that only a client has ever used stays an empty label. ");
	rl_buf_printf(out, "A metric has at most %d series: what comes later is counted with all labels `other`.\n\n",
		      RL_METRIC_SERIES_MAX);
	RL_BUF_LIT(out, "| metric | type | labels | meaning |\n|---|---|---|---|\n");
	for (size_t i = 0; i < RL_METRIC_COUNT; i++)
		reference_row(&table[i], out);
	RL_BUF_LIT(out, "\n## Buckets\n\n");
	for (size_t i = 0; i < RL_METRIC_COUNT; i++)
		if (table[i].buckets)
			reference_buckets(&table[i], out);
}
