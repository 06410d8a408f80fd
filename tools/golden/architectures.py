#!/usr/bin/env python3
"""Makes tests/golden/architectures: a tiny random checkpoint of every model family, with the logits
(or embeddings) that transformers computes.

usage: architectures.py OUTDIR [NAME...]       (needs torch, transformers, safetensors)

OUTDIR/NAME/ holds config.json, model.safetensors (float16, which every family computes in f32) and
expected.json: `ids`, `logits` (one row a token), `generated` (greedy), and the versions of the
libraries. Weights are random with a fixed seed.
"""

import json
import os
import sys

import torch
import transformers as T

SMALL = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
             bos_token_id=1, eos_token_id=2, pad_token_id=0)
PLAIN = {k: v for k, v in SMALL.items() if k != "num_key_value_heads"}
ROPE = dict(rope_type="default", rope_theta=10000.0)


def gpt2(**more):
    return dict(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1,
                eos_token_id=2, **more)


# name -> (config class, model class, settings)
FAMILIES = {
    "llama2": ("Llama", dict(**SMALL, rope_parameters=ROPE)),
    "llama3": ("Llama", dict(**{**SMALL, "max_position_embeddings": 128}, head_dim=16,
                             tie_word_embeddings=True, rope_parameters=dict(
        rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0,
        high_freq_factor=4.0, original_max_position_embeddings=32))),
    "llama-linear": ("Llama", dict(**SMALL, attention_bias=True, mlp_bias=True, rope_parameters=dict(
        rope_type="linear", rope_theta=10000.0, factor=2.0))),
    "mistral": ("Mistral", dict(**SMALL, sliding_window=5, head_dim=8, rope_parameters=ROPE)),
    "qwen2": ("Qwen2", dict(**SMALL, use_sliding_window=True, sliding_window=5,
                            max_window_layers=1, rope_parameters=ROPE)),
    "qwen3": ("Qwen3", dict(**SMALL, head_dim=16, rope_parameters=ROPE)),
    "phi3": ("Phi3", dict(**{**SMALL, "max_position_embeddings": 128}, sliding_window=6,
                          original_max_position_embeddings=64, rope_parameters=dict(
        rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.5,
        original_max_position_embeddings=64, factor=2.0,
        short_factor=[1.0, 1.5], long_factor=[2.0, 4.0]))),
    "gemma": ("Gemma", dict(**SMALL, head_dim=16, rope_parameters=ROPE)),
    "gemma2": ("Gemma2", dict(**SMALL, head_dim=16, query_pre_attn_scalar=24, sliding_window=5,
                              attn_logit_softcapping=5.0, final_logit_softcapping=3.0,
                              rope_parameters=ROPE)),
    "gemma3": ("Gemma3", dict(**{**SMALL, "num_hidden_layers": 6}, head_dim=16,
                              query_pre_attn_scalar=16, sliding_window=5)),
    "olmo": ("Olmo", dict(**SMALL, rope_parameters=ROPE)),
    "olmo2": ("Olmo2", dict(**SMALL, rope_parameters=ROPE)),
    "gpt2": ("GPT2", gpt2()),
    "gpt-neox": ("GPTNeoX", dict(**PLAIN, rotary_pct=0.25, use_parallel_residual=True,
                                 rope_parameters=dict(**ROPE, partial_rotary_factor=0.5))),
    "gpt-neox-serial": ("GPTNeoX", dict(**PLAIN, use_parallel_residual=False,
                                        rope_parameters=dict(**ROPE, partial_rotary_factor=0.5))),
    "opt": ("OPT", dict(vocab_size=64, hidden_size=32, ffn_dim=48, num_hidden_layers=2,
                        num_attention_heads=4, max_position_embeddings=64, word_embed_proj_dim=32,
                        bos_token_id=1, eos_token_id=2, pad_token_id=0)),
    "opt-post": ("OPT", dict(vocab_size=64, hidden_size=32, ffn_dim=48, num_hidden_layers=2,
                             num_attention_heads=4, max_position_embeddings=64,
                             do_layer_norm_before=False, word_embed_proj_dim=16,
                             bos_token_id=1, eos_token_id=2, pad_token_id=0)),
    "bloom": ("Bloom", dict(vocab_size=64, hidden_size=24, n_layer=2, n_head=3, seq_length=64,
                            bos_token_id=1, eos_token_id=2)),
    "falcon": ("Falcon", dict(vocab_size=64, hidden_size=32, num_hidden_layers=2,
                              num_attention_heads=4, multi_query=True, parallel_attn=True,
                              alibi=False, bias=False, bos_token_id=1, eos_token_id=2)),
    "falcon-new": ("Falcon", dict(vocab_size=64, hidden_size=32, num_hidden_layers=2,
                                  num_attention_heads=4, num_kv_heads=2, alibi=False, bias=False,
                                  new_decoder_architecture=True, bos_token_id=1, eos_token_id=2)),
    "falcon-rw": ("Falcon", dict(vocab_size=64, hidden_size=32, num_hidden_layers=2,
                                 num_attention_heads=4, multi_query=False, parallel_attn=False,
                                 alibi=True, bias=True, bos_token_id=1, eos_token_id=2)),
    "mixtral": ("Mixtral", dict(**SMALL, num_local_experts=4, num_experts_per_tok=2,
                                rope_parameters=ROPE)),
    "qwen2-moe": ("Qwen2Moe", dict(**SMALL, num_experts=4, num_experts_per_tok=2,
                                   moe_intermediate_size=24, shared_expert_intermediate_size=40,
                                   norm_topk_prob=False, rope_parameters=ROPE,
                                   mlp_only_layers=[0])),
    "qwen3-moe": ("Qwen3Moe", dict(**SMALL, head_dim=16, num_experts=4, num_experts_per_tok=2,
                                   moe_intermediate_size=24, norm_topk_prob=True,
                                   rope_parameters=ROPE)),
    "olmoe": ("Olmoe", dict(**SMALL, num_experts=4, num_experts_per_tok=2, norm_topk_prob=False,
                            rope_parameters=ROPE)),
    "deepseek-v2": ("DeepseekV2", dict(
        **{**SMALL, "num_key_value_heads": 4}, n_routed_experts=8, num_experts_per_tok=2,
        moe_intermediate_size=16,
        n_shared_experts=2, first_k_dense_replace=1, q_lora_rank=None, kv_lora_rank=16,
        qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12, topk_method="greedy",
        routed_scaling_factor=1.5, rope_parameters=ROPE)),
    "deepseek-v3": ("DeepseekV3", dict(
        **{**SMALL, "num_key_value_heads": 4}, n_routed_experts=8, num_experts_per_tok=2,
        moe_intermediate_size=16, n_shared_experts=1, first_k_dense_replace=1, q_lora_rank=20,
        kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12, n_group=4,
        topk_group=2, routed_scaling_factor=1.5, norm_topk_prob=True, rope_parameters=ROPE)),
    "llama-yarn": ("Llama", dict(**{**SMALL, "max_position_embeddings": 128}, rope_parameters=dict(
        rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32,
        beta_fast=4.0))),
    "llama-dynamic": ("Llama", dict(**SMALL, rope_parameters=dict(
        rope_type="dynamic", rope_theta=10000.0, factor=2.0))),
    "smollm3": ("SmolLM3", dict(**{**SMALL, "num_hidden_layers": 4}, rope_parameters=ROPE)),
}
# Experts as transformers 5 has them in memory: stacked, gates and ups in one tensor.
for _name in ("mixtral", "qwen2-moe", "olmoe", "deepseek-v2"):
    FAMILIES[_name + "-packed"] = FAMILIES[_name]
ENCODERS = {
    "bert": ("Bert", "BertModel", dict(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64)),
    "vit": ("ViT", "ViTForImageClassification", dict(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        image_size=12, patch_size=4, num_labels=5)),
}
CLASSES = {"Gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM"), "GPT2": ("GPT2Config", "GPT2LMHeadModel")}


def randomize(model, seed):
    torch.manual_seed(seed)
    offset = "Gemma" in type(model).__name__
    with torch.no_grad():
        for name, p in [*model.named_parameters(), *model.named_buffers()]:
            if not p.is_floating_point() or "inv_freq" in name:
                continue
            norm = "norm" in name.lower() or "ln_" in name
            if p.dim() == 1 and norm and "bias" not in name:
                p.copy_((0 if offset else 1) + 0.3 * torch.randn_like(p))
            elif "embed_scale" in name:
                continue
            else:
                p.copy_((0.1 if p.dim() == 1 else 0.25) * torch.randn_like(p))
            p.copy_(p.half().float())


def expected(model, seed, count=12):
    torch.manual_seed(seed)
    ids = torch.randint(3, 64, (1, count))
    with torch.no_grad():
        logits = model(ids).logits[0].float()
        text = ids[:, :4]
        for _ in range(8):
            best = model(text).logits[0, -1].argmax()
            text = torch.cat([text, best.reshape(1, 1)], 1)
    return dict(
        made_by=f"transformers {T.__version__}, torch {torch.__version__.split('+')[0]}",
        ids=ids[0].tolist(), logits=[[float(f"{x:.6g}") for x in row] for row in logits.tolist()],
        generated=text[0, 4:].tolist())


def encode(model, seed):
    """The embedding of a text (mean of the tokens, of length 1), or the logits of an image."""
    torch.manual_seed(seed)
    made_by = f"transformers {T.__version__}, torch {torch.__version__.split('+')[0]}"
    with torch.no_grad():
        if model.config.model_type == "bert":
            ids = torch.randint(0, 64, (1, 12))
            states = model(ids).last_hidden_state
            output = torch.nn.functional.normalize(states.mean(1), dim=1)[0]
            given = dict(ids=ids[0].tolist())
        else:
            size, patch = model.config.image_size, model.config.patch_size
            image = torch.randn(1, 3, size, size)
            output = model(image).logits[0]
            side = size // patch
            patches = image[0].reshape(3, side, patch, side, patch).permute(1, 3, 0, 2, 4)
            given = dict(rows=side * side,
                         patches=[float(f"{x:.8g}") for x in patches.flatten().tolist()])
    return dict(made_by=made_by, **given, output=[float(f"{x:.7g}") for x in output.tolist()])


def save(model, folder, result):
    os.makedirs(folder, exist_ok=True)
    model.half().save_pretrained(folder, save_original_format=not folder.endswith("-packed"))
    for extra in ("generation_config.json",):
        if os.path.exists(os.path.join(folder, extra)):
            os.remove(os.path.join(folder, extra))
    with open(os.path.join(folder, "expected.json"), "w") as f:
        json.dump(result, f)
        f.write("\n")
    size = sum(os.path.getsize(os.path.join(folder, n)) for n in os.listdir(folder))
    print(folder, size)


def main(out, *wanted):
    for seed, (name, (family, class_name, settings)) in enumerate(ENCODERS.items()):
        if wanted and name not in wanted:
            continue
        config = getattr(T, f"{family}Config")(**settings, attn_implementation="eager")
        model = getattr(T, class_name)(config).eval().float()
        randomize(model, 500 + seed)
        save(model, os.path.join(out, name), encode(model, 1500 + seed))
    for seed, (name, (family, settings)) in enumerate(FAMILIES.items()):
        if wanted and name not in wanted:
            continue
        config_name, model_name = CLASSES.get(family, (f"{family}Config", f"{family}ForCausalLM"))
        # eager Falcon of transformers 5 adds ALiBi twice: in the mask and to the scores
        attention = "sdpa" if family == "Falcon" else "eager"
        config = getattr(T, config_name)(**settings, attn_implementation=attention)
        model = getattr(T, model_name)(config).eval().float()
        randomize(model, seed)
        save(model, os.path.join(out, name), expected(model, 1000 + seed))


if __name__ == "__main__":
    main(*sys.argv[1:])
