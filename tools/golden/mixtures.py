#!/usr/bin/env python3
"""The block types that llama.cpp's own quantiser gives the tensors of a model, for each mixture.

usage: mixtures.py MODEL.gguf OUT.json     (OUT.json is tests/golden/ggml/mixtures.json)

MODEL.gguf: `lowbit convert embedded MODEL.gguf --to gguf:f16 --lossy`
Needs: llama-cpp-python, gguf.
"""
import importlib.metadata
import json
import pathlib
import sys
import tempfile

import gguf
import llama_cpp

NAMES = ["Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M"]


def main(model, out):
    types, errors = {}, {}
    before = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(model).tensors}
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            params = llama_cpp.llama_model_quantize_default_params()
            params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
            path = pathlib.Path(folder) / f"{name}.gguf"
            assert llama_cpp.llama_model_quantize(model.encode(), str(path).encode(), params) == 0
            tensors = gguf.GGUFReader(path).tensors
            types[name] = {t.name: t.tensor_type.name for t in tensors}
            errors[name] = {}
            for t in tensors:
                if len(t.shape) == 2:
                    x = before[t.name].astype("f8")
                    d = gguf.quants.dequantize(t.data, t.tensor_type) - x
                    errors[name][t.name] = float((d**2).sum() / (x**2).sum()) ** 0.5
    version = importlib.metadata.version("llama-cpp-python")
    document = {"made_by": f"llama-cpp-python {version}", "types": types, "errors": errors}
    pathlib.Path(out).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
