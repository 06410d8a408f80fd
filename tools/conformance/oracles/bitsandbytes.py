"""bitsandbytes on the CPU: NF4, FP4, double quantisation, dynamic 8-bit, AF4's table."""

import bitsandbytes.functional as bnb
import numpy as np
import torch
from common import F32, matrix, nearest, probes
from oracles.scipy import HOLD, codebook


def unpack(packed):
    packed = packed.numpy().reshape(-1)
    return np.stack([packed >> 4, packed & 15], 1).reshape(-1).astype(np.uint8)


CPU_FP4 = "the CPU path goes by midpoints and sorts its zeros; ours has the bounds and zeros of the CUDA kernel"


def add(entries):
    for kind in ("nf4", "fp4"):
        elements(entries, kind)
        for double in (False, True):
            blocks(entries, kind, double)
    codebook(
        entries,
        "af4/bitsandbytes",
        "af4",
        ("bitsandbytes", 'get_4bit_type("af4")'),
        bnb.get_4bit_type("af4", device="cpu").numpy(),
        HOLD,
    )
    dynamic(entries)
    rows(entries)


def elements(entries, kind):
    """Blocks of 64 whose largest magnitude is 1, so that the scale is exactly 1."""
    _, state = bnb.quantize_4bit(torch.ones(64), blocksize=64, quant_type=kind)
    table = state.code.numpy()
    x = probes(f"{kind}/bitsandbytes", table, entries.cases, nan=False, infinite=False, limit=1.0)
    x = np.concatenate([x, np.zeros(-len(x) % 63, F32)])
    full = np.concatenate([np.ones((len(x) // 63, 1), F32), x.reshape(-1, 63)], 1)
    packed, _ = bnb.quantize_4bit(torch.from_numpy(full), blocksize=64, quant_type=kind)
    id = "nf4" if kind == "nf4" else "fp4_bnb"
    entries.number(
        f"{id}/bitsandbytes",
        id,
        ("bitsandbytes", f'quantize_4bit(x, 64, quant_type="{kind}"), absmax 1'),
        full.reshape(-1),
        unpack(packed),
        table,
        {"rounding": "half_down"},
        skip=CPU_FP4 if kind == "fp4" else None,
        excluded=["|x| > 1: it would change the scale"],
    )


def blocks(entries, kind, double):
    id = f"{kind}_b64" + ("_dq" if double else "")
    w = (
        nested_matrix(entries.rows * 2)
        if double
        else matrix(f"{kind}_b64/bitsandbytes", entries.rows, 256, group=64)
    )
    packed, state = bnb.quantize_4bit(
        torch.from_numpy(w), blocksize=64, quant_type=kind, compress_statistics=double
    )
    values = bnb.dequantize_4bit(packed, state).numpy()
    absmax = state.absmax
    second = {}
    if double:
        nested = state.state2
        second = {
            "scales": nested.code[state.absmax.long()].numpy().reshape(len(w), -1),
            "over": nested.absmax.numpy().reshape(1, -1),
            "offset": state.offset.reshape(1, 1).numpy(),
        }
        absmax = bnb.dequantize_blockwise(state.absmax, nested) + state.offset
    entries.scheme(
        f"{id}/bitsandbytes",
        id,
        (
            "bitsandbytes",
            f'quantize_4bit(x, 64, "{kind}", compress_statistics={double}) on the CPU',
        ),
        w,
        codes=unpack(packed).reshape(w.shape),
        scales=absmax.numpy().reshape(len(w), -1),
        values=values,
        stored=second,
        cast={"rounding": "half_down"},
        skip=CPU_FP4 if kind == "fp4" else None,
        excluded=["means that an f32 sum rounds differently"] if double else [],
    )
    if not double:
        entries.layout(
            f"bnb_4bit_{kind}/bitsandbytes",
            "bnb_4bit",
            ("bitsandbytes", f'quantize_4bit(x, 64, "{kind}")'),
            4,
            {"codes": unpack(packed).reshape(w.shape), "bytes": packed.numpy().reshape(-1)},
        )


def nested_matrix(rows):
    """A matrix whose absmax have the same mean in torch's f32 as in f64; another order adds otherwise."""
    for seed in range(1000):
        w = matrix(f"nested/{seed}", rows, 512, group=64)
        w[3:6] = w[11:14]
        absmax = torch.from_numpy(np.abs(w).reshape(-1, 64).max(1))
        if absmax.mean() == absmax.double().mean().float():
            return w
    raise AssertionError("no such matrix")


def dynamic(entries):
    for signed in (True, False):
        id = "dynamic8" if signed else "udynamic8"
        table = bnb.create_dynamic_map(signed=signed).numpy()
        x = probes(
            f"{id}/bitsandbytes",
            table,
            entries.cases * 3 // 2,
            nan=False,
            infinite=False,
            limit=1.0,
        )
        x = x if signed else np.abs(x)
        codes, clear = nearest(x, table)
        entries.number(
            f"{id}/bitsandbytes",
            id,
            ("bitsandbytes", f"create_dynamic_map(signed={signed}); nearest entry"),
            x[clear],
            codes[clear].astype(np.uint8),
            table,
            excluded=[
                "ties: the CPU quantiser is an approximate look-up; see the entry that ends in /cpu"
            ],
        )
        if signed:
            x = np.concatenate([x, np.zeros(-len(x) % 255, F32)]).reshape(-1, 255)
            full = np.concatenate([np.ones((len(x), 1), F32), x], 1)
            q, _ = bnb.quantize_blockwise(torch.from_numpy(full), blocksize=256)
            entries.number(
                f"{id}/bitsandbytes/cpu",
                id,
                ("bitsandbytes", "quantize_blockwise(x, blocksize=256), absmax 1"),
                full.reshape(-1),
                q.numpy().reshape(-1),
                table,
                hold={
                    "values": {
                        "error": 1e-7,
                        "reason": "an approximate look-up: half the codes "
                        "of small values differ from the nearest",
                    }
                },
            )


def rows(entries):
    """LLM.int8: rows of int8, codes by multiplication with 127 / absmax; f16 inputs."""
    w = matrix("llm_int8", entries.rows, 256)
    w[4], w[5] = w[11], w[12]
    half = torch.from_numpy(w).half()
    q, absmax, _ = bnb.int8_vectorwise_quant(half)
    values = bnb.int8_vectorwise_dequant(q, absmax)
    entries.scheme(
        "llm_int8/bitsandbytes",
        "llm_int8",
        ("bitsandbytes", "int8_vectorwise_quant(x.half()); int8_vectorwise_dequant"),
        half.float().numpy(),
        codes=q.numpy().view(np.uint8),
        scales=(absmax / 127).numpy().reshape(-1, 1),
        values=values.float().numpy(),
    )
