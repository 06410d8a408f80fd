#!/usr/bin/env python3
"""Scores a GPTQ or AWQ checkpoint with GPTQModel on the CPU, on windows of token ids.

usage: perplexity_gptqmodel.py MODEL_DIR IDS.json [--text FILE]

As perplexity_transformers.py, which says more. Its kernel for GPTQ computes in float16, that for AWQ
in float32; both dequantise with PyTorch.
"""

import argparse
import importlib.metadata
import json
import logging
import os
import sys

import torch
from transformers import AutoTokenizer

from perplexity_transformers import score


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("ids")
    parser.add_argument("--text")
    arguments = parser.parse_args()
    with open(arguments.ids, encoding="utf-8") as file:
        windows = json.load(file)
    with open(os.path.join(arguments.model, "config.json"), encoding="utf-8") as file:
        method = json.load(file)["quantization_config"]["quant_method"]

    # What the library prints while it loads belongs on stderr: stdout is one JSON document.
    output = os.dup(1)
    os.dup2(2, 1)
    logging.disable(logging.WARNING)
    from gptqmodel import BACKEND, GPTQModel

    awq = method == "awq"
    model = GPTQModel.load(
        arguments.model, device="cpu", backend=BACKEND.TORCH_AWQ if awq else BACKEND.TORCH,
        dtype=torch.float32 if awq else torch.float16)
    total, count = score(model.model.eval(), windows)
    result = {
        "tokens": count,
        "nll": total / count,
        "perplexity": float(torch.tensor(total / count, dtype=torch.float64).exp()),
        "versions": {"gptqmodel": importlib.metadata.version("gptqmodel")},
    }
    if arguments.text:
        tokenizer = AutoTokenizer.from_pretrained(arguments.model)
        with open(arguments.text, encoding="utf-8", newline="") as file:
            text = file.read()
        result["ids_of_text"] = tokenizer(text, add_special_tokens=False)["input_ids"]
    sys.stdout.flush()
    os.dup2(output, 1)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
