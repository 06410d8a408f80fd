"""numpy: dense bit streams, by packbits."""

import numpy as np
from common import rng_of


def add(entries):
    for bits in range(1, 9):
        for columns in (64, 77):
            codes = rng_of(f"dense{bits}").integers(0, 2**bits, (12, columns), dtype=np.uint8)
            digits = (codes[..., None] >> np.arange(bits, dtype=np.uint8)) & 1
            packed = np.packbits(digits.reshape(12, -1), axis=1, bitorder="little")
            entries.layout(
                f"lowbit_dense/numpy/{bits}/{columns}",
                "lowbit_dense",
                ("numpy", 'packbits(bits of the codes, axis=1, bitorder="little")'),
                bits,
                {"codes": codes, "bytes": packed},
            )
