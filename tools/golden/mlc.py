#!/usr/bin/env python3
"""Makes tests/golden/mlc: folders as MLC lays them out, with the values that its codes stand for.

usage: mlc.py OUTDIR      (needs numpy)

There is no package of MLC to run here, so this follows its documented layout: q4f16_1 and q4f32_1 have
groups of 32 along the input, scale = absmax / 7, code = round(w / scale + 7) within 0 to 14, eight codes
in a uint32 from the lowest bits up; q0f16 is plain. A record of the format f32-to-bf16 keeps the upper
halves of f32.
"""

import hashlib
import json
import os
import sys

import numpy as np


def quantise(w, dtype):
    rows, columns = w.shape
    groups = w.reshape(rows, columns // 32, 32)
    scale = (np.abs(groups).max(2) / 7).astype(dtype)
    codes = np.clip(np.round(groups / scale[..., None].astype(np.float32) + 7), 0, 14).astype(np.uint32)
    words = (codes.reshape(rows, columns // 8, 8) << (4 * np.arange(8, dtype=np.uint32))).sum(2, dtype=np.uint32)
    values = (codes.astype(np.float32) - 7) * scale[..., None].astype(np.float32)
    return words, scale, values.reshape(rows, columns)


def main(out):
    expected = dict(made_by=f"numpy {np.__version__}")
    for name, dtype, coded in (("q4f16_1", np.float16, True), ("q4f32_1", np.float32, True), ("q0f16", np.float16, False)):
        rng = np.random.default_rng(5)
        weight = rng.normal(size=(6, 64)).astype(np.float32)
        norm = rng.normal(size=64).astype(np.float32)
        if coded:
            words, scale, values = quantise(weight, dtype)
            shards = [[("layer.q_weight", words, "raw"), ("layer.q_scale", scale, "raw")]]
        else:
            values = weight.astype(np.float16)
            shards = [[("layer.weight", values, "raw")]]
        shards.append([("norm.weight", norm, "f32-to-bf16" if dtype == np.float32 else "raw")])
        folder = os.path.join(out, name)
        os.makedirs(folder, exist_ok=True)
        records = []
        for i, tensors in enumerate(shards):
            data, inside = b"", []
            for key, value, form in tensors:
                raw = value.tobytes() if form == "raw" else (value.view(np.uint32) >> 16).astype(np.uint16).tobytes()
                inside.append(dict(name=key, shape=list(value.shape), dtype=str(value.dtype), format=form,
                                   nbytes=len(raw), byteOffset=len(data)))
                data += raw
            path = f"params_shard_{i}.bin"
            with open(os.path.join(folder, path), "wb") as f:
                f.write(data)
            records.append(dict(dataPath=path, format="raw-shard", nbytes=len(data), records=inside,
                                md5sum=hashlib.md5(data).hexdigest()))
        with open(os.path.join(folder, "ndarray-cache.json"), "w") as f:
            json.dump(dict(metadata=dict(ParamSize=3), records=records), f)
        with open(os.path.join(folder, "mlc-chat-config.json"), "w") as f:
            json.dump(dict(model_type="llama", quantization=name, model_config=dict(hidden_size=64)), f)
        if dtype == np.float32:
            norm = ((norm.view(np.uint32) >> 16) << 16).view(np.float32)
        expected[name] = dict(weight=values.astype(np.float64).flatten().tolist(),
                              norm=norm.astype(np.float64).tolist())
    with open(os.path.join(out, "expected.json"), "w") as f:
        json.dump(expected, f)


if __name__ == "__main__":
    main(*sys.argv[1:])
