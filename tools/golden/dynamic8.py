"""Writes formats/numbers/dynamic8.yaml: the 256 values of bitsandbytes' dynamic map.

    python tools/golden/dynamic8.py > formats/numbers/dynamic8.yaml     (bitsandbytes 0.50.2)
"""

import bitsandbytes
from bitsandbytes.functional import create_dynamic_map

values = create_dynamic_map(signed=True, max_exponent_bits=7, total_bits=8).tolist()
print(f"""id: dynamic8
summary: 8-bit dynamic tree, a sign, a unary exponent of base 10 and a linear fraction
family: codebook
bits: 8
values:""")
for start in range(0, 256, 8):
    comma = "[" if start == 0 else " "
    print(f"  {comma}" + ", ".join(map(repr, values[start : start + 8])) + ("]" if start == 248 else ","))
print(f"""cast: {{ rounding: half_down, negative_zero: positive }}
source: Dettmers et al. 2022, arXiv 2110.02861; constants as in bitsandbytes {bitsandbytes.__version__}""")
