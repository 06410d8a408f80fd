"""Write golden values of the embedded model, made with transformers.

Reads the model folder and ``embedded/evaluation.txt``.
Writes, all computed in F32 on the BF16 weights:

``tests/golden/embedded/logits.safetensors``, for 2 sequences of 64 tokens of the
evaluation text:
  * ``input_ids``   I32 [2, 64]
  * ``next_ids``    I32 [2, 64]        the token after each position (the text goes on)
  * ``logits_last`` F32 [2, 4, vocab]  all logits of the last 4 positions
  * ``logsumexp``   F32 [2, 64]        of the logits of every position
  * ``next_logit``  F32 [2, 64]        the logit of ``next_ids``
  * ``hidden_last`` F32 [2, blocks + 1, hidden]  the residual stream at the last position:
    the embedding, then what it is after each block (before the final norm)
  * ``normed_last`` F32 [2, hidden]    the same after the final norm

``tests/golden/embedded/golden.json``: versions, the perplexity of the first windows of the
evaluation text with its protocol, greedy continuations, tokenizer cases, and a digest of
the ids of the evaluation text.

    python tools/embedded/golden.py
"""

import argparse
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

STARTS = (256, 12800)  # where the two sequences begin in the ids of the evaluation text
LENGTH = 64
WINDOW, WINDOWS = 256, 20
PROMPTS = ("In the beginning", "PROSPERO.\n")
NEW_TOKENS = 32

CASES = [
    "",
    " ",
    "  ",
    "     ",
    "\n",
    "\n\n",
    "\n\n\n\n",
    "\t",
    " \n \n ",
    "a",
    " a",
    "Hello, world!",
    "To be, or not to be: that is the question:",
    "And God said, Let there be light: and there was light.",
    "HAMLET.\nWho's there?\n\nGHOST.\nMark me.",
    "[Exeunt.]",
    "I'm you're he'll we've she'd don't it's 'tis o'er th' I'LL DON'T",
    "’tis the curly apostrophe, don’t",
    "thou'rt wherefore\tart thou",
    "two  spaces and   three, and a trailing run   ",
    "   leading spaces",
    "line one\nline two\r\nline three\rline four",
    "no-break\u00a0space, thin\u2009space, ideographic\u3000space, zero\u200bwidth",
    "0 1 12 123 1234 3.14159 1,000,000 2026-01-01",
    "abc123def 4th 1st",
    "!!! ??? ... --- *** ()[]{}<> @#$%^&*_+=|\\/~`",
    "snake_case camelCase kebab-case",
    "function f(x) {\n    return x === 1 ? \"one\" : 'other';\n}\n",
    "naïve café résumé Ærøskøbing ſtraße",
    "cafe\u0301 (combining acute)",
    "Привет, мир",
    "Γειά σου Κόσμε",
    "你好，世界。",
    "こんにちは、カタカナ",
    "안녕하세요",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "ไทยไม่มีช่องว่าง",
    "🙂",
    "😀😃 👩‍👩‍👧‍👦 🇬🇧 👍🏽",
    "math: ∀x∈ℝ, x² ≥ 0; ½ ⅓ ① Ⅳ",
    "\ufeffbyte order mark",
    "control \x00 \x01 \x1f \x7f ends",
    "\U0001d49c\U0010ffff",
    "<|endoftext|>",
    "one<|endoftext|>two <|endoftext|> three",
    "<|endoftext",
    "supercalifragilisticexpialidocious honorificabilitudinitatibus",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
]


def i32(values):
    return torch.tensor(values, dtype=torch.int32)


@torch.inference_mode()
def forward(model, ids):
    """Logits, residual stream after the embedding and each block, final norm's output."""
    stream, hooks = [], []
    base = model.model
    hooks.append(base.embed_tokens.register_forward_hook(lambda m, i, out: stream.append(out)))
    for block in base.layers:
        hooks.append(block.register_forward_hook(
            lambda m, i, out: stream.append(out[0] if isinstance(out, tuple) else out)))
    normed = []
    hooks.append(base.norm.register_forward_hook(lambda m, i, out: normed.append(out)))
    logits = model(ids, use_cache=False).logits
    for hook in hooks:
        hook.remove()
    return logits, stream, normed[0]


def tensors(model, ids):
    inputs = torch.tensor([ids[s : s + LENGTH] for s in STARTS])
    following = torch.tensor([ids[s + 1 : s + 1 + LENGTH] for s in STARTS])
    logits, stream, normed = forward(model, inputs)
    return {
        "input_ids": inputs.to(torch.int32),
        "next_ids": following.to(torch.int32),
        "logits_last": logits[:, -4:].contiguous(),
        "logsumexp": logits.double().logsumexp(-1).float(),
        "next_logit": logits.gather(-1, following[..., None])[..., 0].contiguous(),
        "hidden_last": torch.stack([x[:, -1] for x in stream], dim=1).contiguous(),
        "normed_last": normed[:, -1].contiguous(),
    }


@torch.inference_mode()
def perplexity(model, ids):
    rows = torch.tensor(ids[: WINDOW * WINDOWS]).view(WINDOWS, WINDOW)
    total, predictions = 0.0, WINDOWS * (WINDOW - 1)
    for row in rows:
        logp = model(row[None, :-1], use_cache=False).logits[0].double().log_softmax(-1)
        total -= logp.gather(-1, row[1:, None]).sum().item()
    return {
        "protocol": "whole file tokenised at once without special tokens; first windows of the ids, "
        "no overlap, no BOS; the first id of each window is not predicted",
        "file": "embedded/evaluation.txt",
        "window": WINDOW,
        "windows": WINDOWS,
        "predictions": predictions,
        "mean_nll": total / predictions,
        "perplexity": math.exp(total / predictions),
    }


@torch.inference_mode()
def greedy(model, tokenizer, prompt):
    """Always the likeliest token, without a stop at the end token; no cache is used."""
    ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    new, margins = [], []
    for _ in range(NEW_TOKENS):
        top = model(torch.tensor([ids + new]), use_cache=False).logits[0, -1].topk(2)
        new.append(top.indices[0].item())
        margins.append((top.values[0] - top.values[1]).item())
    return {
        "prompt": prompt,
        "prompt_ids": ids,
        "ids": new,
        "text": tokenizer.decode(new, skip_special_tokens=False),
        "smallest_margin": min(margins),  # between the first and the second logit
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--embedded", type=Path, default=ROOT / "embedded", help="folder of the shipped files")
    parser.add_argument("--out", type=Path, default=ROOT / "tests/golden/embedded", help="where the golden files go")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    folder = args.embedded / "model"

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    wrapped = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    data = (args.embedded / "evaluation.txt").read_bytes()
    ids = tokenizer.encode(data.decode(), add_special_tokens=False).ids

    save_file(tensors(model, ids), args.out / "logits.safetensors")
    (args.out / "logits.safetensors").chmod(0o644)

    cases = []
    for text in CASES:
        case = tokenizer.encode(text, add_special_tokens=False).ids
        if wrapped.encode(text, add_special_tokens=False) != case:
            raise SystemExit(f"transformers and tokenizers differ on {text!r}")
        decoded = tokenizer.decode(case, skip_special_tokens=False)
        if decoded != text:
            raise SystemExit(f"no round trip: {text!r} came back as {decoded!r}")
        cases.append({"text": text, "ids": case})

    smile = tokenizer.encode("🙂", add_special_tokens=False).ids
    mixed = tokenizer.encode("one<|endoftext|>two", add_special_tokens=False).ids
    decodings = [
        {"ids": part, "skip_special_tokens": skip, "text": tokenizer.decode(part, skip_special_tokens=skip)}
        for part, skip in (
            ([], False), (mixed, False), (mixed, True),
            (smile[:1], False), (smile[:-1], False), (smile[1:], False),
            ([*smile[:2], *tokenizer.encode("a é", add_special_tokens=False).ids], False),
            (list(range(1, 257)), False), (list(range(257, 321)), False), (list(range(1984, 2048)), False),
        )
    ]

    golden = {
        "versions": {
            "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "model_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "evaluation": {
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "tokens": len(ids),
            "first_ids": ids[:200],
            "ids_sha256": hashlib.sha256(np.asarray(ids, dtype="<i4").tobytes()).hexdigest(),
        },
        "perplexity": perplexity(model, ids),
        "sequences": {"file": "logits.safetensors", "starts": list(STARTS), "length": LENGTH},
        "greedy": [greedy(model, tokenizer, prompt) for prompt in PROMPTS],
        # Each decodes, with special tokens kept, to its own text again.
        "tokenizer": cases,
        "decode": decodings,
    }
    # One line for each list of numbers keeps the file readable and its changes small.
    text = json.dumps(golden, indent=1, ensure_ascii=True)
    compact = []
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped.rstrip(",").lstrip("-").isdigit() and compact:
            compact[-1] += stripped.replace(",", ", ")
        elif stripped in ("]", "],") and compact[-1].rsplit("[", 1)[-1].replace(", ", "").strip().isdigit():
            compact[-1] += stripped
        else:
            compact.append(line)
    text = "\n".join(compact) + "\n"
    assert json.loads(text) == golden
    (args.out / "golden.json").write_text(text)
    print(f"perplexity {golden['perplexity']['perplexity']:.4f}")
    for g in golden["greedy"]:
        print(f"{g['prompt']!r} -> {g['text']!r} (smallest margin {g['smallest_margin']:.4f})")


if __name__ == "__main__":
    main()
