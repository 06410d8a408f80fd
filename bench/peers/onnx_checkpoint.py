"""A GGUF checkpoint as the folder that transformers.js reads: f32 ONNX, for bench/language.ts.

    python bench/peers/onnx_checkpoint.py MODEL.gguf FOLDER

FOLDER gets config.json, the tokenizer and onnx/model.onnx. Needs the packages of requirements.txt.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import onnx
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(source, out):
    folder, file = os.path.split(os.path.realpath(source))
    out = pathlib.Path(out)
    (out / "onnx").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        plain, made = f"{work}/plain", f"{work}/made"
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
        # its weights are f32 now, which the library does not notice
        model.hf_quantizer = None
        model.config.__dict__.pop("quantization_config", None)
        model.save_pretrained(plain)
        AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(plain)
        builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        options = ["-i", plain, "-o", made, "-p", "fp32", "-e", "cpu", "-c", f"{work}/cache"]
        subprocess.run([*builder, *options, "--extra_options", "hf_token=false"], check=True)
        graph = onnx.load(f"{made}/model.onnx")
        # the runtime in JavaScript makes an empty cache of the shape that is written here
        for value in graph.graph.input:
            for size in value.type.tensor_type.shape.dim:
                if size.dim_param == "kv_cache_dim":
                    size.dim_value = model.config.head_dim
        onnx.save(graph, str(out / "onnx/model.onnx"))
        for name in pathlib.Path(plain).glob("*.json"):
            shutil.copy(name, out / name.name)


main(*sys.argv[1:])
