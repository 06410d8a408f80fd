"""AutoAWQ: gemm, gemv fast and Marlin packs. It computes codes in f16; here they are exact."""

import numpy as np
import torch
from awq.modules.linear.gemm import WQLinear_GEMM
from awq.modules.linear.gemv import WQLinear_GEMV
from awq.modules.linear.gemv_fast import WQLinear_GEMVFast
from awq.modules.linear.marlin import WQLinear_Marlin
from common import F32, rng_of

OUT, IN = 64, 256


def add(entries):
    rng = rng_of("awq")
    for group in (64, 128):
        codes = rng.integers(0, 16, (OUT, IN)).astype(np.uint8)
        zeros = rng.integers(0, 16, (OUT, IN // group)).astype(np.uint8)
        scales = np.exp2(rng.integers(-6, -2, zeros.shape)).astype(F32)
        linear = layer(codes, zeros, scales, group)
        s, z = (torch.from_numpy(v.astype(F32)) for v in (scales, zeros))
        gemm = WQLinear_GEMM.from_linear(
            linear, 4, group, scales=s.t().contiguous(), zeros=z.t().contiguous()
        )
        entries.layout(
            f"awq_gemm/autoawq/g{group}",
            "awq_gemm",
            ("autoawq", "WQLinear_GEMM.from_linear"),
            4,
            {"codes": codes.T, "bytes": as_bytes(gemm.qweight)},
            about="codes [in, out], words along the output",
        )
        entries.layout(
            f"awq_gemm_zeros/autoawq/g{group}",
            "awq_gemm",
            ("autoawq", "WQLinear_GEMM.from_linear"),
            4,
            {"codes": zeros.T, "bytes": as_bytes(gemm.qzeros)},
            about="zero points [groups, out]",
        )
        gemv = WQLinear_GEMV.from_linear(linear, 4, group, scales=s, zeros=z)
        entries.layout(
            f"awq_gemv/autoawq/g{group}",
            "awq_gemv",
            ("autoawq", "WQLinear_GEMV.from_linear"),
            4,
            {"codes": codes, "bytes": as_bytes(gemv.qweight)},
            about="codes [out, in], words along the input",
        )
        fast = WQLinear_GEMVFast.from_linear(linear, 4, group, scales=s, zeros=z)
        entries.layout(
            f"awq_gemv_fast/autoawq/g{group}",
            "awq_gemv_fast",
            ("autoawq", "WQLinear_GEMVFast.from_linear"),
            4,
            {"codes": codes, "bytes": as_bytes(fast.qweight)},
            about="int16, four rows interleaved",
        )
        eight = np.full_like(zeros, 8)
        marlin = WQLinear_Marlin.from_linear(
            layer(codes, eight, scales, group), 4, group, scales=s.half(), zeros=None
        )
        entries.layout(
            f"marlin/autoawq/g{group}",
            "marlin",
            ("autoawq", "WQLinear_Marlin.from_linear"),
            4,
            {"codes": codes, "bytes": as_bytes(marlin.qweight)},
            about="16 x 16 tiles of code, 8 is zero",
        )
        entries.layout(
            f"marlin_scales/autoawq/g{group}",
            "marlin_scales",
            ("autoawq", "WQLinear_Marlin.from_linear"),
            16,
            {
                "codes": scales.T.astype(np.float16).view(np.uint16),
                "bytes": marlin.scales.numpy().view(np.uint8),
            },
            about="f16 scales [groups, out], permuted",
        )


def layer(codes, zeros, scales, group):
    wide = np.repeat(scales, group, 1), np.repeat(zeros.astype(F32), group, 1)
    linear = torch.nn.Linear(IN, OUT, bias=False)
    linear.weight.data = torch.from_numpy((codes - wide[1]) * wide[0])
    return linear


def as_bytes(words):
    words = np.ascontiguousarray(words.numpy())
    return words.view(np.uint8).reshape(len(words), -1)
