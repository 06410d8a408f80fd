"""Families of Hugging Face directories become GGUF files that llama.cpp runs with its own tokenizer.

usage: gguf_families.py      (in the repository; needs deno, and requirements.txt here)

For each family: a tiny random checkpoint with a tokenizer of its kind is converted with `lowbit
convert --to gguf:float32`; llama.cpp's ids of some texts are held against the tokenizer of
transformers, and its logits against the model of transformers.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np
import torch
import transformers as T

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(ROOT, "tools/golden"))
from architectures import ROPE, SMALL, randomize

PIECES = os.path.join(ROOT, "tests/golden/sentencepiece")
BYTES = os.path.join(ROOT, "embedded/model")
TEXTS = ["Hello world, this is a test.", "a new line\n\n\ttab", "na\u00efve caf\u00e9 \u4f60\u597d \U0001f600",
         "The 1234567890 numbers", "thethethe  the   the", "ANOTHER LINE"]
HEADS = {"head_dim": 16}
SCALED = dict(rope_theta=10000.0, factor=4.0, original_max_position_embeddings=64)
MOE = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, rope_parameters=ROPE)
# name -> (family, tokenizer, settings)
FAMILIES = {
    "llama": ("Llama", "prefix", dict(rope_parameters=ROPE)),
    "llama, tokenizer.model": ("Llama", "model", dict(rope_parameters=ROPE)),
    "llama, byte-level": ("Llama", "bytes", dict(rope_parameters=dict(
        ROPE, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32))),
    "llama, yarn": ("Llama", "prefix", dict(rope_parameters=dict(SCALED, rope_type="yarn"))),
    "llama, linear": ("Llama", "prefix", dict(rope_parameters=dict(
        rope_theta=10000.0, factor=4.0, rope_type="linear"))),
    "smollm3": ("SmolLM3", "bytes", dict(rope_parameters=ROPE, num_hidden_layers=4)),
    "mistral": ("Mistral", "prefix", dict(**HEADS, rope_parameters=ROPE, sliding_window=None)),
    "qwen2": ("Qwen2", "bytes", dict(rope_parameters=ROPE)),
    "qwen3": ("Qwen3", "bytes", dict(**HEADS, rope_parameters=ROPE)),
    "gemma": ("Gemma", "plain", dict(**HEADS, rope_parameters=ROPE)),
    "phi3": ("Phi3", "prefix", dict(rope_parameters=ROPE)),
    "mixtral": ("Mixtral", "prefix", dict(num_local_experts=4, num_experts_per_tok=2,
                                          rope_parameters=ROPE)),
    "qwen2-moe": ("Qwen2Moe", "bytes", dict(**MOE, shared_expert_intermediate_size=32)),
    "qwen3-moe": ("Qwen3Moe", "bytes", dict(**MOE, **HEADS, norm_topk_prob=True)),
    "olmoe": ("Olmoe", "bytes", dict(num_experts=4, num_experts_per_tok=2, rope_parameters=ROPE,
                                     num_key_value_heads=4)),
}


def check(name, folder):
    family, kind, settings = FAMILIES[name]
    sizes = {**SMALL, "hidden_size": 64, "intermediate_size": 64, "max_position_embeddings": 256,
             "vocab_size": 2048 if kind == "bytes" else 700, "pad_token_id": 0, **settings}
    model = getattr(T, family + "ForCausalLM")(
        getattr(T, family + "Config")(**sizes, attn_implementation="eager")).eval().float()
    randomize(model, 7)
    model.save_pretrained(folder)
    source = BYTES if kind == "bytes" else os.path.join(PIECES, "prefix" if kind == "model" else kind)
    for file in ("tokenizer.model",) if kind == "model" else ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(source, file), folder)
    if kind == "model":
        tokenizer = T.PreTrainedTokenizerFast.from_pretrained(source)
    else:
        tokenizer = T.PreTrainedTokenizerFast(tokenizer_file=os.path.join(source, "tokenizer.json"))
    path = os.path.join(folder, "out.gguf")
    target = "gguf:" + (sys.argv[1] if len(sys.argv) > 1 else "float32")
    done = subprocess.run(["deno", "run", "-A", os.path.join(ROOT, "cli.ts"), "convert", folder, path,
                           "--to", target, "--quiet", "--lossy"], capture_output=True, text=True)
    if done.returncode != 0:
        return dict(family=name, error=done.stderr.strip()[-300:])
    llama = llama_cpp.Llama(path, n_ctx=256, n_threads=1, logits_all=True, verbose=False, type_k=0,
                            type_v=0, flash_attn=False)
    wrong = []
    for text in TEXTS:
        theirs = llama.tokenize(text.encode(), add_bos=False, special=True)
        ours = tokenizer.encode(text, add_special_tokens=False)
        if theirs != ours:
            wrong.append([text, ours, theirs])
    ids = torch.randint(3, 700, (1, 100), generator=torch.Generator().manual_seed(3))
    llama.eval(ids[0].tolist())
    with torch.no_grad():
        logits = model(ids).logits[0].numpy()
    difference = float(np.abs(np.array(llama.scores[:100]) - logits).max())
    return dict(family=name, texts=len(TEXTS), ids_differ=wrong, largest_difference=difference,
                largest_logit=float(np.abs(logits).max()))


if __name__ == "__main__":
    for name in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(json.dumps(check(name, folder)), flush=True)
            except Exception as error:
                print(json.dumps(dict(family=name, error=str(error)[-300:])), flush=True)
