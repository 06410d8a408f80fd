"""torchao: MX with each scale rule, NVFP4, affine integers, float6 casts, the swizzle of scales."""

import numpy as np
import torch
from common import F32, matrix, probes
from torchao.prototype.mx_formats import kernels
from torchao.prototype.mx_formats.config import ScaleCalculationMode
from torchao.prototype.mx_formats.mx_tensor import to_dtype, to_mx
from torchao.prototype.mx_formats.nvfp4_tensor import (
    NVFP4Tensor,
    nvfp4_quantize,
    per_tensor_amax_to_scale,
)
from torchao.prototype.mx_formats.utils import to_blocked
from torchao.quantization.quant_primitives import (
    MappingType,
    choose_qparams_affine,
    dequantize_affine,
    quantize_affine,
)

ELEMENTS = {
    "mxfp4": (torch.float4_e2m1fn_x2, "float4_e2m1fn", 6),
    "mxfp6_e2m3": ("fp6_e2m3", "float6_e2m3fn", 7.5),
    "mxfp6_e3m2": ("fp6_e3m2", "float6_e3m2fn", 28),
    "mxfp8_e4m3": (torch.float8_e4m3fn, "float8_e4m3fn", 448),
    "mxfp8_e5m2": (torch.float8_e5m2, "float8_e5m2", 57344),
}


def unpack(packed):
    return torch.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1)


def mx_matrix(rows, largest):
    """Blocks whose largest magnitudes lie across octaves and beside the borders of the rules."""
    w = matrix("mx/torchao", rows, 128)
    rng = np.random.default_rng(11)
    amax = np.exp2(rng.uniform(-30, 30, 96)).astype(F32)
    borders = F32(
        [
            m * 2.0**k
            for k in (-9, 0, 7)
            for m in (
                1,
                1.25,
                1.5,
                1.75,
                1.9375,
                1.96875,
                1.875,
                1.984375,
                largest / 2 ** np.floor(np.log2(largest)),
            )
        ]
    )
    below = np.nextafter(borders, F32(0))
    amax = np.concatenate([amax, borders, below])
    amax = amax[: len(amax) // 4 * 4]
    blocks = (rng.uniform(-1, 1, (len(amax), 32)) * amax[:, None]).astype(F32)
    blocks[:, 5] = amax
    return np.concatenate([w, blocks.reshape(-1, 128)])


def add(entries):
    for id, (dtype, element, largest) in ELEMENTS.items():
        w = mx_matrix(entries.rows, largest)
        x = torch.from_numpy(w)
        for mode in ScaleCalculationMode:
            scales, data = to_mx(x, dtype, 32, mode)
            codes = unpack(data) if id == "mxfp4" else data.view(torch.uint8)
            values = to_dtype(data, scales, dtype, 32, torch.float32)
            entries.scheme(
                f"{id}/torchao/{mode.value}",
                id,
                ("torchao", f"to_mx(x, {element}, 32, ScaleCalculationMode.{mode.name})"),
                w,
                codes=codes.numpy(),
                scales=scales.float().numpy().reshape(len(w), -1),
                values=values.numpy(),
                scale={"rule": f"mx_{mode.value}"},
                cast={"rounding": "nearest_even", "overflow": "saturate"},
                excluded=[
                    "blocks below 2^-126: torchao divides by 2^-126 but stores 2^-127",
                    "one ulp above M * 2^k: its f32 log2 makes rceil one too small",
                    "NaN and infinity",
                ],
            )
    corners(entries)
    for id, cast in (
        ("float6_e2m3fn", "f32_to_f6_e2m3_unpacked"),
        ("float6_e3m2fn", "f32_to_f6_e3m2_unpacked"),
        ("float4_e2m1fn", "f32_to_f4_unpacked"),
    ):
        back = {
            "float6_e2m3fn": "f6_e2m3_unpacked_to_f32",
            "float6_e3m2fn": "f6_e3m2_unpacked_to_f32",
            "float4_e2m1fn": "f4_unpacked_to_f32",
        }[id]
        table = getattr(kernels, back)(torch.arange(2 ** int(id[5]), dtype=torch.uint8)).numpy()
        x = probes(f"{id}/torchao", table, entries.cases, nan=False)
        entries.number(
            f"{id}/torchao",
            id,
            ("torchao", f"mx_formats.kernels.{cast}(x)"),
            x,
            getattr(kernels, cast)(torch.from_numpy(x)).numpy(),
            table,
            {
                "rounding": "nearest_even",
                "overflow": "saturate",
                "infinity": "saturate",
                "negative_zero": "keep",
            },
            excluded=["NaN: any finite code"],
        )
    nvfp4(entries)
    affine(entries)
    scales = np.random.default_rng(3).integers(0, 256, (200, 12), dtype=np.uint8)
    entries.layout(
        "scales_128x4/torchao",
        "scales_128x4",
        ("torchao", "mx_formats.utils.to_blocked(scales)"),
        8,
        {"codes": scales, "bytes": to_blocked(torch.from_numpy(scales)).numpy().reshape(-1)},
    )


def corners(entries):
    """Blocks where torchao differs from the rule that it names, each kind in an entry of its own."""
    rng = np.random.default_rng(5)
    plain = rng.standard_normal((4, 32)).astype(F32)
    above = np.nextafter(F32([6 * 2.0**k for k in (-9, -3, 0, 7)]), np.inf).astype(F32)
    border = (plain / 8 * above[:, None]).astype(F32).clip(-above[:, None], above[:, None])
    border[:, 5] = above
    tiny = (plain * F32(2.0**-128)).astype(F32)
    special = plain.copy()
    special[0, 3], special[1, 4], special[2, 5], special[3, 6] = (
        np.nan,
        np.inf,
        -np.inf,
        3.4028235e38,
    )
    cases = {
        "rceil/border": (
            border,
            "RCEIL",
            "its f32 log2 rounds to the integer one ulp above 6 * 2^k; ours is exact",
        ),
        "floor/tiny": (tiny, "FLOOR", "divides by 2^-126 where it stores 2^-127"),
        "floor/special": (
            special,
            "FLOOR",
            "NaN makes the scale NaN and infinity the largest; ours refuses both",
        ),
    }
    for label, (w, mode, why) in cases.items():
        scales, data = to_mx(
            torch.from_numpy(w), torch.float4_e2m1fn_x2, 32, ScaleCalculationMode[mode]
        )
        values = to_dtype(data, scales, torch.float4_e2m1fn_x2, 32, torch.float32)
        entries.scheme(
            f"mxfp4/torchao/{label}",
            "mxfp4",
            ("torchao", f"to_mx(x, float4, 32, {mode})"),
            w,
            codes=unpack(data).numpy(),
            scales=scales.float().numpy().reshape(4, 1),
            values=values.numpy(),
            scale={"rule": f"mx_{mode.lower()}"},
            skip=why,
        )


def nvfp4(entries):
    w = matrix("nvfp4", entries.rows, 128, group=16)
    w[4] *= F32(2.0**-40)
    x = torch.from_numpy(w)
    for label, tensor in (
        ("nvfp4_torchao", per_tensor_amax_to_scale(x.abs().max())),
        ("nvfp4_torchao_one_level", None),
    ):
        scales, data = nvfp4_quantize(x, 16, tensor)
        packed = NVFP4Tensor.to_nvfp4(x, per_tensor_scale=tensor)
        stored = scales.float()
        second = (
            {} if tensor is None else {"scales": stored.numpy(), "over": tensor.reshape(1).numpy()}
        )
        amount = "" if tensor is None else ", per_tensor_amax_to_scale(amax)"
        entries.scheme(
            f"{label}/torchao",
            label,
            ("torchao", f"nvfp4_quantize(x, 16{amount}); NVFP4Tensor.dequantize"),
            w,
            codes=unpack(data).numpy(),
            scales=(stored if tensor is None else stored * tensor).numpy(),
            stored=second,
            values=packed.dequantize(torch.float32).numpy(),
            cast={"rounding": "nearest_even", "overflow": "saturate"},
        )


def affine(entries):
    """Groups of integers; codes by multiplication with the reciprocal of the scale."""
    kinds = [
        (f"int{bits}_{label}_{kind}", bits, size, kind)
        for bits in (4, 8)
        for label, size in (("channel", 0), ("g32", 32), ("g64", 64), ("g128", 128))
        for kind in ("sym", "asym")
    ]
    for id, bits, size, kind in kinds:
        w = matrix("affine/torchao", entries.rows, 256)
        group = size or w.shape[1]
        x, block = torch.from_numpy(w), (1, group)
        lo, hi = (
            (-(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1) if kind == "sym" else (0, 2**bits - 1)
        )
        mapping = MappingType.SYMMETRIC if kind == "sym" else MappingType.ASYMMETRIC
        common = dict(quant_min=lo, quant_max=hi)
        scale, zero = choose_qparams_affine(
            x,
            mapping,
            block,
            torch.int32,
            eps=1e-38,
            **common,
            scale_dtype=torch.float32,
            zero_point_dtype=torch.int32,
        )
        q = quantize_affine(x, block, scale, zero, torch.int32, **common)
        y = dequantize_affine(
            q, block, scale, zero, torch.int32, **common, output_dtype=torch.float32
        )
        amax = np.abs(w).reshape(len(w), -1, group).max(-1)
        entries.scheme(
            f"{id}/torchao",
            id,
            (
                "torchao",
                f"choose_qparams_affine, quantize_affine, dequantize_affine; {mapping.name}, "
                f"{lo} to {hi}, eps 1e-38",
            ),
            w,
            codes=(q.numpy() & (2**bits - 1)).astype(np.uint8),
            scales=np.where(amax > 0, scale.reshape(len(w), -1).numpy(), np.nan),
            zeros=np.where(amax > 0, zero.reshape(len(w), -1).numpy(), np.nan)
            if kind == "asym"
            else None,
            values=y.numpy(),
            scale={"apply": "reciprocal"},
        )
