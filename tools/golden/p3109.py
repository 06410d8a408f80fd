"""Writes tests/golden/p3109.json: the values of all IEEE P3109 formats of 8 bits, by gfloat.

    python tools/golden/p3109.py     (gfloat 0.5.2)

A name is PRECISION, then s or u (signed or not), then e or f (with infinities or not). What is no
finite number is a string.
"""

import json
import pathlib
from importlib.metadata import version

from gfloat import Domain, Signedness, decode_float
from gfloat.formats import format_info_p3109


def plain(value: float) -> float | str:
    names = {float("inf"): "Infinity", float("-inf"): "-Infinity"}
    return "NaN" if value != value else names.get(value, value)


formats = {}
for precision in range(1, 9):
    for sign, signedness in (("s", Signedness.Signed), ("u", Signedness.Unsigned)):
        for end, domain in (("e", Domain.Extended), ("f", Domain.Finite)):
            if precision == 8 and sign == "s":
                continue  # no bit is left for the exponent
            info = format_info_p3109(8, precision, signedness, domain)
            formats[f"{precision}{sign}{end}"] = {
                "bias": info.bias,
                "values": [plain(decode_float(info, code).fval) for code in range(256)],
            }

out = pathlib.Path(__file__).parents[2] / "tests/golden/p3109.json"
out.write_text(json.dumps(
        {"versions": {"gfloat": version("gfloat")}, "formats": formats}, separators=(",", ":")
    )
)
