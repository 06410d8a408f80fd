#!/usr/bin/env python3
"""Puts an adapter on a model by PEFT, and compares with the model into which lowbit merged it.

usage: adapter_peft.py BASE_DIR ADAPTER_DIR MERGED_DIR IDS.json

BASE_DIR is the quantised model without the adapter, MERGED_DIR the one with it, both as plain float32;
ADAPTER_DIR is what `lowbit adapter` wrote. IDS.json holds windows of token ids. Prints one JSON
document: the perplexities, the largest difference of logits, and what the adapter changes at most. The
four inputs come from

    lowbit quantize MODEL plain --recipe plain.yaml        (qlora-nf4 without its second step)
    lowbit quantize MODEL adapted --recipe qlora-nf4 --calibration TEXT
    lowbit convert plain BASE_DIR --to safetensors:float32 --lossy
    lowbit convert adapted MERGED_DIR --to safetensors:float32 --lossy
    lowbit adapter adapted ADAPTER_DIR
"""

import importlib.metadata
import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

base_dir, adapter_dir, merged_dir, ids = sys.argv[1:]
with open(ids) as file:
    windows = torch.tensor(json.load(file))


def score(model):
    with torch.no_grad():
        logits = model(windows).logits
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).double(), windows[:, 1:].flatten())
    return logits, loss.exp().item()


def load(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


base, base_perplexity = score(load(base_dir))
adapted, adapted_perplexity = score(PeftModel.from_pretrained(load(base_dir), adapter_dir).eval())
merged, merged_perplexity = score(load(merged_dir))
print(json.dumps({
    "perplexity": {"base": base_perplexity, "peft": adapted_perplexity, "merged": merged_perplexity},
    "largest_difference": (adapted - merged).abs().max().item(),
    "largest_change": (adapted - base).abs().max().item(),
    "largest_logit": adapted.abs().max().item(),
    "versions": {n: importlib.metadata.version(n) for n in ("peft", "torch", "transformers")},
}, indent=1))
