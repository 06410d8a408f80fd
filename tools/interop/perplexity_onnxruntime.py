"""Perplexity of a decoder that lowbit wrote for ONNX, by onnxruntime.

    python perplexity_onnxruntime.py FOLDER IDS.json [--text TEXT_FILE]

IDS.json holds windows of token ids. Prints one JSON document; `ids_of_text` are the ids of the text by
the tokenizer of the folder. The first window is also run one half after the other through the cache of
keys and values, which must give the logits of the whole.
"""

import importlib.metadata
import json
import pathlib
import sys

import numpy as np
import onnxruntime
from transformers import AutoTokenizer


def run(session, config, ids, past=None):
    """Logits of some ids, and the cache behind them."""
    heads = config.get("num_key_value_heads", config["num_attention_heads"])
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    blocks = range(config["num_hidden_layers"])
    names = [f"{i}.{part}" for i in blocks for part in ("key", "value")]
    if past is None:
        past = {name: np.zeros((1, heads, 0, size), np.float32) for name in names}
    before = past[names[0]].shape[2]
    feeds = {
        "input_ids": np.array([ids], np.int64),
        "attention_mask": np.ones((1, before + len(ids)), np.int64),
        "position_ids": np.arange(before, before + len(ids), dtype=np.int64)[None],
        **{f"past_key_values.{name}": past[name] for name in names},
    }
    outputs = ["logits"] + [f"present.{name}" for name in names]
    logits, *present = session.run(outputs, feeds)
    return logits[0].astype(np.float64), dict(zip(names, present))


def nll(logits, targets):
    top = logits.max(-1, keepdims=True)
    normal = top[:, 0] + np.log(np.exp(logits - top).sum(-1))
    return (normal - logits[np.arange(len(targets)), targets]).sum()


def main(folder, ids_file, text_file):
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    (model,) = (folder / "onnx").glob("*.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    windows = json.loads(pathlib.Path(ids_file).read_text())
    total, count = 0.0, 0
    for number, window in enumerate(windows):
        logits, _ = run(session, config, window)
        total += nll(logits[:-1], np.array(window[1:]))
        count += len(window) - 1
        if number == 0:
            half = len(window) // 2
            first, past = run(session, config, window[:half])
            second, _ = run(session, config, window[half:], past)
            both = np.concatenate([first, second])
            assert np.abs(both - logits).max() < 1e-3 * max(1, np.abs(logits).max()), "the cache"
    with open(text_file, encoding="utf-8", newline="") as file:
        text = file.read()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    versions = {n: importlib.metadata.version(n) for n in ("onnxruntime", "transformers")}
    print(json.dumps({
        "perplexity": float(np.exp(total / count)),
        "ids_of_text": tokenizer.encode(text, add_special_tokens=False),
        "versions": versions,
    }))


if __name__ == "__main__":
    main(*[argument for argument in sys.argv[1:] if argument != "--text"])
