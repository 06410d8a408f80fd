#!/usr/bin/env python3
"""Golden values of vector formats, from other implementations and from plain numpy.

usage: vectors.py OUT_DIR        (OUT_DIR is tests/golden/vectors)

Writes vectors.safetensors and expected.json. Tensors by topic:
  pair.ID.x|codes|values        outlier-victim pairs, the rule of the paper in numpy, scale 1
  e8p.x|nearest                 the nearest of all 65536 points by brute force
  d4.points                     the 256 shortest vectors of D4
  torch.ID.*                    learned tables, decoded by torch indexing
  trellis.1mad|3inst|hyb        the integer arithmetic of the paper in numpy, for some states
  trellis.CASE.codes|values     sequences, decoded by taking bits out of one long integer
  viterbi.*                     the least error of a small trellis, by trying every path
  kmeans.*                      scipy.cluster.vq.kmeans2 from given entries
  bcq.*                         greedy binary coding in numpy
Needs: numpy, scipy, torch, safetensors.
"""
import hashlib
import itertools
import json
import sys
import warnings

import numpy as np
import scipy
import torch
from safetensors.numpy import save_file
from scipy.cluster.vq import kmeans2

rng = np.random.default_rng(20261124)
out, expected = {}, {}
f32 = np.float32


def pairs():
    """OliVe (arXiv 2304.07493): one table of signed values for each kind of element."""
    def abfloat(exponent, mantissa, bias):
        size = 2 ** (exponent + mantissa)
        magnitude = [0] + [((1 << mantissa) + (c & ((1 << mantissa) - 1))) << ((c >> mantissa) + bias)
                           for c in range(1, size)]
        return {c: v for c, v in enumerate(magnitude)} | {size + c: -magnitude[c] for c in range(1, size)}

    def integer(bits):
        half = 1 << (bits - 1)
        return {c: c if c < half else c - 2 * half for c in range(2 * half) if c != half}

    flint = {c: v for c, v in enumerate([0, 1, 2, 3, 16, 8, 4, 6])}
    flint |= {8 + c: -flint[c] for c in range(1, 8)}
    formats = {
        "ovp4": (4, integer(4), abfloat(2, 1, 2), 7, "left"),
        "ovp4_larger": (4, integer(4), abfloat(2, 1, 2), 7, "larger"),
        "ovp4_flint": (4, flint, abfloat(2, 1, 3), 16, "left"),
        "ovp8": (8, integer(8), abfloat(4, 3, 4), 127, "left"),
    }

    def nearest(table, x):
        # No probe is a tie, so any nearest will do.
        return min(table, key=lambda code: abs(table[code] - x))

    for name, (bits, normal, outlier, threshold, survivor) in formats.items():
        identifier = 1 << (bits - 1)
        x = rng.standard_t(2, 600) * threshold / 2
        hand = [0.2, threshold + 1, -threshold - 3, 2 * threshold + 0.3, 3 * threshold, -1.2, -2 * threshold - 0.1, 0.3]
        x = np.concatenate([x, [v for a in hand for b in hand for v in (a, b)]]).astype(f32)
        codes, values = [], []
        for a, b in x.reshape(-1, 2).astype(np.float64):
            big_a, big_b = abs(a) > threshold, abs(b) > threshold
            if not big_a and not big_b:
                ca, cb = nearest(normal, a), nearest(normal, b)
                va, vb = normal[ca], normal[cb]
            elif big_a and (not big_b or survivor == "left" or abs(a) >= abs(b)):
                ca, cb = nearest(outlier, a), identifier
                va, vb = outlier[ca], 0
            else:
                ca, cb = identifier, nearest(outlier, b)
                va, vb = 0, outlier[cb]
            codes.append(ca | cb << bits)
            values += [va, vb]
        out[f"pair.{name}.x"] = x
        out[f"pair.{name}.codes"] = np.array(codes, np.int32)
        out[f"pair.{name}.values"] = np.array(values, f32)


def e8p():
    """QuIP# (arXiv 2402.04396, section 4.2): every half-integer vector of even sum, by its signs."""
    absolute = [v for v in itertools.product([0.5, 1.5, 2.5, 3.5], repeat=8) if sum(x * x for x in v) <= 12]
    norm = lambda v: sum(x * x for x in v)
    inner = [v for v in absolute if norm(v) <= 10]
    rim = sorted(v for v in absolute if norm(v) == 12 and max(v) < 2)
    patterns = inner + rim[: 256 - len(inner)]
    signs = np.array(list(itertools.product([1, -1], repeat=8)))
    points = []
    for v in patterns:
        signed = signs * np.array(v)
        signed = signed[np.mod(signed.sum(1), 2) == 0]
        assert len(signed) == 128
        points += [signed + 0.25, signed - 0.25]
    points = np.concatenate(points)
    x = np.concatenate([rng.standard_normal((300, 8)), rng.standard_normal((60, 8)) * 3]).astype(f32)
    nearest = []
    for row in x.astype(np.float64):
        nearest.append(points[((points - row) ** 2).sum(1).argmin()])
    out["e8p.x"], out["e8p.nearest"] = x, np.array(nearest, f32)
    quarters = np.unique(np.round(points * 4).astype(np.int8), axis=0)
    expected["e8p"] = {
        "inner": len(inner),
        "points": len(quarters),
        # Rows in the order of their bytes as signed numbers.
        "sha256": hashlib.sha256(quarters.tobytes()).hexdigest(),
    }


def d4():
    vectors = [v for v in itertools.product(range(-5, 6), repeat=4) if sum(v) % 2 == 0]
    vectors.sort(key=lambda v: (sum(x * x for x in v), v))
    out["d4.points"] = np.array(vectors[:256], f32)


def tables():
    """Learned tables by torch indexing: entries looked up, added, scaled."""
    g = torch.Generator().manual_seed(7)
    half = lambda *shape: torch.randn(*shape, generator=g).half().float()
    rows, columns = 16, 64

    def save(name, codes, tables, values, scales=None):
        out[f"torch.{name}.codes"] = codes.to(torch.int32).contiguous().numpy()
        out[f"torch.{name}.tables"] = tables.contiguous().numpy()
        out[f"torch.{name}.values"] = values.contiguous().numpy()
        if scales is not None:
            out[f"torch.{name}.scales"] = scales.contiguous().numpy()

    table = half(256, 4)
    codes = torch.randint(256, (rows, columns // 4), generator=g)
    save("vq_d4_k256", codes, table, table[codes].reshape(rows, columns))

    table = half(2, 256, 8)
    codes = torch.randint(256, (rows, columns // 8, 2), generator=g)
    scales = half(rows, 1).abs()
    values = table[0][codes[..., 0]] + table[1][codes[..., 1]]
    save("aqlm_2x8", codes, table, values.reshape(rows, columns) * scales, scales)

    table = half(rows, 16)
    codes = torch.randint(16, (rows, columns), generator=g)
    save("lut4_channel", codes, table, torch.gather(table, 1, codes))

    # Blocks of 16 x 256: two blocks of rows, two of columns, entries of int8.
    rows, columns = 32, 320
    table = torch.randint(-127, 128, (2, 2, 16, 2), generator=g).float()
    codes = torch.randint(16, (rows, columns // 2), generator=g)
    scales = (torch.rand(rows, 1, generator=g) / 100).half().float()
    block_row = torch.arange(rows)[:, None] // 16
    block_column = torch.arange(columns // 2)[None, :] * 2 // 256
    values = table[block_row, block_column, codes].reshape(rows, columns) * scales
    save("vq_d2_k16", codes, table, values, scales)


def mad(s):
    x = (s.astype(np.uint64) * 34038481 + 76625530) % 2**32
    total = sum((x >> (8 * i)) & 255 for i in range(4)).astype(f32)
    return (total - f32(510)) / f32(147.8005413)


def inst(s):
    x = ((s.astype(np.uint64) * 89226354 + 64248484) % 2**32).astype(np.uint32)
    x = (x & np.uint32(0x8FFF8FFF)) ^ np.uint32(0x3B603B60)
    halves = x.view(np.uint16).reshape(-1, 2).view(np.float16).astype(f32)
    return halves[:, 0] + halves[:, 1]


def hyb(s, values, bits, sign):
    x = (s.astype(np.uint64) * (s.astype(np.uint64) + 1)) % 2**32
    entry = values[((x >> np.uint64(15 - bits)) & np.uint64(2**bits - 1)).astype(int)].copy()
    entry[((x >> np.uint64(15)) & np.uint64(1)) == 1, sign] *= -1
    return entry


def trellis():
    """QTIP (arXiv 2406.11235, algorithms 1 and 2, section 3.1.2)."""
    states = np.arange(2**16)
    some = np.sort(rng.choice(2**16, 2000, replace=False))
    some[:4] = range(4)
    out["trellis.states"] = some.astype(np.int32)
    out["trellis.1mad"], out["trellis.3inst"] = mad(some), inst(some)
    expected["trellis"] = {"mean": float(mad(states).mean()), "std": float(mad(states).std())}
    table = np.round(rng.standard_normal((64, 2)), 3).astype(f32)
    out["trellis.hyb.table"] = table
    out["trellis.hyb"] = hyb(some, table, 6, 0)

    def sequence(name, L, step, steps, tail_biting, value):
        codes = rng.integers(0, 2**step, steps)
        bits = "".join(format(c, f"0{step}b") for c in codes)
        before = bits if tail_biting else "0" * L
        stream = before + bits
        ends = [len(before) + (t + 1) * step for t in range(steps)]
        seen = np.array([int(stream[end - L:end], 2) for end in ends])
        out[f"trellis.{name}.codes"] = codes.astype(np.int32)
        out[f"trellis.{name}.values"] = value(seen).reshape(-1)

    sequence("biting", 16, 2, 256, True, mad)
    sequence("zero", 16, 3, 256, False, inst)
    sequence("pairs", 12, 4, 128, True, lambda s: hyb(s, table, 6, 1))

    # Every path of 12 steps through 16 states, one bit a step.
    values = rng.standard_normal(16).astype(f32)
    x = rng.standard_normal((20, 12)).astype(f32)
    zero, biting = [], []
    for row in x.astype(np.float64):
        best = {False: np.inf, True: np.inf}
        for path in range(2**12):
            for tail in (False, True):
                s = path & 15 if tail else 0
                error = 0.0
                for t in range(12):
                    s = (s << 1 | (path >> (11 - t)) & 1) & 15
                    error += (row[t] - float(values[s])) ** 2
                best[tail] = min(best[tail], error)
        zero.append(best[False])
        biting.append(best[True])
    out["viterbi.values"], out["viterbi.x"] = values, x
    out["viterbi.zero"], out["viterbi.biting"] = np.array(zero, f32), np.array(biting, f32)


def kmeans():
    for rounds in (1, 5, 40):
        x = rng.standard_normal((400, 3)).astype(f32)
        initial = x[rng.choice(400, 16, replace=False)]
        initial[3] = 100  # an entry that no point ever comes to
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entries, _ = kmeans2(x.astype(np.float64), initial.astype(np.float64), iter=rounds, minit="matrix")
        out[f"kmeans.{rounds}.x"], out[f"kmeans.{rounds}.initial"] = x, initial
        out[f"kmeans.{rounds}.entries"] = entries.astype(f32)


def bcq():
    x = rng.standard_normal((8, 128)).astype(f32)
    alphas, codes = np.zeros((8, 3), f32), np.zeros((8, 128), np.int32)
    for i, row in enumerate(x.astype(np.float64)):
        rest = row.copy()
        for plane in range(3):
            alpha = float(np.float16(f32(np.abs(rest).mean())))
            b = np.where(rest >= 0, 1, -1)
            alphas[i, plane] = alpha
            codes[i] |= (b > 0).astype(np.int32) << plane
            rest -= alpha * b
    out["bcq.x"], out["bcq.alphas"], out["bcq.codes"] = x, alphas, codes


for topic in (pairs, e8p, d4, tables, trellis, kmeans, bcq):
    topic()
expected["versions"] = {m.__name__: m.__version__.split("+")[0] for m in (np, scipy, torch)}
folder = sys.argv[1]
save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, f"{folder}/vectors.safetensors")
with open(f"{folder}/expected.json", "w") as file:
    json.dump(expected, file, indent=2, sort_keys=True)
    file.write("\n")
print(len(out), "tensors")
