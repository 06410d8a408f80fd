"""KL of bitsandbytes' LLM.int8() on a Hugging Face checkpoint, by the protocol of tools/quality/run.ts.

    python tools/quality/llm_int8.py CHECKPOINT IDS.json KEY [WINDOWS]

IDS.json has lists of token ids under KEY. On a CPU, bitsandbytes multiplies in int8 only where a module
is in evaluation mode; a module in training mode, as a new one is, decodes its weights and leaves
activations alone. Both are measured. Figures of SmolLM2-135M-Instruct (10 windows of 512):
0.00275 in training mode, 0.01604 in evaluation mode, 0.02847 without a threshold.
Versions: torch 2.15.0, bitsandbytes 0.50.2, transformers 5.24.0.
"""

import json
import sys

import bitsandbytes as bnb
import torch
from transformers import AutoModelForCausalLM


def load(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def quantized(path, training, threshold):
    """The model with every linear but the head as Linear8bitLt."""
    model = load(path)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if not isinstance(child, torch.nn.Linear) or name == "lm_head":
                continue
            bias = child.bias is not None
            linear = bnb.nn.Linear8bitLt(
                child.in_features, child.out_features, bias, has_fp16_weights=False, threshold=threshold
            )
            linear.weight = bnb.nn.Int8Params(child.weight.data, requires_grad=False)
            if bias:
                linear.bias = child.bias
            setattr(module, name, linear.to("cpu").train(training))
    return model


@torch.no_grad()
def divergence(model, reference, windows):
    total = 0.0
    for window in windows:
        ids = torch.tensor([window])
        p = torch.log_softmax(reference(ids).logits[0, :-1].float(), -1)
        q = torch.log_softmax(model(ids).logits[0, :-1].float(), -1)
        total += (p.exp() * (p - q)).sum(-1).mean().item()
    return total / len(windows)


def main():
    path, ids, key = sys.argv[1:4]
    windows = json.load(open(ids))[key][: int(sys.argv[4]) if len(sys.argv) > 4 else None]
    reference = load(path)
    for training, threshold in ((True, 6.0), (False, 6.0), (False, 0.0)):
        model = quantized(path, training, threshold)
        mode = "training" if training else "evaluation"
        print(f"{mode} mode, threshold {threshold}: KL {divergence(model, reference, windows):.5f}")


if __name__ == "__main__":
    main()
