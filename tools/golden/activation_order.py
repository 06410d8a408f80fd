#!/usr/bin/env python3
"""A small Llama quantised by GPTQModel in activation order (desc_act), and the logits that GPTQModel
computes from it.

usage: activation_order.py OUT_DIR          (OUT_DIR is tests/golden/activation_order)
       activation_order.py --logits MODEL   (loads a checkpoint, and compares its logits with those)

Ran with GPTQModel 7.7.0, transformers 5.24.0 and torch 2.15.0, on the CPU. Scales are float16, products
are taken in float32.
"""

import importlib.metadata
import json
import os
import pathlib
import shutil
import sys
import tempfile

sys.path.pop(0)  # transformers imports a package `kernels`, which is not the script beside this one

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # it asks for two at least

FOLDER = pathlib.Path(__file__).parents[2] / "tests/golden/activation_order"
KEPT = ("config.json", "model.safetensors")


def add_tokenizer(folder):
    """GPTQModel wants a tokenizer, and does not use it here."""
    words = Tokenizer(WordLevel({f"<{i}>": i for i in range(96)}, unk_token="<0>"))
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<1>", eos_token="<2>", pad_token="<2>").save_pretrained(folder)


def logits(folder, ids):
    from gptqmodel import BACKEND, GPTQModel

    with tempfile.TemporaryDirectory() as scratch:
        for name in KEPT:
            shutil.copy(folder / name, scratch)
        add_tokenizer(scratch)
        model = GPTQModel.load(scratch, device="cpu", backend=BACKEND.TORCH, dtype=torch.float16)
    # Its kernel loads in 16 bits; every number of the checkpoint is one of them.
    with torch.no_grad():
        return model.model.float()(ids).logits


def main(out):
    from gptqmodel import BACKEND, GPTQModel, QuantizeConfig

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2, dtype="float32",
    )
    with tempfile.TemporaryDirectory() as scratch:
        plain = pathlib.Path(scratch) / "plain"
        model = LlamaForCausalLM(config).float()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.15)
            parameter.data = parameter.data.half().float()
        model.save_pretrained(plain)
        add_tokenizer(plain)
        settings = QuantizeConfig(bits=4, group_size=32, desc_act=True, act_group_aware=False, sym=False)
        quantised = GPTQModel.load(str(plain), settings, device="cpu")
        # Channels of very different size, so that the order of activations is none of columns.
        data = [{"input_ids": torch.randint(3, 96, (32,)).tolist(), "attention_mask": [1] * 32} for _ in range(16)]
        quantised.quantize(data, batch_size=1, backend=BACKEND.TORCH)
        saved = pathlib.Path(scratch) / "saved"
        quantised.save(str(saved))
        out.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            shutil.copy(saved / name, out / name)
    state = load_file(str(out / "model.safetensors"))
    ordered = sum((state[key].diff() < 0).any().item() for key in state if key.endswith("g_idx"))
    ids = torch.randint(3, 96, (2, 12))
    save_file({"ids": ids, "logits": logits(out, ids)}, str(out / "expected.safetensors"))
    versions = {name: importlib.metadata.version(name) for name in ("gptqmodel", "transformers", "torch")}
    print(json.dumps({"weights_in_activation_order": ordered, "versions": versions}))


def compare(folder):
    expected = load_file(str(FOLDER / "expected.safetensors"))
    found = logits(folder, expected["ids"])
    difference = (found - expected["logits"]).abs().max().item()
    print(json.dumps({"largest_difference": difference, "largest_logit": expected["logits"].abs().max().item()}))
    sys.exit(0 if difference < 1e-4 else 1)


if __name__ == "__main__":
    if sys.argv[1] == "--logits":
        compare(pathlib.Path(sys.argv[2]))
    else:
        main(pathlib.Path(sys.argv[1]))
