#!/usr/bin/env python3
"""Makes tests/golden/models: tiny random Llama checkpoints with the logits that transformers computes,
the same checkpoints as GGUF, and token ids of byte-level BPE with each pre-tokenizer.

usage: models.py OUTDIR        (needs torch, transformers, tokenizers, gguf, numpy, safetensors)

The weights are random with a fixed seed. OUTDIR/NAME/ holds config.json, model.safetensors,
model.gguf and expected.json: `ids`, `logits` (one row a token, f32), `generated` (greedy), and the
versions of the libraries. OUTDIR/tokenizers.json holds a vocabulary, merges, texts and their ids.
"""

import json
import os
import sys

import gguf
import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers as pre
from tokenizers import trainers

CONFIGS = {
    # the size of a head is not hidden / heads; the head is its own matrix
    "untied": dict(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
        rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False,
    ),
    "tied": dict(
        vocab_size=60, hidden_size=24, intermediate_size=40, num_hidden_layers=3,
        num_attention_heads=3, num_key_value_heads=1, head_dim=8, max_position_embeddings=48,
        rms_norm_eps=1e-6, rope_theta=500.0, tie_word_embeddings=True,
    ),
}

GGUF_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def make_model(settings, seed):
    theta = settings["rope_theta"]
    settings = {k: v for k, v in settings.items() if k != "rope_theta"}
    config = transformers.LlamaConfig(
        **settings, rope_parameters=dict(rope_type="default", rope_theta=theta),
        bos_token_id=1, eos_token_id=2, initializer_range=0.25)
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(config).eval().float()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(1 + 0.3 * torch.randn_like(p))
    return model


def expected(model, seed, count):
    torch.manual_seed(seed)
    ids = torch.randint(0, model.config.vocab_size, (1, count))
    with torch.no_grad():
        logits = model(ids).logits[0].float()
        text = ids[:, :4]
        for _ in range(12):
            best = model(text).logits[0, -1].argmax()
            text = torch.cat([text, best.reshape(1, 1)], 1)
    return dict(
        made_by=f"transformers {transformers.__version__}, torch {torch.__version__}",
        ids=ids[0].tolist(), logits=[[float(f"{x:.8g}") for x in row] for row in logits.tolist()],
        generated=text[0, 4:].tolist())


def permute(w, heads):
    """The order of rows in GGUF: as convert_hf_to_gguf.py of llama.cpp."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def write_gguf(model, path):
    c = model.config
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(c.max_position_embeddings)
    out.add_embedding_length(c.hidden_size)
    out.add_block_count(c.num_hidden_layers)
    out.add_feed_forward_length(c.intermediate_size)
    out.add_head_count(c.num_attention_heads)
    out.add_head_count_kv(c.num_key_value_heads)
    out.add_layer_norm_rms_eps(c.rms_norm_eps)
    out.add_rope_freq_base(c.rope_parameters["rope_theta"])
    out.add_rope_dimension_count(c.head_dim)
    out.add_key_length(c.head_dim)
    out.add_value_length(c.head_dim)
    out.add_vocab_size(c.vocab_size)
    for name, p in model.state_dict().items():
        w = p.numpy().astype(np.float32)
        if name == "model.embed_tokens.weight":
            out.add_tensor("token_embd.weight", w)
        elif name == "model.norm.weight":
            out.add_tensor("output_norm.weight", w)
        elif name == "lm_head.weight":
            if not c.tie_word_embeddings:
                out.add_tensor("output.weight", w)
        else:
            _, _, block, *part, _ = name.split(".")
            short = GGUF_NAMES[".".join(part)]
            if short == "attn_q":
                w = permute(w, c.num_attention_heads)
            if short == "attn_k":
                w = permute(w, c.num_key_value_heads)
            out.add_tensor(f"blk.{block}.{short}.weight", np.ascontiguousarray(w))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


SAMPLE = (
    "In the beginning the heaven and the earth were without form. It's the year 1234567; we'll see "
    "that the sum of 12 and 345 isn't 9999. They've said: \"Don't!\" The end of the beginning was "
    "the beginning of the end, and the earth was the heaven."
)
TEXTS = [
    "", " ", "the earth", "  the   earth\n\n  was\t\tthere \n", "It's WE'LL they'VE don't",
    "1 12 123 1234 12345678", "x=3.14159, y=-2;\r\n\r\nz", "na\u00efve caf\u00e9 e\u0301 \u4f60\u597d \U0001f600!",
    "<|start|>the<|end|> beginning", "a\u00a0b\u2003c \u0663\u0664", "!!!???...  ---",
]
SPLIT = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|%s| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
         "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")


def byte_level(regex):
    return pre.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=regex)


def split(digits):
    return pre.Split(Regex(SPLIT % digits), behavior="isolated", invert=False)


PRE = {
    "gpt-2": (byte_level(True), None, False),
    "smollm": (pre.Sequence([pre.Digits(individual_digits=True), byte_level(True)]), None, False),
    "llama-bpe": (pre.Sequence([split("\\p{N}{1,3}"), byte_level(False)]), None, True),
    "qwen2": (pre.Sequence([split("\\p{N}"), byte_level(False)]), normalizers.NFC(), False),
}


def make_tokenizers():
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = byte_level(True)
    trained.train_from_iterator([SAMPLE] * 4, trainers.BpeTrainer(
        vocab_size=340, special_tokens=["<|start|>", "<|end|>"], show_progress=False,
        initial_alphabet=pre.ByteLevel.alphabet()))
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(m) for m in model["merges"]]
    cases = {}
    for name, (pre_tokenizer, normalizer, ignore_merges) in PRE.items():
        t = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges, ignore_merges=ignore_merges))
        t.pre_tokenizer, t.decoder = pre_tokenizer, decoders.ByteLevel()
        if normalizer is not None:
            t.normalizer = normalizer
        t.add_special_tokens([AddedToken(s, normalized=False) for s in ("<|start|>", "<|end|>")])
        parts = json.loads(t.to_str())
        cases[name] = dict(
            pre_tokenizer=parts["pre_tokenizer"], normalizer=parts["normalizer"],
            ids=[t.encode(x, add_special_tokens=False).ids for x in TEXTS])
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return dict(made_by=f"tokenizers {tokenizers.__version__}", tokens=tokens,
                merges=[" ".join(m) for m in merges], texts=TEXTS, cases=cases)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=True)
        f.write("\n")


def main():
    out = sys.argv[1]
    for seed, (name, settings) in enumerate(CONFIGS.items()):
        folder = os.path.join(out, name)
        model = make_model(settings, seed)
        model.save_pretrained(folder)
        generation = os.path.join(folder, "generation_config.json")
        if os.path.exists(generation):
            os.remove(generation)
        os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
        write_gguf(model, os.path.join(folder, "model.gguf"))
        write_json(os.path.join(folder, "expected.json"), expected(model, 100 + seed, 20))
    write_json(os.path.join(out, "tokenizers.json"), make_tokenizers())


main()
