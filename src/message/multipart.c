/* SPDX-License-Identifier: Apache-2.0 */
/* See multipart.h. */
#include "message/multipart.h"

#include <assert.h>

static enum rl_err wrong(struct rl_multipart *m, enum rl_err err, const char *what)
{
	m->what = what;
	return err;
}

/* ---- parameters of a header's value ---- */

static bool is_token_byte(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* A quoted text at the beginning of *rest, without its quotes; escapes stay as they are. False: it does not end. */
static bool take_quoted(rl_str *rest, rl_str *value)
{
	size_t i = 1;

	while (i < rest->n && rest->p[i] != '"')
		i += rest->p[i] == '\\' ? 2 : 1;
	if (i >= rest->n)
		return false;
	*value = rl_str_sub(*rest, 1, i - 1);
	*rest = rl_str_sub(*rest, i + 1, SIZE_MAX);
	return true;
}

/* The next "; name=value" of *rest. False: there is none, or it is malformed (then *rest is not empty). */
static bool take_parameter(rl_str *rest, rl_str *name, rl_str *value)
{
	rl_str at = rl_str_trim(*rest);
	size_t n = 0;

	*rest = at;
	if (!at.n || at.p[0] != ';')
		return false;
	at = rl_str_trim(rl_str_sub(at, 1, SIZE_MAX));
	while (n < at.n && is_token_byte(at.p[n]))
		n++;
	*name = rl_str_sub(at, 0, n);
	at = rl_str_sub(at, n, SIZE_MAX);
	if (!n || !at.n || at.p[0] != '=')
		return false;
	at = rl_str_sub(at, 1, SIZE_MAX);
	if (at.n && at.p[0] == '"') {
		if (!take_quoted(&at, value))
			return false;
	} else {
		for (n = 0; n < at.n && at.p[n] != ';' && at.p[n] != ' ' && at.p[n] != '\t';)
			n++;
		*value = rl_str_sub(at, 0, n);
		at = rl_str_sub(at, n, SIZE_MAX);
	}
	*rest = at;
	return true;
}

/* "form-data; name=..." and the like: the word before the parameters. */
static rl_str take_word(rl_str *rest)
{
	size_t end = rl_str_find(*rest, ';');
	rl_str word = rl_str_trim(rl_str_sub(*rest, 0, end));

	*rest = rl_str_sub(*rest, end, SIZE_MAX);
	return word;
}

/* ---- the beginning ---- */

static bool boundary_ok(rl_str boundary)
{
	if (!boundary.n || boundary.n > RL_MULTIPART_BOUNDARY_MAX || boundary.p[boundary.n - 1] == ' ')
		return false;
	for (size_t i = 0; i < boundary.n; i++) {
		char c = boundary.p[i];

		if (!(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') &&
		    (!c || !strchr("'()+_,-./:=? ", c)))
			return false;
	}
	return true;
}

bool rl_multipart_init(struct rl_multipart *m, rl_str content_type, rl_str wanted)
{
	rl_str rest = content_type, name, value, boundary = {NULL, 0};
	unsigned given = 0;

	*m = (struct rl_multipart){.wanted = wanted, .matched = 2}; /* as if a line end had come before */
	if (!rl_str_ieq(take_word(&rest), RL_STR("multipart/form-data"))) {
		m->what = "the Content-Type is not multipart/form-data";
		return false;
	}
	while (take_parameter(&rest, &name, &value)) {
		if (!rl_str_ieq(name, RL_STR("boundary")))
			continue;
		boundary = value;
		given++;
	}
	if (rest.n || given != 1 || !boundary_ok(boundary)) {
		m->what = "the Content-Type has no usable boundary";
		return false;
	}
	memcpy(m->delimiter, "\r\n--", 4);
	memcpy(m->delimiter + 4, boundary.p, boundary.n);
	m->delimiter_n = 4 + boundary.n;
	return true;
}

/* ---- the header of a part ---- */

/* Whether `name` is, or could be taken for, the wanted one; *exact says which. */
static bool resembles(const struct rl_multipart *m, rl_str name, bool *exact)
{
	*exact = rl_str_eq(name, m->wanted);
	return rl_str_ieq(rl_str_trim(name), m->wanted);
}

static enum rl_err read_disposition(struct rl_multipart *m, rl_str value, bool *wanted, bool *is_file)
{
	rl_str rest = value, name, text;
	unsigned names = 0;
	bool exact;

	if (!rl_str_ieq(take_word(&rest), RL_STR("form-data")))
		return wrong(m, RL_ERR_SYNTAX, "a part is no form-data");
	while (take_parameter(&rest, &name, &text)) {
		if (rl_str_ieq(name, RL_STR("filename")) || rl_str_ieq(name, RL_STR("filename*"))) {
			*is_file = true;
		} else if (rl_str_ieq(name, RL_STR("name*"))) {
			return wrong(m, RL_ERR_SYNTAX, "a part's name is spelled in a way that forms do not have");
		} else if (rl_str_ieq(name, RL_STR("name"))) {
			names++;
			if (rl_str_find(text, '\\') != SIZE_MAX || rl_str_find(text, '%') != SIZE_MAX)
				return wrong(m, RL_ERR_SYNTAX, "a part's name holds an escape");
			*wanted = resembles(m, text, &exact);
			if (*wanted && !exact)
				return wrong(m, RL_ERR_DUPLICATE,
					     "a part's name is a spelling that some readers take for another field");
		}
	}
	if (rest.n || names != 1)
		return wrong(m, RL_ERR_SYNTAX, "a part has no name, or more than one");
	return RL_OK;
}

/* The whole header is there, without the empty line at its end. */
static enum rl_err read_header(struct rl_multipart *m)
{
	rl_str rest = rl_str_make(m->header, m->header_n);
	bool wanted = false, is_file = false;
	unsigned dispositions = 0;

	while (rest.n) {
		size_t end = rl_str_find(rest, '\r');
		rl_str line = rl_str_sub(rest, 0, end);
		size_t colon = rl_str_find(line, ':');

		rest = rl_str_sub(rest, end == SIZE_MAX ? rest.n : end + 2, SIZE_MAX);
		if (colon == SIZE_MAX || !colon || !is_token_byte(line.p[0]) || memchr(line.p, '\0', line.n))
			return wrong(m, RL_ERR_SYNTAX, "a part's header is malformed");
		if (!rl_str_ieq(rl_str_sub(line, 0, colon), RL_STR("content-disposition")))
			continue;
		enum rl_err err =
			read_disposition(m, rl_str_trim(rl_str_sub(line, colon + 1, SIZE_MAX)), &wanted, &is_file);

		if (err)
			return err;
		dispositions++;
	}
	if (dispositions != 1)
		return wrong(m, RL_ERR_SYNTAX, "a part has no Content-Disposition, or more than one");
	if (wanted && is_file)
		return wrong(m, RL_ERR_SYNTAX, "a field that must be text is a file");
	if (wanted && m->found)
		return wrong(m, RL_ERR_DUPLICATE, "a field is given twice");
	m->in_wanted = wanted;
	m->value_at = wanted ? m->offset : m->value_at;
	return RL_OK;
}

/* ---- byte by byte, but for the insides of parts ---- */

/* Within the first delimiter, of which the line end is taken for granted. */
static enum rl_err take_start(struct rl_multipart *m, char c)
{
	if (c != m->delimiter[m->matched])
		return wrong(m, RL_ERR_SYNTAX, "the body does not begin with its boundary");
	if (++m->matched == m->delimiter_n) {
		m->state = RL_MULTIPART_BEHIND;
		m->matched = 0;
	}
	return RL_OK;
}

static enum rl_err take_behind(struct rl_multipart *m, char c)
{
	if (!m->matched++) {
		m->behind = c;
		return c == '\r' || c == '-' ? RL_OK
					     : wrong(m, RL_ERR_SYNTAX, "a boundary is not followed by a line end");
	}
	m->matched = 0;
	if (c != (m->behind == '-' ? '-' : '\n'))
		return wrong(m, RL_ERR_SYNTAX, "a boundary is not followed by a line end");
	if (c == '-') {
		if (!m->parts)
			return wrong(m, RL_ERR_SYNTAX, "the form has no part");
		m->state = RL_MULTIPART_END;
		return RL_OK;
	}
	if (++m->parts > RL_MULTIPART_PARTS_MAX)
		return wrong(m, RL_ERR_LIMIT, "the form has more than 1000 parts");
	m->state = RL_MULTIPART_HEADER;
	m->header_n = 0;
	return RL_OK;
}

static enum rl_err take_header(struct rl_multipart *m, char c)
{
	char before = m->header_n ? m->header[m->header_n - 1] : '\n';

	if ((c == '\n') != (before == '\r'))
		return wrong(m, RL_ERR_SYNTAX, "a line of a part's header does not end in CRLF");
	if (m->header_n == sizeof m->header)
		return wrong(m, RL_ERR_LIMIT, "the header of a part is larger than 4 KiB");
	m->header[m->header_n++] = c;
	if (c != '\n' || (m->header_n > 2 && (m->header_n < 4 || m->header[m->header_n - 3] != '\n')))
		return RL_OK;
	m->header_n -= m->header_n > 2 ? 4 : 2; /* the empty line, and the end of the one before */
	m->state = RL_MULTIPART_BODY;
	/* An empty body's delimiter may follow at once: the line end that it begins with is not the header's. */
	m->matched = 0;
	return read_header(m);
}

static enum rl_err keep_value(struct rl_multipart *m, rl_str piece)
{
	if (!m->in_wanted)
		return RL_OK;
	if (piece.n > sizeof m->value - m->value_n)
		return wrong(m, RL_ERR_LIMIT, "a field is longer than 256 bytes");
	memcpy(m->value + m->value_n, piece.p, piece.n);
	m->value_n += piece.n;
	return RL_OK;
}

/* Takes what it can of *piece; the delimiter begins with the only CR that it has, so a mismatch starts afresh. */
static enum rl_err take_body(struct rl_multipart *m, rl_str *piece)
{
	enum rl_err err = RL_OK;

	if (!m->matched) {
		size_t n = rl_str_find(*piece, '\r');

		n = n == SIZE_MAX ? piece->n : n;
		err = keep_value(m, rl_str_sub(*piece, 0, n));
		m->offset += n;
		*piece = rl_str_sub(*piece, n, SIZE_MAX);
		if (err || !piece->n)
			return err;
	}
	if (piece->p[0] != m->delimiter[m->matched]) {
		err = keep_value(m, rl_str_make(m->delimiter, m->matched));
		m->matched = 0;
		return err; /* and the byte is looked at again */
	}
	m->offset++;
	*piece = rl_str_sub(*piece, 1, SIZE_MAX);
	if (++m->matched < m->delimiter_n)
		return RL_OK;
	m->found |= m->in_wanted;
	m->in_wanted = false;
	m->matched = 0;
	m->state = RL_MULTIPART_BEHIND;
	return RL_OK;
}

static enum rl_err take_byte(struct rl_multipart *m, char c)
{
	m->offset++;
	switch (m->state) {
	case RL_MULTIPART_START:
		return take_start(m, c);
	case RL_MULTIPART_BEHIND:
		return take_behind(m, c);
	case RL_MULTIPART_HEADER:
		return take_header(m, c);
	case RL_MULTIPART_END: /* one line end, and no more */
		if (m->matched < 2 && c == "\r\n"[m->matched++])
			return RL_OK;
		break;
	case RL_MULTIPART_BODY:
		break;
	}
	return wrong(m, RL_ERR_SYNTAX, "something follows the end of the form");
}

enum rl_err rl_multipart_feed(struct rl_multipart *m, rl_str piece)
{
	enum rl_err err = RL_OK;

	assert(m->delimiter_n && !m->what);
	while (!err && piece.n) {
		if (m->state == RL_MULTIPART_BODY) {
			err = take_body(m, &piece);
			continue;
		}
		err = take_byte(m, piece.p[0]);
		piece = rl_str_sub(piece, 1, SIZE_MAX);
	}
	return err;
}

enum rl_err rl_multipart_finish(struct rl_multipart *m)
{
	assert(!m->what);
	if (m->state == RL_MULTIPART_END && m->matched != 1)
		return RL_OK;
	return wrong(m, RL_ERR_SYNTAX, "the form ends before its last boundary");
}
