#!/usr/bin/env python3
"""Makes tests/golden/kernels.json: inputs and results of kernel operations by numpy, scipy, torch and
ml_dtypes.

usage: kernels.py OUTFILE        (needs numpy, scipy, torch, ml_dtypes)

Each case is a dictionary of flat arrays; inputs are f32 or f64 from a fixed seed, results f64.
"""

import json
import sys

import ml_dtypes
import numpy as np
import scipy
import scipy.linalg
import scipy.sparse
import scipy.special
import torch

rng = np.random.default_rng(20261124)


def f32(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def flat(**arrays):
    """Flat lists: f32 in the fewest digits that give it back, all others as f64."""
    out = {}
    for name, value in arrays.items():
        value = np.asarray(value)
        if value.dtype == np.float32:
            out[name] = [float(str(v)) for v in value.ravel()]
        elif value.dtype.kind in "iub":
            out[name] = [int(v) for v in value.ravel()]
        else:
            out[name] = [float(v) for v in value.ravel()]
    return out


def algebra():
    n = 20
    g = rng.standard_normal((n, n))
    a = g @ g.T + n * np.eye(n)
    low = scipy.linalg.cholesky(a, lower=True)
    b = rng.standard_normal((n, 3))
    solution = scipy.linalg.cho_solve((low, True), b)
    yield "cholesky", flat(a=a, l=low, b=b, x=solution, inverse=scipy.linalg.inv(low))
    q = scipy.linalg.qr(rng.standard_normal((24, 24)))[0]
    spectrum = np.concatenate([[-3.0, -1.0, -1.0, -1.0, 0.0, 0.0, 1e-9], np.linspace(0.5, 40, 17)])
    for name, m in {
        "eigen_clustered": (q * spectrum) @ q.T,
        "eigen_hilbert": scipy.linalg.hilbert(12),
        "eigen_wilkinson": np.diag(np.abs(np.arange(-10.0, 11))) + np.eye(21, k=1) + np.eye(21, k=-1),
    }.items():
        m = (m + m.T) / 2
        yield name, flat(a=m, values=scipy.linalg.eigvalsh(m))
    for rows, columns, rank in [(14, 20, 14), (20, 14, 14), (16, 16, 5)]:
        m = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
        s = scipy.linalg.svdvals(m)
        u, d, v = scipy.linalg.svd(m, full_matrices=False)
        truncated = (u[:, :4] * d[:4]) @ v[:4]
        yield f"svd_{rows}_{columns}_{rank}", flat(a=m, s=s, truncated=truncated)
    m = rng.standard_normal((18, 11))
    q, r = scipy.linalg.qr(m, mode="economic")
    sign = np.sign(np.diag(r))
    yield "qr", flat(a=m, q=q * sign, r=sign[:, None] * r)


def dense():
    x = f32(3, 64)
    h = scipy.linalg.hadamard(64) / 8.0
    yield "hadamard", flat(x=x, y=x.astype(np.float64) @ h.T)
    x = np.concatenate([np.linspace(-12, 12, 97), [-40, 40, 0.0, 1e-20]]).astype(np.float32)
    t = torch.from_numpy(x.astype(np.float64))
    yield "activate", flat(
        x=x,
        relu=torch.relu(t).numpy(),
        silu=torch.nn.functional.silu(t).numpy(),
        gelu=torch.nn.functional.gelu(t).numpy(),
        gelu_tanh=torch.nn.functional.gelu(t, approximate="tanh").numpy(),
    )
    x, w, b = f32(3, 37) * 3 + 5, f32(37), f32(37)
    norm = torch.nn.functional.layer_norm(
        *[torch.from_numpy(x.astype(np.float64)), (37,)],
        torch.from_numpy(w.astype(np.float64)),
        torch.from_numpy(b.astype(np.float64)),
        1e-5,
    )
    softmax = scipy.special.softmax(x.astype(np.float64), axis=1)
    yield "rows", flat(x=x, weight=w, bias=b, layer_norm=norm.numpy(), softmax=softmax)
    x, w = f32(29, 7), f32(29, 18)
    yield "matmul", flat(x=x, w=w, y=x.astype(np.float64).T @ w.astype(np.float64))
    x = np.round(f32(501) * 8).astype(np.float32) / 4
    counts, _ = np.histogram(x.astype(np.float64), bins=13, range=(-3, 4))
    fractions = [0.0, 0.01, 0.5, 0.999, 1.0]
    percentiles = np.quantile(x.astype(np.float64), fractions)
    yield "statistics", flat(x=x, counts=counts, fractions=fractions, percentiles=percentiles)


def lookup():
    codes = np.arange(64, dtype=np.uint8)
    yield "fp6", flat(
        e3m2=codes.view(ml_dtypes.float6_e3m2fn).astype(np.float64),
        e2m3=codes.view(ml_dtypes.float6_e2m3fn).astype(np.float64),
    )
    rows, columns, planes, group = 19, 40, 3, 16
    groups = -(-columns // group)
    signs = rng.integers(0, 2, (planes, rows, columns))
    alphas, offsets, x = np.abs(f32(planes, rows, groups)), f32(rows, groups), f32(2, columns)
    of = np.arange(columns) // group
    w = ((2.0 * signs - 1) * alphas.astype(np.float64)[:, :, of]).sum(0) + offsets[:, of]
    packed = np.packbits(signs.astype(np.uint8), axis=2, bitorder="little")
    yield "planes", flat(bits=packed, alphas=alphas, offsets=offsets, x=x, y=x.astype(np.float64) @ w.T)
    codes, tables = rng.integers(0, 300, (2, 5, 6)), f32(2, 300, 4)
    scales = np.abs(f32(5, 3))
    w = sum(tables.astype(np.float64)[b][codes[b]] for b in range(2)).reshape(5, 24)
    w *= np.repeat(scales.astype(np.float64), 8, axis=1)
    x = f32(2, 24)
    yield "codebook", flat(codes=codes, tables=tables, scales=scales, x=x, y=x.astype(np.float64) @ w.T)
    s = scipy.sparse.random(9, 24, 0.2, format="coo", rng=rng, dtype=np.float64)
    order = np.lexsort((s.col, s.row))
    values = s.data[order].astype(np.float32)
    exact = scipy.sparse.coo_matrix((values.astype(np.float64), (s.row[order], s.col[order])), (9, 24))
    left, right = f32(9, 3), f32(3, 24)
    low_rank = x.astype(np.float64) @ right.astype(np.float64).T @ left.astype(np.float64).T
    yield "side", flat(
        **{"row": s.row[order], "column": s.col[order], "values": values, "x": x},
        **{"left": left, "right": right, "low_rank": low_rank},
        sparse=(exact @ x.astype(np.float64).T).T,
    )


def cache():
    """Keys by channel in groups of 8 positions, values by token in groups of 8 columns (KIVI)."""
    tokens, kv_heads, size, heads, bits, group = 21, 2, 16, 4, 2, 8
    k, v, q = f32(tokens, kv_heads * size), f32(tokens, kv_heads * size), f32(tokens, heads * size)

    def quantize(x, axis):
        low, high = x.min(axis, keepdims=True), x.max(axis, keepdims=True)
        scale = ((high - low) / np.float32(2**bits - 1)).astype(np.float32)
        return np.rint((x - low) / scale) * scale + low

    full = tokens // group * group
    keys = k.copy()
    keys[:full] = quantize(k[:full].reshape(-1, group, kv_heads * size), 1).reshape(full, -1)
    values = quantize(v.reshape(tokens, -1, group), 2).reshape(tokens, -1)

    def split(x, count):
        return torch.from_numpy(x.astype(np.float64)).view(tokens, count, size).transpose(0, 1)[None]

    y = torch.nn.functional.scaled_dot_product_attention(
        split(q, heads), split(keys, kv_heads), split(values, kv_heads), is_causal=True, enable_gqa=True
    )
    y = y[0].transpose(0, 1).reshape(tokens, -1).numpy()
    yield "cache", flat(k=k, v=v, q=q, keys=keys, values=values, y=y)


def main():
    cases = {}
    for part in [algebra, dense, lookup, cache]:
        cases.update(part())
    versions = {m.__name__: m.__version__ for m in [np, scipy, torch, ml_dtypes]}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write(f'{{"versions": {json.dumps(versions)}, "cases": {{\n{lines}\n}}}}\n')


main()
