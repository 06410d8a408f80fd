#!/usr/bin/env python3
"""Golden figures of divergence and likelihood on small logits, by numpy and scipy.

usage: evaluate.py > tests/golden/evaluate.json
"""

import json

import numpy as np
import scipy
from scipy.special import log_softmax, rel_entr


def main():
    random = np.random.default_rng(7)
    rows, vocabulary = 41, 19
    p = log_softmax(random.normal(0, 2, (rows, vocabulary)), axis=1).astype(np.float32)
    q = log_softmax(p + random.normal(0, 0.4, (rows, vocabulary)), axis=1).astype(np.float32)
    targets = random.integers(0, vocabulary, rows)
    kl = rel_entr(np.exp(p.astype(np.float64)), np.exp(q.astype(np.float64))).sum(axis=1)
    top = lambda x: np.argsort(-x, axis=1)[:, :5]
    shared = [len(set(a) & set(b)) / 5 for a, b in zip(top(p), top(q))]
    same = (p.argmax(axis=1) == q.argmax(axis=1)).astype(np.float64)
    nll = -q.astype(np.float64)[np.arange(rows), targets]
    error = nll.std(ddof=1) / np.sqrt(rows)
    print(json.dumps({
        "made_by": {"numpy": np.__version__, "scipy": scipy.__version__},
        "rows": rows,
        "vocabulary": vocabulary,
        "reference": [float(x) for x in p.ravel()],
        "model": [float(x) for x in q.ravel()],
        "targets": targets.tolist(),
        "figures": {
            "kl": kl.mean(),
            "kl_standard_error": scipy.stats.sem(kl),
            "kl_median": float(np.median(kl)),
            "kl_p99": float(np.percentile(kl, 99)),
            "kl_max": kl.max(),
            "top1_agreement": same.mean(),
            "top1_agreement_standard_error": scipy.stats.sem(same),
            "top5_agreement": float(np.mean(shared)),
            "tokens": rows,
            "nll": nll.mean(),
            "nll_standard_error": error,
            "perplexity": float(np.exp(nll.mean())),
            "perplexity_standard_error": float(np.exp(nll.mean()) * error),
        },
    }))


if __name__ == "__main__":
    main()
