"""A sharded Llama checkpoint of random bfloat16 weights, larger than memory may be.

    python bench/checkpoint.py OUT --gigabytes 6

Needs numpy alone. Weights are written a tensor at a time, sixteen blocks a shard; the same seed gives the
same bytes. Its largest tensor is the embedding.
"""

import argparse
import json
import pathlib

import numpy as np

HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, VOCABULARY = 1024, 2816, 16, 4, 8192


def block_shapes(i):
    name, kv = f"model.layers.{i}.", HIDDEN // HEADS * KV_HEADS
    return {
        f"{name}input_layernorm.weight": (HIDDEN,),
        f"{name}self_attn.q_proj.weight": (HIDDEN, HIDDEN),
        f"{name}self_attn.k_proj.weight": (kv, HIDDEN),
        f"{name}self_attn.v_proj.weight": (kv, HIDDEN),
        f"{name}self_attn.o_proj.weight": (HIDDEN, HIDDEN),
        f"{name}post_attention_layernorm.weight": (HIDDEN,),
        f"{name}mlp.gate_proj.weight": (INTERMEDIATE, HIDDEN),
        f"{name}mlp.up_proj.weight": (INTERMEDIATE, HIDDEN),
        f"{name}mlp.down_proj.weight": (HIDDEN, INTERMEDIATE),
    }


def size(shapes):
    return sum(2 * int(np.prod(shape)) for shape in shapes.values())


def write(path, shapes, rng):
    header, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            values = rng.standard_normal(int(np.prod(shape)), dtype=np.float32) * np.float32(0.02)
            file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--gigabytes", type=float, default=6)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    ends = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (VOCABULARY, HIDDEN),
    }
    blocks = max(1, round((arguments.gigabytes * 1e9 - size(ends)) / size(block_shapes(0))))
    groups = [ends] + [
        {k: v for i in range(at, min(at + 16, blocks)) for k, v in block_shapes(i).items()}
        for at in range(0, blocks, 16)
    ]
    rng = np.random.default_rng(1)
    weight_map = {}
    for number, shapes in enumerate(groups, 1):
        name = f"model-{number:05}-of-{len(groups):05}.safetensors"
        write(arguments.out / name, shapes, rng)
        weight_map.update(dict.fromkeys(shapes, name))
    total = sum(map(size, groups))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (arguments.out / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": blocks,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    (arguments.out / "config.json").write_text(json.dumps(config))
    print(json.dumps({"bytes": total, "blocks": blocks, "shards": len(groups)}))


if __name__ == "__main__":
    main()
