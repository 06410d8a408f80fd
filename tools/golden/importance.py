#!/usr/bin/env python3
"""An importance matrix by torch, in both forms of llama.cpp, and what its quantiser makes of it.

usage: importance.py MODEL_DIR MODEL.gguf OUT_DIR     (OUT_DIR is tests/golden/importance)

MODEL_DIR is embedded/model; MODEL.gguf: `lowbit convert embedded MODEL.gguf --to gguf:f16 --lossy`
Writes imatrix.gguf (gguf-py), imatrix.dat, and importance.json: the token ids, and for each file type
the errors of llama.cpp's blocks, relative and weighted by the matrix, with and without the matrix.
Needs: torch, transformers, numpy, gguf, llama-cpp-python.
"""
import ctypes
import importlib.metadata
import json
import pathlib
import struct
import sys
import tempfile

import gguf
import llama_cpp
import numpy as np
import torch
from transformers import AutoModelForCausalLM

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS"]
WINDOWS, LENGTH = 4, 128
ROLES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip


def collect(folder, windows):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    sums, rows = {}, {}
    for name, module in model.named_modules():
        role = next((r for r in ROLES if name.endswith(r)), None)
        if role is None:
            continue
        weight = f"blk.{name.split('.')[2]}.{ROLES[role]}.weight"

        def hook(_, inputs, weight=weight):
            x = inputs[0].double().flatten(0, -2)
            sums[weight] = sums.get(weight, 0) + (x * x).sum(0).numpy()
            rows[weight] = rows.get(weight, 0) + len(x)

        module.register_forward_pre_hook(hook)
    with torch.inference_mode():
        for ids in windows:
            model(torch.tensor([ids]), use_cache=False)
    return sums, rows


def write_gguf(path, sums, rows):
    writer = gguf.GGUFWriter(path, "")
    writer.kv_data[0].clear()  # no general.architecture
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["windows of random ids"])
    writer.add_uint32("imatrix.chunk_count", WINDOWS)
    writer.add_uint32("imatrix.chunk_size", LENGTH)
    for name in sorted(sums):
        writer.add_tensor(f"{name}.in_sum2", sums[name].astype(np.float32)[None])
        writer.add_tensor(f"{name}.counts", np.array([[rows[name]]], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_dat(path, sums, rows):
    text = lambda s: struct.pack("<i", len(s)) + s.encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<i", len(sums)))
        for name in sorted(sums):
            calls = -(-rows[name] // LENGTH)
            values = (sums[name] / rows[name] * calls).astype("<f4")
            file.write(text(name) + struct.pack("<ii", calls, len(values)) + values.tobytes())
        file.write(struct.pack("<i", WINDOWS) + text("windows of random ids"))


def quantize(model, path, name, matrix):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
    if matrix:
        Item = llama_cpp.llama_model_imatrix_data
        items = (Item * (len(matrix) + 1))()
        for item, (weight, values) in zip(items, matrix.items()):
            item.name = weight.encode()
            item.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            item.size = len(values)
        params.imatrix = ctypes.cast(items, ctypes.POINTER(Item))
    assert llama_cpp.llama_model_quantize(model.encode(), str(path).encode(), params) == 0
    return gguf.GGUFReader(path).tensors


def read_matrix(path):
    """A matrix by gguf-py, as llama-quantize takes it."""
    found = {t.name: np.asarray(t.data, np.float32) for t in gguf.GGUFReader(path).tensors}
    names = [n[: -len(".in_sum2")] for n in found if n.endswith(".in_sum2")]
    return {n: np.ascontiguousarray((found[f"{n}.in_sum2"] / found[f"{n}.counts"]).ravel()) for n in names}


def errors_of(model, name, matrix, given, folder):
    before = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(model).tensors}
    errors, types = {}, {}
    for t in quantize(model, folder / "out.gguf", name, matrix if given else None):
        if t.name not in matrix:
            continue
        x, w = before[t.name].astype("f8"), matrix[t.name].astype("f8")
        d = gguf.quants.dequantize(t.data, t.tensor_type) - x
        errors[t.name] = float((w * d**2).sum() / (w * x**2).sum()) ** 0.5
        types[t.name] = t.tensor_type.name
    return errors, types


def main(folder, model, out):
    out = pathlib.Path(out)
    out.mkdir(exist_ok=True)
    vocabulary = json.loads((pathlib.Path(folder) / "config.json").read_text())["vocab_size"]
    windows = np.random.default_rng(20261124).integers(0, vocabulary, (WINDOWS, LENGTH)).tolist()
    sums, rows = collect(folder, windows)
    write_gguf(out / "imatrix.gguf", sums, rows)
    write_dat(out / "imatrix.dat", sums, rows)
    matrix = read_matrix(out / "imatrix.gguf")
    document = {"windows": windows, "types": {}, "weighted": {}, "unweighted": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for name in TYPES:
            scratch = pathlib.Path(scratch)
            document["weighted"][name], document["types"][name] = errors_of(model, name, matrix, True, scratch)
            document["unweighted"][name], _ = errors_of(model, name, matrix, False, scratch)
    names = ("torch", "transformers", "gguf", "llama-cpp-python")
    document["made_by"] = {name: importlib.metadata.version(name) for name in names}
    (out / "importance.json").write_text(json.dumps(document, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:4])
