/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a wrong relais.yaml earns: each row is a file and the exact report it must
 * give, places included; '*' at the end leaves the rest open, for the words that
 * are libfyaml's own. Variables and secret files come from a table here, so
 * that nothing depends on the machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/schema.h"

static const rl_str dialects[] = {RL_STR_INIT("openai"), RL_STR_INIT("anthropic")};
static const rl_str strategies[] = {RL_STR_INIT("priority"), RL_STR_INIT("round_robin"), RL_STR_INIT("weighted")};
#define NO_ORIGIN "expected an origin such as https://app.example or http://localhost:3000, or '*'\n"

static const rl_str quirks[] = {RL_STR_INIT("max_tokens"), RL_STR_INIT("no_n")};
static const struct rl_config_names known = {dialects, 2, strategies, 3, quirks, 2};

#define CANARY "sk-canary-1234567890"
#define HASH "sha256:00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

static const char *variable(void *user, const char *name)
{
	(void)user;
	return !strcmp(name, "KEY") ? CANARY : !strcmp(name, "EMPTY") ? "" : !strcmp(name, "FOUR") ? "4" : NULL;
}

static enum rl_err read_secret(void *user, const char *path, struct rl_buf *out)
{
	(void)user;
	if (!strcmp(path, "/good"))
		RL_BUF_LIT(out, CANARY "\r\n");
	else if (!strcmp(path, "/blank"))
		RL_BUF_LIT(out, "\n");
	else if (!strcmp(path, "/lines"))
		RL_BUF_LIT(out, CANARY "\nX-Evil: 1\n");
	else
		return RL_ERR_NOT_FOUND;
	return RL_OK;
}

static const struct rl_schema_hooks hooks = {.variable = variable, .read_secret = read_secret};

static const struct {
	const char *what, *text, *report;
} cases[] = {
	{"unknown key of a target, near one",
	 "providers: {p: {}}\nmodels:\n  assistant:\n    targets:\n      - provider: p\n        model: m\n        wieght: 2\n",
	 "f:7:9: models.assistant.targets[0].wieght: unknown key, did you mean 'weight'?\n"},
	{"unknown key, none near", "zzzzzzz: 1\n",
	 "f:1:1: zzzzzzz: unknown key, known here: server, log, providers, models, clients, catalog\n"},
	{"unknown key of a long section", "server: {qqqqqq: 1}\n", "f:1:10: server.qqqqqq: unknown key\n"},
	{"TLS without a certificate", "server: {listen: {address: '127.0.0.1:1', tls: {}}, admin: []}\n",
	 "f:1:18: server.listen: tls needs a certificate and its key, here or in server.tls\n"},
	{"half a pair",
	 "server:\n  tls: {certificate: a}\n  listen:\n    - 127.0.0.1:1\n    - {address: '127.0.0.1:2', tls: {key: b}}\n",
	 "f:2:22: server.tls.certificate: a certificate and its key: write both\n"
	 "f:5:43: server.listen[1].tls.key: a certificate and its key: write both\n"},
	{"half an entry",
	 "server: {listen: {address: '127.0.0.1:1', tls: {certificates: [{certificate: a}, {key: ''}]}}}\n",
	 "f:1:64: server.listen.tls.certificates[0]: missing key 'key'\n"
	 "f:1:82: server.listen.tls.certificates[1]: missing key 'certificate'\n"
	 "f:1:88: server.listen.tls.certificates[1].key: must not be empty\n"},
	{"TLS that is no switch", "server: {listen: {address: '127.0.0.1:1', tls: on}}\n",
	 "f:1:48: server.listen.tls: expected true or false, got 'on'\n"},
	{"modes",
	 "server:\n  listen:\n    - {address: 'unix:/a', mode: 66}\n    - {address: 'unix:/b', mode: 01777}\n"
	 "    - {address: 'unix:/c', mode: 0668}\n    - {address: '127.0.0.1:0', mode: 0600}\n",
	 "f:3:34: server.listen[0].mode: expected permissions as three octal digits, such as 0660\n"
	 "f:4:34: server.listen[1].mode: expected permissions as three octal digits, such as 0660\n"
	 "f:5:34: server.listen[2].mode: expected permissions as three octal digits, such as 0660\n"
	 "f:6:38: server.listen[3].mode: only Unix sockets have one\n"},
	{"TLS for nobody", "server: {tls: {certificate: a, key: b}}\nzzzzzzz: 1\n",
	 "f:1:10: warning: server.tls: no listener uses it: write `tls: true` at one\n"
	 "f:2:1: zzzzzzz: unknown key, known here: server, log, providers, models, clients, catalog\n"},
	{"swapped letters", "sevrer: {}\n", "f:1:1: sevrer: unknown key, did you mean 'server'?\n"},
	{"integer", "server:\n  workers: four\n",
	 "f:2:12: server.workers: expected an integer or 'auto', got 'four'\n"},
	{"integer out of range", "server: {workers: 0}\n",
	 "f:1:19: server.workers: must be between 1 and 256, got '0'\n"},
	{"integer too long", "server: {workers: 99999999999999999999}\n",
	 "f:1:19: server.workers: expected an integer or 'auto', got '99999999999999999999'\n"},
	{"control_empty", "server: {control: ''}\n", "f:1:19: server.control: must not be empty\n"},
	{"control_long",
	 "server: {control: /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}\n",
	 "f:1:19: server.control: too long\n"},
	{"control_map", "server: {control: {}}\n", "f:1:19: server.control: expected a string, got a map\n"},
	{"negative", "server: {max_connections: -1}\n",
	 "f:1:27: server.max_connections: expected an integer, got '-1'\n"},
	{"a map where a value belongs", "server: {workers: {a: 1}}\n",
	 "f:1:19: server.workers: expected an integer or 'auto', got a map\n"},
	{"a value where a map belongs", "server: 5\nproviders: 6\n",
	 "f:1:9: server: expected a map, got a plain value\nf:2:12: providers: expected a map, got a plain value\n"},
	{"a list where a map belongs", "providers: {p: [1]}\n", "f:1:16: providers.p: expected a map, got a list\n"},
	{"no list", "server: {trusted_proxies: 10.0.0.0/8}\n",
	 "f:1:27: server.trusted_proxies: expected a list, got a plain value\n"},
	{"no value", "server: {workers: , auth: ~}\n",
	 "f:1:10: server.workers: no value is given\nf:1:27: server.auth: no value is given\n"},
	{"bool", "providers: {p: {local: yes}}\n", "f:1:24: providers.p.local: expected true or false, got 'yes'\n"},
	{"word", "server: {auth: nono}\nlog: {level: inof}\n",
	 "f:1:16: server.auth: expected auto, none or keys, got 'nono', did you mean 'none'?\n"
	 "f:2:14: log.level: expected error, warn, info or debug, got 'inof', did you mean 'info'?\n"},
	{"durations",
	 "server: {keepalive: 5, header_timeout: 1x, body_idle: 0.5ms, write_idle: 0, drain: {delay: 5 s}}\n",
	 "f:1:21: server.keepalive: expected a duration with its unit, such as 250ms, 5s, 2m or 1h, got '5'\n"
	 "f:1:40: server.header_timeout: expected a duration with its unit, such as 250ms, 5s, 2m or 1h, got '1x'\n"
	 "f:1:55: server.body_idle: expected a duration with its unit, such as 250ms, 5s, 2m or 1h, got '0.5ms'\n"
	 "f:1:74: server.write_idle: must be between 1ms and 1h, got '0'\n"
	 "f:1:92: server.drain.delay: expected a duration with its unit, such as 250ms, 5s, 2m or 1h, got '5 s'\n"},
	{"a tunnel's silence", "server: {tunnel_idle: 0s}\n",
	 "f:1:23: server.tunnel_idle: must be between 1ms and 24h, got '0s'\n"},
	{"memory", "server: {memory_limit: 15MiB, max_connections_per_address: -1, hsts: 1001d}\n",
	 "f:1:24: server.memory_limit: must be between 16MiB and 1024GiB, got '15MiB'\n"
	 "f:1:60: server.max_connections_per_address: expected an integer, got '-1'\n"
	 "f:1:70: server.hsts: must be between 0ms and 24000h, got '1001d'\n"},
	{"sizes", "server: {max_body: 10mb, body_memory: 1, max_header_bytes: 2MiB}\n",
	 "f:1:20: server.max_body: expected a size such as 65536, 64KiB or 10MiB, got '10mb'\n"
	 "f:1:39: server.body_memory: must be between 1MiB and 1024GiB, got '1'\n"
	 "f:1:60: server.max_header_bytes: must be between 1KiB and 1MiB, got '2MiB'\n"},
	{"limits by address",
	 "server: {rate_limit: {inference: {rate: -1, burst: 0}, auth: {rate: 1000001, brust: 2}}}\n",
	 "f:1:41: server.rate_limit.inference.rate: expected an integer, got '-1'\n"
	 "f:1:52: server.rate_limit.inference.burst: must be between 1 and 1000000, got '0'\n"
	 "f:1:69: server.rate_limit.auth.rate: must be between 0 and 1000000, got '1000001'\n"
	 "f:1:78: server.rate_limit.auth.brust: unknown key, did you mean 'burst'?\n"},
	{"origins",
	 "server: {cors: {origins: ['null', 'https://a.example/', HTTPS://b.example, 'https://*.c.example', d.example,\n"
	 "  'https://e.example:443', 'http://f.example:80', 'https://u@g.example', 'https://', '', 'https://h.example:0']}}\n",
	 "f:1:27: server.cors.origins[0]: 'null' is what every sandboxed page and local file calls itself: nobody can be told by it\n"
	 "f:1:35: server.cors.origins[1]: an origin ends with its host or port: no slash and no path\n"
	 "f:1:57: server.cors.origins[2]: an origin is written in lower case, as browsers send it\n"
	 "f:1:76: server.cors.origins[3]: an origin is written out: '*' stands alone, for all of them\n"
	 "f:1:99: server.cors.origins[4]: " NO_ORIGIN
	 "f:2:3: server.cors.origins[5]: browsers leave the default port out of an origin\n"
	 "f:2:28: server.cors.origins[6]: browsers leave the default port out of an origin\n"
	 "f:2:51: server.cors.origins[7]: " NO_ORIGIN "f:2:74: server.cors.origins[8]: " NO_ORIGIN
	 "f:2:86: server.cors.origins[9]: must not be empty\nf:2:90: server.cors.origins[10]: " NO_ORIGIN},
	{"every origin beside others", "server: {cors: {origins: ['*', 'https://a.example']}}\n",
	 "f:1:10: server.cors: '*' allows every origin: it stands alone in origins\n"},
	{"every origin and no keys", "server: {cors: {origins: '*'}, workers: 0}\n",
	 "f:1:10: warning: server.cors: no key is asked for, so every web page that a user opens can use the models\n"
	 "f:1:41: server.workers: must be between 1 and 256, got '0'\n"},
	{"http2", "server: {http2: {enabled: 1, max_streams: 0, max_resets: 0, max_control_frames: 9, streams: 1}}\n",
	 "f:1:27: server.http2.enabled: expected true or false, got '1'\n"
	 "f:1:43: server.http2.max_streams: must be between 1 and 10000, got '0'\n"
	 "f:1:58: server.http2.max_resets: must be between 1 and 1000000, got '0'\n"
	 "f:1:81: server.http2.max_control_frames: must be between 10 and 10000000, got '9'\n"
	 "f:1:84: server.http2.streams: unknown key, known here: enabled, max_streams, max_resets, max_control_frames\n"},
	{"missing keys", "models:\n  m:\n    strategy: priority\n  n:\n    targets:\n      - weight: 1\n",
	 "f:2:3: models.m: missing key 'targets'\nf:6:9: models.n.targets[0]: missing key 'provider'\n"
	 "f:6:9: models.n.targets[0]: missing key 'model'\n"},
	{"a model without targets", "models: {m: {targets: []}, n: {targets: }, o: }\n",
	 "f:1:23: models.m.targets: needs at least one entry\nf:1:32: models.n.targets: needs at least one entry\n"
	 "f:1:44: models.o: missing key 'targets'\n"},
	{"references",
	 "models: {m: {strategy: prioity, targets: [{provider: opena, model: x}]}}\nproviders: {openai: {dialect: opanai}}\n",
	 "f:1:24: models.m.strategy: unknown strategy 'prioity', did you mean 'priority'?\n"
	 "f:1:54: models.m.targets[0].provider: unknown provider 'opena', did you mean 'openai'?\n"
	 "f:2:31: providers.openai.dialect: unknown dialect 'opanai', did you mean 'openai'?\n"},
	{"quirks", "providers: {p: {quirks: [no_n, -max_tokens, max_token, -no_m, '']}, q: {quirks: {no_n: true}}}\n",
	 "f:1:45: providers.p.quirks[2]: unknown quirk 'max_token', did you mean 'max_tokens'?\n"
	 "f:1:56: providers.p.quirks[3]: unknown quirk '-no_m', did you mean 'no_n'?\n"
	 "f:1:63: providers.p.quirks[4]: must not be empty\n"
	 "f:1:81: providers.q.quirks: expected a list, got a map\n"},
	{"no provider at all", "models: {m: {targets: [{provider: p, model: x}]}}\n",
	 "f:1:35: models.m.targets[0].provider: unknown provider 'p'\n"},
	{"who serves what names no model",
	 "server: {passthrough_provider: opena}\nproviders: {openai: }\nclients: {c: {key: 'sha256:"
	 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', passthrough: maybe}}\n",
	 "f:1:32: server.passthrough_provider: unknown provider 'opena', did you mean 'openai'?\n"
	 "f:3:108: clients.c.passthrough: expected true or false, got 'maybe'\n"},
	{"nobody who serves it", "server: {passthrough_provider: ''}\n",
	 "f:1:32: server.passthrough_provider: must not be empty\n"},
	{"the same target twice",
	 "providers: {p: }\nmodels: {m: {targets: [{provider: p, model: x}, {provider: p, model: x}]}}\n",
	 "f:2:49: models.m.targets[1]: the same provider and model as targets[0]\n"},
	{"duplicate key", "log: {level: info}\nserver:\n  workers: 1\n  workers: 2\nlog: {level: nope}\n",
	 "f:4:3: key 'workers' is written twice, first in line 3\nf:5:1: key 'log' is written twice, first in line 1\n"},
	{"names",
	 "providers: {a b: }\nclients: {'é': {key: " HASH
	 "}}\nmodels: {'x y': {targets: [{provider: a b, model: m}]}}\n",
	 "f:1:13: providers.a b: a name is made of 1 to 128 letters, digits, '_', '.' and '-'\n"
	 "f:2:11: clients.é: a name is made of 1 to 128 letters, digits, '_', '.' and '-'\n"
	 "f:3:10: models.x y: a model's name is made of 1 to 128 letters, digits and '_.-:/@+'\n"},
	{"addresses",
	 "server:\n  listen: ['8080', ':8080', '127.0.0.1:99999', '::1:80', '[::g]:80', 'host:80', 'unix:', '127.0.0.1:']\n",
	 "f:2:12: server.listen[0]: expected an address with its port, such as 127.0.0.1:8080, [::1]:8080 or unix:/run/relais.sock\n"
	 "f:2:20: server.listen[1]: write 0.0.0.0:PORT for all IPv4 addresses of this machine, [::]:PORT for all of IPv6\n"
	 "f:2:29: server.listen[2]: the port must be a number from 0 to 65535\n"
	 "f:2:48: server.listen[3]: an IPv6 address is written in brackets, as in [::1]:8080\n"
	 "f:2:58: server.listen[4]: not an IPv6 address\n"
	 "f:2:70: server.listen[5]: expected an IP address of this machine, or localhost\n"
	 "f:2:81: server.listen[6]: unix: needs a path of 1 to 107 bytes\n"
	 "f:2:90: server.listen[7]: the port must be a number from 0 to 65535\n"},
	{"duplicate listen", "server:\n  listen: ['127.0.0.1:9', 'unix:/a', '127.0.0.1:9']\n  admin: unix:/a\n",
	 "f:2:38: server.listen[2]: the address is already listened on\nf:3:10: server.admin: the address is already listened on\n"},
	{"localhost is both", "server: {listen: ['[::1]:9', '127.0.0.1:8'], admin: ['localhost:7', 'localhost:9']}\n",
	 "f:1:69: server.admin[1]: the address is already listened on\n"},
	{"listen on the admin plane's default", "server: {listen: '127.0.0.1:8081'}\n",
	 "f:1:18: server.listen: the address is already listened on\n"},
	{"no listen", "server: {listen: []}\n", "f:1:18: server.listen: needs at least one entry\n"},
	{"open data plane", "server: {listen: ['127.0.0.1:1', '0.0.0.0:8080']}\n",
	 "f:1:34: server.listen[1]: open to other machines without client keys: list keys under clients, or write auth: none if everyone may call\n"},
	{"open admin plane", "server: {admin: '[::]:8081', listen: {address: '[::1]:1'}}\n",
	 "f:1:17: server.admin: the admin plane is open to other machines without a token: set server.admin_token, or listen on loopback\n"},
	{"keys without clients", "server: {auth: keys}\n",
	 "f:1:16: server.auth: 'keys' needs at least one client under clients\n"},
	{"urls",
	 "providers:\n  a: {base_url: 'ftp://x'}\n  b: {base_url: 'http://'}\n  c: {base_url: 'https://u:" CANARY
	 "@x/'}\n"
	 "  d: {base_url: 'https://x/?a=1'}\n  e: {base_url: 'https://x:0/'}\n  f: {base_url: 'https://x/a b'}\n"
	 "  g: {base_url: 'https://[::1/'}\n  h: {base_url: 'https://x y/'}\n"
	 "  i: {base_url: 'unix:run/x'}\n  j: {base_url: 'unix:/run/x:v1'}\n  k: {base_url: 'unix:/a b'}\n"
	 "  l: {base_url: 'unix:/run/x.sock:/v1'}\n",
	 "f:2:17: providers.a.base_url: expected a URL that begins with https:// or http://, or unix:/path/of.sock:/path\n"
	 "f:3:17: providers.b.base_url: the URL needs a host\n"
	 "f:4:17: providers.c.base_url: a URL here holds no user or password: keys belong in api_key\n"
	 "f:5:17: providers.d.base_url: a URL here has no query and no fragment\n"
	 "f:6:17: providers.e.base_url: the URL's port must be a number from 1 to 65535\n"
	 "f:7:17: providers.f.base_url: the URL's path holds a character that must be percent-encoded\n"
	 "f:8:17: providers.g.base_url: not an IPv6 address in the URL\n"
	 "f:9:17: providers.h.base_url: not a host name in the URL\n"
	 "f:10:17: providers.i.base_url: unix: needs an absolute path of 2 to 107 bytes, as in unix:/run/model.sock:/v1\n"
	 "f:11:17: providers.j.base_url: after the socket's path comes ':' and the path of the API, as in unix:/run/model.sock:/v1\n"
	 "f:12:17: providers.k.base_url: the socket's path holds a character that is not possible here\n"},
	{"networks", "server: {trusted_proxies: [10.0.0.1, 10.0.0.0/33, 'fd00::/129', x/8]}\n",
	 "f:1:28: server.trusted_proxies[0]: expected a network such as 10.0.0.0/8 or fd00::/8\n"
	 "f:1:38: server.trusted_proxies[1]: an IPv4 network has at most 32 bits\n"
	 "f:1:51: server.trusted_proxies[2]: an IPv6 network has at most 128 bits\n"
	 "f:1:65: server.trusted_proxies[3]: expected a network such as 10.0.0.0/8 or fd00::/8\n"},
	{"headers",
	 "providers:\n  p:\n    headers:\n      set:\n        Host: x\n        'a b': c\n        X-Line: \"a\\nb\"\n"
	 "        X-Space: ' a'\n        X-Both: 1\n      remove: [Transfer-Encoding, x-both]\n",
	 "f:3:5: providers.p.headers: 'X-Both' is both set and removed\n"
	 "f:5:9: providers.p.headers.set.Host: this header belongs to the connection and is the gateway's own\n"
	 "f:6:9: providers.p.headers.set.a b: not a header name\n"
	 "f:7:17: providers.p.headers.set.X-Line: a header's value holds no line ends or control characters\n"
	 "f:8:18: providers.p.headers.set.X-Space: a header's value does not begin or end with a space\n"
	 "f:10:16: providers.p.headers.remove[0]: this header belongs to the connection and is the gateway's own\n"},
	{"body", "providers: {p: {body: {set: {model: x, a: 1}, remove: [a, stream]}}}\n",
	 "f:1:17: providers.p.body: 'a' is both set and removed\n"
	 "f:1:30: providers.p.body.set.model: this member is the gateway's own: 'model' comes from the target, 'stream' from the client\n"
	 "f:1:59: providers.p.body.remove[1]: this member is the gateway's own: 'model' comes from the target, 'stream' from the client\n"},
	{"key hashes",
	 "clients:\n  a: {key: " CANARY "}\n  b: {key: 'sha256:12'}\n  c: {key: " HASH "}\n  d: {key: " HASH
	 "}\n  e: {}\n",
	 "f:2:12: clients.a.key: expected the key's hash (sha256: and 64 hex digits), not the key: `relais keys hash` makes one\n"
	 "f:3:12: clients.b.key: sha256: must be followed by 64 hex digits (`relais keys hash` makes them)\n"
	 "f:5:12: clients.d.key: is the key of 'c' too\n"
	 "f:6:3: clients.e: missing key 'key'\n"},
	{"unset variable", "log: {access: '${NOPE}/x'}\n",
	 "f:1:15: log.access: variable NOPE is not set (give it a default with ${NOPE:-...})\n"},
	{"malformed variables", "log: {access: '${NOPE', level: '${a b}'}\nserver: {workers: '${A:4}'}\n",
	 "f:1:15: log.access: malformed variable: write ${NAME} or ${NAME:-default}, and $${ for a plain ${\n"
	 "f:1:32: log.level: malformed variable: write ${NAME} or ${NAME:-default}, and $${ for a plain ${\n"
	 "f:2:19: server.workers: malformed variable: write ${NAME} or ${NAME:-default}, and $${ for a plain ${\n"},
	{"what a variable holds is not shown",
	 "server: {workers: '${KEY}'}\nlog: {level: '${KEY}'}\nproviders: {p: {base_url: '${KEY}', dialect: '${KEY}'}}\n",
	 "f:1:19: server.workers: expected an integer or 'auto', got '${KEY}'\n"
	 "f:2:14: log.level: expected error, warn, info or debug, got '${KEY}'\n"
	 "f:3:27: providers.p.base_url: expected a URL that begins with https:// or http://, or unix:/path/of.sock:/path\n"
	 "f:3:46: providers.p.dialect: unknown dialect '${KEY}'\n"},
	{"secrets",
	 "server: {admin_token: 'file:/none'}\nproviders:\n  a: {api_key: 'file:/blank'}\n  b: {api_key: 'file:/lines'}\n  c: {api_key: '" CANARY
	 " x'}\n  d: {keys: [{value: ''}]}\n  e: {api_key: [" CANARY "]}\n",
	 "f:1:23: server.admin_token: the file it names cannot be read (not found)\n"
	 "f:3:16: providers.a.api_key: the file it names is empty\n"
	 "f:4:16: providers.b.api_key: a secret holds no spaces, line ends or control characters\n"
	 "f:5:16: providers.c.api_key: a secret holds no spaces, line ends or control characters\n"
	 "f:6:22: providers.d.keys[0].value: must not be empty\n"
	 "f:7:16: providers.e.api_key: expected a string, got a list\n"},
	{"an admin token's variable must be set", "server: {admin_token: '${NOPE}'}\n",
	 "f:1:23: server.admin_token: variable NOPE is not set (give it a default with ${NOPE:-...})\n"},
	{"half of a client certificate",
	 "providers:\n  a: {client_key: /k}\n  b: {client_certificate: /c}\n  c: {client_key: '', client_certificate: /c}\n"
	 "  d: {client_key: '', client_certificate: ''}\n",
	 "f:2:19: providers.a.client_key: client_certificate and client_key belong together\n"
	 "f:3:27: providers.b.client_certificate: client_certificate and client_key belong together\n"
	 "f:4:43: providers.c.client_certificate: client_certificate and client_key belong together\n"},
	{"both kinds of keys", "providers: {p: {api_key: x, keys: [{value: y}]}}\n",
	 "f:1:35: providers.p.keys: stands beside api_key: write one of the two\n"},
	{"weights", "providers: {p: {keys: [{value: x, weight: 0}]}}\n",
	 "f:1:43: providers.p.keys[0].weight: must be between 1 and 1000000, got '0'\n"},
	{"broken syntax", "server: [1\nlog: }", "f:2:*"},
	{"an unclosed quote", "log: \"a", "f:1:*"},
	{"two documents", "log: {}\n---\nlog: {}\n", "f:2:1: a second document begins here: one file holds one\n"},
	{"tags", "log: !!map {level: !x info}\n",
	 "f:1:6: tags (!) are not supported\nf:1:20: tags (!) are not supported\n"},
	{"complex keys", "? [a]\n: b\n", "f:1:3: a key must be a plain name\n"},
	{"unknown alias", "log: *nope\n", "f:1:6: alias 'nope' names no finished anchor before it\n"},
	{"an alias inside its own anchor", "x-a: &a [*a]\n", "f:1:10: alias 'a' names no finished anchor before it\n"},
	{"merging what is no map", "x-a: &a 5\nlog: {<<: *a}\n", "f:1:9: << merges a map or a list of maps\n"},
	{"a list as the file", "- 1\n", "f:1:1: expected a map, got a list\n"},
	{"a word as the file", "hello\n", "f:1:1: expected a map, got a plain value\n"},
	{"NUL through an escape", "log: {access: \"a\\0b\"}\n",
	 "f:1:15: text that is not UTF-8, or that holds a NUL byte\n"},
	{"not UTF-8", "log: \xff\n", "f: not UTF-8 text\n"},
	{"control bytes do not reach the terminal", "\"a\\e[31m\\x9b\": 1\n",
	 "f:1:1: a?[31m??: unknown key, known here: server, log, providers, models, clients, catalog\n"},
	{"JSON values", "providers: {p: {body: {set: {a: '${NOPE}'}}}}\n",
	 "f:1:33: providers.p.body.set.a: variable NOPE is not set (give it a default with ${NOPE:-...})\n"},
};

static enum rl_err parse(rl_str text, struct rl_buf *report, struct rl_config **out)
{
	return rl_config_parse_with(text, "f", &known, &hooks, report, out);
}

static bool same(const char *got, const char *wanted)
{
	size_t n = strlen(wanted);

	return n && wanted[n - 1] == '*' ? strncmp(got, wanted, n - 1) == 0 : strcmp(got, wanted) == 0;
}

static void test_reports(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct rl_config *config;
		struct rl_buf report;

		rl_buf_init(&report, 1 << 20);
		enum rl_err err = parse(rl_str_of(cases[i].text), &report, &config);

		rl_buf_byte(&report, '\0');
		if (!same(report.p, cases[i].report))
			fail_msg("%s:\n--- wanted\n%s--- got\n%s", cases[i].what, cases[i].report, report.p);
		assert_int_equal(err, RL_ERR_SYNTAX);
		assert_null(config);
		/* Whatever is wrong, no secret is repeated. */
		assert_null(strstr(report.p, CANARY));
		rl_buf_fini(&report);
	}
}

static void test_all_in_one_pass(void **state)
{
	struct rl_config *config;
	struct rl_buf report;
	unsigned lines = 0;

	(void)state;
	rl_buf_init(&report, 1 << 20);
	assert_int_equal(parse(RL_STR("server:\n  workers: four\n  listen: 0.0.0.0:80\n  kepalive: 5s\n"
				      "log: {level: x, level: y}\n"
				      "models:\n  a: {targets: [{provider: q, model: m, weight: 0}]}\n"
				      "providers: {p: {base_url: x, api_key: '${NOPE}'}}\n"),
			       &report, &config),
			 RL_ERR_SYNTAX);
	for (size_t i = 0; i < report.n; i++)
		lines += report.p[i] == '\n';
	assert_int_equal(lines, 9); /* eight errors and the warning about NOPE */
	rl_buf_fini(&report);
}

/* Only so many findings are written; the rest is counted. */
static void test_too_many_errors(void **state)
{
	struct rl_buf text, report;
	struct rl_config *config;

	(void)state;
	rl_buf_init(&text, 1 << 20);
	rl_buf_init(&report, 1 << 20);
	for (int i = 0; i < 300; i++)
		rl_buf_printf(&text, "zz%d: 1\n", i);
	assert_int_equal(parse(rl_buf_str(&text), &report, &config), RL_ERR_SYNTAX);
	assert_true(rl_str_ends(rl_buf_str(&report), RL_STR("\nf: 100 more not shown\n")));
	rl_buf_fini(&text);
	rl_buf_fini(&report);
}

/* Aliases that double at each of 60 levels name 2^60 values; merges copy, so they have a bound of their own. */
static void test_alias_bombs(void **state)
{
	struct rl_config *config;
	struct rl_buf text, report;

	(void)state;
	rl_buf_init(&text, 1 << 20);
	rl_buf_init(&report, 1 << 20);
	RL_BUF_LIT(&text, "x-0: &a0 [lol, lol]\n");
	for (int i = 1; i < 60; i++)
		rl_buf_printf(&text, "x-%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
	RL_BUF_LIT(&text, "providers: {p: {body: {set: {bomb: *a59}}}}\n");
	assert_int_equal(parse(rl_buf_str(&text), &report, &config), RL_ERR_SYNTAX);
	assert_non_null(memmem(report.p, report.n, "longer than 64 KiB", 18));

	rl_buf_reset(&text);
	rl_buf_reset(&report);
	RL_BUF_LIT(&text, "x-base: &base {");
	for (int i = 0; i < 2000; i++)
		rl_buf_printf(&text, "k%d: 1, ", i);
	RL_BUF_LIT(&text, "}\nx-many:\n");
	for (int i = 0; i < 2000; i++)
		RL_BUF_LIT(&text, "  - {<<: *base}\n");
	assert_int_equal(parse(rl_buf_str(&text), &report, &config), RL_ERR_SYNTAX);
	assert_non_null(memmem(report.p, report.n, "too many values in one file", 27));

	rl_buf_reset(&text);
	rl_buf_reset(&report);
	RL_BUF_LIT(&text, "x-t: &t [");
	for (int i = 0; i < 900; i++)
		rl_buf_printf(&text, "{provider: p, model: m%d}, ", i);
	RL_BUF_LIT(&text, "]\nmodels:\n");
	for (int i = 0; i < 1000; i++)
		rl_buf_printf(&text, "  m%d: {targets: *t}\n", i);
	assert_int_equal(parse(rl_buf_str(&text), &report, &config), RL_ERR_SYNTAX);
	assert_non_null(memmem(report.p, report.n, "too many values (do aliases multiply them?)", 43));
	rl_buf_fini(&text);
	rl_buf_fini(&report);
}

static void test_deep(void **state)
{
	struct rl_config *config;
	struct rl_buf text, report;

	(void)state;
	rl_buf_init(&text, 1 << 20);
	rl_buf_init(&report, 1 << 20);
	RL_BUF_LIT(&text, "x-a: ");
	for (int i = 0; i < 100000; i++)
		rl_buf_byte(&text, '[');
	assert_int_equal(parse(rl_buf_str(&text), &report, &config), RL_ERR_SYNTAX);
	assert_true(report.n > 0);

	/* Deeper through aliases than the text is. */
	rl_buf_reset(&text);
	rl_buf_reset(&report);
	RL_BUF_LIT(&text, "x-0: &a0 [1]\n");
	for (int i = 1; i < 100; i++)
		rl_buf_printf(&text, "x-%d: &a%d [*a%d]\n", i, i, i - 1);
	RL_BUF_LIT(&text, "providers: {p: {body: {set: {deep: *a99}}}}\n");
	assert_int_equal(parse(rl_buf_str(&text), &report, &config), RL_ERR_SYNTAX);
	assert_non_null(memmem(report.p, report.n, "nested too deeply", 17));
	rl_buf_fini(&text);
	rl_buf_fini(&report);
}

/* Typed settings have a bound of their own, which shared values reach first. */
static void test_too_much_memory(void **state)
{
	struct rl_config *config;
	struct rl_buf text, report;

	(void)state;
	rl_buf_init(&text, 1 << 20);
	rl_buf_init(&report, 1 << 20);
	RL_BUF_LIT(&text, "x-long: &long ");
	for (int i = 0; i < 60000; i++)
		rl_buf_byte(&text, 'x');
	RL_BUF_LIT(&text, "\nx-set: &set {");
	for (int i = 0; i < 100; i++)
		rl_buf_printf(&text, "m%d: *long, ", i);
	RL_BUF_LIT(&text, "}\nproviders:\n");
	for (int i = 0; i < 20; i++)
		rl_buf_printf(&text, "  p%d: {body: {set: *set}}\n", i);
	assert_int_equal(parse(rl_buf_str(&text), &report, &config), RL_ERR_NOMEM);
	assert_true(rl_str_eq(rl_buf_str(&report), RL_STR("f: needs more memory than a configuration may take\n")));
	assert_null(config);
	rl_buf_fini(&text);
	rl_buf_fini(&report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_all_in_one_pass),
		cmocka_unit_test(test_too_many_errors),
		cmocka_unit_test(test_alias_bombs),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_too_much_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
