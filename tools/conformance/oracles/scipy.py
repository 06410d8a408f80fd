"""Quantile tables (NormalFloat, StudentFloat) from scipy's quantile functions, by definition."""

import numpy as np
import scipy.stats
from common import nearest, probes

HOLD = {
    "codes": "exact",
    "table": {"absolute": 1e-6, "reason": "quantile functions differ in their last bits"},
}


def quantile_table(bits, quantile, offset=None):
    n = 2**bits
    offset = offset or 0.5 * ((1 - 1 / (2 * n)) + (1 - 1 / (2 * (n - 1))))
    positive = quantile(np.linspace(offset, 0.5, n // 2 + 1)[:-1])
    negative = -quantile(np.linspace(offset, 0.5, n // 2)[:-1])
    table = np.sort(np.concatenate([negative, [0], positive]))
    return (table / table.max()).astype(np.float32)


def add(entries):
    kinds = [("nf", bits, scipy.stats.norm.ppf, "norm.ppf", None) for bits in (2, 3, 5, 6, 7, 8)]
    kinds += [
        ("sf", bits, lambda p: scipy.stats.t.ppf(p, 5), "t.ppf(p, 5)", None) for bits in range(3, 9)
    ]
    # LoftQ and PEFT keep the outermost quantile of 4 bits, llm-datatypes does so for SF3.
    kinds += [
        ("nf", bits, scipy.stats.norm.ppf, "norm.ppf", 0.9677083) for bits in (2, 3, 5, 6, 7, 8)
    ]
    kinds += [("sf", 3, lambda p: scipy.stats.t.ppf(p, 5), "t.ppf(p, 5)", 0.9677083)]
    for kind, bits, quantile, call, offset in kinds:
        id = f"{kind}{bits}" + ("_k4" if offset else "")
        table = quantile_table(bits, quantile, offset)
        codebook(
            entries,
            f"{id}/scipy",
            id,
            ("scipy", f"stats.{call} at the quantiles of QLoRA"),
            table,
            HOLD,
        )


def codebook(entries, name, id, oracle, table, hold, **more):
    """Nearest entry, by distance in f64; near ties are left out, for tables differ in last bits."""
    x = probes(name, table, entries.cases * 3 // 2, nan=False)
    codes, clear = nearest(x.clip(-4, 4), table)
    entries.number(
        name,
        id,
        oracle,
        x[clear],
        codes[clear].astype(np.uint8),
        table,
        {"rounding": "half_down", "negative_zero": "positive"},
        hold=hold,
        excluded=["ties and their neighbours: the tables differ in their last bits"],
        **more,
    )
