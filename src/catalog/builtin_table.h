/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the common models without asking anyone. The facts are those of the models.dev collection (MIT) as of
 * 2026-07-02 (commit f3fc6922), of each maker's own API. Left out: models that make no text; dated names that say the
 * same as the name without the date. Not known (N): what the source does not say, and prices finer than a nano-dollar.
 * Of tiered prices the first tier's.
 *
 * Ascending by the bytes of the id: it is searched by halves (a test holds it).
 */
#ifndef RL_CATALOG_BUILTIN_TABLE_H
#define RL_CATALOG_BUILTIN_TABLE_H

#define RL_BUILTIN_SOURCE "models.dev"
#define RL_BUILTIN_DATE "2026-07-02"

/* clang-format off */
/* id, maker, context window, output limit, can, cannot, nano-dollars per token: input, output, cached input, cache write */
#define RL_BUILTIN_CARDS(X) \
	X("c4ai-aya-expanse-32b", "cohere", 128000, 4000, 0, T | R | I | D | A | V, N, N, N, N)                              \
	X("c4ai-aya-expanse-8b", "cohere", 8000, 4000, 0, T | R | I | D | A | V, N, N, N, N)                                 \
	X("c4ai-aya-vision-32b", "cohere", 16000, 4000, I, T | R | D | A | V, N, N, N, N)                                    \
	X("c4ai-aya-vision-8b", "cohere", 16000, 4000, I, T | R | D | A | V, N, N, N, N)                                     \
	X("claude-3-5-sonnet-20240620", "anthropic", 200000, 8192, T | I | D, R | A | V, 3000, 15000, 300, 3750)             \
	X("claude-3-5-sonnet-20241022", "anthropic", 200000, 8192, T | I | D, R | A | V, 3000, 15000, 300, 3750)             \
	X("claude-3-7-sonnet-20250219", "anthropic", 200000, 64000, T | R | I | D, A | V, 3000, 15000, 300, 3750)            \
	X("claude-3-haiku-20240307", "anthropic", 200000, 4096, T | I | D, R | A | V, 250, 1250, 30, 300)                    \
	X("claude-3-opus-20240229", "anthropic", 200000, 4096, T | I | D, R | A | V, 15000, 75000, 1500, 18750)              \
	X("claude-fable-5", "anthropic", 1000000, 128000, T | R | I | D, A | V, 10000, 50000, 1000, 12500)                   \
	X("claude-haiku-4-5", "anthropic", 200000, 64000, T | R | I | D, A | V, 1000, 5000, 100, 1250)                       \
	X("claude-opus-4-0", "anthropic", 200000, 32000, T | R | I | D, A | V, 15000, 75000, 1500, 18750)                    \
	X("claude-opus-4-1", "anthropic", 200000, 32000, T | R | I | D, A | V, 15000, 75000, 1500, 18750)                    \
	X("claude-opus-4-20250514", "anthropic", 200000, 32000, T | R | I | D, A | V, 15000, 75000, 1500, 18750)             \
	X("claude-opus-4-5", "anthropic", 200000, 64000, T | R | I | D, A | V, 5000, 25000, 500, 6250)                       \
	X("claude-opus-4-6", "anthropic", 1000000, 128000, T | R | I | D, A | V, 5000, 25000, 500, 6250)                     \
	X("claude-opus-4-7", "anthropic", 1000000, 128000, T | R | I | D, A | V, 5000, 25000, 500, 6250)                     \
	X("claude-opus-4-8", "anthropic", 1000000, 128000, T | R | I | D, A | V, 5000, 25000, 500, 6250)                     \
	X("claude-sonnet-4-0", "anthropic", 200000, 64000, T | R | I | D, A | V, 3000, 15000, 300, 3750)                     \
	X("claude-sonnet-4-20250514", "anthropic", 200000, 64000, T | R | I | D, A | V, 3000, 15000, 300, 3750)              \
	X("claude-sonnet-4-5", "anthropic", 200000, 64000, T | R | I | D, A | V, 3000, 15000, 300, 3750)                     \
	X("claude-sonnet-4-6", "anthropic", 1000000, 64000, T | R | I | D, A | V, 3000, 15000, 300, 3750)                    \
	X("claude-sonnet-5", "anthropic", 1000000, 128000, T | R | I | D, A | V, 2000, 10000, 200, 2500)                     \
	X("codestral-latest", "mistral", 256000, 4096, T, R | I | D | A | V, 300, 900, N, N)                                 \
	X("command-a-03-2025", "cohere", 256000, 8000, T, R | I | D | A | V, 2500, 10000, N, N)                              \
	X("command-a-plus-05-2026", "cohere", 128000, 64000, T | S | R | I, D | A | V, 2500, 10000, N, N)                    \
	X("command-a-reasoning-08-2025", "cohere", 256000, 32000, T | R, I | D | A | V, 2500, 10000, N, N)                   \
	X("command-a-translate-08-2025", "cohere", 8000, 8000, T, R | I | D | A | V, 2500, 10000, N, N)                      \
	X("command-a-vision-07-2025", "cohere", 128000, 8000, I, T | R | D | A | V, 2500, 10000, N, N)                       \
	X("command-r-08-2024", "cohere", 128000, 4000, T, R | I | D | A | V, 150, 600, N, N)                                 \
	X("command-r-plus-08-2024", "cohere", 128000, 4000, T, R | I | D | A | V, 2500, 10000, N, N)                         \
	X("command-r7b-12-2024", "cohere", 128000, 4000, T, R | I | D | A | V, N, 150, N, N)                                 \
	X("command-r7b-arabic-02-2025", "cohere", 128000, 4000, T, R | I | D | A | V, N, 150, N, N)                          \
	X("deepseek-chat", "deepseek", 1000000, 384000, T, R | I | D | A | V, 140, 280, N, N)                                \
	X("deepseek-reasoner", "deepseek", 1000000, 384000, T | R, I | D | A | V, 140, 280, N, N)                            \
	X("deepseek-v4-flash", "deepseek", 1000000, 384000, T | S | R, I | D | A | V, 140, 280, N, N)                        \
	X("deepseek-v4-pro", "deepseek", 1000000, 384000, T | S | R, I | D | A | V, 435, 870, N, N)                          \
	X("devstral-2512", "mistral", 262144, 262144, T, R | I | D | A | V, 400, 2000, N, N)                                 \
	X("devstral-latest", "mistral", 262144, 262144, T, R | I | D | A | V, 400, 2000, N, N)                               \
	X("devstral-medium-2507", "mistral", 128000, 128000, T, R | I | D | A | V, 400, 2000, N, N)                          \
	X("devstral-medium-latest", "mistral", 262144, 262144, T, R | I | D | A | V, 400, 2000, N, N)                        \
	X("devstral-small-2505", "mistral", 128000, 128000, T, R | I | D | A | V, 100, 300, N, N)                            \
	X("devstral-small-2507", "mistral", 128000, 128000, T, R | I | D | A | V, 100, 300, N, N)                            \
	X("gemini-2.0-flash", "google", 1048576, 8192, T | S | I | D | A | V, R, 100, 400, 25, N)                            \
	X("gemini-2.0-flash-lite", "google", 1048576, 8192, T | S | I | D | A | V, R, 75, 300, N, N)                         \
	X("gemini-2.5-flash", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 300, 2500, 30, N)                      \
	X("gemini-2.5-flash-lite", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 100, 400, 10, N)                  \
	X("gemini-2.5-pro", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 1250, 10000, 125, N)                     \
	X("gemini-3-flash-preview", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 500, 3000, 50, N)                \
	X("gemini-3-pro-preview", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 2000, 12000, 200, N)               \
	X("gemini-3.1-flash-lite", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 250, 1500, 25, N)                 \
	X("gemini-3.1-flash-lite-preview", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 250, 1500, 25, N)         \
	X("gemini-3.1-pro-preview", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 2000, 12000, 200, N)             \
	X("gemini-3.1-pro-preview-customtools", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 2000, 12000, 200, N) \
	X("gemini-3.5-flash", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 1500, 9000, 150, N)                    \
	X("gemini-embedding-001", "google", 2048, N, 0, T | R | I | D | A | V, 150, 0, N, N)                                 \
	X("gemini-flash-latest", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 300, 2500, 75, N)                   \
	X("gemini-flash-lite-latest", "google", 1048576, 65536, T | S | R | I | D | A | V, 0, 100, 400, 25, N)               \
	X("gemma-4-26b-a4b-it", "google", 262144, 32768, T | S | R | I, D | A | V, N, N, N, N)                               \
	X("gemma-4-31b-it", "google", 262144, 32768, T | S | R | I, D | A | V, N, N, N, N)                                   \
	X("gpt-3.5-turbo", "openai", 16385, 4096, 0, T | S | R | I | D | A | V, 500, 1500, 0, N)                             \
	X("gpt-4", "openai", 8192, 8192, T, S | R | I | D | A | V, 30000, 60000, N, N)                                       \
	X("gpt-4-turbo", "openai", 128000, 4096, T | I, S | R | D | A | V, 10000, 30000, N, N)                               \
	X("gpt-4.1", "openai", 1047576, 32768, T | S | I | D, R | A | V, 2000, 8000, 500, N)                                 \
	X("gpt-4.1-mini", "openai", 1047576, 32768, T | S | I | D, R | A | V, 400, 1600, 100, N)                             \
	X("gpt-4.1-nano", "openai", 1047576, 32768, T | S | I, R | D | A | V, 100, 400, 25, N)                               \
	X("gpt-4o", "openai", 128000, 16384, T | S | I | D, R | A | V, 2500, 10000, 1250, N)                                 \
	X("gpt-4o-2024-05-13", "openai", 128000, 4096, T | S | I, R | D | A | V, 5000, 15000, N, N)                          \
	X("gpt-4o-2024-08-06", "openai", 128000, 16384, T | S | I, R | D | A | V, 2500, 10000, 1250, N)                      \
	X("gpt-4o-2024-11-20", "openai", 128000, 16384, T | S | I, R | D | A | V, 2500, 10000, 1250, N)                      \
	X("gpt-4o-mini", "openai", 128000, 16384, T | S | I | D, R | A | V, 150, 600, 75, N)                                 \
	X("gpt-5", "openai", 400000, 128000, T | S | R | I, D | A | V, 1250, 10000, 125, N)                                  \
	X("gpt-5-chat-latest", "openai", 400000, 128000, S | R | I, T | D | A | V, 1250, 10000, 125, N)                      \
	X("gpt-5-codex", "openai", 400000, 128000, T | S | R | I, D | A | V, 1250, 10000, 125, N)                            \
	X("gpt-5-mini", "openai", 400000, 128000, T | S | R | I, D | A | V, 250, 2000, 25, N)                                \
	X("gpt-5-nano", "openai", 400000, 128000, T | S | R | I, D | A | V, 50, 400, 5, N)                                   \
	X("gpt-5-pro", "openai", 400000, 272000, T | S | R | I, D | A | V, 15000, 120000, N, N)                              \
	X("gpt-5.1", "openai", 400000, 128000, T | S | R | I, D | A | V, 1250, 10000, 125, N)                                \
	X("gpt-5.1-chat-latest", "openai", 128000, 16384, T | S | R | I, D | A | V, 1250, 10000, 125, N)                     \
	X("gpt-5.1-codex", "openai", 400000, 128000, T | S | R | I, D | A | V, 1250, 10000, 125, N)                          \
	X("gpt-5.1-codex-max", "openai", 400000, 128000, T | S | R | I, D | A | V, 1250, 10000, 125, N)                      \
	X("gpt-5.1-codex-mini", "openai", 400000, 128000, T | S | R | I, D | A | V, 250, 2000, 25, N)                        \
	X("gpt-5.2", "openai", 400000, 128000, T | S | R | I, D | A | V, 1750, 14000, 175, N)                                \
	X("gpt-5.2-chat-latest", "openai", 128000, 16384, T | S | R | I, D | A | V, 1750, 14000, 175, N)                     \
	X("gpt-5.2-codex", "openai", 400000, 128000, T | S | R | I | D, A | V, 1750, 14000, 175, N)                          \
	X("gpt-5.2-pro", "openai", 400000, 128000, T | R | I, S | D | A | V, 21000, 168000, N, N)                            \
	X("gpt-5.3-chat-latest", "openai", 128000, 16384, T | S | I, R | D | A | V, 1750, 14000, 175, N)                     \
	X("gpt-5.3-codex", "openai", 400000, 128000, T | S | R | I | D, A | V, 1750, 14000, 175, N)                          \
	X("gpt-5.3-codex-spark", "openai", 128000, 32000, T | S | R | I | D, A | V, 1750, 14000, 175, N)                     \
	X("gpt-5.4", "openai", 1050000, 128000, T | S | R | I | D, A | V, 2500, 15000, 250, N)                               \
	X("gpt-5.4-mini", "openai", 400000, 128000, T | S | R | I, D | A | V, 750, 4500, 75, N)                              \
	X("gpt-5.4-nano", "openai", 400000, 128000, T | S | R | I, D | A | V, 200, 1250, 20, N)                              \
	X("gpt-5.4-pro", "openai", 1050000, 128000, T | R | I, S | D | A | V, 30000, 180000, N, N)                           \
	X("gpt-5.5", "openai", 1050000, 128000, T | S | R | I | D, A | V, 5000, 30000, 500, N)                               \
	X("gpt-5.5-pro", "openai", 1050000, 128000, T | S | R | I | D, A | V, 30000, 180000, N, N)                           \
	X("grok-4.20-0309-non-reasoning", "xai", 1000000, 30000, T | S | I | D, R | A | V, 1250, 2500, 200, N)               \
	X("grok-4.20-0309-reasoning", "xai", 1000000, 30000, T | S | R | I | D, A | V, 1250, 2500, 200, N)                   \
	X("grok-4.20-multi-agent-0309", "xai", 1000000, 30000, S | R | I | D, T | A | V, 1250, 2500, 200, N)                 \
	X("grok-4.3", "xai", 1000000, 30000, T | S | R | I | D, A | V, 1250, 2500, 200, N)                                   \
	X("grok-build-0.1", "xai", 256000, 256000, T | S | R | I | D, A | V, 1000, 2000, 200, N)                             \
	X("labs-devstral-small-2512", "mistral", 256000, 256000, T | I, R | D | A | V, 0, 0, N, N)                           \
	X("magistral-medium-latest", "mistral", 128000, 16384, T | R, I | D | A | V, 2000, 5000, N, N)                       \
	X("magistral-small", "mistral", 128000, 128000, T | R, I | D | A | V, 500, 1500, N, N)                               \
	X("ministral-3b-latest", "mistral", 128000, 128000, T, R | I | D | A | V, 40, 40, N, N)                              \
	X("ministral-8b-latest", "mistral", 128000, 128000, T, R | I | D | A | V, 100, 100, N, N)                            \
	X("mistral-embed", "mistral", 8000, N, 0, T | R | I | D | A | V, 100, 0, N, N)                                       \
	X("mistral-large-2411", "mistral", 131072, 16384, T, R | I | D | A | V, 2000, 6000, N, N)                            \
	X("mistral-large-2512", "mistral", 262144, 262144, T | I, R | D | A | V, 500, 1500, N, N)                            \
	X("mistral-large-latest", "mistral", 262144, 262144, T | I, R | D | A | V, 500, 1500, N, N)                          \
	X("mistral-medium-2505", "mistral", 131072, 131072, T | I, R | D | A | V, 400, 2000, N, N)                           \
	X("mistral-medium-2508", "mistral", 262144, 262144, T | I, R | D | A | V, 400, 2000, N, N)                           \
	X("mistral-medium-2604", "mistral", 262144, 262144, T | S | R | I, D | A | V, 1500, 7500, N, N)                      \
	X("mistral-medium-latest", "mistral", 262144, 262144, T | I, R | D | A | V, 400, 2000, N, N)                         \
	X("mistral-nemo", "mistral", 128000, 128000, T, R | I | D | A | V, 150, 150, N, N)                                   \
	X("mistral-small-2506", "mistral", 128000, 16384, T | I, R | D | A | V, 100, 300, N, N)                              \
	X("mistral-small-2603", "mistral", 256000, 256000, T | R | I, D | A | V, 150, 600, N, N)                             \
	X("mistral-small-latest", "mistral", 256000, 256000, T | R | I, D | A | V, 150, 600, N, N)                           \
	X("north-mini-code-1-0", "cohere", 256000, 64000, T | S | R, I | D | A | V, 0, 0, N, N)                              \
	X("o1", "openai", 200000, 100000, T | S | R | I | D, A | V, 15000, 60000, 7500, N)                                   \
	X("o1-pro", "openai", 200000, 100000, T | S | R | I, D | A | V, 150000, 600000, N, N)                                \
	X("o3", "openai", 200000, 100000, T | S | R | I | D, A | V, 2000, 8000, 500, N)                                      \
	X("o3-deep-research", "openai", 200000, 100000, T | R | I, D | A | V, 10000, 40000, 2500, N)                         \
	X("o3-mini", "openai", 200000, 100000, T | S | R, I | D | A | V, 1100, 4400, 550, N)                                 \
	X("o3-pro", "openai", 200000, 100000, T | S | R | I, D | A | V, 20000, 80000, N, N)                                  \
	X("o4-mini", "openai", 200000, 100000, T | S | R | I, D | A | V, 1100, 4400, 275, N)                                 \
	X("o4-mini-deep-research", "openai", 200000, 100000, T | R | I, D | A | V, 2000, 8000, 500, N)                       \
	X("open-mistral-7b", "mistral", 8000, 8000, T, R | I | D | A | V, 250, 250, N, N)                                    \
	X("open-mistral-nemo", "mistral", 128000, 128000, T, R | I | D | A | V, 150, 150, N, N)                              \
	X("open-mixtral-8x22b", "mistral", 64000, 64000, T, R | I | D | A | V, 2000, 6000, N, N)                             \
	X("open-mixtral-8x7b", "mistral", 32000, 32000, T, R | I | D | A | V, 700, 700, N, N)                                \
	X("pixtral-12b", "mistral", 128000, 128000, T | I, R | D | A | V, 150, 150, N, N)                                    \
	X("pixtral-large-latest", "mistral", 128000, 128000, T | I, R | D | A | V, 2000, 6000, N, N)                         \
	X("text-embedding-3-large", "openai", 8191, N, 0, T | R | I | D | A | V, 130, 0, N, N)                               \
	X("text-embedding-3-small", "openai", 8191, N, 0, T | R | I | D | A | V, 20, 0, N, N)                                \
	X("text-embedding-ada-002", "openai", 8192, N, 0, T | R | I | D | A | V, 100, 0, N, N)
/* clang-format on */

#endif
