"""Golden files of arrays and pickled checkpoints, written by NumPy and PyTorch.

    python tools/golden/tensors.py tests/golden/tensors

Needs numpy and torch; their versions are written into expected.json, beside the bits of the f32
values that every tensor must have. Nothing of lowbit is used.
"""

import collections
import json
import pathlib
import sys

import numpy as np
import torch


def bits(values):
    return np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).reshape(-1).tolist()


def entry(name, array):
    return {"name": name, "shape": list(array.shape), "bits": bits(array)}


def arrays():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 8 - 1
    result = {
        "f4_c": x,
        "f4_fortran": np.asfortranarray(x),
        "f8_big": x.astype(">f8"),
        "f2": x.astype(np.float16),
        "i8": np.array([-(2**53) - 1, 7], dtype=np.int64),
        "u1": np.arange(5, dtype=np.uint8),
        "i2_big_fortran": np.asfortranarray(np.arange(6).reshape(2, 3).astype(">i2")),
        "bool": np.array([True, False, True]),
        "scalar": np.array(2.5, dtype=np.float32),
        "empty": np.zeros((0, 3), dtype=np.float32),
    }
    return result


def tensors():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(6, 8, generator=g)
    result = collections.OrderedDict()
    result["f32"] = x
    result["bf16"] = x.to(torch.bfloat16)
    result["f16.transposed"] = x.to(torch.float16).t()
    result["f64"] = x.double()[::2, 1:5]
    result["column"] = x[:, 3]
    result["expanded"] = torch.tensor([1.5, -2.0]).expand(3, 2)
    result["permuted"] = torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1)
    result["i32"] = torch.arange(4, dtype=torch.int32)
    result["i16"] = torch.tensor([-3, 7], dtype=torch.int16)
    result["i8"] = torch.tensor([-128, 127], dtype=torch.int8)
    result["u8"] = torch.arange(3, dtype=torch.uint8)
    result["bool"] = torch.tensor([True, False])
    result["scalar"] = torch.tensor(3.25)
    result["empty"] = torch.zeros(0, 4)
    result["parameter"] = torch.nn.Parameter(torch.ones(2, 2))
    result["__proto__"] = torch.tensor([9.0])
    return result


def values(tensor):
    return tensor.detach().to(torch.float32).contiguous().numpy()


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    expected = {"versions": {"numpy": np.__version__, "torch": torch.__version__}, "files": {}}
    files = expected["files"]
    for name, array in arrays().items():
        np.save(folder / f"{name}.npy", array)
        files[f"{name}.npy"] = [entry(name, array.astype(np.float32))]
    listing = [entry(name, array.astype(np.float32)) for name, array in arrays().items()]
    np.savez(folder / "stored.npz", **arrays())
    np.savez_compressed(folder / "deflated.npz", **arrays())
    files["stored.npz"] = files["deflated.npz"] = listing
    state = tensors()
    torch.save(state, folder / "zip.pt")
    torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(state, folder / "protocol4.pt", pickle_protocol=4)
    listing = [entry(name, values(t)) for name, t in state.items()]
    files["zip.pt"] = files["legacy.pt"] = files["protocol4.pt"] = listing
    newer = {
        "f8_e4m3": torch.arange(256).to(torch.uint8).view(torch.float8_e4m3fn),
        "f8_e5m2": torch.arange(256).to(torch.uint8).view(torch.float8_e5m2),
        "u16": torch.tensor([0, 65535], dtype=torch.uint16),
    }
    torch.save({"epoch": 3, "state": newer, "list": [torch.ones(1)]}, folder / "nested.pt")
    files["nested.pt"] = [entry(f"state.{n}", values(t)) for n, t in newer.items()] + [
        entry("list.0", np.ones(1))
    ]
    linear = torch.nn.Linear(3, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.arange(6).reshape(2, 3) / 4)
        linear.bias.copy_(torch.tensor([1.0, -1.0]))
    torch.save(linear.state_dict(), folder / "module.pt")
    files["module.pt"] = [entry(n, values(t)) for n, t in linear.state_dict().items()]
    # Python code in the place of tensors: must be refused, and must not run.
    torch.save({"x": print}, folder / "code.pt")
    shards = folder / "sharded"
    shards.mkdir(exist_ok=True)
    torch.save({"a": torch.ones(2)}, shards / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.zeros(1, 3)}, shards / "pytorch_model-00002-of-00002.bin")
    index = {
        "metadata": {"total_size": 20},
        "weight_map": {
            "a": "pytorch_model-00001-of-00002.bin",
            "b": "pytorch_model-00002-of-00002.bin",
        },
    }
    (shards / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (shards / "config.json").write_text("{}")
    files["sharded"] = [entry("a", np.ones(2)), entry("b", np.zeros((1, 3)))]
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
