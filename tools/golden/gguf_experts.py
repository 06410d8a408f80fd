#!/usr/bin/env python3
"""Makes tests/golden/gguf_experts: tiny GGUF files with stacked experts, and the logits of llama.cpp.

usage: gguf_experts.py OUTDIR       (needs torch, transformers, gguf, llama-cpp-python)

OUTDIR/NAME.gguf is written by gguf-py, plainly but for `gate` and `up` of the experts, which are
Q8_0; OUTDIR/NAME/ is the same model as transformers saves it (experts with tensors of their own),
before its experts were rounded. expected.json has `ids`, for each file the logits of transformers on
the rounded weights, and their largest difference from llama.cpp, which rounds activations as well.
"""

import copy
import json
import os
import sys

import gguf
import llama_cpp
import numpy as np
import torch
import transformers as T

sys.path.insert(0, os.path.dirname(__file__))
from architectures import ROPE, SMALL, randomize

MOE = dict(num_experts=4, num_experts_per_tok=2, norm_topk_prob=False, rope_parameters=ROPE)
FAMILIES = {
    "mixtral": ("Mixtral", "llama", dict(
        **SMALL, num_local_experts=4, num_experts_per_tok=2, rope_parameters=ROPE)),
    "qwen2-moe": ("Qwen2Moe", "qwen2moe", dict(
        **SMALL, **MOE, moe_intermediate_size=24, shared_expert_intermediate_size=40)),
    "qwen3-moe": ("Qwen3Moe", "qwen3moe", dict(
        **SMALL, **{**MOE, "norm_topk_prob": True}, head_dim=16, moe_intermediate_size=24)),
    "olmoe": ("Olmoe", "olmoe", dict(**{**SMALL, "num_key_value_heads": 4}, **MOE)),
}
IDS = [3, 17, 40, 9, 61, 5, 33, 20, 11, 58, 47, 30]
Q8 = gguf.GGMLQuantizationType.Q8_0


def rotated(weight, heads):
    """Rows of queries and keys in the order of llama.cpp's pairs of neighbours."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def write(path, model, arch):
    c = model.config
    out = gguf.GGUFWriter(path, arch)
    out.add_block_count(c.num_hidden_layers)
    out.add_context_length(c.max_position_embeddings)
    out.add_embedding_length(c.hidden_size)
    out.add_feed_forward_length(c.intermediate_size)
    out.add_head_count(c.num_attention_heads)
    out.add_head_count_kv(c.num_key_value_heads)
    out.add_layer_norm_rms_eps(c.rms_norm_eps)
    out.add_rope_freq_base(10000.0)
    out.add_vocab_size(c.vocab_size)
    head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    out.add_rope_dimension_count(head)
    if arch == "qwen3moe":
        out.add_key_length(head)
        out.add_value_length(head)
    out.add_expert_count(getattr(c, "num_experts", None) or c.num_local_experts)
    out.add_expert_used_count(c.num_experts_per_tok)
    if hasattr(c, "moe_intermediate_size"):
        out.add_expert_feed_forward_length(c.moe_intermediate_size)
    if hasattr(c, "shared_expert_intermediate_size"):
        out.add_expert_shared_feed_forward_length(c.shared_expert_intermediate_size)
    out.add_tokenizer_model("none")
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    put = lambda name, key, f=lambda x: x: out.add_tensor(name, np.ascontiguousarray(f(state[key])))
    put("token_embd.weight", "model.embed_tokens.weight")
    put("output_norm.weight", "model.norm.weight")
    put("output.weight", "lm_head.weight")
    for i in range(c.num_hidden_layers):
        a, b = f"model.layers.{i}.", f"blk.{i}."
        put(b + "attn_norm.weight", a + "input_layernorm.weight")
        put(b + "ffn_norm.weight", a + "post_attention_layernorm.weight")
        for ours, theirs, heads in (("attn_q", "q_proj", c.num_attention_heads),
                                    ("attn_k", "k_proj", c.num_key_value_heads),
                                    ("attn_v", "v_proj", 0), ("attn_output", "o_proj", 0)):
            turn = (lambda w, h=heads: rotated(w, h)) if heads and arch == "llama" else (lambda w: w)
            for part in ("weight", "bias"):
                key = f"{a}self_attn.{theirs}.{part}"
                if key in state:
                    put(f"{b}{ours}.{part}", key, turn)
        for part in ("q", "k"):
            if f"{a}self_attn.{part}_norm.weight" in state:
                put(f"{b}attn_{part}_norm.weight", f"{a}self_attn.{part}_norm.weight")
        put(b + "ffn_gate_inp.weight", a + "mlp.gate.weight")
        both = state[a + "mlp.experts.gate_up_proj"]
        middle = both.shape[1] // 2
        for name, values in (("gate", both[:, :middle]), ("up", both[:, middle:])):
            packed = gguf.quants.quantize(np.ascontiguousarray(values), Q8)
            target = both[:, :middle] if name == "gate" else both[:, middle:]
            target[...] = gguf.quants.dequantize(packed, Q8)
            out.add_tensor(f"{b}ffn_{name}_exps.weight", packed, raw_dtype=Q8)
        put(b + "ffn_down_exps.weight", a + "mlp.experts.down_proj")
        if a + "mlp.shared_expert.gate_proj.weight" in state:
            for part in ("gate", "up", "down"):
                put(f"{b}ffn_{part}_shexp.weight", f"{a}mlp.shared_expert.{part}_proj.weight")
            put(b + "ffn_gate_inp_shexp.weight", a + "mlp.shared_expert_gate.weight", lambda x: x[0])
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def logits(path):
    llama = llama_cpp.Llama(path, n_ctx=64, n_threads=1, logits_all=True, verbose=False, type_k=0,
                            type_v=0, flash_attn=False)
    llama.eval(IDS)
    return np.array(llama.scores[:len(IDS)])


def main(folder):
    os.makedirs(folder, exist_ok=True)
    result = dict(made_by=f"gguf-py 0.19.0, llama-cpp-python {llama_cpp.__version__}, "
                          f"transformers {T.__version__}", ids=IDS, logits={}, difference={})
    for seed, (name, (family, arch, settings)) in enumerate(FAMILIES.items()):
        config = getattr(T, family + "Config")(**settings, attn_implementation="eager")
        model = getattr(T, family + "ForCausalLM")(config).eval().float()
        randomize(model, 70 + seed)
        saved = os.path.join(folder, name)
        copy.deepcopy(model).half().save_pretrained(saved)
        generation = os.path.join(saved, "generation_config.json")
        if os.path.exists(generation):
            os.remove(generation)
        path = os.path.join(folder, name + ".gguf")
        write(path, model, arch)  # rounds the experts in place
        found = logits(path)
        with torch.no_grad():
            ours = model(torch.tensor([IDS])).logits[0].numpy()
        result["logits"][name] = [[float(f"{x:.6g}") for x in row] for row in ours.tolist()]
        result["difference"][name] = float(np.abs(found - ours).max())
        print(name, result["difference"][name], os.path.getsize(path))
    with open(os.path.join(folder, "expected.json"), "w") as f:
        json.dump(result, f)
        f.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
