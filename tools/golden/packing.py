#!/usr/bin/env python3
"""Golden packings: the same codes packed by the packages that own each layout.

usage: packing.py OUT_DIR        (OUT_DIR is tests/golden/packing)

Writes packing.safetensors and manifest.json. A case names a layout of the catalog, the size of its
matrix, its bits, the tensor of its codes (U8, row-major, rows are outputs; signed codes as two's
complement of their width) and the tensor of packed bytes. Cases of scales have U16 or U8 numbers in
place of codes.

`cases()` yields every case as a dictionary of plain values and numpy arrays, for other scripts.

Packers run on the CPU. Three are not importable there, so their published index arithmetic is
evaluated in numpy, and the manifest says so: Marlin's 8-bit permutation (vLLM), torchao's Int4Tensor
(its packer is in a CUDA package), SINT4toS8 (QQQ). FP6-LLM's 4 + 2 planes come from torchao 0.9,
the last version with them: TORCHAO_09 names a folder made by
`pip install --no-deps --target DIR torchao==0.9.0`.

Needs: gptqmodel, autoawq, compressed-tensors, hqq, optimum-quanto, bitsandbytes, onnxruntime,
torchao, transformers, torch, numpy, safetensors.
"""
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import torch

rng = np.random.default_rng(41)
SEED = rng.integers(0, 256, (160, 160), dtype=np.uint8)


def codes_of(rows, columns, bits):
    """The codes of a case: a corner of one matrix of random bytes."""
    return SEED[:rows, :columns] & np.uint8(2**bits - 1)


def signed(codes, bits):
    """Two's complement codes as int8."""
    half = 2 ** (bits - 1)
    return ((codes.astype(np.int16) + half) % (2 * half) - half).astype(np.int8)


def case(layout, codes, bits, packed, oracle, note=None):
    """A case; `packed` may have any integer type."""
    packed = np.ascontiguousarray(packed.numpy() if isinstance(packed, torch.Tensor) else packed)
    out = dict(layout=layout, rows=codes.shape[0], columns=codes.shape[1], bits=bits)
    out |= dict(codes=codes, packed=packed.reshape(-1).view(np.uint8), oracle=oracle)
    return out | ({"note": note} if note else {})


def linear(codes, zeros, group):
    """A linear whose weights are codes - zero, so that scales of 1 give the codes back."""
    rows, columns = codes.shape
    layer = torch.nn.Linear(columns, rows, bias=False)
    weight = codes.astype(np.float32) - np.repeat(zeros, group, axis=1)
    layer.weight.data = torch.from_numpy(weight)
    return layer


def gptq(bits, planar=False):
    """qweight and qzeros of GPTQ, both versions of the zeros."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization import FORMAT
    from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module

    rows, columns, group = 64, 96, 32
    codes = codes_of(rows, columns, bits)
    # No zero point is 0: the packers of v1 differ there (see the reference on formats).
    zeros = 1 + codes_of(rows, columns // group, 8) % (2**bits - 1)
    form = FORMAT.GPTQ_P if planar else FORMAT.GPTQ_V2
    layer = TorchLinear(
        bits=bits, group_size=group, sym=False, desc_act=False, in_features=columns,
        out_features=rows, bias=False, format=form,
    )
    scales = torch.ones(rows, columns // group)
    index = torch.arange(columns, dtype=torch.int32) // group
    layer.pack_original(
        linear(codes, zeros, group), scales, torch.from_numpy(zeros.astype(np.float32)), index
    )
    name = f"gptq_p{bits}" if planar else "gptq_uint"
    yield case(name, codes, bits, layer.qweight, "gptqmodel")
    yield case(f"gptq_p{bits}_zeros" if planar else "gptq_zeros_v2", zeros, bits, layer.qzeros.clone(), "gptqmodel")
    if not planar:
        turned = ((codes.astype(np.int16) + 2 ** (bits - 1)) % 2**bits).astype(np.uint8)
        yield case("gptq_int", turned, bits, layer.qweight, "gptqmodel", "the same words, read as signed")
        config = types.SimpleNamespace(bits=bits, pack_dtype=torch.int32)
        convert_gptq_v2_to_v1_format_module(layer, config)
        yield case("gptq_zeros_v1", zeros, bits, layer.qzeros, "gptqmodel")


def awq():
    """gemm, gemv and gemv_fast of AutoAWQ."""
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.modules.linear.gemv import WQLinear_GEMV
    from awq.modules.linear.gemv_fast import WQLinear_GEMVFast

    rows, columns = 64, 128
    codes = codes_of(rows, columns, 4)
    for group in (32, 64, 128):
        zeros = codes_of(rows, columns // group, 4)
        scales = torch.ones(rows, columns // group)
        source = linear(codes, zeros, group)
        args = lambda: (torch.from_numpy(zeros.astype(np.float32)),)
        gemv = WQLinear_GEMV.from_linear(source, 4, group, False, scales, *args())
        zero_layout = {32: "awq_gemv_zeros_g32", 64: "awq_gemv_zeros_g64", 128: "awq_gemv"}[group]
        yield case(zero_layout, zeros, 4, gemv.qzeros, "autoawq")
        if group != 32:
            continue
        yield case("awq_gemv", codes, 4, gemv.qweight, "autoawq")
        fast = WQLinear_GEMVFast.from_linear(source, 4, group, False, scales, *args())
        yield case("awq_gemv_fast", codes, 4, fast.qweight, "autoawq")
        # gemm takes its parameters by group first.
        gemm = WQLinear_GEMM.from_linear(source, 4, group, False, scales.t(), args()[0].t())
        yield case("awq_gemm", codes, 4, gemm.qweight, "autoawq")
        yield case("awq_gemm", zeros, 4, gemm.qzeros, "autoawq")


def marlin():
    """Marlin's tiles, its scales and its zero points."""
    from awq.modules.linear.marlin import WQLinear_Marlin
    from gptqmodel.utils.marlin import marlin_permute_scales, marlin_zero_points

    rows, columns, group = 128, 32, 16
    codes = codes_of(rows, columns, 4)
    layer = torch.nn.Linear(columns, rows, bias=False)
    layer.weight.data = torch.from_numpy(codes.astype(np.float32) - 8)
    packed = WQLinear_Marlin.from_linear(layer, 4, group, False, torch.ones(rows, columns // group)).qweight
    yield case("marlin_uint4", codes, 4, packed, "autoawq")
    yield case("marlin_int4", codes ^ 8, 4, packed, "autoawq", "the same words, read as signed")

    codes = codes_of(rows, columns, 8)
    packed = marlin_8bit(codes)
    note = "the published permutation of vLLM, evaluated in numpy"
    yield case("marlin_uint8", codes, 8, packed, "numpy", note)
    yield case("marlin_int8", codes ^ 128, 8, packed, "numpy", note + "; read as signed")

    half = (SEED[:rows, :4].astype(np.uint16) << 4) + 0x2C00
    stored = torch.from_numpy(half.T.copy().view(np.float16))
    grouped = marlin_permute_scales(stored, 64, rows, 16).view(torch.int16)
    single = marlin_permute_scales(stored, 64, rows, 64).view(torch.int16)
    yield case("marlin_scales", half, 16, grouped, "gptqmodel")
    yield case("marlin_channel_scales", half, 16, single, "gptqmodel")
    for bits in (4, 8):
        zeros = codes_of(rows, 4, bits)
        packed = marlin_zero_points(torch.from_numpy(zeros.T.astype(np.int32)), 4, rows, bits)
        yield case(f"marlin_zeros{bits}", zeros, bits, packed, "gptqmodel")


def marlin_8bit(codes):
    """Bytes of 8-bit Marlin: 16 x 16 tiles, four abreast, in the order of the tensor-core fragments."""
    order = []
    for lane in range(32):
        for tile in range(4):
            places = []
            for half in range(2):
                for step in (0, 1, 8, 9):
                    row, column = 2 * (lane % 4) + step, lane // 4 + 8 * half
                    places.append(256 * tile + 16 * row + column)
            # Four codes of a word are interleaved 0 2 1 3.
            order += [places[4 * word + i] for word in range(2) for i in (0, 2, 1, 3)]
    inputs, outputs = codes.shape[1], codes.shape[0]
    tiles = codes.T.reshape(inputs // 16, 16, outputs // 16, 16).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles.reshape(-1, 1024)[:, order])


def compressed_tensors():
    """Dense streams of every width, zero points, FP6 and FP4."""
    from compressed_tensors.compressors.mxfp6.helpers import kE2M3ToFloat, pack_fp6_to_uint8
    from compressed_tensors.compressors.nvfp4.helpers import kE2M1ToFloat, pack_fp4_to_uint8
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    for bits in range(1, 9):
        codes = codes_of(5, 70, bits)
        numbers = signed(codes, bits)
        packed = pack_to_int32(torch.from_numpy(numbers), bits)
        yield case("compressed_tensors_int", codes, bits, packed, "compressed-tensors")
        # Zero points are signed there as well, so a code is its number plus half.
        shifted = (numbers.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
        yield case("compressed_tensors_uint", shifted, bits, packed, "compressed-tensors")
        zeros = pack_to_int32(torch.from_numpy(numbers[:, :6].T.copy()), bits, packed_dim=0)
        turned = np.ascontiguousarray(shifted[:, :6].T)
        yield case("compressed_tensors_zeros", turned, bits, zeros, "compressed-tensors")
    for layout, bits, table, pack in (
        ("compressed_tensors_fp6", 6, kE2M3ToFloat, pack_fp6_to_uint8),
        ("fp4_pairs", 4, kE2M1ToFloat, pack_fp4_to_uint8),
    ):
        codes = codes_of(6, 64, bits)
        half = 2 ** (bits - 1)
        values = table[torch.from_numpy((codes % half).astype(np.int64))].to(torch.bfloat16)
        values = torch.where(torch.from_numpy(codes >= half), -values, values)
        yield case(layout, codes, bits, pack(values), "compressed-tensors")


def hqq():
    """Row parts, high first."""
    from hqq.core.bitpack import BitPack

    packers = {8: BitPack.pack_8bit_u8, 4: BitPack.pack_4bit_u8, 3: BitPack.pack_3bit_32}
    packers |= {2: BitPack.pack_2bit_u8, 1: BitPack.pack_1bit_u8}
    for bits, pack in packers.items():
        codes = codes_of(64, 24, bits)
        yield case(f"hqq{bits}", codes, bits, pack(torch.from_numpy(codes.copy())), "hqq")


def quanto():
    """Row parts, low first; 30 rows are not whole parts."""
    from optimum.quanto.tensor.packed import pack_weights

    for bits in (2, 4):
        for rows in (32, 30, 31):
            codes = codes_of(rows, 24, bits)
            yield case(f"quanto{bits}", codes, bits, pack_weights(torch.from_numpy(codes.copy()), bits), "optimum-quanto")


def bitnet():
    """Ternary codes of transformers."""
    from transformers.integrations.bitnet import pack_weights

    for rows in (32, 30):
        numbers = (codes_of(rows, 24, 8) % 3).astype(np.int8) - 1
        packed = pack_weights(torch.from_numpy(numbers.copy()))
        yield case("bitnet", (numbers & 3).astype(np.uint8), 2, packed, "transformers")


def bitsandbytes():
    """NF4: a value of the table for each code, 1.0 in each block, so that the codes come out."""
    from bitsandbytes.functional import get_4bit_type, quantize_4bit

    codes = codes_of(16, 64, 4).copy()
    codes[:, 0] = 15
    table = get_4bit_type("nf4", device="cpu")
    packed, _ = quantize_4bit(table[torch.from_numpy(codes.astype(np.int64))], blocksize=64, quant_type="nf4")
    yield case("bitsandbytes4", codes, 4, packed, "bitsandbytes")


def onnx():
    """MatMulNBits and QDQ: blocks that span all codes have the scale 1 and the zero point 0."""
    from onnxruntime.capi import _pybind_state as state

    for bits, pack in ((2, state.quantize_matmul_2bits), (4, state.quantize_matmul_4bits), (8, state.quantize_matmul_8bits)):
        outputs, inputs, block = 8, 128, 32
        codes = codes_of(outputs, inputs, bits).copy()
        codes[:, ::block], codes[:, block - 1 :: block] = 0, 2**bits - 1
        weights = np.ascontiguousarray(codes.T.astype(np.float32))
        packed = np.zeros((outputs, inputs // block, block * bits // 8), np.uint8)
        scales = np.zeros((outputs, inputs // block), np.float32)
        zeros = np.zeros((outputs, inputs // block * bits // 8), np.uint8)
        pack(packed, weights, scales, zeros, block, outputs, inputs, False)
        assert (scales == 1).all() and (zeros == 0).all()
        yield case("onnx_matmul_nbits", codes, bits, packed, "onnxruntime")
        if bits == 4:
            packed = np.zeros((inputs * outputs + 1) // 2, np.uint8)
            scales, zeros = np.zeros((inputs // block, outputs), np.float32), np.zeros(outputs, np.uint8)
            state.quantize_qdq_matmul_4bits(packed, weights, scales, zeros, block, outputs, inputs, False)
            yield case("onnx_qdq_int4", codes, 4, packed, "onnxruntime")


def torchao():
    """Int4Tensor, MX scales for cuBLAS, FP4 pairs."""
    from torchao.prototype.mx_formats.kernels import pack_uint4
    from torchao.prototype.mx_formats.utils import to_blocked

    codes = codes_of(8, 64, 4)
    low_first = codes[:, ::2] | codes[:, 1::2] << 4
    yield case("torchao_int4", codes, 4, low_first, "numpy", "the order that Int4Tensor documents")
    yield case("fp4_pairs", codes, 4, pack_uint4(torch.from_numpy(codes.copy())), "torchao")
    for rows, columns in ((128, 4), (130, 9)):
        scales = SEED.reshape(-1)[: rows * columns].reshape(rows, columns)
        yield case("cublas_scales", scales, 8, to_blocked(torch.from_numpy(scales.copy())), "torchao")


def fp6_llm(folder):
    """The 4 + 2 planes of FP6-LLM, by the last torchao that had them, in a process of its own."""
    codes = codes_of(128, 64, 6)
    program = (
        "import sys, numpy as np, torch\n"
        "from torchao.dtypes.floatx.floatx_tensor_core_layout import _pack_tc_fp6\n"
        "x = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(128, 64).copy()\n"
        "sys.stdout.buffer.write(_pack_tc_fp6(torch.from_numpy(x)).numpy().tobytes())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], input=codes.tobytes(), capture_output=True,
        env={**os.environ, "PYTHONPATH": folder}, check=True,
    )
    yield case("fp6_4_2", codes, 6, np.frombuffer(ran.stdout, np.uint8), "torchao 0.9.0")


def plain():
    """A byte a code, and scales group after group: what tensors of another type or order hold."""
    codes = codes_of(6, 40, 8)
    yield case("bytes", codes, 8, codes, "numpy", "the bytes of the tensor")
    signed_bytes = (codes.astype(np.int16) - 128).astype(np.int8)
    yield case("bytes_offset", codes, 8, signed_bytes, "numpy", "signed bytes")
    for kind, bits in ((np.float16, 16), (np.float32, 32)):
        scales = (1 + SEED[:6, :4].astype(kind)).view(np.uint16 if bits == 16 else np.uint32)
        yield case("group_major", scales, bits, scales.T, "numpy", "the transposed matrix")


def qqq():
    """A signed 4-bit code as the int8 of 16 times its value."""
    codes = codes_of(8, 64, 4)
    yield case("sint4_to_s8", codes, 4, (signed(codes, 4) * np.int8(16)), "numpy", "16 times the value")


def cases():
    """Every case."""
    for bits in (2, 3, 4, 8):
        yield from gptq(bits)
    for bits in (3, 5, 6, 7):
        yield from gptq(bits, planar=True)
    for packer in (awq, marlin, compressed_tensors, hqq, quanto, bitnet, bitsandbytes, onnx, torchao, plain, qqq):
        yield from packer()
    if "TORCHAO_09" in os.environ:
        yield from fp6_llm(os.environ["TORCHAO_09"])


def main(folder):
    from safetensors.numpy import save_file

    tensors, manifest, names = {}, [], {}
    for number, item in enumerate(cases()):
        codes = np.ascontiguousarray(item.pop("codes"))
        key = (codes.shape, codes.tobytes())
        if key not in names:
            names[key] = f"codes.{len(names)}"
            tensors[names[key]] = codes
        tensors[f"packed.{number}"] = item.pop("packed")
        manifest.append(item | {"codes": names[key], "packed": f"packed.{number}"})
    packages = sorted({item["oracle"] for item in manifest if " " not in item["oracle"]})
    versions = {name: importlib.metadata.version(name) for name in packages}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / "packing.safetensors"))
    text = json.dumps({"versions": versions, "cases": manifest}, indent=1, sort_keys=True)
    (folder / "manifest.json").write_text(text + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
