#!/usr/bin/env python3
"""Makes tests/golden/adapter: an adapter that PEFT saves, and what PEFT adds to each weight.

usage: adapter.py OUT_DIR

Needs peft, torch and transformers; golden.json names their versions. The adapter has two ranks and an
alpha that is no multiple of either.
"""

import importlib.metadata
import json
import os
import sys

# kernels.py of this folder would be taken for the package of that name, which transformers imports.
sys.path.pop(0)

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

out = sys.argv[1]
torch.manual_seed(1)
config = LlamaConfig(hidden_size=8, intermediate_size=12, num_attention_heads=2,
                     num_key_value_heads=1, num_hidden_layers=1, vocab_size=10)
targets = ["q_proj", "v_proj", "down_proj"]
lora = LoraConfig(r=2, lora_alpha=5, target_modules=targets, task_type="CAUSAL_LM",
                  rank_pattern={"model.layers.0.self_attn.v_proj": 3},
                  alpha_pattern={"model.layers.0.self_attn.v_proj": 7})
model = get_peft_model(LlamaForCausalLM(config), lora)
added = {}
with torch.no_grad():
    for name, module in model.named_modules():
        if not hasattr(module, "lora_B"):
            continue
        module.lora_B["default"].weight.normal_()
        values = module.get_delta_weight("default").double()
        added[name.removeprefix("base_model.model.") + ".weight"] = values.flatten().tolist()
model.save_pretrained(out, safe_serialization=True)
os.remove(os.path.join(out, "README.md"))
versions = {name: importlib.metadata.version(name) for name in ("peft", "torch", "transformers")}
with open(os.path.join(out, "golden.json"), "w") as file:
    json.dump({"versions": versions, "added": added}, file, indent=1, sort_keys=True)
    file.write("\n")
