"""A sharded Llama checkpoint of random bfloat16 weights, larger than memory may be.

    python bench/checkpoint.py OUT --gigabytes 6 [--hidden 1024]

Needs numpy alone. Weights are written a tensor at a time, sixteen blocks a shard; the same seed gives the
same bytes. At the width of 1024 its largest tensor is the embedding, at 2048 a matrix of the MLP is
nearly as large as it.
"""

import argparse
import json
import pathlib

import numpy as np

HEADS, KV_HEADS, VOCABULARY = 16, 4, 8192


def block_shapes(i, hidden):
    name, kv, intermediate = f"model.layers.{i}.", hidden // HEADS * KV_HEADS, hidden * 11 // 4
    return {
        f"{name}input_layernorm.weight": (hidden,),
        f"{name}self_attn.q_proj.weight": (hidden, hidden),
        f"{name}self_attn.k_proj.weight": (kv, hidden),
        f"{name}self_attn.v_proj.weight": (kv, hidden),
        f"{name}self_attn.o_proj.weight": (hidden, hidden),
        f"{name}post_attention_layernorm.weight": (hidden,),
        f"{name}mlp.gate_proj.weight": (intermediate, hidden),
        f"{name}mlp.up_proj.weight": (intermediate, hidden),
        f"{name}mlp.down_proj.weight": (hidden, intermediate),
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
    parser.add_argument("--hidden", type=int, default=1024)
    arguments = parser.parse_args()
    hidden = arguments.hidden
    arguments.out.mkdir(parents=True)
    ends = {
        "model.embed_tokens.weight": (VOCABULARY, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (VOCABULARY, hidden),
    }
    blocks = max(1, round((arguments.gigabytes * 1e9 - size(ends)) / size(block_shapes(0, hidden))))
    groups = [ends] + [
        {k: v for i in range(at, min(at + 16, blocks)) for k, v in block_shapes(i, hidden).items()}
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
        "hidden_size": hidden,
        "intermediate_size": hidden * 11 // 4,
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
    largest = max(size({name: shape}) for group in groups for name, shape in group.items())
    print(json.dumps({"bytes": total, "largest": largest, "blocks": blocks, "shards": len(groups)}))


if __name__ == "__main__":
    main()
