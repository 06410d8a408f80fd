"""NVIDIA modelopt: MXFP4 and NVFP4."""

import numpy as np
import torch
from common import F32, matrix, probes
from modelopt.torch.quantization.qtensor.mxfp4_tensor import MXFP4QTensor
from modelopt.torch.quantization.qtensor.nvfp4_tensor import NVFP4QTensor


def unpack(packed):
    return torch.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1).numpy()


def add(entries):
    for zeros in (False, True):
        w = matrix(f"mxfp4/modelopt/{zeros}", entries.rows, 128, zeros=zeros)
        w[10] = w[10] if zeros else np.abs(w[10]) + F32(1e-3)
        packed, scales = MXFP4QTensor.quantize(torch.from_numpy(w.copy()), 32)
        values = packed.dequantize(torch.float32, scale=scales, block_sizes=[32])
        exponent = scales.numpy().astype(np.float64).reshape(len(w), -1)
        entries.scheme(
            "mxfp4/modelopt" + ("/zeros" if zeros else ""),
            "mxfp4",
            ("nvidia-modelopt", "MXFP4QTensor.quantize(x, 32)"),
            w,
            codes=unpack(packed._quantized_data),
            scales=np.exp2(exponent - 127),
            values=values.numpy(),
            scale={"rule": "mx_rceil"},
            cast={"rounding": "half_toward_zero"},
            skip="every exact zero becomes code 8, -0" if zeros else None,
            excluded=[]
            if zeros
            else [
                "zeros: see the entry that ends in /zeros",
                "one ulp above 6 * 2^k: its f32 log2 makes the scale one too small",
            ],
        )
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    x = probes("float4_e2m1fn/modelopt", table, entries.cases, nan=False)
    entries.number(
        "float4_e2m1fn/modelopt",
        "float4_e2m1fn",
        ("nvidia-modelopt", "NVFP4QTensor._cast_fp4(x)"),
        x,
        NVFP4QTensor._cast_fp4(torch.from_numpy(x.copy())).numpy(),
        cast={
            "rounding": "nearest_even",
            "overflow": "saturate",
            "infinity": "saturate",
            "negative_zero": "rounded",
        },
        excluded=["NaN"],
    )
    w = matrix("nvfp4", entries.rows, 128, group=16)
    w[4] *= F32(2.0**-40)
    packed, scales, tensor = NVFP4QTensor.quantize(torch.from_numpy(w.copy()), 16)
    values = packed.dequantize(torch.float32, scale=scales, double_scale=tensor, block_sizes=[16])
    entries.scheme(
        "nvfp4_modelopt/modelopt",
        "nvfp4_modelopt",
        ("nvidia-modelopt", "NVFP4QTensor.quantize(x, 16)"),
        w,
        codes=unpack(packed._quantized_data),
        scales=(scales.float() * tensor).numpy(),
        stored={"scales": scales.float().numpy(), "over": tensor.reshape(1).numpy()},
        values=values.numpy(),
        hold={
            "codes": "exact",
            "scales": "exact",
            "second.scales": "exact",
            "second.over": "exact",
            "values": {"absolute": 0, "reason": "code 8, -0, reads as +0"},
        },
        cast={"rounding": "nearest_even", "overflow": "saturate"},
    )
