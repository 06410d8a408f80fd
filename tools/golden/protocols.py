#!/usr/bin/env python3
"""Perplexity by the protocols of the GPTQ papers and of llama.cpp, by torch and by llama.cpp.

usage: protocols.py MODEL.gguf > tests/golden/protocols.json      (from the root of the repository)

MODEL.gguf is the shipped model by `lowbit quantize embedded MODEL.gguf --recipe ggml-q8_0 --to gguf`.
The tokens are the first ones of embedded/evaluation.txt. `gptq` follows the evaluation loop of the
GPTQ code: windows of the context without overlap, the mean loss of each times its length, summed and
divided by all tokens. `llama_cpp` follows the program llama-perplexity at its default settings: chunks
without overlap, logits of the second half only, the first token of each chunk replaced by BOS where
the file asks for that (this one does not).
"""

import importlib.metadata
import json
import sys

import llama_cpp
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS, GPTQ, LLAMA = 3100, 512, 256


def gptq(ids):
    model = AutoModelForCausalLM.from_pretrained("embedded/model", dtype=torch.float32).eval()
    count = len(ids) // GPTQ
    total = 0.0
    with torch.inference_mode():
        for i in range(count):
            window = torch.tensor([ids[i * GPTQ:(i + 1) * GPTQ]])
            logits = model(window, use_cache=False).logits[0, :-1]
            loss = torch.nn.functional.cross_entropy(logits, window[0, 1:])
            total += loss.item() * GPTQ
    return float(np.exp(total / (count * GPTQ)))


def llama(path, ids):
    model = llama_cpp.Llama(model_path=path, n_ctx=LLAMA, n_batch=LLAMA, logits_all=True,
                            n_threads=2, verbose=False)
    adds = llama_cpp.llama_vocab_get_add_bos(llama_cpp.llama_model_get_vocab(model.model))
    first, losses = LLAMA // 2, []
    for i in range(len(ids) // LLAMA):
        chunk = list(ids[i * LLAMA:(i + 1) * LLAMA])
        if adds:
            chunk[0] = model.token_bos()
        model.reset()
        model.eval(chunk)
        logits = np.asarray(model.scores[:LLAMA], dtype=np.float64)[first:LLAMA - 1]
        targets = np.asarray(chunk[first + 1:])
        highest = logits.max(axis=1)
        sums = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        losses += list(sums - logits[np.arange(len(targets)), targets])
    losses = np.asarray(losses)
    mean = losses.mean()
    spread = np.sqrt(((losses ** 2).mean() - mean ** 2) / (len(losses) - 1))
    return {"tokens": len(losses), "perplexity": float(np.exp(mean)),
            "standard_error": float(np.exp(mean) * spread), "adds_bos": bool(adds)}


def main():
    tokenizer = AutoTokenizer.from_pretrained("embedded/model")
    with open("embedded/evaluation.txt", encoding="utf-8", newline="") as file:
        ids = tokenizer(file.read(), add_special_tokens=False)["input_ids"][:TOKENS]
    print(json.dumps({
        "made_by": {name: importlib.metadata.version(name)
                    for name in ("torch", "transformers", "llama-cpp-python")},
        "ids": ids,
        "gptq": {"context": GPTQ, "perplexity": gptq(ids)},
        "llama_cpp": {"context": LLAMA, **llama(sys.argv[1], ids)},
    }))


if __name__ == "__main__":
    main()
