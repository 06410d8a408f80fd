#!/usr/bin/env python3
"""GPTQ of a Llama in torch, for its time: statistics of all linears, then error feedback in blocks of
128 columns, 4 bits asymmetric in groups of 64, largest diagonal first. The last line is JSON.

usage: gptq.py MODEL IDS.json THREADS        (needs torch, transformers, gguf; MODEL is a GGUF file)
"""

import json
import os
import sys
import time

import torch
from transformers import AutoModelForCausalLM

BITS, GROUP, BLOCK, DAMPING = 4, 64, 128, 0.01


def grid(x):
    low = x.amin(1).clamp_max(0)
    high = x.amax(1).clamp_min(0)
    scale = ((high - low) / (2**BITS - 1)).clamp_min(1e-9)
    return scale, (-low / scale).round()


def gptq(weight, hessian):
    w, h = weight.clone(), hessian.clone()
    n = w.shape[1]
    grids = [grid(w[:, a:a + GROUP]) for a in range(0, n, GROUP)]
    order = h.diagonal().argsort(descending=True)
    group = order // GROUP
    w, h = w[:, order], h[order][:, order]
    h.diagonal().add_(DAMPING * h.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h.double()))
    u = torch.linalg.cholesky(inverse, upper=True).float()
    made = torch.empty_like(w)
    for start in range(0, n, BLOCK):
        end = min(n, start + BLOCK)
        errors = torch.empty(w.shape[0], end - start)
        for j in range(start, end):
            scale, zero = grids[int(group[j])]
            code = ((w[:, j] / scale).round() + zero).clamp(0, 2**BITS - 1)
            made[:, j] = (code - zero) * scale
            error = (w[:, j] - made[:, j]) / u[j, j]
            errors[:, j - start] = error
            w[:, j + 1:end] -= error[:, None] * u[j, j + 1:end]
        w[:, end:] -= errors @ u[start:end, end:]
    return made[:, order.argsort()]


@torch.no_grad()
def main(path, ids, threads):
    torch.set_num_threads(threads)
    folder, file = os.path.split(path)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
    linears = {n: m for n, m in model.model.layers.named_modules() if isinstance(m, torch.nn.Linear)}
    hessians = {n: torch.zeros(m.in_features, m.in_features) for n, m in linears.items()}

    def watch(name):
        def hook(_, inputs):
            x = inputs[0].flatten(0, 1)
            hessians[name].addmm_(x.T, x)
        return hook

    hooks = [m.register_forward_pre_hook(watch(n)) for n, m in linears.items()]
    clock, processor = time.perf_counter(), time.process_time()
    for window in json.load(open(ids)):
        model.model(torch.tensor([window]))
    for hook in hooks:
        hook.remove()
    statistics = time.perf_counter() - clock
    for name, linear in linears.items():
        linear.weight.copy_(gptq(linear.weight, hessians[name]))
    seconds = time.perf_counter() - clock
    print(json.dumps({"seconds": seconds, "processor": time.process_time() - processor, "statistics": statistics}))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
