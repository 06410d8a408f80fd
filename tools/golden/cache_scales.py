#!/usr/bin/env python3
"""Small Llamas whose checkpoints have static scales of the key/value cache, or of NVFP4 inputs, and the
logits that compressed-tensors computes from them in transformers.

usage: cache_scales.py OUT_DIR              (OUT_DIR is tests/golden/cache_scales)

  kv_fp8    FP8 weights, one FP8 scale for the keys of a block and one for its values
  kv_int8   FP8 weights, an int8 scale for every head
  w4a4      NVFP4 weights and inputs, with `input_global_scale`

Keys and values go through `fake_quantize` of compressed-tensors as they enter the cache of transformers:
its own hook looks for an argument that transformers 5.24 calls otherwise.

Ran with compressed-tensors 0.20.0, transformers 5.24.0 and torch 2.15.0, on the CPU in float32.
"""

import importlib.metadata
import json
import pathlib
import sys

import torch
from compressed_tensors.compressors.base import BaseCompressor
from compressed_tensors.quantization import (
    QuantizationArgs, QuantizationConfig, QuantizationScheme, apply_quantization_config,
)
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

FP8 = dict(num_bits=8, type="float", strategy="channel")
NVFP4 = dict(num_bits=4, type="float", strategy="tensor_group", group_size=16, scale_dtype=torch.float8_e4m3fn)
CASES = {
    "kv_fp8": ("float-quantized", FP8, None, dict(num_bits=8, type="float", strategy="tensor")),
    "kv_int8": ("float-quantized", FP8, None, dict(num_bits=8, type="int", strategy="attn_head")),
    "w4a4": ("nvfp4-pack-quantized", NVFP4, NVFP4 | dict(dynamic="local"), None),
}


class ScaledCache(DynamicCache):
    """A cache that holds what static scales leave of keys and values."""

    def __init__(self, args, scales):
        super().__init__()
        self.args, self.scales = args, scales

    def update(self, keys, values, layer, *rest, **named):
        k, v = (fake_quantize(x, s, None, self.args) for x, s in zip((keys, values), self.scales[layer]))
        return super().update(k, v, layer, *rest, **named)


def compressed(module, scheme, form):
    """The parts of a weight; the module gets their values."""
    args, w, extra = scheme.weights, module.weight.data, {}
    tiles = w.reshape(w.shape[0], -1, args.group_size or w.shape[1])
    parts = {"weight": w}
    if form.startswith("nvfp4"):
        extra["global_scale"] = parts["weight_global_scale"] = 2688.0 / w.abs().max().reshape(1)
    scale, _ = calculate_qparams(tiles.amin(-1), tiles.amax(-1), args, **extra)
    parts["weight_scale"] = scale
    kind = BaseCompressor.get_value_from_registry(form)
    # In float32: what decompresses NVFP4 makes bfloat16.
    module.weight.data = fake_quantize(w, scale.float(), None, args, **extra)
    return kind.compress(parts, scheme)


def make(form, weights, inputs, cache):
    config = LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2, dtype="float32",
    )
    model = LlamaForCausalLM(config).float().eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.12)
    scheme = QuantizationScheme(
        targets=["Linear"], weights=QuantizationArgs(**weights),
        input_activations=inputs and QuantizationArgs(**inputs),
    )
    state = {key: value.detach().clone() for key, value in model.state_dict().items()}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            del state[f"{name}.weight"]
            state |= {f"{name}.{key}": value for key, value in compressed(module, scheme, form).items()}
    kv = cache and QuantizationArgs(**cache)
    alone = QuantizationScheme(targets=["Linear"], input_activations=scheme.input_activations)
    if inputs:
        apply_quantization_config(model, QuantizationConfig(config_groups={"group_0": alone}, ignore=["lm_head"]))
    shape = [2, 1, 1] if kv and kv.strategy == "attn_head" else [1]
    scales = [torch.empty(2, *shape).uniform_(0.004, 0.02) for _ in range(2)]
    for layer, pair in enumerate(scales if kv else []):
        for side, scale in zip("kv", pair):
            state[f"model.layers.{layer}.self_attn.{side}_scale"] = scale.clone()
    for name, parameter in model.named_parameters():
        if name.endswith("input_global_scale"):
            parameter.data = torch.full_like(parameter, 2688.0).div_(torch.empty(1).uniform_(2, 6))
            state[name] = parameter.data.clone()
    group = {"targets": ["Linear"], "weights": json.loads(scheme.weights.model_dump_json()), "format": form}
    if inputs:
        group["input_activations"] = json.loads(scheme.input_activations.model_dump_json())
    settings = {
        "quant_method": "compressed-tensors", "format": form, "ignore": ["lm_head"],
        "config_groups": {"group_0": group}, "quantization_status": "compressed",
    }
    if kv:
        settings["kv_cache_scheme"] = json.loads(kv.model_dump_json())
    ids = torch.randint(3, 96, (1, 14))
    with torch.no_grad():
        logits = model(ids, use_cache=True, cache=ScaledCache(kv, scales) if kv else DynamicCache()).logits
        if kv:
            plain = model(ids).logits
            assert (logits - plain).abs().max() > 1e-3, "the cache was not used"
    plain = json.loads(config.to_json_string()) | {"architectures": ["LlamaForCausalLM"]}
    return state, plain | {"quantization_config": settings}, ids, logits.float()


def main(out):
    expected = {}
    for place, (name, case) in enumerate(CASES.items()):
        torch.manual_seed(place + 11)
        state, config, ids, logits = make(*case)
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in state.items()}, str(folder / "model.safetensors"), {"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        expected |= {f"{name}/ids": ids, f"{name}/logits": logits}
    save_file(expected, str(out / "expected.safetensors"))
    print({name: importlib.metadata.version(name) for name in ("compressed-tensors", "transformers", "torch")})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
