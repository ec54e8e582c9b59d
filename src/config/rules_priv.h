/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The syntax of the values of relais.yaml that have one of their own, and what is
 * checked across keys once all of them are read. Private to this room. A rule
 * returns NULL, or what is wrong in words that never repeat the value.
 */
#ifndef RL_CONFIG_RULES_H
#define RL_CONFIG_RULES_H

#include "config/config.h"
#include "config/schema.h"

const char *rl_rule_address(rl_str value); /* to listen on */
const char *rl_rule_url(rl_str value);
const char *rl_rule_cidr(rl_str value);
const char *rl_rule_origin(rl_str value);
const char *rl_rule_header_name(rl_str value);
const char *rl_rule_header_value(rl_str value);
const char *rl_rule_body_name(rl_str value);
const char *rl_rule_name(rl_str value);       /* of a provider or client */
const char *rl_rule_model_name(rl_str value); /* an alias may look like a provider's id */
/* Octal permissions into uint32_t. */
const char *rl_rule_mode(struct rl_arena *arena, rl_str text, void *field);
/* "sha256:<64 hex>" into unsigned char[32]. */
const char *rl_rule_key_hash(struct rl_arena *arena, rl_str text, void *field);

void rl_check_certificate(struct rl_schema_cx *cx, void *object);
void rl_check_listen(struct rl_schema_cx *cx, void *object);
void rl_check_listen_tls(struct rl_schema_cx *cx, void *object);
void rl_check_server_tls(struct rl_schema_cx *cx, void *object);
void rl_check_server(struct rl_schema_cx *cx, void *object);
void rl_check_provider(struct rl_schema_cx *cx, void *object);
void rl_check_model(struct rl_schema_cx *cx, void *object);
void rl_check_target(struct rl_schema_cx *cx, void *object);
void rl_check_client(struct rl_schema_cx *cx, void *object);

#endif
