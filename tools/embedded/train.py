"""Train the embedded model.

Reads ``BUILD/train.txt`` (made by text.py), ``embedded/calibration.txt`` (watched during
the training, never learnt from) and ``embedded/model/tokenizer.json``. The evaluation text
is not opened here.
Writes ``BUILD/checkpoint.pt`` every few hundred steps, ``BUILD/train.log`` (one JSON line a
report) and ``BUILD/train.json`` (how the training went, for the model card). A run that was
interrupted goes on from the checkpoint when the same command is given again.

Muon moves the matrices of the blocks, AdamW the embedding, the head and the norms; the
learning rates rise over the first steps and then fall to zero on a cosine. The fall is by
the larger of the shares of ``--steps`` and of ``--minutes`` that are used up, so that the
training ends well in the time it was given even on a machine slower than foreseen.

    python tools/embedded/train.py
"""

import argparse
import json
import math
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tokenizers
import torch
from tokenizers import Tokenizer

from model import Llama, Shape

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def training_ids(build, tokenizer):
    """All training documents as one stream, <|endoftext|> (id 0) after each."""
    documents = (build / "train.txt").read_text().split("\f")
    ids = [[*encoding.ids, 0] for encoding in tokenizer.encode_batch(documents)]
    return torch.from_numpy(np.concatenate([np.asarray(i, dtype=np.int64) for i in ids]))


class Sampler:
    """Batches for every step: an epoch is a shuffle of windows from a new offset."""

    def __init__(self, ids, length, batch, seed):
        self.ids, self.length, self.batch, self.seed = ids, length, batch, seed
        self.per_epoch = (len(ids) - 1 - length) // length // batch
        self.epoch = None

    def __call__(self, step):
        epoch, at = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            draw = np.random.default_rng([self.seed, epoch])
            starts = draw.integers(self.length) + self.length * np.arange(self.per_epoch * self.batch)
            self.starts, self.epoch = draw.permutation(starts), epoch
        starts = self.starts[at * self.batch : (at + 1) * self.batch]
        rows = torch.stack([self.ids[s : s + self.length + 1] for s in starts.tolist()])
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


@torch.inference_mode()
def watch(model, ids, length=256):
    """Mean loss over windows of `length` ids without overlap."""
    rows = ids[: len(ids) // length * length].view(-1, length)
    model.eval()
    with torch.autocast("cpu", torch.bfloat16):
        losses = [model.loss(part[:, :-1], part[:, 1:]).item() * len(part) for part in rows.split(32)]
    model.train()
    return sum(losses) / len(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", type=Path, default=HERE / "build", help="folder that holds train.txt")
    parser.add_argument("--embedded", type=Path, default=ROOT / "embedded", help="folder of the shipped files")
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--minutes", type=float, default=45, help="limit on the training time")
    parser.add_argument("--batch", type=int, default=16, help="windows a step")
    parser.add_argument("--length", type=int, default=512, help="tokens a window")
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--adam-lr", type=float, default=0.004)
    parser.add_argument("--warmup", type=int, default=60, help="steps")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=2048)
    parser.add_argument("--save-every", type=int, default=100, help="steps")
    parser.add_argument("--report-every", type=int, default=250, help="steps")
    parser.add_argument("--no-compile", action="store_true", help="for machines without a C++ compiler")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    tokenizer = Tokenizer.from_file(str(args.embedded / "model/tokenizer.json"))
    ids = training_ids(args.build, tokenizer)
    watched = torch.tensor(tokenizer.encode((args.embedded / "calibration.txt").read_text()).ids)
    shape = Shape(dropout=args.dropout)
    if shape.vocab != tokenizer.get_vocab_size():
        raise SystemExit("the tokenizer and the model differ in vocabulary")
    model = Llama(shape)
    parameters = sum(weight.numel() for weight in model.parameters())
    sampler = Sampler(ids, args.length, args.batch, args.seed)
    print(f"{parameters} parameters, {len(ids)} training tokens, {sampler.per_epoch} steps an epoch", flush=True)

    matrices = [w for n, w in model.named_parameters() if w.ndim == 2 and ".layers." in n]
    tables = [w for n, w in model.named_parameters() if w.ndim == 2 and ".layers." not in n]
    norms = [w for w in model.parameters() if w.ndim == 1]
    muon = torch.optim.Muon(matrices, lr=args.muon_lr, momentum=0.95, weight_decay=0.1)
    adam = torch.optim.AdamW(
        [{"params": tables, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}],
        lr=args.adam_lr, betas=(0.9, 0.95), eps=1e-10,
    )
    loss_of = model.loss if args.no_compile else torch.compile(model.loss)

    step, elapsed = 0, 0.0
    saved = args.build / "checkpoint.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        muon.load_state_dict(state["muon"])
        adam.load_state_dict(state["adam"])
        torch.set_rng_state(state["rng"])
        step, elapsed = state["step"], state["seconds"]
        print(f"going on from step {step}", flush=True)

    def save():
        state = {
            "model": model.state_dict(), "muon": muon.state_dict(), "adam": adam.state_dict(),
            "rng": torch.get_rng_state(), "step": step, "seconds": elapsed, "shape": asdict(shape),
        }
        torch.save(state, saved.with_suffix(".new"))
        os.replace(saved.with_suffix(".new"), saved)

    log = open(args.build / "train.log", "a")
    recent, last = [], time.monotonic()
    while True:
        used = max(step / args.steps, elapsed / (60 * args.minutes))
        if used >= 1:
            break
        rate = min(1, (step + 1) / args.warmup) * 0.5 * (1 + math.cos(math.pi * used))
        for optimiser, base in ((muon, args.muon_lr), (adam, args.adam_lr)):
            for group in optimiser.param_groups:
                group["lr"] = base * rate
        inputs, targets = sampler(step)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tables + norms, 1.0)
        muon.step()
        adam.step()
        model.zero_grad(set_to_none=True)
        recent.append(loss.item())
        step += 1
        now = time.monotonic()
        elapsed, last = elapsed + now - last, now

        if step % args.report_every == 0 or step in (25, 50, 100):
            line = {
                "step": step, "seconds": round(elapsed), "rate": round(rate, 4),
                "loss": round(sum(recent) / len(recent), 4), "watched": round(watch(model, watched), 4),
            }
            recent = []
            print(json.dumps(line), file=log, flush=True)
            print(json.dumps(line), flush=True)
        if step % args.save_every == 0:
            save()
    save()
    report = {
        "parameters": parameters,
        "training_tokens": len(ids),
        "steps": step,
        "tokens_per_step": args.batch * args.length,
        "window": args.length,
        "epochs": round(step / sampler.per_epoch, 2),
        "minutes": round(elapsed / 60, 1),
        "watched_loss": round(watch(model, watched), 4),
        "settings": {
            "muon_lr": args.muon_lr, "adam_lr": args.adam_lr, "warmup": args.warmup,
            "dropout": args.dropout, "seed": args.seed,
            "steps_limit": args.steps, "minutes_limit": args.minutes,
        },
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__.split("+")[0],
            "tokenizers": tokenizers.__version__,
        },
        "cores": torch.get_num_threads(),
    }
    (args.build / "train.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
