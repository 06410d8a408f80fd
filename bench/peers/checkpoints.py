"""Reading and quantising whole checkpoints, by safetensors, gguf-py and llama.cpp.

    python bench/peers/checkpoints.py safetensors FOLDER
    python bench/peers/checkpoints.py dequantize FILE.gguf
    python bench/peers/checkpoints.py quantize IN.gguf OUT.gguf      to Q4_0, on two threads

Prints one JSON document: seconds, and the version of the program.
"""

import importlib.metadata
import json
import pathlib
import sys
import time


def read_safetensors(folder):
    from safetensors import safe_open

    start = time.perf_counter()
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                # A copy, as the bytes would otherwise only be mapped.
                file.get_tensor(name).clone()
    return time.perf_counter() - start, "safetensors"


def dequantize(path):
    import gguf

    start = time.perf_counter()
    for tensor in gguf.GGUFReader(path).tensors:
        gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    return time.perf_counter() - start, "gguf"


def quantize(source, out):
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.nthread = 2
    parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
    parameters.pure = True
    start = time.perf_counter()
    status = llama_cpp.llama_model_quantize(source.encode(), out.encode(), parameters)
    assert status == 0, status
    return time.perf_counter() - start, "llama_cpp_python"


if __name__ == "__main__":
    work = {"safetensors": read_safetensors, "dequantize": dequantize, "quantize": quantize}
    seconds, package = work[sys.argv[1]](*sys.argv[2:])
    version = importlib.metadata.version(package)
    print(json.dumps({"seconds": seconds, "peer": f"{package} {version}"}))
