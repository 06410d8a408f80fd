"""GPTQ checkpoints of gptqmodel: weights and zero points packed as format v2, and v1 (zero - 1)."""

import os

os.environ["GPTQMODEL_DISABLE_PACK_EXT"] = "1"
os.environ.setdefault("PYTHON_GIL", "1")

import numpy as np
import torch
from common import F32, rng_of
from gptqmodel.nn_modules.qlinear.torch import TorchLinear
from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module
from gptqmodel.utils.planar_packing import planar_pack_rows

OUT, IN, GROUP = 64, 128, 32


def add(entries):
    for bits in (2, 3, 4, 8):
        rng = rng_of(f"gptq{bits}")
        codes = rng.integers(0, 2**bits, (OUT, IN)).astype(np.uint8)
        # Zero points of 0 as well: v1 stores zero - 1, and gptqmodel borrows from the next field.
        for label, least in (("", 1), ("/zero", 0)):
            zeros = rng.integers(least, 2**bits, (OUT, IN // GROUP)).astype(np.uint8)
            scales = np.exp2(rng.integers(-8, -2, zeros.shape)).astype(F32)
            module = pack(bits, codes, zeros, scales)
            both = {"qweight": f"gptq_{bits}bit", "qzeros": f"gptq_{bits}bit_zeros"}
            call = f"TorchLinear.pack_original(linear, scales, zeros, g_idx), bits {bits}"
            weight, packed = (getattr(module, name).numpy() for name in both)
            assert (unpacked(module, codes.shape) == codes).all()
            if not label:
                entries.layout(
                    f"gptq_{bits}bit/gptqmodel",
                    f"gptq_{bits}bit",
                    ("gptqmodel", call),
                    bits,
                    {"codes": codes, "bytes": as_bytes(weight)},
                    about="[in, out] words along the input",
                )
            entries.layout(
                f"gptq_{bits}bit_zeros/gptqmodel/v2{label}",
                f"gptq_{bits}bit_zeros_v2",
                ("gptqmodel", call),
                bits,
                {"codes": zeros.T, "bytes": as_bytes(packed)},
                about="[groups, out] words along the output",
            )
            convert_gptq_v2_to_v1_format_module(module, Config(bits))
            entries.layout(
                f"gptq_{bits}bit_zeros/gptqmodel/v1{label}",
                f"gptq_{bits}bit_zeros_v1",
                ("gptqmodel", f"{call}; convert_gptq_v2_to_v1_format_module"),
                bits,
                {"codes": zeros.T, "bytes": as_bytes(module.qzeros.numpy())},
                about="[groups, out] words of zero - 1 along the output",
                skip="a zero point of 0 borrows from the field above; other packers write all ones"
                if label
                else None,
            )
    for bits in (3, 5, 6, 7):
        codes = rng_of(f"planar{bits}").integers(0, 2**bits, (OUT, IN)).astype(np.uint8)
        words = planar_pack_rows(
            torch.from_numpy(codes.T.astype(np.int64)), bits, pack_dtype=torch.int32
        )
        entries.layout(
            f"gptq_{bits}bit_planar/gptqmodel",
            f"gptq_{bits}bit_planar",
            ("gptqmodel", f"planar_packing.planar_pack_rows(codes.T, {bits})"),
            bits,
            {"codes": codes, "bytes": as_bytes(words.numpy())},
            about="[in, out] words, split planes",
        )


class Config:
    def __init__(self, bits):
        self.bits, self.pack_dtype = bits, torch.int32


def as_bytes(words):
    return np.ascontiguousarray(words.astype(np.int32)).view(np.uint8).reshape(len(words), -1)


def pack(bits, codes, zeros, scales):
    module = TorchLinear(
        bits=bits,
        group_size=GROUP,
        sym=False,
        desc_act=False,
        in_features=IN,
        out_features=OUT,
        bias=False,
        pack_dtype=torch.int32,
    )
    g_idx = torch.arange(IN, dtype=torch.int32) // GROUP
    wide = np.repeat(scales, GROUP, 1), np.repeat(zeros.astype(F32), GROUP, 1)
    linear = torch.nn.Linear(IN, OUT, bias=False)
    linear.weight.data = torch.from_numpy((codes - wide[1]) * wide[0])
    module.pack_original(
        linear, torch.from_numpy(scales), torch.from_numpy(zeros.astype(F32)), g_idx
    )
    return module


def unpacked(module, shape):
    """The codes back, to know that the oracle packed what it was given; 3 bits straddle words."""
    words = module.qweight.numpy().view(np.uint32).astype(object)
    bits = module.bits
    if bits == 3:
        stream = words.reshape(-1, 3, words.shape[1])
        whole = stream[:, 0] + stream[:, 1] * 2**32 + stream[:, 2] * 2**64
        codes = np.stack([(whole // 8**i) % 8 for i in range(32)], 1)
    else:
        codes = np.stack([(words // 2 ** (bits * i)) % 2**bits for i in range(32 // bits)], 1)
    return codes.reshape(-1, words.shape[1]).T.astype(np.uint8).reshape(shape)
