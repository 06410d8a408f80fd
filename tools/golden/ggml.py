#!/usr/bin/env python3
"""Golden blocks of every ggml type, from gguf (Python) and ggml (C, by ctypes on llama-cpp-python).

usage: ggml.py OUT_DIR        (OUT_DIR is tests/golden/ggml)

Writes ggml.safetensors and manifest.json. For every type T:
  T.decode.bytes   U8 [blocks, bytes of a block]: random bytes with finite scales, and blocks that
                   ggml made of random weights
  T.decode.values  F32 [blocks, elements]: gguf's values of them; ggml's where gguf has no decoder
  T.x              F32 [rows, columns], random weights
  T.bytes          U8, gguf's blocks of them (ggml's where gguf has no encoder), for types whose
                   encoding is fixed
For types that are searched for, encoded by ggml without and with an importance of each column:
  search.x, search.importance, and the errors of ggml's blocks in the manifest: mean square, and
  mean square weighted by the importance.
Needs: numpy, gguf 0.19, llama-cpp-python 0.3.36, safetensors.
"""
import ctypes
import importlib.metadata
import json
import os
import sys

import llama_cpp
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants
from safetensors.numpy import save_file

rng = np.random.default_rng(20261125)
folder = os.path.join(os.path.dirname(llama_cpp.__file__), "lib")
lib = ctypes.CDLL(os.path.join(folder, "libggml-base.so"))
lib.ggml_quantize_chunk.restype = ctypes.c_size_t
lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
lib.ggml_type_size.restype = ctypes.c_size_t
lib.ggml_blck_size.restype = ctypes.c_int64
pointer = lambda a: None if a is None else a.ctypes.data_as(ctypes.c_void_p)

FIXED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0"]
SEARCHED = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
GRIDS = ["IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M"]
INNER = {"Q8_1": "q8_1", "Q8_K": "q8_K"}
# Where the scales of a block are, as little-endian f16 (or f32), and bytes whose top bit is unused.
F16 = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q8_1": [0, 2], "Q1_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0],
    "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0],
    "IQ3_XXS": [0], "IQ3_S": [0], "IQ1_S": [0],
}  # fmt: skip


def size_of(name):
    return lib.ggml_blck_size(int(Type[name])), lib.ggml_type_size(int(Type[name]))


def decode(name, blocks):
    if Type[name] in quants._type_traits:
        return quants.dequantize(blocks, Type[name]), "gguf"
    count, _ = size_of(name)
    y = np.zeros((len(blocks), count), np.float32)
    if name == "Q8_1":  # ggml only multiplies by these: d * q is what it sums
        d = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        return d * blocks[:, 4:].view(np.int8).astype(np.float32), "numpy"
    function = getattr(lib, f"dequantize_row_{INNER.get(name, name.lower())}")
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    function(pointer(blocks), pointer(y), y.size)
    return y, "ggml"


def encode(name, x, importance=None):
    count, size = size_of(name)
    rows, columns = x.shape
    out = np.zeros((rows, columns // count, size), np.uint8)
    if name in INNER:
        function = getattr(lib, f"quantize_row_{INNER[name]}_ref")
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        function(pointer(x), pointer(out), x.size)
    else:
        lib.ggml_quantize_chunk(int(Type[name]), pointer(x), pointer(out), 0, rows, columns, pointer(importance))
    return out.reshape(-1, size)


def random_blocks(name, number):
    _, size = size_of(name)
    blocks = rng.integers(0, 256, (number, size), dtype=np.uint8)
    for at in F16.get(name, []):
        scale = (rng.standard_normal(number) * 0.01).astype(np.float16)
        blocks[:, at : at + 2] = scale.view(np.uint8).reshape(number, 2)
    if name == "Q8_K":
        blocks[:, :4] = (rng.standard_normal(number) * 0.01).astype(np.float32).view(np.uint8).reshape(number, 4)
    if name == "IQ1_M":  # the exponent of the spread f16 scale is not all ones
        blocks[:, 55] &= 0xBF
    if name == "NVFP4":
        blocks[:, :4] &= 0x7F
        blocks[0, :4] = [0, 0x7F, 0x7E, 1]
    if name == "MXFP4":
        blocks[:4, 0] = [0, 1, 2, 254]
    return blocks


def weights(rows, columns):
    x = rng.standard_normal((rows, columns)) * np.exp(rng.standard_normal((rows, 1)) * 0.3) * 0.05
    x *= np.where(rng.random((rows, columns)) < 0.01, 4, 1)
    return x.astype(np.float32)


tensors, types = {}, {}
for name in FIXED + SEARCHED + GRIDS + list(INNER):
    count, size = size_of(name)
    blocks = random_blocks(name, 12 if count < 256 else 4)
    importance = np.ones(count, np.float32) if name in GRIDS else None
    if name in GRIDS:
        lib.ggml_quantize_init(int(Type[name]))
    real = encode(name, weights(2, count), importance)
    blocks = np.concatenate([blocks, real])
    values, oracle = decode(name, blocks)
    tensors[f"{name}.decode.bytes"], tensors[f"{name}.decode.values"] = blocks, values
    types[name] = {"decode": oracle}
    if name in FIXED + list(INNER):
        x = weights(3, max(count, 128))
        x[1, : count // 2] = 0
        x[2, :count] = 0
        tensors[f"{name}.x"], tensors[f"{name}.bytes"] = x, encode(name, x)
        types[name]["encode"] = "ggml"
        try:  # gguf's bytes are ggml's, but for the sign of the scale of zeros (Q4_0, Q5_0)
            made = quants.quantize(x, Type[name]).reshape(-1, size)
            zeros = np.all(x.reshape(-1, count) == 0, axis=1)
            assert np.array_equal(made[~zeros], tensors[f"{name}.bytes"][~zeros]), name
            tensors[f"{name}.bytes"], types[name]["encode"] = made, "gguf"
        except NotImplementedError:
            pass

x = weights(8, 512)
importance = np.exp(rng.standard_normal(512) * 1.0).astype(np.float32)
tensors["search.x"], tensors["search.importance"] = x, importance
for name in SEARCHED:
    error = lambda blocks, w: float(np.mean(w * (decode(name, blocks)[0].reshape(x.shape).astype(np.float64) - x) ** 2))
    types[name]["search"] = {
        "mean_square": error(encode(name, x), np.ones(512)),
        "weighted": error(encode(name, x, importance), importance.astype(np.float64)),
    }
save_file(tensors, os.path.join(sys.argv[1], "ggml.safetensors"))
versions = {name: importlib.metadata.version(name) for name in ("gguf", "llama-cpp-python", "numpy")}
with open(os.path.join(sys.argv[1], "manifest.json"), "w") as file:
    json.dump({"versions": versions, "types": types}, file, indent=2)
    file.write("\n")
