#!/usr/bin/env python3
"""Small checkpoints of the packed dialects, written and dequantised by the packages that own them.

usage: dialects.py OUT_DIR [CASE...]        (OUT_DIR is tests/golden/dialects; CASE: only these)

Every case is a folder with config.json and model.safetensors; expected.safetensors has, under
`CASE/WEIGHT`, the F32 values that the package dequantises to; manifest.json the names of the
packages, their versions, and how close values must be:
  exact      equal, bit for bit
  float16    equal after rounding ours to float16 (the package computes in it); bfloat16 likewise
  ulp        one unit in the last place (two multiplications in another order)

Needs: gptqmodel, autoawq, bitsandbytes, compressed-tensors, hqq, optimum-quanto, torch, numpy,
safetensors.
"""
import importlib.metadata
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file

ROWS, COLUMNS = 32, 64


def weight(rows=ROWS, columns=COLUMNS):
    return torch.randn(rows, columns) * 0.1


def grid(w, group, bits, symmetric, slack=1.0):
    """Scales and zero points of groups, as GPTQ takes them, in float16; AWQ clamps no codes."""
    g = w.reshape(w.shape[0], -1, group)
    levels = 2**bits - 1
    low, high = g.amin(-1).clamp(max=0), g.amax(-1).clamp(min=0)
    if symmetric:
        high = torch.maximum(-low, high)
        low = -high
    scale = ((high - low) / levels * slack).half().float()
    middle = torch.full_like(scale, 2 ** (bits - 1))
    zero = middle if symmetric else (-low / scale).round().clamp(1, levels)
    return scale, zero


def gptq(bits, symmetric, version, ordered=False):
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization import FORMAT
    from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module
    from types import SimpleNamespace

    group, w = 32, weight()
    form = {"gptq": FORMAT.GPTQ_V2, "gptq_v2": FORMAT.GPTQ_V2, "gptq_p": FORMAT.GPTQ_P}[version]
    layer = TorchLinear(
        bits=bits, group_size=group, sym=symmetric, desc_act=ordered, in_features=COLUMNS,
        out_features=ROWS, bias=False, format=form,
    )
    index = torch.arange(COLUMNS, dtype=torch.int32) // group
    if ordered:
        index = index[torch.randperm(COLUMNS)]
    linear = torch.nn.Linear(COLUMNS, ROWS, bias=False)
    linear.weight.data = w
    order = torch.argsort(index, stable=True)
    scale, zero = grid(w[:, order], group, bits, symmetric)
    layer.pack_original(linear, scale, zero, index)
    state = {name: getattr(layer, name).clone() for name in ("qweight", "qzeros", "scales", "g_idx")}
    layer.scales = layer.scales.float()  # so that the product is taken in f32
    layer.post_init()
    values = layer.dequantize_weight().T
    if version == "gptq":
        convert_gptq_v2_to_v1_format_module(layer, SimpleNamespace(bits=bits, pack_dtype=torch.int32))
        state["qzeros"] = layer.qzeros
    config = {
        "quant_method": "gptq", "bits": bits, "group_size": group, "sym": symmetric,
        "desc_act": ordered, "checkpoint_format": version,
    }
    return prefixed(state), values, config


def prefixed(state, name="layer"):
    return {f"{name}.{key}": value.contiguous() for key, value in state.items()}


def awq(version):
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.modules.linear.gemv import WQLinear_GEMV
    from awq.utils.packing_utils import dequantize_gemm

    group, w = 32, weight()
    scale, zero = grid(w, group, 4, False, 1.15)
    linear = torch.nn.Linear(COLUMNS, ROWS, bias=False)
    linear.weight.data = w
    config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": version}
    if version == "gemm":
        layer = WQLinear_GEMM.from_linear(linear, 4, group, False, scale.t(), zero.t())
        values = dequantize_gemm(layer.qweight, layer.qzeros, layer.scales.float(), 4, group).t()
    else:
        layer = WQLinear_GEMV.from_linear(linear, 4, group, False, scale, zero)
        # AutoAWQ has no dequantisation of gemv: the codes it computes, by its formula.
        wide, zeros = scale.repeat_interleave(group, 1), zero.repeat_interleave(group, 1)
        values = (torch.round((w + zeros * wide) / wide) - zeros) * wide
    return prefixed(layer.state_dict()), values, config


def awq_marlin(rows, columns, group, names):
    """Codes and scales of symmetric int4 in Marlin's tiles, as AutoAWQ packs them."""
    from awq.modules.linear.marlin import WQLinear_Marlin

    w = weight(rows, columns)
    scale, _ = grid(w, group, 4, True)
    linear = torch.nn.Linear(columns, rows, bias=False)
    linear.weight.data = w
    layer = WQLinear_Marlin.from_linear(linear, 4, group, False, scale, None)
    wide = scale.repeat_interleave(group, 1)
    values = torch.clamp(torch.round(w / wide), -8, 7) * wide
    state = layer.state_dict()
    if names == "gptq":
        state = {"B": state["qweight"], "s": state["scales"], "workspace": torch.zeros(rows // 128 * 16, dtype=torch.int32)}
        config = {"quant_method": "gptq", "checkpoint_format": "marlin", "bits": 4, "group_size": group, "sym": True, "desc_act": False}
    else:
        config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": False, "version": "marlin"}
    return prefixed(state), values, config


def awq_fast():
    from awq.modules.linear.gemv_fast import WQLinear_GEMVFast

    group, w = 32, weight(ROWS, 2 * COLUMNS)
    scale, zero = grid(w, group, 4, False, 1.15)
    linear = torch.nn.Linear(2 * COLUMNS, ROWS, bias=False)
    linear.weight.data = w
    layer = WQLinear_GEMVFast.from_linear(linear, 4, group, False, scale, zero)
    # There is no dequantisation: codes times scales plus the products it stores for zero points.
    wide, zeros = scale.repeat_interleave(group, 1), zero.repeat_interleave(group, 1)
    codes = torch.round((w + zeros * wide) / wide)
    minima = layer.qzeros[: scale.shape[1]].t().float().repeat_interleave(group, 1)
    values = codes * wide + minima
    config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemv_fast"}
    return prefixed(layer.state_dict()), values, config


def bitsandbytes4(kind, nested, columns=COLUMNS, rows=ROWS):
    from bitsandbytes.functional import dequantize_4bit, dequantize_blockwise, quantize_4bit

    packed, state = quantize_4bit(weight(rows, columns), blocksize=64, quant_type=kind, compress_statistics=nested)
    values = dequantize_4bit(packed, state)
    if columns % 64:
        # On the CPU 0.50 dequantises as if no block went over the end of a row; its quantiser and
        # its CUDA kernels flatten the matrix. So: its scales and its table, block by block.
        absmax = dequantize_blockwise(state.absmax, state.state2) + state.offset
        codes = torch.stack([packed >> 4, packed & 15], -1).flatten().long()
        values = (state.code[codes] * absmax.repeat_interleave(64)).reshape(rows, columns)
    tensors = {"weight": packed} | {f"weight.{k}": v for k, v in state.as_dict(packed=True).items()}
    config = {
        "quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind,
        "bnb_4bit_use_double_quant": nested,
    }
    return prefixed(tensors), values, config


def bitsandbytes8():
    from bitsandbytes.functional import int8_vectorwise_dequant, int8_vectorwise_quant

    codes, absmax, _ = int8_vectorwise_quant(weight().half())
    state = {"weight": codes, "SCB": absmax, "weight_format": torch.tensor(0, dtype=torch.uint8)}
    config = {"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_threshold": 6.0}
    return prefixed(state), int8_vectorwise_dequant(codes, absmax), config


def compressed(name, form, dtype, inputs=None, **arguments):
    """A weight compressed by the class of its format."""
    from compressed_tensors.compressors.base import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    args = QuantizationArgs(**arguments)
    scheme = QuantizationScheme(targets=["Linear"], weights=args, input_activations=inputs)
    w = weight(*((40, 72) if args.strategy == "block" else (ROWS, COLUMNS)))
    rows, columns = w.shape
    if args.strategy == "tensor":
        tiles = w.reshape(1, 1, -1)
    elif args.strategy == "channel":
        tiles = w.reshape(rows, 1, columns)
    elif args.strategy == "block":
        high, wide = args.block_structure
        pad = torch.nn.functional.pad(w, (0, -columns % wide, 0, -rows % high))
        tiles = pad.reshape(pad.shape[0] // high, high, -1, wide).transpose(1, 2).flatten(2)
    else:
        tiles = w.reshape(rows, -1, args.group_size)
    parts, extra = {"weight": w.to(dtype)}, {}
    if form == "nvfp4-pack-quantized":
        extra["global_scale"] = torch.tensor([2688.0]) / w.abs().max()
        parts["weight_global_scale"] = extra["global_scale"]
    scale, zero = calculate_qparams(tiles.amin(-1), tiles.amax(-1), args, **extra)
    scale = scale.reshape(-1) if args.strategy == "tensor" else scale
    parts["weight_scale"] = scale if form.startswith(("nvfp4", "mxfp")) else scale.to(dtype)
    parts["weight_zero_point"] = zero.reshape(scale.shape)
    kind = BaseCompressor.get_value_from_registry(form)
    packed = kind.compress(parts, scheme)
    values = kind.decompress(dict(packed), scheme)["weight"].float()
    group = {"targets": ["Linear"], "weights": json.loads(args.model_dump_json()), "format": form}
    if inputs is not None:
        group["input_activations"] = json.loads(inputs.model_dump_json())
    config = {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}}
    return prefixed(packed), values, config


def compressed_ordered():
    """Activation order. compressed-tensors 0.20 has removed it, so this case needs 0.12 (PYTHONPATH)."""
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs

    args = QuantizationArgs(num_bits=4, strategy="group", group_size=32, symmetric=True, actorder="group")
    w, index = weight(), (torch.arange(COLUMNS, dtype=torch.int32) // 32)[torch.randperm(COLUMNS)]
    scale, _ = grid(w[:, torch.argsort(index, stable=True)], 32, 4, True)
    kind = PackedQuantizationCompressor()
    packed = kind.compress_weight(weight=w, scale=scale, quantization_args=args, g_idx=index)
    state = {f"weight_{key.removeprefix('weight_')}": value for key, value in packed.items()}
    state |= {"weight_scale": scale, "weight_g_idx": index}
    values = kind.decompress_weight(compressed_data=dict(state), quantization_args=args)
    group = {"targets": ["Linear"], "weights": json.loads(args.model_dump_json())}
    config = {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": group}}
    return prefixed(state), values, config


def fp8():
    """DeepSeek's blocks: its reference multiplies the weight with the scale of its block."""
    w, block = weight(40, 72), 32
    pad = torch.nn.functional.pad(w, (0, -72 % block, 0, -40 % block))
    tiles = pad.reshape(2, block, 3, block).transpose(1, 2).flatten(2)
    scale = tiles.abs().amax(-1) / 448
    wide = scale.repeat_interleave(block, 0).repeat_interleave(block, 1)[:40, :72]
    codes = (w / wide).to(torch.float8_e4m3fn)
    config = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [block, block]}
    return prefixed({"weight": codes, "weight_scale_inv": scale}), codes.float() * wide, config


def hqq(bits, axis):
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    linear = torch.nn.Linear(COLUMNS, ROWS, bias=False)
    linear.weight.data = weight()
    settings = BaseQuantizeConfig(nbits=bits, group_size=32, axis=axis)
    layer = HQQLinear(linear, settings, compute_dtype=torch.float32, device="cpu")
    return prefixed(dict(layer.state_dict())), layer.dequantize(), {"quant_method": "hqq"}


def inputs_of(kind, strategy):
    """Dynamic activations of 8 bits."""
    from compressed_tensors.quantization import QuantizationArgs

    size = 128 if strategy == "group" else None
    return QuantizationArgs(num_bits=8, type=kind, strategy=strategy, dynamic=True, group_size=size)


def quanto(kind, columns=COLUMNS):
    from optimum import quanto as package

    model = torch.nn.Sequential()
    model.layer = torch.nn.Linear(columns, ROWS, bias=False)
    model.layer.weight.data = weight(ROWS, columns)
    package.quantize(model, weights=getattr(package, kind))
    package.freeze(model)
    return dict(model.state_dict()), model.layer.weight.dequantize(), None


def expert_blocks():
    """Experts of gpt-oss: blocks and exponents at random, dequantised by transformers."""
    from transformers.integrations.mxfp4 import _convert_moe_packed_tensors

    blocks = torch.randint(0, 256, (18, 4, 2, 16), dtype=torch.uint8)
    scales = torch.randint(110, 130, (18, 4, 2), dtype=torch.uint8)
    values = _convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).transpose(1, 2)
    return {"layer.weight_blocks": blocks, "layer.weight_scales": scales}, values, {"quant_method": "mxfp4"}


def bitnet(kind):
    """Ternary weights of transformers: `bitlinear` divides by the scale, `autobitlinear` multiplies."""
    from transformers.integrations.bitnet import pack_weights, unpack_weights

    w = weight()
    mean = w.abs().mean()
    packed = pack_weights((w / mean).round().clamp(-1, 1))
    divides = kind == "bitlinear"
    scale = (1 / mean if divides else mean).reshape(1)
    codes = unpack_weights(packed, torch.float32)
    settings = {"quant_method": "bitnet", "linear_class": kind, "quantization_mode": "offline"}
    return prefixed({"weight": packed, "weight_scale": scale}), codes / scale if divides else codes * scale, settings


def cases():
    """Name, package, how close, and what makes it."""
    for bits in (2, 3, 4, 8):
        yield f"gptq_{bits}_asym_v2", "gptqmodel", "exact", lambda b=bits: gptq(b, False, "gptq_v2")
        yield f"gptq_{bits}_sym_v1", "gptqmodel", "exact", lambda b=bits: gptq(b, True, "gptq")
    yield "gptq_4_asym_v1", "gptqmodel", "exact", lambda: gptq(4, False, "gptq")
    yield "gptq_4_order", "gptqmodel", "exact", lambda: gptq(4, True, "gptq_v2", True)
    yield "gptq_5_planar", "gptqmodel", "exact", lambda: gptq(5, False, "gptq_p")
    yield "awq_gemm", "autoawq", "exact", lambda: awq("gemm")
    yield "awq_gemv", "autoawq", "exact", lambda: awq("gemv")
    for kind in ("nf4", "fp4"):
        yield f"bitsandbytes_{kind}", "bitsandbytes", "exact", lambda k=kind: bitsandbytes4(k, False)
    # 272 blocks: more than one run of 256; 96 columns: blocks run over rows.
    yield "bitsandbytes_nf4_nested", "bitsandbytes", "exact", lambda: bitsandbytes4("nf4", True, 128, 136)
    yield "bitsandbytes_nf4_over_rows", "bitsandbytes", "exact", lambda: bitsandbytes4("nf4", True, 96)
    yield "bitsandbytes_int8", "bitsandbytes", "ulp", bitsandbytes8
    ct = "compressed-tensors"
    f32, bf16 = torch.float32, torch.bfloat16
    for name, form, dtype, arguments in (
        ("int3", "pack-quantized", f32, dict(num_bits=3, type="int", strategy="group", group_size=32)),
        ("int8", "int-quantized", f32, dict(num_bits=8, type="int", strategy="channel")),
        ("int8_asym", "int-quantized", f32, dict(num_bits=8, type="int", strategy="channel", symmetric=False)),
        ("int8_tensor", "naive-quantized", f32, dict(num_bits=8, type="int", strategy="tensor")),
        ("fp8", "float-quantized", f32, dict(num_bits=8, type="float", strategy="channel")),
        ("fp8_tensor", "float-quantized", f32, dict(num_bits=8, type="float", strategy="tensor")),
        ("fp8_block", "float-quantized", f32, dict(num_bits=8, type="float", strategy="block", block_structure=[32, 32])),
        ("nvfp4", "nvfp4-pack-quantized", bf16, dict(num_bits=4, type="float", strategy="tensor_group", group_size=16, scale_dtype=torch.float8_e4m3fn)),
        ("mxfp4", "mxfp4-pack-quantized", bf16, dict(num_bits=4, type="float", strategy="group", group_size=32, scale_dtype=torch.uint8)),
    ):
        close = "bfloat16" if dtype == bf16 else "exact"
        yield f"ct_{name}", ct, close, lambda n=name, f=form, d=dtype, a=arguments: compressed(n, f, d, **a)
    yield "fp8", "torch", "exact", fp8
    for bits, axis in ((8, 1), (4, 1), (3, 1), (2, 1), (1, 1), (4, 0), (3, 0)):
        yield f"hqq_{bits}_axis{axis}", "hqq", "exact", lambda b=bits, a=axis: hqq(b, a)
    for kind in ("qint8", "qfloat8"):
        yield f"quanto_{kind}", "optimum-quanto", "exact", lambda k=kind: quanto(k)
    yield "awq_marlin", "autoawq", "exact", lambda: awq_marlin(128, 256, 128, "awq")
    yield "marlin_g128", "autoawq", "exact", lambda: awq_marlin(128, 256, 128, "gptq")
    yield "marlin_channel", "autoawq", "exact", lambda: awq_marlin(64, 128, 128, "gptq")
    yield "awq_gemv_fast", "autoawq", "exact", awq_fast
    for name, form, inputs, arguments in (
        ("int8_inputs", "int-quantized", ("int", "token"), dict(num_bits=8, type="int", strategy="channel")),
        ("fp8_inputs", "float-quantized", ("float", "token"), dict(num_bits=8, type="float", strategy="channel")),
        ("fp8_block_inputs", "float-quantized", ("float", "group"), dict(num_bits=8, type="float", strategy="block", block_structure=[32, 32])),
        ("mxfp8", "mxfp8-quantized", None, dict(num_bits=8, type="float", strategy="group", group_size=32, scale_dtype=torch.uint8)),
        ("mxfp6", "mxfp6-pack-quantized", None, dict(num_bits=6, type="float", strategy="group", group_size=32, scale_dtype=torch.uint8)),
    ):
        mx = form.startswith("mx")
        yield f"ct_{name}", ct, "bfloat16" if mx else "exact", lambda f=form, i=inputs, a=arguments, d=bf16 if mx else f32: compressed(
            None, f, d, i and inputs_of(*i), **a)
    for kind in ("qint2", "qint4"):
        yield f"quanto_{kind}", "optimum-quanto", "exact", lambda k=kind: quanto(k, 48)
    yield "gpt_oss_mxfp4", "transformers", "exact", expert_blocks
    for kind in ("bitlinear", "autobitlinear"):
        yield f"bitnet_{kind}", "transformers", "exact", lambda k=kind: bitnet(k)
    yield "gptq_4_order_asym", "gptqmodel", "exact", lambda: gptq(4, False, "gptq", True)
    yield "gptq_8_order_v1", "gptqmodel", "exact", lambda: gptq(8, True, "gptq", True)
    yield "ct_int4_order", ct, "exact", compressed_ordered


def main(folder, only):
    expected, manifest = {}, {}
    if only:
        expected = load_file(str(folder / "expected.safetensors"))
        manifest = json.loads((folder / "manifest.json").read_text())
    for place, (name, package, close, make) in enumerate(cases()):
        if only and name not in only:
            continue
        torch.manual_seed(place + 5)
        state, values, settings = make()
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        save_file({key: value.detach().contiguous() for key, value in state.items()}, str(target / "model.safetensors"), {"format": "pt"})
        config = {"architectures": ["LlamaForCausalLM"]} | ({"quantization_config": settings} if settings else {})
        (target / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        expected[f"{name}/layer.weight"] = values.detach().float().contiguous()
        manifest[name] = {"package": package, "version": importlib.metadata.version(package), "close": close}
    save_file(expected, str(folder / "expected.safetensors"))
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
