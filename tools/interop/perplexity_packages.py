#!/usr/bin/env python3
"""Scores an AWQ, HQQ or quanto checkpoint with the modules of the package that owns its dialect, in
float32 on the CPU, on windows of token ids.

usage: perplexity_packages.py MODEL_DIR IDS.json [--text FILE]

As perplexity_transformers.py, which says more. The model is that of `transformers`; each packed
weight becomes a module of the package, filled from the file, which dequantises as it multiplies.
"""

import argparse
import importlib.metadata
import json
import logging
import os
import pathlib

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from perplexity_transformers import score


def replace(model, name, module):
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def part_of(state, name):
    return {key[len(name) + 1 :]: value for key, value in state.items() if key.startswith(f"{name}.")}


def autoawq(folder, model, state, settings):
    # Its modules multiply on a GPU alone; its dequantisation, which they would do, runs anywhere.
    from awq.utils.packing_utils import dequantize_gemm

    for name in [key[: -len(".qweight")] for key in state if key.endswith(".qweight")]:
        part = part_of(state, name)
        values = dequantize_gemm(
            part["qweight"], part["qzeros"], part["scales"].float(), settings["bits"],
            settings["group_size"])
        model.get_submodule(name).weight.data = values.t().contiguous()


def hqq(folder, model, state, settings):
    from hqq.core.quantize import HQQLinear

    for name in [key[: -len(".W_q")] for key in state if key.endswith(".W_q")]:
        layer = HQQLinear(None, None, compute_dtype=torch.float32, device="cpu", initialize=False)
        layer.load_state_dict(part_of(state, name))
        replace(model, name, layer)


def quanto(folder, model, state, settings):
    from optimum.quanto import requantize

    requantize(model, state, json.loads((folder / "quanto_qmap.json").read_text()))


PACKAGES = {"awq": (autoawq, "autoawq"), "hqq": (hqq, "hqq"), "quanto": (quanto, "optimum-quanto")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("ids")
    parser.add_argument("--text")
    arguments = parser.parse_args()
    with open(arguments.ids, encoding="utf-8") as file:
        windows = json.load(file)
    # What the packages print while they load belongs on stderr: stdout is one JSON document.
    output = os.dup(1)
    os.dup2(2, 1)
    logging.disable(logging.WARNING)
    folder = arguments.model
    config = AutoConfig.from_pretrained(folder)
    settings = config.quantization_config
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    state = {}
    for path in sorted(folder.glob("*.safetensors")):
        state |= load_file(str(path))
    plain = {key: value.float() for key, value in state.items() if key in model.state_dict()}
    load, package = PACKAGES[settings["quant_method"]]
    load(folder, model, state, settings)
    found = model.load_state_dict(plain, strict=False)
    wrong = [key for key in found.missing_keys if key.endswith("norm.weight")]
    if wrong or found.unexpected_keys:
        raise SystemExit(f"missing {wrong}, unexpected {found.unexpected_keys}")
    model.tie_weights()
    total, count = score(model.eval(), windows)
    result = {
        "tokens": count,
        "nll": total / count,
        "perplexity": float(torch.tensor(total / count, dtype=torch.float64).exp()),
        "versions": {package: importlib.metadata.version(package)},
    }
    if arguments.text:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        with open(arguments.text, encoding="utf-8", newline="") as file:
            text = file.read()
        result["ids_of_text"] = tokenizer(text, add_special_tokens=False)["input_ids"]
    os.dup2(output, 1)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
