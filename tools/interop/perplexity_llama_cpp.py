#!/usr/bin/env python3
"""Scores a GGUF file with llama.cpp (through llama-cpp-python) on windows of token ids.

usage: perplexity_llama_cpp.py MODEL.gguf IDS.json [--text FILE]

IDS.json holds `[[...], ...]`. Each window is a sequence of its own, without BOS; all its ids but the
first are scored. The key/value cache is float32 and flash attention is off, so that what remains of
llama.cpp's own rounding is its matrix products: it quantises the activations that meet a quantised
weight to int8 in blocks of 32, and rounds those that meet a BF16 or F16 weight to that type.

Prints one JSON document: `tokens`, `nll`, `perplexity`, `seconds`, `load_seconds`, `adds_bos`
(whether the file says that prompts begin with BOS), `ids_of_text` (with `--text`: what llama.cpp
makes of it, without BOS, special tokens not parsed) and `versions`.
"""

import argparse
import importlib.metadata
import json
import os
import time

import llama_cpp
import numpy as np


def score(model, windows):
    """The sum of negative log-likelihoods in nats, and how many ids were scored."""
    total, count = 0.0, 0
    for window in windows:
        model.reset()
        model.eval(window)
        logits = np.asarray(model.scores[:len(window) - 1], dtype=np.float64)
        targets = np.asarray(window[1:])
        highest = logits.max(axis=1)
        log_sums = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        total += float((log_sums - logits[np.arange(len(targets)), targets]).sum())
        count += len(targets)
    return total, count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("ids")
    parser.add_argument("--text")
    arguments = parser.parse_args()
    with open(arguments.ids, encoding="utf-8") as file:
        windows = json.load(file)

    length = max(len(window) for window in windows)
    started = time.time()
    model = llama_cpp.Llama(
        model_path=arguments.model, n_ctx=length, n_batch=length, n_ubatch=length,
        n_threads=os.cpu_count(), n_threads_batch=os.cpu_count(), logits_all=True,
        type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32, flash_attn=False,
        verbose=False)
    loaded = time.time()
    total, count = score(model, windows)
    result = {
        "tokens": count,
        "nll": total / count,
        "perplexity": float(np.exp(total / count)),
        "load_seconds": loaded - started,
        "seconds": time.time() - loaded,
        "adds_bos": bool(llama_cpp.llama_vocab_get_add_bos(
            llama_cpp.llama_model_get_vocab(model.model))),
        "versions": {"llama-cpp-python": importlib.metadata.version("llama-cpp-python")},
    }
    if arguments.text:
        with open(arguments.text, "rb") as file:
            result["ids_of_text"] = model.tokenize(file.read(), add_bos=False, special=False)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
