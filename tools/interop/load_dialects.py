#!/usr/bin/env python3
"""Loads checkpoints that lowbit wrote with the packages that own their dialects, and compares every
weight that the package dequantises with the values that lowbit reads.

usage: load_dialects.py FOLDER PLAIN        (PLAIN: FOLDER converted to safetensors:float32)

Needs: torch, transformers, compressed-tensors, hqq, optimum-quanto, safetensors.
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM


def compressed_tensors(folder, state, config):
    from transformers.utils.quantization_config import CompressedTensorsConfig

    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=CompressedTensorsConfig(run_compressed=False)
    )
    for name, module in model.named_modules():
        if hasattr(module, "weight") and module.weight.dim() == 2:
            yield name, module.weight.detach()


def hqq(folder, state, config):
    from hqq.core.quantize import HQQLinear

    for key in [key for key in state if key.endswith(".W_q")]:
        name = key[: -len(".W_q")]
        layer = HQQLinear(None, None, compute_dtype=torch.float32, device="cpu", initialize=False)
        layer.load_state_dict({k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(name + ".")})
        yield name, layer.dequantize()


def quanto(folder, state, config):
    from optimum.quanto import QTensor, requantize

    plain = AutoConfig.from_pretrained(folder)
    del plain.quantization_config
    model = AutoModelForCausalLM.from_config(plain)
    requantize(model, state, json.loads((folder / "quanto_qmap.json").read_text()))
    for name, module in model.named_modules():
        if isinstance(getattr(module, "weight", None), QTensor):
            yield name, module.weight.dequantize()


def fp8(folder, state, config):
    from transformers.utils.quantization_config import FineGrainedFP8Config

    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=FineGrainedFP8Config(dequantize=True)
    )
    for name, module in model.named_modules():
        if hasattr(module, "weight") and module.weight.dim() == 2:
            yield name, module.weight.detach()


def main(folder, plain):
    config = json.loads((folder / "config.json").read_text())
    state = load_file(str(folder / "model.safetensors"))
    expected = load_file(str(plain / "model.safetensors"))
    method = config["quantization_config"]["quant_method"]
    count, worst = 0, 0.0
    for name, weight in globals()[method.replace("-", "_")](folder, state, config):
        if f"{name}.weight" not in expected:
            continue
        theirs, ours = weight.float(), expected[f"{name}.weight"].float()
        worst = max(worst, ((theirs - ours).abs().max() / ours.abs().max()).item())
        count += 1
    print(json.dumps({"dialect": method, "weights": count, "largest_relative_difference": worst}))
    sys.exit(0 if count and worst < 2**-8 else 1)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
