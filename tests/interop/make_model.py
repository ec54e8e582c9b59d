# SPDX-License-Identifier: Apache-2.0
"""Writes a tiny language model of random weights in GGUF, for a real model server to load: no model is downloaded.

    make_model.py FILE

The model knows WORDS and says them in random order. That is arranged, not learned: dimension 0 of every token's
vector is a constant that no layer changes (their output rows for it are zero), and the output matrix turns it into a
bias for words, and the end, against all other tokens. So an answer is plain text of some dozens of words, or of any
length if the client asks to go on at the end, and a few hundred kilobytes do.
"""
import sys

import gguf
import numpy as np

WORDS = ('stage coach horse relay road inn lamp letter rider saddle bridge river village night rain dawn post bell '
         'wheel mile stone gate driver harness whip hay oats stable hill forest market town ferry toll map mail bag '
         'seal wax ink paper courier north south east west swift late early warm cold bread wine fire song').split()
EMBED, LAYERS, HEADS, FEED, CONTEXT = 64, 2, 4, 128, 65536
BIAS, SAID, NEVER = 8.0, 6.0, -12.0  # the constant; its weight for words and the end, and for all other tokens

# The shortest chat format there is. It must be part of the model: a server has none of its own to fall back on.
TEMPLATE = ("{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}")


def vocabulary():
    """(text, score, kind) of each token: what a byte-capable SentencePiece vocabulary must have, then the words."""
    kinds = gguf.TokenType
    tokens = [('<unk>', 0.0, kinds.UNKNOWN), ('<s>', 0.0, kinds.CONTROL), ('</s>', 0.0, kinds.CONTROL)]
    tokens += [(f'<0x{byte:02X}>', 0.0, kinds.BYTE) for byte in range(256)]
    tokens += [(chr(letter), -500.0, kinds.NORMAL) for letter in range(33, 127)] + [('\u2581', -500.0, kinds.NORMAL)]
    # Longer beginnings score better, so that the letters of a word find together, one by one.
    merges = sorted({('\u2581' + word)[:n] for word in WORDS for n in range(2, len(word) + 2)},
                    key=lambda merge: (-len(merge), merge))
    return tokens + [(text, -float(rank + 1), kinds.NORMAL) for rank, text in enumerate(merges)]


def weights(tokens):
    rng = np.random.default_rng(1)

    def random(*shape, scale=0.1):
        return rng.normal(0, scale, shape).astype(np.float32)

    def writes_no_bias(matrix):
        matrix[0, :] = 0
        return matrix

    embedding, output = random(len(tokens), EMBED, scale=1.0), random(len(tokens), EMBED)
    embedding[:, 0] = BIAS
    wanted = {'\u2581' + word for word in WORDS}
    for at, (text, _, _) in enumerate(tokens):
        output[at, 0] = SAID if text in wanted or text == '</s>' else NEVER
    ones = np.ones(EMBED, dtype=np.float32)
    yield 'token_embd.weight', embedding
    yield 'output_norm.weight', ones
    yield 'output.weight', output
    for layer in range(LAYERS):
        yield f'blk.{layer}.attn_norm.weight', ones
        for part in 'qkv':
            yield f'blk.{layer}.attn_{part}.weight', random(EMBED, EMBED)
        yield f'blk.{layer}.attn_output.weight', writes_no_bias(random(EMBED, EMBED))
        yield f'blk.{layer}.ffn_norm.weight', ones
        yield f'blk.{layer}.ffn_gate.weight', random(FEED, EMBED)
        yield f'blk.{layer}.ffn_up.weight', random(FEED, EMBED)
        yield f'blk.{layer}.ffn_down.weight', writes_no_bias(random(EMBED, FEED))


def write(path):
    tokens = vocabulary()
    out = gguf.GGUFWriter(path, 'llama')
    out.add_name('tiny')
    out.add_context_length(CONTEXT)
    out.add_embedding_length(EMBED)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(FEED)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_rope_dimension_count(EMBED // HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model('llama')
    out.add_token_list([text for text, _, _ in tokens])
    out.add_token_scores([score for _, score, _ in tokens])
    out.add_token_types([kind for _, _, kind in tokens])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    out.add_chat_template(TEMPLATE)
    for name, tensor in weights(tokens):
        out.add_tensor(name, tensor)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == '__main__':
    write(sys.argv[1])
