/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See preset.h. Addresses are those of each provider's own documentation, of its own API
 * (NATIVE) or of its OpenAI-compatible endpoint; ports are the servers' documented defaults.
 */
#include "provider/preset.h"

static const char *const openai_models[] = {"gpt-4o",
					    "gpt-4o-mini",
					    "gpt-4.1",
					    "gpt-4.1-mini",
					    "gpt-5",
					    "gpt-5-mini",
					    "gpt-5-nano",
					    "text-embedding-3-small",
					    "text-embedding-3-large",
					    NULL};
static const char *const anthropic_models[] = {"claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5", NULL};
static const char *const gemini_models[] = {"gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite", NULL};
static const char *const deepseek_models[] = {"deepseek-chat", "deepseek-reasoner", NULL};
static const char *const mistral_models[] = {"mistral-large-latest", "mistral-small-latest", "codestral-latest",
					     "mistral-embed", NULL};
static const char *const no_models[] = {NULL};

#define Q(name) ((uint64_t)1 << RL_QUIRK_##name)

/* How vendors differ from OpenAI, by their own documentation and by recorded traffic. */
#define DEEPSEEK_QUIRKS (Q(MAX_TOKENS) | Q(NO_DEVELOPER) | Q(NO_SCHEMA) | Q(REASONING_BACK))
#define MISTRAL_QUIRKS \
	(Q(MAX_TOKENS) | Q(NO_DEVELOPER) | Q(SHORT_TOOL_IDS) | Q(TOOL_CHOICE_ANY) | Q(RANDOM_SEED) | Q(NO_LOGPROBS))
#define GROQ_QUIRKS (Q(NO_N) | Q(NO_LOGPROBS) | Q(REASONING_FIELD))
#define OPENROUTER_QUIRKS (Q(TOP_K) | Q(CACHE_CONTROL) | Q(REASONING_FIELD))
#define MOONSHOT_QUIRKS (Q(MAX_TOKENS) | Q(NO_DEVELOPER) | Q(REASONING_BACK))
#define TOGETHER_QUIRKS (Q(MAX_TOKENS) | Q(NO_DEVELOPER) | Q(TOP_K))
#define OLLAMA_QUIRKS (Q(MAX_TOKENS) | Q(NO_N) | Q(NO_TOOL_CHOICE) | Q(NO_IMAGE_URL))
#define VLLM_QUIRKS (Q(TOP_K) | Q(REASONING_FIELD))
#define LMSTUDIO_QUIRKS (Q(MAX_TOKENS) | Q(NO_DEVELOPER) | Q(NO_N) | Q(TOP_K))
#define LLAMACPP_QUIRKS (Q(MAX_TOKENS) | Q(NO_DEVELOPER) | Q(JSON_OBJECT_SCHEMA) | Q(TOP_K))

/* clang-format off */
#define NATIVE(name, url, env, models) \
	{RL_STR_INIT(name), RL_STR_INIT(name), RL_STR_INIT(url), env, false, 0, models}
#define REMOTE(name, url, env, quirks, models) \
	{RL_STR_INIT(name), RL_STR_INIT("openai"), RL_STR_INIT(url), env, false, quirks, models}
#define LOCAL(name, url, quirks) {RL_STR_INIT(name), RL_STR_INIT("openai"), RL_STR_INIT(url), NULL, true, quirks, no_models}
/* clang-format on */

const struct rl_preset rl_presets[] = {
	REMOTE("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", Q(MAX_COMPLETION), openai_models),
	NATIVE("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", anthropic_models),
	NATIVE("gemini", "https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY", gemini_models),
	REMOTE("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", DEEPSEEK_QUIRKS, deepseek_models),
	REMOTE("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", MISTRAL_QUIRKS, mistral_models),
	REMOTE("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", GROQ_QUIRKS, no_models),
	REMOTE("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", OPENROUTER_QUIRKS, no_models),
	REMOTE("moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", MOONSHOT_QUIRKS, no_models),
	REMOTE("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", TOGETHER_QUIRKS, no_models),
	REMOTE("xai", "https://api.x.ai/v1", "XAI_API_KEY", 0, no_models),
	LOCAL("ollama", "http://127.0.0.1:11434/v1", OLLAMA_QUIRKS),
	LOCAL("vllm", "http://127.0.0.1:8000/v1", VLLM_QUIRKS),
	LOCAL("lmstudio", "http://127.0.0.1:1234/v1", LMSTUDIO_QUIRKS),
	LOCAL("llamacpp", "http://127.0.0.1:8080/v1", LLAMACPP_QUIRKS),
	{.name = {NULL, 0}},
};

bool rl_preset_is_at(const struct rl_preset *preset, rl_str base_url)
{
	return !base_url.n || rl_str_eq(base_url, preset->base_url);
}

const struct rl_preset *rl_preset_find(rl_str name)
{
	for (const struct rl_preset *preset = rl_presets; preset->name.n; preset++)
		if (rl_str_eq(preset->name, name))
			return preset;
	return NULL;
}
