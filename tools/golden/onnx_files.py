"""Golden ONNX files by the onnx package: python tools/golden/onnx_files.py tests/golden/onnx

Initializers as raw data, as numbers of the protocol, and as external data.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def bits(values):
    return np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).reshape(-1).tolist()


def model(initializers):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([node], "g", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


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
    large = {"a": np.arange(8, dtype=np.float32), "b": np.ones((2, 2), np.float32)}
    onnx.save(
        model([numpy_helper.from_array(a, n) for n, a in large.items()]),
        folder / "external.onnx", save_as_external_data=True, all_tensors_to_one_file=True,
        location="external.bin", size_threshold=0,
    )
    entries = lambda of: [
        {"name": n, "shape": list(a.shape), "bits": bits(a.astype(np.float32))} for n, a in of.items()
    ]
    expected = {
        "versions": {"onnx": onnx.__version__, "numpy": np.__version__},
        "files": {
            "inline.onnx": entries(arrays),
            "numbers.onnx": entries(arrays),
            "external.onnx": entries(large),
        },
    }
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
