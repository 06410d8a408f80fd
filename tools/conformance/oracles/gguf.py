"""ggml block types by gguf-py: encoding where it has it, decoding of random blocks of all types."""

import numpy as np
from common import F32, matrix, probes, rng_of
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import NVFP4, dequantize, quantize

ENCODES = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")
DECODES = ENCODES + (
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "NVFP4",
    "IQ1_S",
    "IQ1_M",
    "IQ2_XXS",
    "IQ2_XS",
    "IQ2_S",
    "IQ3_XXS",
    "IQ3_S",
    "IQ4_NL",
    "IQ4_XS",
)
NAMES = {"MXFP4": "ggml_mxfp4", "NVFP4": "ggml_nvfp4"}
# Where the f16 numbers of a block are: they must be finite, other bytes may be anything.
HALVES = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "TQ1_0": [52],
    "TQ2_0": [64],
    "IQ1_S": [0],
    "IQ2_XXS": [0],
    "IQ2_XS": [0],
    "IQ2_S": [0],
    "IQ3_XXS": [0],
    "IQ3_S": [0],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
}


def half(blocks, at):
    return blocks[:, at : at + 2].copy().view(np.float16).astype(F32)


def halves(bytes_):
    """Element j in the low nibble and element j + n in the high one."""
    return np.concatenate([bytes_ & 15, bytes_ >> 4], 1)


def fifth(blocks, at):
    word = blocks[:, at : at + 4].copy().view(np.uint32)
    return ((word >> np.arange(32, dtype=np.uint32)) & 1).astype(np.uint8) << 4


def parts(kind, blocks):
    """Codes, scales and minima of blocks; codes as our number formats have them."""
    if kind == "Q4_0":
        return (halves(blocks[:, 2:]) + 8) & 15, half(blocks, 0), None
    if kind == "Q4_1":
        return halves(blocks[:, 4:]), half(blocks, 0), half(blocks, 2)
    if kind == "Q5_0":
        return ((halves(blocks[:, 6:]) | fifth(blocks, 2)) + 16) & 31, half(blocks, 0), None
    if kind == "Q5_1":
        return halves(blocks[:, 8:]) | fifth(blocks, 4), half(blocks, 0), half(blocks, 2)
    if kind == "Q8_0":
        return blocks[:, 2:], half(blocks, 0), None
    if kind == "TQ2_0":
        q = (blocks[:, :64].reshape(-1, 2, 1, 32) >> F4) & 3
        return q.reshape(len(blocks), 256), half(blocks, 64), None
    if kind == "MXFP4":
        exponent = blocks[:, :1].astype(np.float64)
        return halves(blocks[:, 1:]), np.exp2(exponent - 128), None
    return None, None, None


F4 = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)


def add(entries):
    elements(entries)
    scale_of_nvfp4(entries)
    for kind in ENCODES:
        id, type_ = NAMES.get(kind, kind.lower()), GGMLQuantizationType[kind]
        size, bytes_ = GGML_QUANT_SIZES[type_]
        w = matrix(f"{id}/gguf", entries.rows, 256, zeros=True)
        # The largest scale is an f16.
        w[4] *= F32(2.0**-38)
        excluded = []
        if kind in ("Q4_0", "Q5_0"):
            w[1] = 1e-3
            excluded = ["all-zero blocks: their scale is +0 in gguf-py and -0 in C"]
        raw = quantize(w, type_)
        y = dequantize(raw, type_).astype(F32)
        codes, scales, minima = parts(kind, raw.reshape(-1, bytes_))
        shape = (len(w), -1)
        call = ("gguf", f"gguf.quants.quantize(x, {kind}); dequantize")
        scheme = dict(
            codes=None if codes is None else codes.reshape(w.shape),
            scales=None if scales is None else scales.reshape(shape),
            zeros=None if minima is None else minima.reshape(shape),
        )
        entries.scheme(f"{id}/gguf", id, call, w, values=y, **scheme, excluded=excluded)
        tensors = {
            "bytes": raw,
            **({} if codes is None else {"codes": codes.reshape(w.shape)}),
            "values": y,
        }
        if scales is not None:
            tensors["scales"] = scales.reshape(shape).astype(F32)
        if minima is not None:
            tensors["zeros"] = minima.reshape(shape).astype(F32)
        entries.layout(
            f"ggml_{kind.lower()}/gguf/encoded", f"ggml_{kind.lower()}", call, None, tensors
        )
    for kind in DECODES:
        type_ = GGMLQuantizationType[kind]
        size, bytes_ = GGML_QUANT_SIZES[type_]
        rng = rng_of(kind)
        count = (64 if size == 32 else 16) * (8 if entries.large else 1)
        raw = rng.integers(0, 256, (count, bytes_), dtype=np.uint8)
        for at in HALVES.get(kind, []):
            scale = rng.standard_normal(count).astype(np.float16) * np.float16(0.1)
            scale[0], scale[1], scale[2] = 0, np.float16(6e-8), np.float16(-1)
            raw[:, at : at + 2] = scale.view(np.uint8).reshape(count, 2)
        if kind == "IQ1_M":
            # The f16 scale is in the top nibbles of four 16-bit words.
            raw[:, 55] = (raw[:, 55] & 0x0F) | 0x20
        if kind == "NVFP4":
            raw[:, :4] = np.minimum(raw[:, :4] & 0x7F, 0x7E)  # no sign; 0x7F reads as zero
        if kind == "MXFP4":
            raw[:, 0] = np.arange(count) * 255 // count
        if kind == "TQ1_0":
            raw[:, :52] = quantize(rng.standard_normal((count, 256)).astype(F32), type_)[:, :52]
        if kind == "TQ2_0":
            # Code 3 is no ternary digit.
            low = raw[:, :64]
            raw[:, :64] = low & ~((low & (low >> 1) & 0x55) * 2)
        y = dequantize(raw, type_).astype(F32)
        codes, scales, minima = parts(kind, raw)
        tensors = {"bytes": raw, "values": y}
        if codes is not None:
            tensors["codes"] = codes
            tensors["scales"] = scales.astype(F32)
            if minima is not None:
                tensors["zeros"] = minima.astype(F32)
        entries.layout(
            f"ggml_{kind.lower()}/gguf/random",
            f"ggml_{kind.lower()}",
            ("gguf", f"gguf.quants.dequantize(bytes, {kind})"),
            None,
            tensors,
        )


def scale_of_nvfp4(entries):
    """The scale of ggml's NVFP4: half the value of E4M3, halves up, all from 248 on the largest."""
    table = NVFP4.ue4m3_to_fp32(np.arange(128, dtype=np.uint8)).astype(F32)
    x = np.abs(
        probes("ggml_ue4m3/gguf", table, 2 * entries.cases, nan=False, infinite=False, limit=123.9)
    )
    # Just below half of the smallest number the f32 sum of its rounding is 1.
    x = x[(x * 1024 == 0.5) | (np.abs(x.astype(np.float64) * 1024 % 1 - 0.5) > 1e-6)]
    entries.number(
        "ggml_ue4m3/gguf",
        "ggml_ue4m3",
        ("gguf", "quants.NVFP4.fp32_to_ue4m3(2 x)"),
        x,
        NVFP4.fp32_to_ue4m3(x * 2),
        table,
        excluded=[
            "negatives, NaN and infinity: no scales",
            "from 124 (248 of E4M3) on: gguf-py gives the largest code at once",
            "beside ties of subnormals: gguf-py adds 1/2 in f32, which rounds up",
        ],
    )


def elements(entries):
    """Element casts: a block whose largest number makes the scale exactly 1."""
    for id, kind, first, last in (
        ("ggml_int4", "Q4_0", -8.0, None),
        ("ggml_int8", "Q8_0", 127.0, None),
        ("ggml_uint4", "Q4_1", 0.0, 15.0),
        ("ggml_int5", "Q5_0", -16.0, None),
        ("ggml_uint5", "Q5_1", 0.0, 31.0),
    ):
        bits = int(id[-1])
        every = np.arange(2**bits)
        table = every - np.where((every >= 2 ** (bits - 1)) & ("u" not in id), 2**bits, 0)
        ends = [first] + ([] if last is None else [last])
        bound = max(map(abs, ends))
        x = probes(f"{id}/gguf", table, entries.cases, nan=False, infinite=False, limit=bound)
        x = np.abs(x) if "u" in id else x
        x = x[np.abs(x) < bound] if len(ends) == 1 else x
        x = np.concatenate([x, np.zeros(-len(x) % (32 - len(ends)), F32)])
        fixed = np.tile(F32(ends), (len(x) // (32 - len(ends)), 1))
        blocks = np.concatenate([fixed, x.reshape(len(fixed), -1)], 1)
        raw = quantize(blocks, GGMLQuantizationType[kind])
        codes, scales, _ = parts(kind, raw.reshape(len(blocks), -1))
        assert (scales == 1).all()
        entries.number(
            f"{id}/gguf",
            id,
            ("gguf", f"quantize(blocks whose scale is 1, {kind})"),
            blocks.reshape(-1),
            codes.reshape(-1),
            table,
            excluded=[f"|x| > {bound}: it would change the scale"],
        )
