"""Casts of other implementations, one thread, for bench/encode.ts.

Reads a line `CASE COUNT` and answers with the CPU seconds that the cast of COUNT f32 numbers took; the
first line of output is a JSON object of package versions. Needs the packages of requirements.txt.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np

packages = ["ml_dtypes", "torch", "torchao", "bitsandbytes", "gguf"]
cases = {}
rng = np.random.default_rng(0)
arrays = {}


def numbers(count):
    if count not in arrays:
        arrays[count] = (rng.standard_normal(count) * 0.05).astype(np.float32).reshape(-1, 1024)
    return arrays[count]


import ml_dtypes

cases["float8_e4m3fn/ml_dtypes"] = lambda x: x.astype(ml_dtypes.float8_e4m3fn)
cases["float8_e5m2/ml_dtypes"] = lambda x: x.astype(ml_dtypes.float8_e5m2)
cases["float4_e2m1fn/ml_dtypes"] = lambda x: x.astype(ml_dtypes.float4_e2m1fn)
cases["float6_e2m3fn/ml_dtypes"] = lambda x: x.astype(ml_dtypes.float6_e2m3fn)

import torch

torch.set_num_threads(1)
from torchao.prototype.mx_formats.mx_tensor import to_mx

tensor = lambda x: torch.from_numpy(x)
cases["mxfp4/torchao"] = lambda x: to_mx(tensor(x), torch.float4_e2m1fn_x2, 32)
cases["mxfp8_e4m3/torchao"] = lambda x: to_mx(tensor(x), torch.float8_e4m3fn, 32)
from torchao.quantization.quant_primitives import (
    MappingType,
    choose_qparams_affine,
    quantize_affine,
)


def int4_groups(x):
    t, block = tensor(x), (1, 32)
    scale, zero = choose_qparams_affine(
        t, MappingType.SYMMETRIC, block, torch.int8, quant_min=-8, quant_max=7
    )
    return quantize_affine(t, block, scale, zero, torch.int8, quant_min=-8, quant_max=7)


cases["int4_g32_sym/torchao"] = int4_groups
import bitsandbytes.functional as bnb

cases["nf4_b64/bitsandbytes"] = lambda x: bnb.quantize_4bit(
    tensor(x), quant_type="nf4", blocksize=64
)
import gguf

for kind in ("Q4_0", "Q8_0", "MXFP4"):
    quantize = lambda x, k=kind: gguf.quantize(x, gguf.GGMLQuantizationType[k])
    cases[f"{kind.lower()}/gguf"] = quantize

packages.append("llama_cpp_python")
import ctypes as C, glob, importlib.util, os

library = os.path.join(os.path.dirname(importlib.util.find_spec("llama_cpp").origin), "lib")
ggml = C.CDLL(glob.glob(f"{library}/libggml-base.so*")[0])
ggml.ggml_quantize_chunk.restype = C.c_size_t
ggml.ggml_quantize_chunk.argtypes = [C.c_int, C.c_void_p, C.c_void_p, *[C.c_int64] * 3, C.c_void_p]


def native(kind, x):
    out = np.empty(x.nbytes, np.uint8)
    rows, columns = x.shape
    ggml.ggml_quantize_chunk(kind, x.ctypes.data, out.ctypes.data, 0, rows, columns, None)


for name, kind in {"q4_0": 2, "q8_0": 8, "q4_k": 12, "mxfp4": 39}.items():
    cases[f"{name}/ggml"] = lambda x, kind=kind: native(kind, x)

print(json.dumps({name: version(name) for name in packages}), flush=True)
for line in sys.stdin:
    name, count = line.split()
    x = numbers(int(count))
    started = time.process_time()
    cases[name](x)
    print(time.process_time() - started, flush=True)
