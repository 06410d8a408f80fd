"""Floats of ml_dtypes, and float16 of numpy: casts with `astype`."""

import ml_dtypes
import numpy as np
from common import F32, NANS, probes

WIDTH = {"float4_e2m1fn": 4, "float6_e2m3fn": 6, "float6_e3m2fn": 6}
CASTS = {
    "float4_e2m1fn": ("saturate", "saturate"),
    "float6_e2m3fn": ("saturate", "saturate"),
    "float6_e3m2fn": ("saturate", "saturate"),
    "float8_e4m3fn": ("nan", "nan"),
    "float8_e4m3fnuz": ("nan", "nan"),
    "float8_e4m3b11fnuz": ("nan", "nan"),
    "float8_e5m2fnuz": ("nan", "nan"),
    "float8_e4m3": ("infinity", "infinity"),
    "float8_e3m4": ("infinity", "infinity"),
    "float8_e5m2": ("infinity", "infinity"),
    "float8_e8m0fnu": ("nan", "nan"),
    "bfloat16": ("infinity", "infinity"),
    "float16": ("infinity", "infinity"),
}


def encode(x, dtype, codes):
    with np.errstate(all="ignore"):
        return x.astype(dtype).view(codes)


def add(entries):
    for id, (overflow, infinity) in CASTS.items():
        ours = id != "float16"
        dtype = getattr(ml_dtypes, id) if ours else np.float16
        wide = np.dtype(dtype).itemsize * 8
        bits = WIDTH.get(id, wide)
        unsigned = np.uint8 if wide == 8 else np.uint16
        table = np.arange(2**bits, dtype=unsigned).view(dtype).astype(F32)
        nan = bits > 6
        x = probes(id, table, entries.cases, nan=nan and ours)
        excluded = []
        if id == "float8_e8m0fnu":
            near = (x < 2.0**-127) | ((x > 2.0**-127) & (x < 1.5 * 2.0**-127))
            x = x[~(near & ~np.signbit(x) & (x != 0))]
            excluded = [
                "0 < x < 1.5 * 2^-127, x != 2^-127: ml_dtypes rounds f32 subnormals up, "
                "however close they are to the lower power"
            ]
        if not nan:
            excluded = ["NaN: the format has none; see the entry that ends in /nan"]
        if not ours:
            excluded = ["NaN: numpy keeps the payload, others make it quiet"]
        package = "ml_dtypes" if ours else "numpy"
        name = f"{id}/{package}"
        call = f"x.astype({package}.{id}).view({unsigned.__name__})"
        cast = {
            "rounding": "half_away" if id == "float8_e8m0fnu" else "nearest_even",
            "overflow": overflow,
            "infinity": infinity,
            "nan": "nan" if nan else "refuse",
            "negative_zero": "keep",
        }
        entries.number(
            name, id, (package, call), x, encode(x, dtype, unsigned), table, cast, excluded=excluded
        )
        if not nan:
            entries.number(
                f"{name}/nan",
                id,
                (package, call),
                NANS,
                encode(NANS, dtype, unsigned),
                cast=cast,
                skip="NaN becomes -0 and negative NaN +0; a cast says nan, "
                "zero or refuse, and zero is +0",
            )
    # Casts of numbers to integers are those of C: toward zero, modulo 2^bits.
    for id in ("int2", "int4", "uint2", "uint4"):
        bits, signed = int(id[-1]), id[0] == "i"
        table = np.arange(2**bits, dtype=np.uint8).view(getattr(ml_dtypes, id)).astype(F32)
        x = probes(f"{id}/wrap", table, 1200, nan=False, infinite=False, limit=2.0**6)
        if not signed:
            x = np.abs(x)
        codes = x.astype(getattr(ml_dtypes, id)).view(np.uint8) & (2**bits - 1)
        entries.number(
            f"{id}/ml_dtypes",
            id,
            ("ml_dtypes", f"x.astype(ml_dtypes.{id})"),
            x,
            codes,
            table,
            {"rounding": "toward_zero", "overflow": "wrap"},
            excluded=["|x| > 64 and not finite: a conversion in C that is undefined"],
        )
