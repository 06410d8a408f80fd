#!/usr/bin/env python3
"""Scores the committed multiple-choice tasks with lm-evaluation-harness on the shipped model.

usage: harness.py > tests/golden/harness.json        (from the root of the repository)
"""

import contextlib
import importlib.metadata
import json
import os
import sys
import tempfile

import yaml


def scored(name):
    root = os.getcwd()
    with open(f"tests/tasks/{name}.yaml", encoding="utf-8") as file:
        task = yaml.safe_load(file)
    task["dataset_kwargs"]["data_files"]["test"] = os.path.join(root, "tests/tasks/next_words.jsonl")
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        import lm_eval
        from lm_eval.tasks import TaskManager
        with open(os.path.join(folder, f"{name}.yaml"), "w", encoding="utf-8") as file:
            yaml.safe_dump(task, file)
        result = lm_eval.simple_evaluate(
            model="hf", model_args="pretrained=embedded/model,dtype=float32", device="cpu",
            tasks=[name], batch_size=1, log_samples=True, bootstrap_iters=100,
            task_manager=TaskManager(include_path=folder, include_defaults=False))
    figures = result["results"][name]
    samples = sorted(result["samples"][name], key=lambda sample: sample["doc_id"])
    return {
        "acc": figures["acc,none"],
        "acc_stderr": figures["acc_stderr,none"],
        "acc_norm": figures["acc_norm,none"],
        "acc_norm_stderr": figures["acc_norm_stderr,none"],
        "loglikelihoods": [[float(r[0][0]) for r in s["resps"]] for s in samples],
    }


def main():
    made_by = {name: importlib.metadata.version(name) for name in ("lm_eval", "transformers", "torch")}
    tasks = {name: scored(name) for name in ("next_words", "next_words_2shot")}
    print(json.dumps({"made_by": made_by, **tasks["next_words"],
                      "two_shot": tasks["next_words_2shot"]}))


if __name__ == "__main__":
    main()
