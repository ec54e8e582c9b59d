/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner of forms on any bytes in any cuts: the outcome must not depend on the cuts, and the value that it found
 * must be what stands in the form where it says so, with the end of its part behind it.
 *
 * First byte: seed of the cuts. Then the Content-Type up to a line end; the rest is the form.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/random.h"
#include "message/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static enum rl_err run(struct rl_multipart *m, rl_str form, struct rl_rng *rng)
{
	enum rl_err err = RL_OK;

	while (!err && form.n) {
		size_t n = rng ? 1 + (size_t)rl_rng_below(rng, rl_rng_below(rng, 4) ? 8 : 100) : form.n;
		rl_str piece = rl_str_sub(form, 0, n);

		err = rl_multipart_feed(m, piece);
		form = rl_str_sub(form, piece.n, SIZE_MAX);
	}
	return err ? err : rl_multipart_finish(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rl_multipart whole, cut;
	struct rl_rng rng;
	rl_str form = rl_str_make(data, size);

	if (!size)
		return 0;
	rl_rng_seed(&rng, data[0]);
	form = rl_str_sub(form, 1, SIZE_MAX);
	rl_str type = rl_str_cut(&form, '\n');

	if (!rl_multipart_init(&whole, type, RL_STR("model"))) {
		must(whole.what != NULL);
		return 0;
	}
	must(rl_multipart_init(&cut, type, RL_STR("model")));
	enum rl_err err = run(&whole, form, NULL);

	must(run(&cut, form, &rng) == err);
	must(whole.what == cut.what && !err == !whole.what);
	must(whole.found == cut.found);
	if (!err)
		must(whole.offset == form.n && cut.offset == form.n && whole.parts > 0);
	if (whole.found) {
		rl_str value = rl_multipart_value(&whole);

		must(rl_str_eq(value, rl_multipart_value(&cut)) && whole.value_at == cut.value_at);
		must(rl_str_eq(value, rl_str_sub(form, (size_t)whole.value_at, value.n)));
		must(rl_str_starts(rl_str_sub(form, (size_t)whole.value_at + value.n, SIZE_MAX),
				   rl_str_make(whole.delimiter, whole.delimiter_n)));
	}
	return 0;
}
