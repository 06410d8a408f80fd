"""Golden ONNX files by the onnx package: python tools/golden/onnx_files.py tests/golden/onnx

Initializers as raw data, as numbers of the protocol, and as external data; INT4 and UINT4 weights,
whose values are those of the reference evaluator of onnx, turned where MatMul takes inputs x outputs.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def bits(values):
    return np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).reshape(-1).tolist()


def model(initializers):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([node], "g", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def qdq():
    """Weights of 4 bits: blocks along either axis, channels of either axis, one scale; with what they are."""
    rng = np.random.default_rng(4)
    kinds = {
        "turned_blocks": (True, (64, 6), (4, 6), {"axis": 0, "block_size": 16}),
        "signed_blocks": (False, (32, 5), (2, 5), {"axis": 0, "block_size": 16}),
        "row_blocks": (True, (6, 32), (6, 2), {"axis": 1, "block_size": 16}),
        "row_channels": (False, (6, 32), (6,), {"axis": 0}),
        "turned_channels": (True, (33, 6), (6,), {"axis": 1}),
        "whole": (False, (6, 32), (), {}),
    }
    turned = {"turned_blocks", "signed_blocks", "turned_channels"}
    initializers, nodes, outputs = [], [], []
    for name, (unsigned, shape, grid, attributes) in kinds.items():
        low, high, code = (0, 16, TensorProto.UINT4) if unsigned else (-8, 8, TensorProto.INT4)
        values = rng.integers(low, high, shape)
        initializers.append(helper.make_tensor(f"{name}_quantized", code, shape, values.reshape(-1)))
        scales = rng.uniform(0.01, 0.1, grid).astype(np.float32)
        initializers.append(numpy_helper.from_array(scales, f"{name}_scale"))
        inputs = [f"{name}_quantized", f"{name}_scale"]
        if unsigned:
            zeros = rng.integers(0, 16, grid)
            initializers.append(helper.make_tensor(f"{name}_zero", code, grid, zeros.reshape(-1)))
            inputs.append(f"{name}_zero")
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name], **attributes))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    graph = helper.make_graph(nodes, "g", [], outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    read = dict(zip(kinds, ReferenceEvaluator(made).run(None, {})))
    return made, {n: a.T if n in turned else a for n, a in read.items()}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "f32": np.arange(6, dtype=np.float32).reshape(2, 3) - 2.5,
        "f16": np.array([1.5, -0.25], np.float16),
        "f64": np.array([1 / 3]),
        "i64": np.array([-1, 7]),
        "i32": np.array([-5], np.int32),
        "i8": np.array([-128, 127], np.int8),
        "u8": np.arange(4, dtype=np.uint8),
        "bool": np.array([True, False]),
        "scalar": np.array(2.0, np.float32),
        "empty": np.zeros((0, 2), np.float32),
    }
    raw = [numpy_helper.from_array(a, n) for n, a in arrays.items()]
    onnx.save(model(raw), folder / "inline.onnx")
    numbers = [
        helper.make_tensor(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape, a.reshape(-1))
        for n, a in arrays.items()
    ]
    onnx.save(model(numbers), folder / "numbers.onnx")
    # The package appends to a file that is there, and the offsets would change with every run.
    (folder / "external.bin").unlink(missing_ok=True)
    large = {"a": np.arange(8, dtype=np.float32), "b": np.ones((2, 2), np.float32)}
    onnx.save(
        model([numpy_helper.from_array(a, n) for n, a in large.items()]),
        folder / "external.onnx", save_as_external_data=True, all_tensors_to_one_file=True,
        location="external.bin", size_threshold=0,
    )
    made, weights = qdq()
    onnx.save(made, folder / "qdq4.onnx")
    entries = lambda of: [
        {"name": n, "shape": list(a.shape), "bits": bits(a.astype(np.float32))} for n, a in of.items()
    ]
    expected = {
        "versions": {"onnx": onnx.__version__, "numpy": np.__version__},
        "files": {
            "inline.onnx": entries(arrays),
            "numbers.onnx": entries(arrays),
            "external.onnx": entries(large),
            "qdq4.onnx": entries(weights),
        },
    }
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
