"""optimum-quanto's packs, and BitNet's of transformers, which packs the same way."""

import numpy as np
import torch
from common import F32, rng_of
from optimum.quanto.tensor.packed import pack_weights
from transformers.integrations.bitnet import WeightQuant
from transformers.integrations.bitnet import pack_weights as pack_bitnet


def add(entries):
    for bits in (2, 4):
        for rows in (40, 41):
            codes = rng_of(f"quanto{bits}").integers(0, 2**bits, (rows, 24)).astype(np.uint8)
            packed = pack_weights(torch.from_numpy(codes), bits).numpy()
            entries.layout(
                f"quanto_{bits}bit/optimum-quanto/{rows}",
                f"quanto_{bits}bit",
                ("optimum-quanto", f"tensor.packed.pack_weights(codes, {bits})"),
                bits,
                {"codes": codes, "bytes": packed},
                about="parts of the rows in one byte, the first part lowest",
            )
    w = rng_of("bitnet weights").standard_normal((16, 256)).astype(F32) * F32(0.05)
    y = WeightQuant.apply(torch.from_numpy(w)).numpy()
    mean = np.abs(w).mean(dtype=np.float64).astype(F32).reshape(1, 1)
    close = {
        "absolute": 1e-8,
        "reason": "torch adds in f32 and divides by the reciprocal of the mean",
    }
    entries.scheme(
        "ternary_tensor/transformers",
        "ternary_tensor",
        ("transformers", "integrations.bitnet.WeightQuant"),
        w,
        codes=(np.sign(y).astype(np.int8) & 3).astype(np.uint8),
        scales=mean,
        values=y,
        scale={"apply": "reciprocal"},
        hold={"codes": "exact", "scales": close, "values": close},
    )
    digits = rng_of("bitnet").integers(-1, 2, (40, 24))
    packed = pack_bitnet(torch.from_numpy(digits.astype(np.float32))).numpy()
    entries.layout(
        "bitnet_2bit/transformers",
        "bitnet_2bit",
        ("transformers", "integrations.bitnet.pack_weights(w)"),
        2,
        {"codes": (digits & 3).astype(np.uint8), "bytes": packed},
        about="digit + 1 in four parts of the rows",
    )
