"""onnxruntime: QuantizeLinear by blocks, float8 casts, MatMulNBits and QDQ packing."""

import numpy as np
import onnxruntime as ort
from common import F32, matrix, neighbours, probes
from onnx import TensorProto, helper
from onnxruntime.capi._pybind_state import (
    quantize_matmul_2bits,
    quantize_matmul_4bits,
    quantize_matmul_bnb4,
    quantize_matmul_8bits,
    quantize_qdq_matmul_4bits,
)

TYPES = {
    "int4": TensorProto.INT4,
    "uint4": TensorProto.UINT4,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
}


def run(nodes, inputs, outputs, feeds, initializers=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
        [helper.make_tensor_value_info(n, t, None) for n, t in outputs],
        list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def add(entries):
    elements(entries)
    floats(entries)
    groups(entries)
    packs(entries)
    bnb4(entries)


def quantise(x, scale, zero, kind, block):
    """Codes as int32 of QuantizeLinear with a scale for each block along the last axis, and values."""
    values = zero.astype(np.int64).reshape(-1)
    start = helper.make_tensor("z", TYPES[kind], zero.shape, values.tolist())
    attributes = dict(axis=1, block_size=block) if block else {}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
        helper.make_node("Cast", ["q"], ["c"], to=TensorProto.INT32),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes),
    ]
    return run(
        nodes,
        [("x", TensorProto.FLOAT, x.shape), ("s", TensorProto.FLOAT, scale.shape)],
        [("c", TensorProto.INT32), ("y", TensorProto.FLOAT)],
        {"x": x, "s": scale},
        [start],
    )


def elements(entries):
    for id in TYPES:
        bits = int(id.lstrip("uint"))
        every = np.arange(2**bits)
        table = every - np.where((every >= 2 ** (bits - 1)) & (id[0] == "i"), 2**bits, 0)
        x = probes(f"{id}/ort", table, entries.cases, nan=False, infinite=False, limit=2.0**30)
        codes, _ = quantise(x, np.array(1.0, F32), np.zeros((), np.int64), id, 0)
        entries.number(
            f"{id}/onnxruntime",
            id,
            ("onnxruntime", f"QuantizeLinear(x, 1, 0) to {id}"),
            x,
            (codes & (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16),
            cast={"rounding": "nearest_even", "overflow": "saturate"},
            excluded=["|x| > 2^30, infinities and NaN: converted to int32 first"],
        )


def floats(entries):
    types = {
        "float8_e4m3fn": TensorProto.FLOAT8E4M3FN,
        "float8_e5m2": TensorProto.FLOAT8E5M2,
        "float8_e4m3fnuz": TensorProto.FLOAT8E4M3FNUZ,
        "float8_e5m2fnuz": TensorProto.FLOAT8E5M2FNUZ,
    }
    import ml_dtypes

    for id, kind in types.items():
        table = np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, id)).astype(F32)
        x = probes(f"{id}/ort", table, entries.cases, nan=False)
        nodes = [
            helper.make_node("Cast", ["x"], ["f"], to=kind, saturate=1),
            helper.make_node("Cast", ["f"], ["y"], to=TensorProto.FLOAT),
        ]
        (y,) = run(nodes, [("x", TensorProto.FLOAT, x.shape)], [("y", TensorProto.FLOAT)], {"x": x})
        # Every value has one code, but for -0.
        codes = y.astype(getattr(ml_dtypes, id)).view(np.uint8)
        entries.number(
            f"{id}/onnxruntime",
            id,
            ("onnxruntime", f"Cast(x, to {id}, saturate=1), read back as f32"),
            x,
            codes,
            cast={"rounding": "nearest_even", "overflow": "saturate", "infinity": "saturate"},
            excluded=["saturate=0: wrong on the CPU between 480 and 496 and above 61440", "NaN"],
        )


def parameters(tiles, bits, symmetric):
    """Scales and zero points in f32: absmax / (2^(b-1) - 1), or the range with zero in it."""
    if symmetric:
        scale = np.abs(tiles).max(-1) / F32(2 ** (bits - 1) - 1)
        zero = np.zeros(scale.shape, F32)
    else:
        lo, hi = np.minimum(tiles.min(-1), 0), np.maximum(tiles.max(-1), 0)
        scale = ((hi - lo) / F32(2**bits - 1)).astype(F32)
        zero = np.rint(-lo / np.where(scale == 0, 1, scale)).clip(0, 2**bits - 1) + 0.0
    return np.where(scale == 0, 1, scale).astype(F32), zero.astype(F32)


def groups(entries):
    kinds = [
        (f"int{bits}_{label}_{kind}", bits, size, kind)
        for bits in (4, 8)
        for label, size in (("channel", 0), ("g32", 32), ("g64", 64), ("g128", 128))
        for kind in ("sym", "asym")
    ]
    kinds += [
        ("int8_token", 8, 0, "sym"),
        ("int8_tensor", 8, -1, "sym"),
        ("int8_tensor_static", 8, -1, "sym"),
    ]
    for id, bits, size, kind in kinds:
        w = matrix("affine/ort", entries.rows, 256)
        # One scale for all is that of a matrix in one row.
        shape, w = w.shape, w.reshape(1, -1) if size < 0 else w
        size = max(size, 0)
        # Blocks must divide a row: a ragged tail is quantised on its own.
        width = size or w.shape[1]
        scale, zero = parameters(w.reshape(len(w), -1, width), bits, kind == "sym")
        element = f"int{bits}" if kind == "sym" else f"uint{bits}"
        codes, values = quantise(w, scale, zero.astype(np.int64), element, width)
        amax = np.abs(w).reshape(len(w), -1, width).max(-1)
        mark = lambda v: np.where(amax > 0, v, np.nan)
        entries.scheme(
            f"{id}/onnxruntime",
            id,
            (
                "onnxruntime",
                f"QuantizeLinear, DequantizeLinear to {element}, block {width}; scales by numpy: "
                + ("absmax / M" if kind == "sym" else "minmax with zero in the range"),
            ),
            w.reshape(shape),
            codes=(codes & (2**bits - 1)).astype(np.uint8).reshape(shape),
            scales=mark(scale),
            zeros=mark(zero) if kind == "asym" else None,
            values=values.reshape(shape),
            scale={"apply": "divide"},
        )
        if size == 64:
            ragged(entries, id, bits, size, kind, element)


def ragged(entries, id, bits, size, kind, element):
    w = matrix("ragged/ort", entries.rows, 3 * size + 21)
    pieces = [w[:, : 3 * size], w[:, 3 * size :]]
    out = []
    for piece in pieces:
        width = min(size, piece.shape[1])
        scale, zero = parameters(piece.reshape(len(w), -1, width), bits, kind == "sym")
        codes, values = quantise(
            np.ascontiguousarray(piece), scale, zero.astype(np.int64), element, width
        )
        some = np.abs(piece).reshape(len(w), -1, width).max(-1) > 0
        out.append(
            (
                codes & (2**bits - 1),
                np.where(some, scale, np.nan),
                np.where(some, zero, np.nan),
                values,
            )
        )
    codes, scales, zeros, values = (np.concatenate(part, 1) for part in zip(*out))
    entries.scheme(
        f"{id}/onnxruntime/ragged",
        id,
        ("onnxruntime", "as the entry without /ragged; the short tail alone"),
        w,
        codes=codes.astype(np.uint8),
        scales=scales,
        zeros=zeros if kind == "asym" else None,
        values=values,
        scale={"apply": "divide"},
    )


def packs(entries):
    calls = {2: quantize_matmul_2bits, 4: quantize_matmul_4bits, 8: quantize_matmul_8bits}
    for bits, call in calls.items():
        for symmetric in (True, False):
            size, columns, rows = 32, 16, 256
            w = np.ascontiguousarray(matrix(f"ort/{bits}/{symmetric}", columns, rows).T)
            blocks, per = rows // size, 8 // bits
            packed = np.zeros((columns, blocks, size // per), np.uint8)
            zeros = np.zeros((columns, -(-blocks // per)), np.uint8)
            scales = np.zeros((columns, blocks), F32)
            call(packed, w, scales, zeros, size, columns, rows, symmetric)
            shifts = np.arange(per, dtype=np.uint8) * bits
            codes = ((packed[..., None] >> shifts) & (2**bits - 1)).reshape(columns, rows)
            points = ((zeros[..., None] >> shifts) & (2**bits - 1)).reshape(columns, -1)[:, :blocks]
            label = f"matmul_nbits_{bits}_{'sym' if symmetric else 'asym'}"
            oracle = (
                "onnxruntime",
                f"quantize_matmul_{bits}bits(w, block 32, symmetric={symmetric})",
            )
            point = np.full_like(scales, 2 ** (bits - 1)) if symmetric else points.astype(F32)
            values = (codes - np.repeat(point, size, 1)) * np.repeat(scales, size, 1)
            entries.scheme(
                f"{label}/onnxruntime",
                label,
                oracle,
                w.T,
                codes=codes,
                scales=scales,
                zeros=None if symmetric else point,
                values=values,
            )
            entries.layout(
                f"matmul_nbits_{bits}/onnxruntime/{label}",
                f"matmul_nbits_{bits}",
                oracle,
                bits,
                {"codes": codes, "bytes": packed.reshape(columns, -1)},
                about="[N, K / 32, bytes]",
            )
            if not symmetric:
                entries.layout(
                    f"matmul_nbits_{bits}/onnxruntime/zeros",
                    f"matmul_nbits_{bits}",
                    oracle,
                    bits,
                    {"codes": points, "bytes": zeros},
                )
    rows, columns, size = 128, 16, 32
    w = np.ascontiguousarray(matrix("ort/qdq", columns, rows).T)
    packed = np.zeros((rows * columns) // 2, np.uint8)
    scales, zeros = (
        np.zeros((rows // size, columns), F32),
        np.zeros((columns * rows // size) // 2, np.uint8),
    )
    quantize_qdq_matmul_4bits(packed, w, scales, zeros, size, columns, rows, True)
    codes = np.stack([packed & 15, packed >> 4], -1).reshape(rows, columns)
    entries.layout(
        "qdq_int4/onnxruntime",
        "qdq_int4",
        ("onnxruntime", "quantize_qdq_matmul_4bits(w, block 32)"),
        4,
        {"codes": codes, "bytes": packed, "scales": scales},
        about="codes [K, N], row-major",
    )


def bnb4(entries):
    """MatMulBnb4's quantiser, with the bounds and zeros of the CUDA kernel of bitsandbytes."""
    import bitsandbytes.functional as bnb

    for kind, number, element in (("fp4", 0, "fp4_bnb"), ("nf4", 1, "nf4")):
        w = matrix(f"{kind}/ort", entries.rows, 256, group=64)
        rows, columns = w.shape
        packed, absmax = np.zeros(w.size // 2, np.uint8), np.zeros(w.size // 64, F32)
        quantize_matmul_bnb4(packed, w, absmax, 64, number, rows, columns)
        codes = np.stack([packed >> 4, packed & 15], 1).reshape(w.shape)
        table = bnb.get_4bit_type(kind, device="cpu").numpy()
        oracle = ("onnxruntime", f"quantize_matmul_bnb4(x, block 64, {kind})")
        entries.scheme(
            f"{kind}_b64/onnxruntime",
            f"{kind}_b64",
            oracle,
            w,
            codes=codes,
            scales=absmax.reshape(rows, -1),
        )
        full = probes(f"{kind}/ort", table, entries.cases, nan=False, infinite=False, limit=1.0)
        order = np.sort(table.astype(F32))
        if kind == "nf4":
            full = full[~np.isin(full, neighbours(((order[1:] + order[:-1]) / 2).astype(F32)))]
        full = np.concatenate([full, np.zeros(-len(full) % 63, F32)])
        full = np.concatenate([np.ones((len(full) // 63, 1), F32), full.reshape(-1, 63)], 1)
        packed, absmax = np.zeros(full.size // 2, np.uint8), np.zeros(len(full), F32)
        quantize_matmul_bnb4(packed, full, absmax, 64, number, *full.shape)
        codes = np.stack([packed >> 4, packed & 15], 1).reshape(-1)
        entries.number(
            f"{element}/onnxruntime",
            element,
            ("onnxruntime", oracle[1] + ", absmax 1"),
            full.reshape(-1),
            codes,
            table if kind == "nf4" else None,
            excluded=["|x| > 1: it would change the scale"]
            + (["ties and their neighbours: its bounds are an ulp off"] if kind == "nf4" else []),
        )
