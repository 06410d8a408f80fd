#!/usr/bin/env python3
"""Makes tests/golden/adapters: adapters that PEFT puts on the tiny model, and what it predicts then.

usage: adapter_logits.py MODELS_DIR OUT_DIR          (MODELS_DIR is tests/golden/models)

Needs peft, torch and transformers; expected.json names their versions. One adapter has ranks and alphas
by the ends of names, one the scale of rank-stabilised LoRA.
"""

import importlib.metadata
import json
import os
import sys

# kernels.py of this folder would be taken for the package of that name, which transformers imports.
sys.path.pop(0)

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

models, out = sys.argv[1:]
ADAPTERS = {
    "patterns": LoraConfig(r=2, lora_alpha=5, task_type="CAUSAL_LM", rank_pattern={"v_proj": 3},
                           alpha_pattern={"layers.1.self_attn.q_proj": 7, "down_proj": 3},
                           target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]),
    "rslora": LoraConfig(r=4, lora_alpha=6, task_type="CAUSAL_LM", use_rslora=True,
                         target_modules=["q_proj", "gate_proj", "up_proj"]),
}
ids = [(7 * i * i + 3 * i + 1) % 64 for i in range(24)]
for seed, (name, lora) in enumerate(ADAPTERS.items()):
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(os.path.join(models, "untied"), dtype=torch.float32)
    model = get_peft_model(base, lora).eval()
    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "lora_B"):
                module.lora_B["default"].weight.normal_(std=0.3)
        logits = model(torch.tensor([ids])).logits[0]
    folder = os.path.join(out, name)
    model.save_pretrained(folder, safe_serialization=True)
    os.remove(os.path.join(folder, "README.md"))
    path = os.path.join(folder, "adapter_config.json")
    config = json.load(open(path))
    config["base_model_name_or_path"] = "untied"
    with open(path, "w") as file:
        json.dump(config, file, indent=2, sort_keys=True)
        file.write("\n")
    versions = {p: importlib.metadata.version(p) for p in ("peft", "torch", "transformers")}
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump({"versions": versions, "ids": ids, "logits": logits.tolist()}, file)
        file.write("\n")
