"""OCP floats, MXINT8 and IEEE P3109 of gfloat, with its roundings."""

import gfloat
import gfloat.formats as gf
import numpy as np
from common import F32, matrix, probes

FORMATS = {
    "float4_e2m1fn": gf.format_info_ocp_e2m1,
    "float6_e2m3fn": gf.format_info_ocp_e2m3,
    "float6_e3m2fn": gf.format_info_ocp_e3m2,
    "float8_e4m3fn": gf.format_info_ocp_e4m3,
    "float8_e5m2": gf.format_info_ocp_e5m2,
    "int8_mx": gf.format_info_ocp_int8,
}
ROUNDINGS = {
    "nearest_even": gfloat.RoundMode.TiesToEven,
    "half_away": gfloat.RoundMode.TiesToAway,
    "toward_zero": gfloat.RoundMode.TowardZero,
    "up": gfloat.RoundMode.TowardPositive,
    "down": gfloat.RoundMode.TowardNegative,
}


def table_of(info):
    return F32([gfloat.decode_float(info, code).fval for code in range(2**info.bits)])


def encode(info, x, rounding="nearest_even", sat=True):
    with np.errstate(all="ignore"):
        y = gfloat.round_ndarray(info, x.astype(np.float64), ROUNDINGS[rounding], sat)
        return gfloat.encode_ndarray(info, y).astype(np.uint8)


def add(entries):
    for id, info in FORMATS.items():
        table = table_of(info)
        for rounding in ROUNDINGS:
            main = rounding == "nearest_even"
            name = f"{id}/gfloat/{rounding}"
            nans = np.isnan(table).any()
            x = probes(name, table, entries.cases if main else entries.cases // 4, nan=False)
            cast = {
                "rounding": rounding,
                "overflow": "saturate",
                "infinity": "saturate",
                "nan": "nan" if nans else "refuse",
                "negative_zero": "keep",
            }
            call = f"encode_ndarray(info, round_ndarray(info, x, {ROUNDINGS[rounding]}, sat=True))"
            entries.number(
                name,
                id,
                ("gfloat", call),
                x,
                encode(info, x, rounding),
                table if main else None,
                cast,
                excluded=["NaN: gfloat has no payloads"],
            )
    info = gf.format_info_ocp_e8m0
    table = table_of(info)
    x = np.abs(
        probes(
            "float8_e8m0fnu/gfloat",
            table,
            entries.cases,
            nan=False,
            infinite=False,
            least=2.0**-126,
            limit=2.0**127,
        )
    )
    x = x[x > 0]
    entries.number(
        "float8_e8m0fnu/gfloat",
        "float8_e8m0fnu",
        ("gfloat", "encode_ndarray(round_ndarray(..., TiesToEven))"),
        x,
        encode(info, x),
        table,
        {"rounding": "nearest_even"},
        excluded=[
            "zero, negatives, beyond 2^127, below 2^-126 and NaN: other entries have these rules"
        ],
    )
    for precision in (2, 3, 4, 5):
        info = gf.format_info_p3109(8, precision)
        table = table_of(info)
        id = f"p3109_8p{precision}"
        mantissa = precision - 1
        definition = {
            "id": id,
            "summary": f"IEEE P3109, 8 bits, precision {precision}",
            "family": "float",
            "bits": 8,
            "signed": True,
            "exponent": 7 - mantissa,
            "mantissa": mantissa,
            "bias": 2 ** (6 - mantissa),
            "infinities": "top",
            "nan": "negative_zero",
            "cast": {"overflow": "saturate", "infinity": "infinity", "nan": "nan"},
        }
        x = probes(id, table, entries.cases, nan=True, infinite=False)
        entries.number(
            f"{id}/gfloat",
            id,
            ("gfloat", "round_ndarray(..., TiesToEven, sat=True)"),
            x,
            encode(info, x),
            table,
            {},
            definition=definition,
            excluded=["infinities: gfloat saturates them when sat=True"],
        )
    mx(entries)


def mx(entries):
    """MX blocks: elements and decoding by gfloat, the scale floor(log2 amax) - emax by frexp."""
    for id, element in (
        ("mxfp4", "float4_e2m1fn"),
        ("mxfp6_e2m3", "float6_e2m3fn"),
        ("mxfp6_e3m2", "float6_e3m2fn"),
        ("mxfp8_e4m3", "float8_e4m3fn"),
        ("mxfp8_e5m2", "float8_e5m2"),
        ("mxint8", "int8_mx"),
    ):
        info = FORMATS[element]
        w = matrix(f"{id}/gfloat", entries.rows, 128, tiny=True)
        blocks = w.reshape(len(w), -1, 32).astype(np.float64)
        amax = np.abs(blocks).max(-1)
        top = int(
            np.floor(np.log2(np.nanmax(np.where(np.isfinite(table_of(info)), table_of(info), 0))))
        )
        exponent = np.where(amax > 0, np.frexp(amax)[1] - 1 - top, -127).clip(-127, 127)
        scales = np.exp2(exponent.astype(np.float64))
        codes = encode(info, (blocks / scales[..., None]).reshape(w.shape))
        values = table_of(info)[codes].astype(np.float64) * np.repeat(scales, 32, 1)
        entries.scheme(
            f"{id}/gfloat",
            id,
            ("gfloat", "elements and values; floor rule of OCP MX"),
            w,
            codes=codes,
            scales=scales,
            values=values,
            scale={"rule": "mx_floor"},
            cast={"rounding": "nearest_even"},
        )
