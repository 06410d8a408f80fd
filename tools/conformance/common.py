"""What the oracle modules share: inputs that matter, and the set of entries that they fill.

Inputs are seeded by the name of the entry, so that an entry does not change when others do.
"""

import hashlib
import importlib.metadata
import json
import os
import warnings
import zlib

import numpy as np
from safetensors.numpy import save_file

warnings.filterwarnings("ignore")
F32 = np.float32
INF = F32(np.inf)

# Quiet and signalling payloads of both signs.
NANS = np.array(
    [
        s | p
        for s in (0, 1 << 31)
        for p in (
            0x7FC00000,
            0x7F800001,
            0x7FFFFFFF,
            0x7FA00000,
            0x7FC00001,
            0x7FE12345,
            0x7F812345,
            0x7FBFFFFF,
        )
    ],
    np.uint32,
).view(F32)


def rng_of(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def version(package):
    return importlib.metadata.version(package).split("+")[0]


def neighbours(x):
    x = np.asarray(x, F32)
    return np.concatenate([x, np.nextafter(x, INF), np.nextafter(x, -INF)])


def some(rng, values, count):
    return values if len(values) <= count else rng.choice(values, count, replace=False)


# Layouts of the catalog, by what the oracles call them.
LAYOUTS = {
    "bitnet_2bit": "bitnet",
    "bnb_4bit": "bitsandbytes4",
    "fp6_fours": "compressed_tensors_fp6",
    "hqq_3bit_32": "hqq3",
    "marlin": "marlin_uint4",
    # Codes of 16 bits, which the catalog's layout of scales does not take.
    "marlin_scales": "marlin_scales_as_codes",
    "qdq_int4": "onnx_qdq_int4",
    "scales_128x4": "cublas_scales",
    **{f"compressed_tensors_int{bits}": "compressed_tensors_int" for bits in range(1, 9)},
    **{f"gptq_{bits}bit": "gptq_uint" for bits in (2, 3, 4, 8)},
    **{f"gptq_{bits}bit_zeros_v{v}": f"gptq_zeros_v{v}" for bits in (2, 3, 4, 8) for v in (1, 2)},
    **{f"gptq_{bits}bit_planar": f"gptq_p{bits}" for bits in (3, 5, 6, 7)},
    **{f"hqq_{bits}bit_u8": f"hqq{bits}" for bits in (1, 2, 4, 8)},
    **{f"matmul_nbits_{bits}": "onnx_matmul_nbits" for bits in (2, 4, 8)},
    **{f"quanto_{bits}bit": f"quanto{bits}" for bits in (2, 4)},
}


# What the oracles hold with the rows of the weight as columns; the catalog has weights as [out, in].
TURNED = ("awq_gemm", "qdq_int4")


def probes(name, values, cases=4200, nan=True, infinite=True, limit=None, least=0.0):
    """F32 inputs that matter to a format with these values, `cases` of them or more.

    Ties and both f32 neighbours, every value and both neighbours, edges of overflow, subnormals of
    f32, powers of two, log-uniform numbers over the range of f32 and of the format, random bits,
    zeros, infinities, NaNs. `limit` and `least` bound the magnitudes, for oracles with a bound.
    """
    rng = rng_of(name)
    values = np.asarray(values, np.float64)
    finite = np.unique(values[np.isfinite(values)])
    ties = some(rng, (finite[1:] + finite[:-1]) / 2, 400)
    magnitudes = np.abs(finite[finite != 0])
    top, bottom = magnitudes.max(), magnitudes.min()
    step = top - (magnitudes[magnitudes < top].max() if (magnitudes < top).any() else 0)
    factors = (1.0, 1.01, 1.03125, 1.0357142857, 1.0714285714, 1.125, 1.25, 1.5, 2.0, 4.0)
    edges = np.array([top * f for f in factors] + [top + step / 2, top + step])
    low = np.array([bottom * f for f in (0.25, 0.5, 0.75, 1.0, 1.5)])
    powers = np.exp2(np.arange(-149.0, 128.0))
    with np.errstate(all="ignore"):
        points = np.concatenate([ties, some(rng, finite, 300)])
        parts = [neighbours(points.astype(F32))]
        for both in (edges, low):
            parts += [neighbours(both.astype(F32)), -neighbours(both.astype(F32))]
        parts += [powers.astype(F32), -powers.astype(F32)]
        parts += [F32([0.0, -0.0, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38])]
        if infinite:
            parts += [F32([np.inf, -np.inf])]
        if nan:
            parts += [NANS]
        left = max(600, cases - sum(map(len, parts)))
        signs = lambda n: rng.choice(F32([-1, 1]), n)
        whole, inside = left // 3, left // 3
        parts += [np.exp2(rng.uniform(-149, 128, whole)).astype(F32) * signs(whole)]
        logs = rng.uniform(np.log2(bottom) - 3, np.log2(top) + 2, inside)
        parts += [np.exp2(logs).astype(F32) * signs(inside)]
        bits = rng.integers(0, 2**32, left * 2, dtype=np.uint32).view(F32)
        parts += [bits[np.isfinite(bits)][: left - whole - inside + 40]]
    x = np.concatenate(parts).astype(F32)
    if not infinite:
        x = x[~np.isinf(x)]
    if limit is not None or least:
        inside = np.abs(x) <= (INF if limit is None else limit)
        inside &= (np.abs(x) >= least) | (x == 0)
        x = x[inside | np.isnan(x)]
        # What fell out comes back inside the bounds.
        top = min(top, top if limit is None else limit)
        more = rng.uniform(-top, top, max(0, cases - len(x))).astype(F32)
        x = np.concatenate([x, more[(np.abs(more) >= least)]])
    return np.ascontiguousarray(x)


def matrix(name, rows=16, columns=256, group=32, tiny=False, zeros=True, scale=0.05):
    """A weight with ordinary rows and adversarial ones; every row is said here.

    0 ordinary with both zeros and tiny numbers; 1 all zero; 2 constant; 3 outliers; 4 huge;
    5 small; 6 ties of a step of 1/8; 7 negative only; 8 positive only; 9 one outlier a group;
    10 subnormal (`tiny`); the others ordinary, log-normal, or of growing magnitude.
    """
    rng = rng_of(name)
    w = rng.standard_normal((rows, columns)).astype(F32) * F32(scale)
    if not zeros:
        w[w == 0] = F32(scale)
    head = [0.0, -0.0, 1e-30, -1e-30, 3.0, -3.0, 0.5, -0.5] if zeros else [1e-30, -1e-30, 3.0, -3.0]
    w[0, : len(head)] = F32(head)
    w[1] = 0.0 if zeros else scale
    w[2] = 0.125
    w[3, ::2] *= 64
    w[4] *= F32(2.0**40)
    w[5] *= F32(2.0**-40)
    w[6] = rng.integers(-60, 61, columns).astype(F32) / 16
    w[7], w[8] = -np.abs(w[7]) - F32(scale), np.abs(w[8]) + F32(scale)
    w[9, ::group] = 50.0
    if tiny:
        w[10] = (
            rng.integers(1, 4000, columns).astype(F32)
            * F32(1e-45)
            * rng.choice(F32([-1, 1]), columns)
        )
    else:
        w[10] *= np.exp2(rng.uniform(-6, 6, columns)).astype(F32)
    for row in range(11, rows):
        w[row] *= F32(2.0 ** (3 * (row % 16 - 13)))
    if not zeros:
        w[w == 0] = F32(scale)
    return w


class Entries:
    """The manifest and its tensors, filled by the oracle modules."""

    def __init__(self, large=False):
        self.large = large
        self.cases = 40_000 if large else 4_200
        self.rows = 128 if large else 16
        self.entries, self.tensors, self.unavailable = [], {}, []

    def add(self, name, kind, id, oracle, tensors, hold="exact", excluded=(), **more):
        """`oracle` is (package, call); `tensors` maps a role to an array."""
        assert name not in [entry["name"] for entry in self.entries], name
        package, call = oracle
        names = {}
        for role, array in tensors.items():
            array = np.ascontiguousarray(array)
            key = f"{name}.{role}"
            # Equal tensors are stored once.
            digest = (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).hexdigest())
            known = self.tensors.setdefault(digest, (key, array))
            names[role] = known[0]
        first = tensors.get("x", tensors.get("codes", tensors.get("bytes")))
        self.entries.append(
            {
                "name": name,
                "kind": kind,
                "id": id,
                "oracle": {"package": package, "version": version(package), "call": call},
                **{key: value for key, value in more.items() if value not in (None, {}, [])},
                "cases": int(np.size(first)),
                "hold": hold,
                **({"excluded": list(excluded)} if excluded else {}),
                "tensors": names,
            }
        )

    def number(self, name, id, oracle, x, codes, table=None, cast=None, **more):
        codes = np.asarray(codes)
        tensors = {"x": np.asarray(x, F32), "codes": codes}
        if table is not None:
            tensors["table"] = np.asarray(table, F32)
        self.add(name, "number", id, oracle, tensors, cast=cast, **more)

    def table(self, name, id, oracle, table, **more):
        self.add(name, "number", id, oracle, {"table": np.asarray(table, F32)}, **more)

    def scheme(self, name, id, oracle, x, **parts):
        tensors = {"x": np.asarray(x, F32)}
        parts.update({f"second.{part}": array for part, array in parts.pop("stored", {}).items()})
        for role in (
            "codes",
            "scales",
            "zeros",
            "second.scales",
            "second.over",
            "second.offset",
            "values",
        ):
            if parts.get(role) is not None:
                array = np.asarray(parts.pop(role))
                tensors[role] = array if role == "codes" else array.astype(F32)
            else:
                parts.pop(role, None)
        self.add(name, "scheme", id, oracle, tensors, **parts)

    def layout(self, name, id, oracle, bits, tensors, **more):
        if id in TURNED or id.startswith("gptq_") and "_zeros_" in id:
            turned = np.ascontiguousarray(tensors["codes"].T)
            tensors = {"bytes": tensors["bytes"], "codes": turned}
        self.add(name, "layout", LAYOUTS.get(id, id), oracle, tensors, bits=bits, **more)

    def write(self, folder):
        files = {}
        for key, array in self.tensors.values():
            files.setdefault(self.file_of(key), {})[key] = array
        for file, tensors in files.items():
            save_file(dict(sorted(tensors.items())), f"{folder}/{file}")
            os.chmod(f"{folder}/{file}", 0o644)
        manifest = {
            "about": "conformance vectors of low-bit formats; README.md says how to use them",
            "made_by": "tools/conformance/make.py",
            "version": 1,
            "files": sorted(files),
            "unavailable": self.unavailable,
            "entries": sorted(self.entries, key=lambda entry: (entry["kind"], entry["name"])),
        }
        with open(f"{folder}/manifest.json", "w") as f:
            json.dump(manifest, f, indent=1)
            f.write("\n")

    def file_of(self, key):
        owner = next(e for e in self.entries if key in e["tensors"].values())
        return f"{owner['kind']}s.safetensors"


def nearest(x, table):
    """The code of the nearest entry of a table, and whether the choice is clear (no near tie)."""
    table = np.asarray(table, np.float64)
    distance = np.abs(np.asarray(x, np.float64)[:, None] - table[None, :])
    order = np.sort(distance, axis=1)
    clear = (order[:, 1] - order[:, 0]) > 1e-4 * np.maximum(1e-6, order[:, 1])
    return np.argmin(distance, axis=1), clear
