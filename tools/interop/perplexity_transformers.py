#!/usr/bin/env python3
"""Scores a Hugging Face checkpoint with `transformers`, in float32, on windows of token ids.

usage: perplexity_transformers.py MODEL_DIR IDS.json [--text FILE]

IDS.json holds `[[...], ...]`. Each window is a sequence of its own, without BOS; all its ids but the
first are scored. Checkpoints of compressed-tensors are loaded by the integration that `transformers`
ships. Everything is loaded as float32, so that stored scales keep their exact values.

Checkpoints with zero points are dequantised while they are loaded: compressed-tensors 0.20 prepares
unpacked zero points when `transformers` asks for the packed ones, so that nothing asymmetric can be
loaded otherwise, not even what it wrote itself.

Prints one JSON document: `tokens`, `nll`, `perplexity`, `seconds`, `load_seconds`, `ids_of_text` (with `--text`: what `AutoTokenizer` makes of it,
without special tokens) and `versions`.
"""

import argparse
import importlib.metadata
import json
import logging
import os
import time

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, CompressedTensorsConfig


def score(model, windows):
    """The sum of negative log-likelihoods in nats, and how many ids were scored."""
    total, count = 0.0, 0
    with torch.inference_mode():
        for window in windows:
            ids = torch.tensor([window])
            logits = model(ids, use_cache=False).logits[0, :-1].double()
            losses = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")
            total += losses.item()
            count += len(window) - 1
    return total, count


def is_asymmetric(folder):
    """Whether the config of a checkpoint says that some weights have zero points."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        quantization = json.load(file).get("quantization_config") or {}
    groups = quantization.get("config_groups", {}).values()
    return any(not group["weights"]["symmetric"] for group in groups)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("ids")
    parser.add_argument("--text")
    arguments = parser.parse_args()
    with open(arguments.ids, encoding="utf-8") as file:
        windows = json.load(file)

    # What the libraries log is for people; an error ends the script anyway.
    transformers.utils.logging.disable_progress_bar()
    logging.disable(logging.WARNING)

    started = time.time()
    options = {}
    if is_asymmetric(arguments.model):
        options["quantization_config"] = CompressedTensorsConfig(dequantize=True)
    model, problems = AutoModelForCausalLM.from_pretrained(
        arguments.model, dtype=torch.float32, output_loading_info=True, **options)
    problems = {name: sorted(map(str, keys)) for name, keys in problems.items() if keys}
    if problems:
        raise SystemExit(f"{arguments.model}: loaded with problems: {problems}")
    model.eval()
    loaded = time.time()
    total, count = score(model, windows)
    result = {
        "tokens": count,
        "nll": total / count,
        "perplexity": float(torch.tensor(total / count, dtype=torch.float64).exp()),
        "load_seconds": loaded - started,
        "seconds": time.time() - loaded,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("transformers", "compressed-tensors", "torch")
        },
    }
    if arguments.text:
        tokenizer = AutoTokenizer.from_pretrained(arguments.model)
        with open(arguments.text, encoding="utf-8", newline="") as file:
            text = file.read()
        result["ids_of_text"] = tokenizer(text, add_special_tokens=False)["input_ids"]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
