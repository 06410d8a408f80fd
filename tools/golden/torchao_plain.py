#!/usr/bin/env python3
"""Makes tests/golden/torchao: one weight of each of torchao's tensors that are plain, flattened as
transformers saves them, with torchao's own dequantisation.

usage: torchao_plain.py OUTDIR      (needs torch, torchao, safetensors)
"""

import json
import os
import sys

import torch
import torchao
from safetensors.torch import save_file
from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
from torchao.quantization import (Float8WeightOnlyConfig, Int8WeightOnlyConfig, IntxWeightOnlyConfig,
                                  quantize_)
from torchao.quantization.granularity import PerAxis, PerGroup
from torchao.quantization.quant_primitives import MappingType

CASES = {
    "int8": Int8WeightOnlyConfig(version=2),
    "int8_g32": Int8WeightOnlyConfig(version=2, granularity=PerGroup(32)),
    "intx4_g32": IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32)),
    "intx8_asym": IntxWeightOnlyConfig(weight_dtype=torch.int8, granularity=PerAxis(0),
                                       mapping_type=MappingType.ASYMMETRIC),
    "fp8": Float8WeightOnlyConfig(),
}


def main(out):
    for name, config in CASES.items():
        torch.manual_seed(3)
        model = torch.nn.Module()
        model.layer = torch.nn.Linear(64, 24, bias=False)
        quantize_(model, config)
        tensors, metadata = flatten_tensor_state_dict(model.state_dict())
        folder = os.path.join(out, name)
        os.makedirs(folder, exist_ok=True)
        save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={**metadata, "format": "pt"})
        settings = dict(quantization_config=dict(quant_method="torchao"), torchao=torchao.__version__)
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(settings, f)
        values = model.layer.weight.dequantize().float().contiguous()
        save_file({"values": values}, os.path.join(folder, "..", f"{name}.safetensors"))


if __name__ == "__main__":
    main(*sys.argv[1:])
