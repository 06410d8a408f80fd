"""An n-gram language model with interpolated modified Kneser-Ney smoothing.

The baseline that the embedded model has to beat: trained on the same tokens, with the
three discounts of Chen and Goodman at every order and a uniform distribution below the
unigrams. This module is imported by card.py; it reads and writes no files. Run by itself
it checks that the probabilities sum to one.

    python tools/embedded/ngram.py
"""

import numpy as np


def lookup(keys, values, wanted):
    """values[keys == wanted], or 0 where there is no such key; keys are sorted."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


class KneserNey:
    """Counts of all orders up to `order` over a stream of ids below `vocab`."""

    def __init__(self, ids, order, vocab):
        self.order, self.vocab = order, vocab
        ids = np.asarray(ids, dtype=np.int64)
        keys, counts = np.unique(self.join(ids, order), return_counts=True)
        self.levels = {}
        for n in range(order, 0, -1):
            self.levels[n] = self.level(keys, counts)
            if n > 1:  # the next order down counts in how many contexts each n-gram occurs
                keys, counts = np.unique(keys % vocab ** (n - 1), return_counts=True)

    def join(self, ids, n):
        """One integer for every n-gram of the stream, the last id in the lowest digits."""
        length = len(ids) - n + 1
        return sum(ids[i : i + length] * self.vocab ** (n - 1 - i) for i in range(n))

    def level(self, keys, counts):
        n1, n2, n3, n4 = (int((counts == c).sum()) for c in (1, 2, 3, 4))
        if min(n1, n2, n3, n4) > 0:
            y = n1 / (n1 + 2 * n2)
            discounts = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            discounts = np.clip([0, *discounts], 0, [0, 1, 2, 3])
        else:  # too few n-grams for the estimate, as with unigrams of frequent tokens
            discounts = np.array([0, 0.75, 0.75, 0.75])
        taken = discounts[np.minimum(counts, 3)]
        contexts, inverse = np.unique(keys // self.vocab, return_inverse=True)
        return {
            "keys": keys,
            "kept": counts - taken,
            "contexts": contexts,
            "total": np.bincount(inverse, counts),
            "mass": np.bincount(inverse, taken),
        }

    def probabilities(self, grams):
        """Probability of the last id of each row of `grams`, given those before it."""
        grams = np.asarray(grams, dtype=np.int64)
        p = np.full(len(grams), 1 / self.vocab)
        for n in range(1, min(self.order, grams.shape[1]) + 1):
            level = self.levels[n]
            key = np.zeros(len(grams), dtype=np.int64)
            for column in grams.shape[1] - n + np.arange(n):
                key = key * self.vocab + grams[:, column]
            total = lookup(level["contexts"], level["total"], key // self.vocab)
            mass = lookup(level["contexts"], level["mass"], key // self.vocab)
            kept = lookup(level["keys"], level["kept"], key)
            seen = total > 0
            p = np.where(seen, (kept + mass * p) / np.where(seen, total, 1), p)
        return p


def main():
    draw = np.random.default_rng(0)
    ids = np.minimum(draw.geometric(0.2, 5000) - 1, 49)
    model = KneserNey(ids, 3, 60)
    for context in ([1, 2], [0, 0], [59, 3], [59, 59]):
        total = model.probabilities([[*context, last] for last in range(60)]).sum()
        assert abs(total - 1) < 1e-9, total
    print("the probabilities sum to one")


if __name__ == "__main__":
    main()
