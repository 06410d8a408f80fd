"""compressed-tensors: its integer cast, schemes of its observers' formulas, packing."""

import numpy as np
import torch
from common import F32, matrix, probes, rng_of
from compressed_tensors.compressors.mxfp6.helpers import pack_fp6_to_uint8
from compressed_tensors.compressors.nvfp4.helpers import pack_fp4_to_uint8
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
from compressed_tensors.quantization.quant_args import round_to_quantized_type_args
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from compressed_tensors.quantization.utils.fp4_utils import cast_to_fp4
from compressed_tensors.quantization.utils.fp6_utils import cast_to_fp6
from oracles.gfloat import FORMATS, encode, table_of

PACKAGE = "compressed-tensors"


def add(entries):
    integers(entries)
    groups(entries)
    floats(entries)
    mx(entries)
    nvfp4(entries)
    packing(entries)


def integers(entries):
    for bits in range(2, 9):
        lo, hi = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        args = QuantizationArgs(num_bits=bits, type="int")
        x = probes(f"int{bits}/ct", np.arange(lo, hi + 1), entries.cases, nan=False)
        q = round_to_quantized_type_args(
            torch.from_numpy(x), args, torch.tensor(float(lo)), torch.tensor(float(hi))
        )
        entries.number(
            f"int{bits}/compressed_tensors",
            f"int{bits}",
            (PACKAGE, f"round_to_quantized_type_args(x, int{bits}, {lo}, {hi})"),
            x,
            (q.numpy().astype(np.int64) & (2**bits - 1)).astype(np.uint8),
            cast={"rounding": "nearest_even", "overflow": "saturate", "infinity": "saturate"},
            excluded=["NaN: an integer has none"],
        )


def quantised(w, args, group):
    x = torch.from_numpy(w)
    tiles = x.reshape(len(w), -1, group)
    scale, zero = calculate_qparams(tiles.amin(-1), tiles.amax(-1), args)
    q = quantize(x, scale, zero, args, dtype=None)
    y = dequantize(q, scale, zero, args)
    return q, scale, zero, y, tiles.abs().amax(-1).numpy() > 0


def groups(entries):
    """int4 and int8 of pack-quantized: max / 7.5 or max / 127.5 when symmetric."""
    for bits, size, symmetric in (
        (4, 32, True),
        (4, 128, True),
        (8, 128, True),
        (4, 128, False),
        (8, 32, False),
    ):
        args = QuantizationArgs(
            num_bits=bits, type="int", strategy="group", group_size=size, symmetric=symmetric
        )
        w = matrix(f"ct/{bits}/{size}/{symmetric}", entries.rows, 256, group=size)
        q, scale, zero, y, some = quantised(w, args, size)
        id = f"ct_int{bits}_g{size}_{'sym' if symmetric else 'asym'}"
        entries.scheme(
            f"{id}/compressed_tensors",
            id,
            (
                PACKAGE,
                f"calculate_qparams, quantize, dequantize; QuantizationArgs({bits}, group {size}, "
                f"symmetric={symmetric})",
            ),
            w,
            codes=(q.numpy().astype(np.int64) & (2**bits - 1)).astype(np.uint8),
            scales=np.where(some, scale.numpy(), np.nan),
            zeros=None if symmetric else np.where(some, zero.numpy(), np.nan),
            values=y.numpy(),
        )


def mx(entries):
    for id, bits, element in (
        ("mxfp4", 4, "float4_e2m1fn"),
        ("mxfp6_e2m3", 6, "float6_e2m3fn"),
        ("mxfp8_e4m3", 8, "float8_e4m3fn"),
    ):
        args = QuantizationArgs(
            num_bits=bits,
            type="float",
            strategy="group",
            group_size=32,
            symmetric=True,
            scale_dtype=torch.uint8,
        )
        w = matrix("mx/torchao", entries.rows, 128)
        w = w + F32(0)
        q, scale, _, y, some = quantised(w, args, 32)
        if bits == 8:
            codes = q.to(torch.float8_e4m3fn).view(torch.uint8).numpy()
        else:
            codes = encode(FORMATS[element], q.float().numpy())
        entries.scheme(
            f"{id}/compressed_tensors",
            id,
            (
                PACKAGE,
                f"calculate_qparams, quantize, dequantize; float{bits}, group 32, scale uint8",
            ),
            w,
            codes=codes,
            scales=np.where(some, scale.float().numpy(), np.nan),
            values=y.numpy(),
            scale={"rule": "mx_even"},
            cast={"rounding": "nearest_even", "overflow": "saturate"},
            skip=f"{PACKAGE} rounds amax to FP4's mantissa, mx_even to that of the element"
            if bits == 8
            else None,
            excluded=["-0: an exact -0 becomes +0"],
        )


def nvfp4(entries):
    w = matrix("nvfp4", entries.rows, 128, group=16)
    w[4] *= F32(2.0**-40)
    args = QuantizationArgs(
        num_bits=4,
        type="float",
        strategy="tensor_group",
        group_size=16,
        symmetric=True,
        scale_dtype=torch.float8_e4m3fn,
    )
    x = torch.from_numpy(w)
    tiles = x.reshape(len(w), -1, 16)
    tensor = generate_gparam(x.min(), x.max())
    scale, zero = calculate_qparams(tiles.amin(-1), tiles.amax(-1), args, tensor)
    q = quantize(x, scale, None, args, global_scale=tensor)
    y = dequantize(q, scale, None, args, dtype=torch.float32, global_scale=tensor)
    packed = pack_fp4_to_uint8(q.float())
    codes = torch.stack([packed & 15, packed >> 4], -1).reshape(w.shape).numpy()
    entries.scheme(
        "nvfp4_ct/compressed_tensors",
        "nvfp4_ct",
        (PACKAGE, "generate_gparam, calculate_qparams, quantize, dequantize; tensor_group 16"),
        w,
        codes=codes,
        scales=(scale.float() / tensor).numpy(),
        stored={"scales": scale.float().numpy(), "over": tensor.numpy()},
        values=y.numpy(),
        cast={"rounding": "nearest_even", "overflow": "saturate"},
    )
    entries.layout(
        "fp4_pairs/compressed_tensors",
        "fp4_pairs",
        (PACKAGE, "pack_fp4_to_uint8(values)"),
        4,
        {"codes": codes, "bytes": packed.numpy()},
    )


def floats(entries):
    for id, cast in (("float4_e2m1fn", cast_to_fp4), ("float6_e2m3fn", cast_to_fp6)):
        info = FORMATS[id]
        x = probes(f"{id}/ct", table_of(info), entries.cases, nan=False, infinite=id[5] == "4")
        y = cast(torch.from_numpy(x.copy())).numpy()
        entries.number(
            f"{id}/compressed_tensors",
            id,
            (PACKAGE, f"{cast.__name__}(x)"),
            x,
            encode(info, y),
            cast={
                "rounding": "nearest_even",
                "overflow": "saturate",
                "infinity": "saturate",
                "negative_zero": "rounded" if id[5] == "4" else "keep",
            },
            excluded=["NaN"],
        )


def packing(entries):
    rng = rng_of("ct packing")
    for bits in range(1, 9):
        for columns in (256, 77):
            codes = rng.integers(0, 2**bits, (12, columns), dtype=np.uint8)
            signed = codes.astype(np.int16) - np.where(codes >= 2 ** (bits - 1), 2**bits, 0)
            words = pack_to_int32(torch.from_numpy(signed.astype(np.int8)), bits)
            entries.layout(
                f"compressed_tensors_int{bits}/compressed_tensors/{columns}",
                f"compressed_tensors_int{bits}",
                (PACKAGE, f"pack_to_int32(codes as signed, {bits})"),
                bits,
                {"codes": codes, "bytes": words.numpy().view(np.uint8).reshape(12, -1)},
            )
            if bits in (4, 8):
                shifted = (codes + 2 ** (bits - 1)) & (2**bits - 1)
                entries.layout(
                    f"compressed_tensors_uint/compressed_tensors/{bits}/{columns}",
                    "compressed_tensors_uint",
                    (PACKAGE, f"pack_to_int32(codes - 2^{bits - 1}, {bits})"),
                    bits,
                    {"codes": shifted, "bytes": words.numpy().view(np.uint8).reshape(12, -1)},
                )
    codes = rng.integers(0, 64, (12, 96), dtype=np.uint8)
    table = np.array(
        [
            (-1 if c >= 32 else 1) * v
            for c, v in enumerate(
                2
                * (
                    [m / 8 for m in range(8)]
                    + [(1 + m / 8) * 2**e for e in range(3) for m in range(8)]
                )
            )
        ]
    )
    values = torch.from_numpy(table[codes].astype(F32))
    entries.layout(
        "fp6_fours/compressed_tensors",
        "fp6_fours",
        (PACKAGE, "pack_fp6_to_uint8(values)"),
        6,
        {"codes": codes, "bytes": pack_fp6_to_uint8(values).numpy()},
    )
