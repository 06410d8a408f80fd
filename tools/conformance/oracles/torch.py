"""Casts of torch, and quantisers written in torch operations."""

import numpy as np
import torch
from common import F32, matrix, probes


def codes_of(tensor):
    return (
        tensor.view(torch.uint8 if tensor.itemsize == 1 else torch.int16)
        .numpy()
        .view(np.uint8 if tensor.itemsize == 1 else np.uint16)
    )


def add(entries):
    casts = {
        "float8_e4m3fn": ("saturate", "saturate"),
        "float8_e5m2": ("infinity", "infinity"),
        "float8_e4m3fnuz": ("nan", "nan"),
        "float8_e5m2fnuz": ("nan", "nan"),
        "bfloat16": ("infinity", "infinity"),
        "float16": ("infinity", "infinity"),
    }
    for id, (overflow, infinity) in casts.items():
        dtype = getattr(torch, id)
        wide = dtype.itemsize * 8
        every = np.arange(2**wide, dtype=np.uint8 if wide == 8 else np.uint16)
        signed = torch.from_numpy(every if wide == 8 else every.view(np.int16))
        table = signed.view(dtype).to(torch.float32).numpy()
        x = probes(f"{id}/torch", table, entries.cases, nan=id == "float8_e4m3fn")
        cast = {
            "rounding": "nearest_even",
            "overflow": overflow,
            "infinity": infinity,
            "nan": "nan",
            "negative_zero": "keep",
        }
        excluded = [] if id == "float8_e4m3fn" else ["NaN: see the entry that ends in /nan"]
        entries.number(
            f"{id}/torch",
            id,
            ("torch", f"x.to(torch.{id})"),
            x,
            codes_of(torch.from_numpy(x).to(dtype)),
            table if wide == 8 else None,
            cast,
            excluded=excluded,
        )
        if not excluded:
            continue
        from common import NANS

        skip = {
            "float8_e5m2": "NaN is 0x7F with the sign; the canonical one of a cast is 0x7E",
            "bfloat16": "NaN is 0xFFFF on some vector paths",
            "float16": "NaN keeps payload bits",
        }.get(id)
        entries.number(
            f"{id}/torch/nan",
            id,
            ("torch", f"x.to(torch.{id})"),
            NANS,
            codes_of(torch.from_numpy(NANS.copy()).to(dtype)),
            cast=cast,
            skip=skip,
        )
    e8m0(entries)
    integers(entries)
    fp8(entries)


def e8m0(entries):
    table = torch.arange(256, dtype=torch.uint8).view(torch.float8_e8m0fnu).float().numpy()
    x = probes("float8_e8m0fnu/torch", table, entries.cases, nan=True, least=2.0**-126)
    positive = x[~np.signbit(x) & (x != 0)]
    call = ("torch", "x.to(torch.float8_e8m0fnu)")
    cast = {"rounding": "half_away", "overflow": "nan", "infinity": "nan", "nan": "nan"}
    codes = lambda v: codes_of(torch.from_numpy(v).to(torch.float8_e8m0fnu))
    entries.number(
        "float8_e8m0fnu/torch",
        "float8_e8m0fnu",
        call,
        positive,
        codes(positive),
        table,
        cast,
        excluded=[
            "zero and negatives: see the entry that ends in /negative",
            "below 2^-126: f32 subnormals",
        ],
    )
    other = np.concatenate([x[np.signbit(x)], F32([0.0])])
    entries.number(
        "float8_e8m0fnu/torch/negative",
        "float8_e8m0fnu",
        call,
        other,
        codes(other),
        cast=cast | {"negative": "absolute", "zero": "smallest"},
    )


def integers(entries):
    """Half to even and clamped, by the fake quantiser with scale 1; it converts to int64."""
    kinds = [
        (f"int{b}", b, -(2 ** (b - 1)), 2 ** (b - 1) - 1, 0) for b in (1, 2, 3, 4, 5, 6, 7, 8, 16)
    ]
    kinds += [(f"uint{b}", b, 0, 2**b - 1, 0) for b in range(1, 9)]
    kinds += [
        ("ternary", 2, -1, 1, 0),
        ("int8_mx", 8, -128, 127, 6),
        ("uq6_10", 16, 0, 2**16 - 1, 10),
    ]
    for id, bits, lo, hi, fraction in kinds:
        codes = np.arange(2**bits, dtype=np.int64)
        table = codes - np.where((lo < 0) & (codes >= 2 ** (bits - 1)), 2**bits, 0)
        table = (np.where(table < lo, np.nan, table) / 2**fraction).astype(F32)
        name = f"{id}/torch"
        x = probes(name, table, entries.cases, nan=False, infinite=False, limit=2.0**40)
        y = (
            torch.fake_quantize_per_tensor_affine(
                torch.from_numpy(x), 2.0**-fraction, 0, lo, hi
            ).numpy()
            * 2**fraction
        )
        codes = y.astype(np.int64) & (2**bits - 1)
        entries.number(
            name,
            id,
            ("torch", f"fake_quantize_per_tensor_affine(x, {2.0**-fraction}, 0, {lo}, {hi})"),
            x,
            codes.astype(np.uint8 if bits <= 8 else np.uint16),
            table,
            {"rounding": "nearest_even", "overflow": "saturate"},
            excluded=["|x| > 2^40, infinities and NaN: torch converts to int64"],
        )


def fp8(entries):
    """float8_e4m3fn with absmax / 448 in f32: x / scale, cast by torch, times scale."""
    for id, label in (
        ("fp8_tensor", "tensor"),
        ("fp8_channel", "channel"),
        ("fp8_token", "token"),
        ("fp8_b128", "block"),
        ("fp8_g128", "group"),
    ):
        rows, columns = (132, 140) if label == "block" else (entries.rows, 256)
        w = matrix(f"{id}/torch", rows, columns, group=128)
        if label in ("tensor", "block"):
            w[4], w[5] = w[4] * F32(2.0**-40), w[5] * F32(2.0**40)
            w = w[:, :] if label == "tensor" else np.where(np.abs(w) > 1e4, F32(0.5), w).astype(F32)
        height, width = {"tensor": w.shape, "block": (128, 128), "group": (1, 128)}.get(
            label, (1, columns)
        )
        grid = (-(-rows // height), -(-columns // width))
        scales = np.zeros(grid, F32)
        codes, values = np.zeros(w.shape, np.uint8), np.zeros(w.shape, F32)
        for i in range(grid[0]):
            for j in range(grid[1]):
                at = np.s_[i * height : (i + 1) * height, j * width : (j + 1) * width]
                tile = torch.from_numpy(w[at])
                amax = tile.abs().amax()
                scale = amax / 448 if amax > 0 else torch.tensor(1.0)
                lp = (tile / scale).to(torch.float8_e4m3fn)
                codes[at] = lp.view(torch.uint8).numpy()
                values[at] = (lp.float() * scale).numpy()
                scales[i, j] = scale.item() if amax > 0 else np.nan
        entries.scheme(
            f"{id}/torch",
            id,
            ("torch", "(x / (amax / 448)).to(torch.float8_e4m3fn)"),
            w,
            codes=codes,
            scales=scales,
            values=values,
            scale={"rule": "absmax"},
            cast={"rounding": "nearest_even", "overflow": "saturate"},
        )
