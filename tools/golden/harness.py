#!/usr/bin/env python3
"""Scores the committed multiple-choice task with lm-evaluation-harness on the shipped model.

usage: harness.py > tests/golden/harness.json        (from the root of the repository)
"""

import contextlib
import importlib.metadata
import json
import os
import sys
import tempfile

import yaml


def main():
    root = os.getcwd()
    with open("tests/tasks/next_words.yaml", encoding="utf-8") as file:
        task = yaml.safe_load(file)
    task["dataset_kwargs"]["data_files"]["test"] = os.path.join(root, "tests/tasks/next_words.jsonl")
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        import lm_eval
        from lm_eval.tasks import TaskManager
        with open(os.path.join(folder, "next_words.yaml"), "w", encoding="utf-8") as file:
            yaml.safe_dump(task, file)
        result = lm_eval.simple_evaluate(
            model="hf", model_args="pretrained=embedded/model,dtype=float32", device="cpu",
            tasks=["next_words"], batch_size=1, log_samples=True, bootstrap_iters=100,
            task_manager=TaskManager(include_path=folder, include_defaults=False))
    figures = result["results"]["next_words"]
    samples = sorted(result["samples"]["next_words"], key=lambda sample: sample["doc_id"])
    print(json.dumps({
        "made_by": {name: importlib.metadata.version(name)
                    for name in ("lm_eval", "transformers", "torch")},
        "acc": figures["acc,none"],
        "acc_stderr": figures["acc_stderr,none"],
        "acc_norm": figures["acc_norm,none"],
        "acc_norm_stderr": figures["acc_norm_stderr,none"],
        "loglikelihoods": [[float(r[0][0]) for r in s["resps"]] for s in samples],
    }))


if __name__ == "__main__":
    main()
