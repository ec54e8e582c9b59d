/* SPDX-License-Identifier: Apache-2.0 */
/* See amount.h. */
#include "catalog/amount.h"

#include <assert.h>

#define EXPONENT_MAX 100000 /* anything beyond is out of range or too fine, whatever its digits */
#define DIGITS_MAX 18       /* fit an int64_t */

struct decimal {
	int64_t digits; /* the significant ones, without zeros at their end */
	long power;     /* of ten */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "e-06" and the like, or nothing. */
static bool read_exponent(rl_str s, long *out)
{
	bool minus;
	long value = 0;

	*out = 0;
	if (!s.n)
		return true;
	if (s.p[0] != 'e' && s.p[0] != 'E')
		return false;
	s = rl_str_sub(s, 1, SIZE_MAX);
	minus = s.n && s.p[0] == '-';
	if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
		s = rl_str_sub(s, 1, SIZE_MAX);
	if (!s.n)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!is_digit(s.p[i]))
			return false;
		if (value < EXPONENT_MAX)
			value = value * 10 + (s.p[i] - '0');
	}
	*out = minus ? -value : value;
	return true;
}

/* Zeros wait until a digit follows them: those at the end only count as powers of ten. */
static enum rl_err read_digits(rl_str s, size_t *used, struct decimal *out)
{
	bool point = false, any = false;
	int n = 0;
	long zeros = 0;
	size_t i = 0;

	for (; i < s.n && (is_digit(s.p[i]) || (s.p[i] == '.' && !point)); i++) {
		if (s.p[i] == '.') {
			point = true;
			continue;
		}
		any = true;
		out->power -= point;
		if (s.p[i] == '0') {
			zeros += n > 0;
			continue;
		}
		for (; zeros > 0 && n < DIGITS_MAX; zeros--, n++)
			out->digits *= 10;
		if (n >= DIGITS_MAX)
			return RL_ERR_RANGE;
		out->digits = out->digits * 10 + (s.p[i] - '0');
		n++;
	}
	out->power += zeros;
	*used = i;
	return any ? RL_OK : RL_ERR_SYNTAX;
}

enum rl_err rl_amount_parse(rl_str number, int scale, int64_t max, int64_t *out)
{
	struct decimal d = {0, 0};
	bool minus = number.n && number.p[0] == '-';
	size_t used = 0;
	long exponent;

	assert(scale >= 0 && scale <= DIGITS_MAX && max >= 0);
	number = rl_str_sub(number, minus, SIZE_MAX);
	enum rl_err err = read_digits(number, &used, &d);

	if (err)
		return err;
	if (!read_exponent(rl_str_sub(number, used, SIZE_MAX), &exponent))
		return RL_ERR_SYNTAX;
	if (d.digits == 0) {
		*out = 0;
		return RL_OK;
	}
	if (minus)
		return RL_ERR_RANGE;
	d.power += exponent + scale;
	if (d.power < 0)
		return RL_ERR_UNSUPPORTED;
	for (; d.power > 0; d.power--)
		if (d.digits > max / 10 || __builtin_mul_overflow(d.digits, 10, &d.digits))
			return RL_ERR_RANGE;
	if (d.digits > max)
		return RL_ERR_RANGE;
	*out = d.digits;
	return RL_OK;
}
