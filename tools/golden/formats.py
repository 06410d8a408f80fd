#!/usr/bin/env python3
"""Golden values of number formats and schemes, from other implementations.

usage: formats.py OUT_DIR        (OUT_DIR is tests/golden/formats)

Writes formats.safetensors and manifest.json. For every number format ID:
  ID.values   F32, the value of every code (formats of 8 bits or fewer)
  ID.x        F32, inputs: ties and both neighbours, powers of two, subnormals, edges of overflow,
              log-uniform numbers, random bits, zeros, infinities, NaNs
  ID.codes    U8 or U16, the code of every input
For every scheme ID: ID.x [rows, columns], ID.codes, ID.scales, (ID.zeros), ID.values.
The manifest names the oracle of each and its version. Needs: numpy, ml_dtypes, gguf, gfloat,
bitsandbytes, scipy, torch, torchao, safetensors.
"""
import json
import sys

import bitsandbytes
import bitsandbytes.functional as bnb
import gfloat
import gfloat.formats as gf
import gguf
import ml_dtypes
import numpy as np
import scipy.stats
import torch
import torchao
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file
from torchao.prototype.mx_formats.config import ScaleCalculationMode
from torchao.prototype.mx_formats.mx_tensor import to_mx

rng = np.random.default_rng(20261124)
tensors, manifest = {}, {"formats": {}, "schemes": {}}
version = lambda module: getattr(module, "__version__", None) or __import__("importlib.metadata", fromlist=["version"]).version(module.__name__)


def probes(values):
    """F32 inputs that matter to a format with these finite values."""
    finite = np.unique(values[np.isfinite(values)].astype(np.float64))
    ties = (finite[1:] + finite[:-1]) / 2
    if len(ties) > 2000:
        ties = rng.choice(ties, 2000, replace=False)
    ties = ties.astype(np.float32)
    points = np.concatenate([ties, rng.choice(finite, min(len(finite), 500), replace=False).astype(np.float32)])
    near = np.concatenate([points, np.nextafter(points, np.float32(np.inf)), np.nextafter(points, np.float32(-np.inf))])
    top = np.float32(np.abs(finite).max())
    edges = np.float32([top * f for f in (1.0, 1.01, 1.03125, 1.0357, 1.0714, 1.125, 1.25, 1.5, 2.0, 4.0)])
    edges = np.concatenate([edges, np.nextafter(edges, np.float32(np.inf)), np.nextafter(edges, np.float32(0))])
    logs = np.exp2(rng.uniform(-20, 20, 2500)).astype(np.float32) * rng.choice(np.float32([-1, 1]), 2500)
    powers = np.exp2(np.arange(-149, 128)).astype(np.float32)
    bits = rng.integers(0, 2**32, 1500, dtype=np.uint32).view(np.float32)
    special = np.float32([0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 3.4028235e38, -3.4028235e38])
    nans = np.uint32([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF]).view(np.float32)
    return np.concatenate([near, edges, -edges, logs, powers, -powers, bits[np.isfinite(bits)], special]), nans


def number_format(name, dtype, nan=True, non_negative=False):
    wide = np.dtype(dtype).itemsize * 8
    bits = {"float4_e2m1fn": 4, "float6_e2m3fn": 6, "float6_e3m2fn": 6}.get(name, wide)
    codes = np.arange(2**bits, dtype=np.uint8 if wide == 8 else np.uint16)
    values = codes.view(dtype).astype(np.float32)
    x, nans = probes(values)
    if nan:
        x = np.concatenate([x, nans])
    if non_negative:
        # ml_dtypes rounds f32 subnormals above 2^-127 up, however close they are to it; left out.
        x = x[~(np.signbit(x) | (x < 2.0**-127) | ((x > 2.0**-127) & (x < 1.5 * 2.0**-127)))]
    if bits <= 8:
        tensors[f"{name}.values"] = values
    tensors[f"{name}.x"] = x
    with np.errstate(all="ignore"):
        tensors[f"{name}.codes"] = x.astype(dtype).view(codes.dtype)
    oracle = np if dtype == np.float16 else ml_dtypes
    manifest["formats"][name] = {"oracle": oracle.__name__, "version": version(oracle), "cases": len(x)}


number_format("float8_e4m3fn", ml_dtypes.float8_e4m3fn)
number_format("float8_e5m2", ml_dtypes.float8_e5m2)
number_format("float4_e2m1fn", ml_dtypes.float4_e2m1fn, nan=False)
number_format("float8_e8m0fnu", ml_dtypes.float8_e8m0fnu, non_negative=True)
for name in ["float8_e4m3", "float8_e3m4", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz"]:
    number_format(name, getattr(ml_dtypes, name))
for name in ["float6_e2m3fn", "float6_e3m2fn"]:
    number_format(name, getattr(ml_dtypes, name), nan=False)
number_format("float16", np.float16, nan=False)
number_format("bfloat16", ml_dtypes.bfloat16)


def quantile_table(bits, quantile):
    """NFk and SFk from their definition, with the quantile function of scipy."""
    n = 2**bits
    offset = 0.5 * ((1 - 1 / (2 * n)) + (1 - 1 / (2 * (n - 1))))
    positive = quantile(np.linspace(offset, 0.5, n // 2 + 1)[:-1])
    negative = -quantile(np.linspace(offset, 0.5, n // 2)[:-1])
    table = np.sort(np.concatenate([negative, [0], positive]))
    return (table / table.max()).astype(np.float32)


manifest["tables"] = {}
for bits in range(2, 9):
    kinds = [("nf", scipy.stats.norm.ppf), ("sf", lambda p: scipy.stats.t.ppf(p, 5))]
    for kind, quantile in kinds:
        if (kind, bits) in [("nf", 4), ("sf", 2)]:
            continue
        tensors[f"{kind}{bits}.table"] = quantile_table(bits, quantile)
        manifest["tables"][f"{kind}{bits}"] = {"oracle": "scipy", "version": scipy.__version__}
tensors["af4.table"] = bnb.get_4bit_type("af4", device="cpu").numpy()
manifest["tables"]["af4"] = {"oracle": "bitsandbytes", "version": version(bitsandbytes)}


def weights(rows, columns):
    w = rng.standard_normal((rows, columns)).astype(np.float32) * np.float32(0.05)
    w[0, :8] = [0, -0.0, 1e-30, -1e-30, 3.0, -3.0, 0.5, -0.5]
    w[1, :] = 0
    w[2, :] = 0.125
    w[3, ::2] *= 64
    return w


# ggml block types: gguf-py
for name, kind in [("q8_0", gguf.GGMLQuantizationType.Q8_0), ("q4_0", gguf.GGMLQuantizationType.Q4_0), ("q4_1", gguf.GGMLQuantizationType.Q4_1)]:
    w = weights(8, 256)
    # Q4_0: gguf-py and the C code disagree on the sign of an all-zero block's scale.
    if name == "q4_0":
        w[1, :] = 1e-3
    raw = quantize(w, kind)
    tensors[f"{name}.x"], tensors[f"{name}.blocks"] = w, raw
    tensors[f"{name}.values"] = dequantize(raw, kind).astype(np.float32)
    manifest["schemes"][name] = {"oracle": "gguf", "version": version(gguf), "shape": list(w.shape)}

# MXFP4: gfloat
w = weights(8, 256)
info = gf.format_info_ocp_e2m1
codes = np.zeros(w.shape, np.uint8)
scales = np.zeros((8, 8), np.float32)
values = np.zeros(w.shape, np.float32)
block = gf.format_info_mxfp4_e2m1 if hasattr(gf, "format_info_mxfp4_e2m1") else None
for r in range(8):
    for g in range(8):
        v = w[r, g * 32:(g + 1) * 32].astype(np.float64)
        amax = np.abs(v).max()
        # OCP MX v1.0, section 6.3: 2^(floor(log2 max) - emax); frexp is exact.
        e = -127 if amax == 0 else max(-127, int(np.frexp(amax)[1]) - 1 - 2)
        scale = 2.0**e
        for i, x in enumerate(v):
            q = gfloat.round_float(info, float(x / scale), sat=True)
            codes[r, g * 32 + i] = gfloat.encode_float(info, q)
            values[r, g * 32 + i] = q * scale
        scales[r, g] = scale
tensors["mxfp4.x"], tensors["mxfp4.codes"], tensors["mxfp4.scales"], tensors["mxfp4.values"] = w, codes, scales, values
manifest["schemes"]["mxfp4"] = {"oracle": "gfloat (elements; scale rule from the OCP text)", "version": version(gfloat), "shape": [8, 256]}

# MX scale rules: torchao, on largest magnitudes across octaves and beside the borders of the rules.
# Left out: one ulp above 6 * 2^k and 448 * 2^k, where its float32 log2 makes RCEIL one too small.
amax = np.exp2(rng.uniform(-30, 30, 192)).astype(np.float32)
borders = np.float32([m * 2.0**k for k in (-9, 0, 7) for m in (1, 1.25, 1.5, 1.75, 1.9375, 1.96875)])
amax = np.concatenate([amax, borders, np.nextafter(borders, np.float32(0))])
w = (rng.uniform(-1, 1, (len(amax), 32)) * amax[:, None]).astype(np.float32)
w[:, 5] = amax
tensors["mx_rules.x"] = w
for element, dtype in [("float4_e2m1fn", torch.float4_e2m1fn_x2), ("float8_e4m3fn", torch.float8_e4m3fn)]:
    for mode in ScaleCalculationMode:
        scales, _ = to_mx(torch.from_numpy(w), dtype, 32, mode)
        tensors[f"mx_rules.{element}.{mode.value}"] = scales.view(torch.uint8).numpy().reshape(-1)
manifest["mx_rules"] = {"oracle": "torchao", "version": torchao.__version__, "cases": len(amax)}

# NF4: bitsandbytes on the CPU; its codes are packed high nibble first
w = weights(8, 256)
packed, state = bnb.quantize_4bit(torch.from_numpy(w), blocksize=64, quant_type="nf4")
packed = packed.numpy().reshape(-1)
codes = np.stack([packed >> 4, packed & 15], 1).reshape(w.shape).astype(np.uint8)
tensors["nf4_b64.x"], tensors["nf4_b64.codes"] = w, codes
tensors["nf4_b64.scales"] = state.absmax.numpy().reshape(8, 4)
tensors["nf4_b64.values"] = bnb.dequantize_4bit(torch.from_numpy(packed.reshape(-1, 1)), state).numpy()
tensors["nf4.values"] = state.code.numpy()
manifest["schemes"]["nf4_b64"] = {"oracle": "bitsandbytes (CPU)", "version": version(bitsandbytes), "shape": [8, 256]}

# Integers in groups: torch, the affine quantiser of the peers (round half to even, zero in range)
for name, bits, symmetric, group in [("int4_g64_sym", 4, True, 64), ("int4_g32_asym", 4, False, 32), ("int8_channel_sym", 8, True, 256)]:
    w = torch.from_numpy(weights(8, 256))
    x = w.reshape(8, -1, group)
    if symmetric:
        s = (x.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1))
        s[s == 0] = 1
        q = torch.clamp(torch.round(x / s), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        z = torch.zeros_like(s)
    else:
        hi, lo = x.amax(-1, keepdim=True).clamp_min(0), x.amin(-1, keepdim=True).clamp_max(0)
        s = ((hi - lo) / (2**bits - 1))
        s[s == 0] = 1
        z = torch.clamp(torch.round(-lo / s), 0, 2**bits - 1)
        q = torch.clamp(torch.round(x / s) + z, 0, 2**bits - 1)
        tensors[f"{name}.zeros"] = z.reshape(8, -1).numpy()
    tensors[f"{name}.x"] = w.numpy()
    tensors[f"{name}.codes"] = (q.reshape(8, -1).to(torch.int32).numpy() & (2**bits - 1)).astype(np.uint8)
    tensors[f"{name}.scales"] = s.reshape(8, -1).numpy()
    tensors[f"{name}.values"] = ((q - z) * s).reshape(8, -1).numpy()
    manifest["schemes"][name] = {"oracle": "torch", "version": torch.__version__, "shape": [8, 256]}

out = sys.argv[1]
tensors = {k: np.ascontiguousarray(v) for k, v in sorted(tensors.items())}
save_file(tensors, f"{out}/formats.safetensors")
with open(f"{out}/manifest.json", "w") as f:
    json.dump(manifest, f, indent=2)
    f.write("\n")
print(len(tensors), "tensors")
