"""HQQ's packs, and its quantiser without the search."""

import numpy as np
import torch
from common import matrix, rng_of
from hqq.core.bitpack import BitPack
from hqq.core.quantize import Quantizer

PACKS = {8: "8bit_u8", 4: "4bit_u8", 3: "3bit_32", 2: "2bit_u8", 1: "1bit_u8"}


def add(entries):
    for bits, name in PACKS.items():
        for rows in (40, 80):
            codes = rng_of(f"hqq{bits}").integers(0, 2**bits, (rows, 24)).astype(np.uint8)
            packed = getattr(BitPack, f"pack_{name}")(torch.from_numpy(codes)).numpy()
            back = getattr(BitPack, f"unpack_{name}")(torch.from_numpy(packed)).numpy()
            assert (back[:rows] == codes).all()
            entries.layout(
                f"hqq_{name}/hqq/{rows}",
                f"hqq_{name}",
                ("hqq", f"BitPack.pack_{name}(codes)"),
                bits,
                {"codes": codes, "bytes": packed.view(np.uint8).reshape(len(packed), -1)},
                about="parts of the rows in one word, the first part highest",
            )
    for bits in (2, 3, 4, 8):
        w = matrix(f"hqq/{bits}", entries.rows, 256, group=64)
        w[4], w[5] = w[11], w[12]
        q, meta = Quantizer.quantize(
            torch.from_numpy(w),
            nbits=bits,
            group_size=64,
            axis=1,
            optimize=False,
            bitpack=False,
            device="cpu",
        )
        scale, zero = meta["scale"], meta["zero"]
        values = ((q - zero) * scale).reshape(w.shape)
        some = (w.reshape(-1, 64).max(1) - w.reshape(-1, 64).min(1) > 1e-4).reshape(len(w), -1)
        grid = lambda v: np.where(some, v.numpy().reshape(len(w), -1), np.nan)
        entries.scheme(
            f"hqq_{bits}bit_g64/hqq",
            f"hqq_{bits}bit_g64",
            ("hqq", f"Quantizer.quantize(x, nbits={bits}, group_size=64, axis=1, optimize=False)"),
            w,
            codes=q.numpy().reshape(w.shape).astype(np.uint8),
            scales=grid(scale),
            zeros=grid(zero),
            values=values.numpy(),
        )
    # Ours divides by the scale where HQQ multiplies by its reciprocal, and keeps zero in the range.
    w = rng_of("hqq plain").standard_normal((entries.rows, 256)).astype(np.float32) * np.float32(
        0.05
    )
    q, meta = Quantizer.quantize(
        torch.from_numpy(w),
        nbits=4,
        group_size=64,
        axis=1,
        optimize=False,
        bitpack=False,
        device="cpu",
    )
    values = ((q - meta["zero"]) * meta["scale"]).reshape(w.shape)
    grid = lambda v: v.numpy().reshape(len(w), -1)
    close = lambda amount: {
        "absolute": amount,
        "reason": "HQQ multiplies with the reciprocal of the scale",
    }
    entries.scheme(
        "int4_g64_float_zero/hqq",
        "int4_g64_float_zero",
        ("hqq", "Quantizer.quantize(x, nbits=4, group_size=64, axis=1, optimize=False)"),
        w,
        codes=q.numpy().reshape(w.shape).astype(np.uint8),
        scales=grid(meta["scale"]),
        zeros=grid(meta["zero"]),
        values=values.numpy(),
        hold={
            "scales": close(1e-8),
            "zeros": close(1e-5),
            "values": {"error": 1e-7, "reason": "ties within an ulp"},
        },
    )
