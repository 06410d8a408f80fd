"""Write the model folder from a checkpoint of the training.

Reads ``BUILD/checkpoint.pt`` (made by train.py).
Writes ``OUT/model.safetensors`` (every weight rounded to BF16), ``OUT/config.json`` and
``OUT/generation_config.json``, beside the tokenizer that tokenizer.py put there.

    python tools/embedded/export.py
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from model import Shape

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", type=Path, default=HERE / "build", help="folder that holds checkpoint.pt")
    parser.add_argument("--out", type=Path, default=ROOT / "embedded/model", help="the model folder")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    state = torch.load(args.build / "checkpoint.pt", weights_only=True)
    shape = Shape(**state["shape"])
    weights = {name: weight.to(torch.bfloat16).contiguous() for name, weight in state["model"].items()}
    save_file(weights, args.out / "model.safetensors", metadata={"format": "pt"})
    (args.out / "model.safetensors").chmod(0o644)
    generation = {
        "bos_token_id": 0, "eos_token_id": 0,
        "do_sample": True, "temperature": 0.8, "top_p": 0.95, "max_length": shape.positions,
    }
    (args.out / "config.json").write_text(json.dumps(shape.config(), indent=2) + "\n")
    (args.out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    print(f"step {state['step']}: {sum(w.numel() for w in weights.values())} weights in BF16")


if __name__ == "__main__":
    main()
