"""Golden files of containers and packed dialects, made and read by other implementations.

    python tools/golden/containers.py golden tests/golden/containers
    python tools/golden/containers.py llama OUT            a small random Llama folder
    python tools/golden/containers.py load DIR EXPECTED MODE
                                                           load DIR with transformers, compare weights;
                                                           MODE is dequantized or compressed
    python tools/golden/containers.py gguf FILE EXPECTED   read FILE with the gguf package, compare

`golden` needs numpy, ml_dtypes, safetensors, gguf, torch and compressed-tensors; the versions are
written into expected.json. EXPECTED is a safetensors file with the F32 values that are expected,
by the names of the weights. The comparisons are exact and exit with 1 at the first difference.
`load` also accepts the expected values rounded to the type of the scales, in which
compressed-tensors multiplies, and says how many weights were equal which way.
transformers 5.24 loads asymmetric weights only with MODE dequantized (its empty model does not pack
zero points), and several config groups only with MODE compressed (it decompresses all by the first).
"""

import importlib.metadata
import json
import pathlib
import sys

import numpy as np

PACKAGES = ["numpy", "ml_dtypes", "safetensors", "gguf", "torch", "compressed-tensors"]


def bits(values):
    """The bits of f32 values, as a flat list."""
    return np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).reshape(-1).tolist()


def write_dtypes(folder, expected):
    """A safetensors file with every dtype; scalars, empty tensors and odd names among them."""
    import ml_dtypes
    from safetensors.numpy import save_file

    edges = np.array([0, -0.0, 1, -1.5, 65504, 65519, 1e-8, 6e-8, 3.4e38, np.inf, -np.inf, np.nan])
    float_edges = edges.astype(np.float32)
    every = np.arange(256, dtype=np.uint8)
    with np.errstate(over="ignore"):
        tensors = {
            "f64": np.array([[1 / 3, -2.5], [1e300, 1e-300]]),
            "f32": float_edges.reshape(3, 4),
            "f16": np.arange(0, 65536, 257).astype(np.uint16).view(np.float16),
            "bf16": np.arange(0, 65536, 257).astype(np.uint16).view(ml_dtypes.bfloat16),
            "i64": np.array([0, -1, 2**53 + 1, -(2**63), 2**63 - 1, 16777217]),
            "i32": np.array([0, -1, 2**31 - 1, -(2**31), 16777217], dtype=np.int32),
            "i16": np.array([0, -1, 32767, -32768], dtype=np.int16),
            "i8": every.view(np.int8),
            "u64": np.array([0, 2**64 - 1, 2**53 + 1], dtype=np.uint64),
            "u32": np.array([0, 2**32 - 1, 16777217], dtype=np.uint32),
            "u16": np.array([0, 65535], dtype=np.uint16),
            "u8": every,
            "bool": np.array([True, False, True]),
            "f8_e4m3": every.view(ml_dtypes.float8_e4m3fn),
            "f8_e5m2": every.view(ml_dtypes.float8_e5m2),
            "scalar": np.array(2.5, dtype=np.float32),
            "empty": np.zeros((0, 3), dtype=np.float32),
            "__proto__": np.array([7], dtype=np.float32),
            "naïve \"name\"\n": np.array([8], dtype=np.float32),
        }
        save_file(tensors, str(folder / "dtypes.safetensors"), {"made": "golden"})
        expected["dtypes.safetensors"] = [
            {"name": name, "shape": list(a.shape), "bits": bits(a.astype(np.float32))}
            for name, a in tensors.items()
        ]


def write_gguf(folder, expected):
    """A GGUF file with every value type and the tensor types that are read."""
    import gguf
    from gguf import GGMLQuantizationType as T

    rng = np.random.default_rng(7)
    x = (rng.standard_normal((4, 96)) * 0.1).astype(np.float32)
    x[1, 32:64] = 0
    x[2, :32] = 1
    writer = gguf.GGUFWriter(str(folder / "golden.gguf"), "llama")
    writer.add_uint8("t.uint8", 255)
    writer.add_int8("t.int8", -128)
    writer.add_uint16("t.uint16", 65535)
    writer.add_int16("t.int16", -32768)
    writer.add_uint32("t.uint32", 2**32 - 1)
    writer.add_int32("t.int32", -(2**31))
    writer.add_float32("t.float32", 0.1)
    writer.add_float64("t.float64", 0.1)
    writer.add_uint64("t.uint64", 2**64 - 1)
    writer.add_int64("t.int64", -(2**63))
    writer.add_bool("t.bool", True)
    writer.add_string("t.string", "größer")
    writer.add_array("t.strings", ["a", "", "▁b"])
    writer.add_array("t.ints", [1, -2, 3])
    writer.add_array("t.floats", [0.5, -0.25])
    types = [T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0]
    expected["golden.gguf"] = []
    for t in types:
        if t in (T.F32, T.F16):
            data = x.astype(np.float32 if t == T.F32 else np.float16)
            values = data.astype(np.float32)
            writer.add_tensor(t.name.lower(), data)
        else:
            data = gguf.quants.quantize(x, t)
            values = gguf.quants.dequantize(data, t).reshape(x.shape)
            writer.add_tensor(t.name.lower(), data, raw_dtype=t)
        expected["golden.gguf"].append(
            {"name": t.name.lower(), "type": t.name, "shape": list(x.shape), "bits": bits(values)}
        )
    writer.add_tensor("vector", np.array([1, 2, 3], dtype=np.float32))
    expected["golden.gguf"].append(
        {"name": "vector", "type": "F32", "shape": [3], "bits": bits([1, 2, 3])}
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_compressed_tensors(folder, expected):
    """A pack-quantized checkpoint made by the compressor of compressed-tensors itself."""
    import torch
    from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from safetensors.torch import save_file

    torch.manual_seed(3)
    cases = {
        "int4_group_sym": dict(num_bits=4, symmetric=True, strategy="group", group_size=32),
        "int4_group_asym": dict(num_bits=4, symmetric=False, strategy="group", group_size=32),
        "int8_channel_sym": dict(num_bits=8, symmetric=True, strategy="channel"),
        "int8_channel_asym": dict(num_bits=8, symmetric=False, strategy="channel"),
    }
    state, groups, out = {}, {}, []
    for i, (name, arguments) in enumerate(cases.items()):
        args = QuantizationArgs(type="int", **arguments)
        scheme = QuantizationScheme(targets=[f"{name}.linear"], weights=args)
        weight = torch.randn(9, 64) * 0.1
        grid = weight.reshape(9, 2, 32) if "group" in name else weight.reshape(9, 1, 64)
        levels, half = 2**args.num_bits - 1, 2 ** (args.num_bits - 1)
        if args.symmetric:
            scale = (grid.abs().amax(-1) / (levels / 2)).to(torch.float32)
            zero = torch.zeros_like(scale, dtype=torch.int8)
        else:
            low, high = grid.amin(-1).clamp(max=0), grid.amax(-1).clamp(min=0)
            scale = (high - low) / levels
            zero = (torch.round(-low / scale) - half).clamp(-half, half - 1).to(torch.int8)
        parts = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero}
        packed = PackedQuantizationCompressor.compress(parts, scheme)
        if args.symmetric:
            packed.pop("weight_zero_point", None)
        values = PackedQuantizationCompressor.decompress(packed, scheme)["weight"]
        state.update({f"{name}.linear.{key}": value.contiguous() for key, value in packed.items()})
        groups[f"group_{i}"] = {"targets": scheme.targets, "weights": json.loads(args.model_dump_json())}
        out.append({"name": f"{name}.linear.weight", "shape": [9, 64], "bits": bits(values.numpy())})
    target = folder / "compressed_tensors"
    target.mkdir(exist_ok=True)
    save_file(state, str(target / "model.safetensors"), {"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "quantization_config": {
            "config_groups": groups,
            "format": "pack-quantized",
            "ignore": [],
            "quant_method": "compressed-tensors",
            "quantization_status": "compressed",
        },
    }
    (target / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    expected["compressed_tensors"] = out


def golden(folder):
    folder.mkdir(parents=True, exist_ok=True)
    expected = {"versions": {name: importlib.metadata.version(name) for name in PACKAGES}}
    write_dtypes(folder, expected)
    write_gguf(folder, expected)
    write_compressed_tensors(folder, expected)
    (folder / "expected.json").write_text(json.dumps(expected, sort_keys=True) + "\n")


def llama(folder):
    """A small random Llama with grouped heads and tied embeddings, saved by transformers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def load(folder, expected, mode):
    """Loads a folder with transformers, dequantised at load or by running it."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM
    from transformers.utils.quantization_config import CompressedTensorsConfig

    wanted = load_file(expected)
    stored = load_file(pathlib.Path(folder) / "model.safetensors")
    model, info = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        quantization_config=CompressedTensorsConfig(dequantize=mode == "dequantized"),
        output_loading_info=True,
    )
    problems = {key: value for key, value in info.items() if value}
    if problems:
        sys.exit(f"{mode}: loading reports {problems}")
    ids = torch.arange(24).reshape(1, 24) % 96
    logits = model(ids).logits
    modules = dict(model.named_modules())
    exact = rounded = 0
    for name, values in wanted.items():
        weight = modules[name.removesuffix(".weight")].weight.detach().float()
        scale = stored.get(f"{name}_scale")
        if torch.equal(weight, values):
            exact += 1
        elif scale is not None and torch.equal(weight, values.to(scale.dtype).float()):
            rounded += 1
        else:
            sys.exit(f"{mode}: {name} differs")
    finite = bool(logits.isfinite().all())
    print(f"{mode}: {exact} weights equal, {rounded} equal after rounding; logits finite: {finite}")


def read_gguf(file, expected):
    import gguf
    from safetensors.numpy import load_file

    wanted = load_file(expected)
    reader = gguf.GGUFReader(file)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if set(tensors) != set(wanted):
        sys.exit(f"the names differ: {sorted(set(tensors) ^ set(wanted))}")
    for name, values in wanted.items():
        tensor = tensors[name]
        found = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        shape = [int(n) for n in reversed(tensor.shape)]
        if shape != list(values.shape):
            sys.exit(f"{name}: shape {shape}, expected {list(values.shape)}")
        if bits(found) != bits(values):
            sys.exit(f"{name}: values differ")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    print(f"{len(wanted)} tensors equal; file_type {fields.get('general.file_type')}")


def main():
    match sys.argv[1:]:
        case ["golden", folder]:
            golden(pathlib.Path(folder))
        case ["llama", folder]:
            llama(folder)
        case ["load", folder, expected, ("dequantized" | "compressed") as mode]:
            load(folder, expected, mode)
        case ["gguf", file, expected]:
            read_gguf(file, expected)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
