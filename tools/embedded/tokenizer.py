"""Train the byte-level BPE tokenizer of the embedded model: exactly 2,048 tokens.

Reads ``BUILD/train.txt`` (made by text.py); no held-out text is seen.
Writes ``OUT/tokenizer.json`` and ``OUT/tokenizer_config.json``.

Token 0 is ``<|endoftext|>``, the next 256 are the bytes, the rest are merges.

    python tools/embedded/tokenizer.py
"""

import argparse
import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
END = "<|endoftext|>"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", type=Path, default=HERE / "build", help="folder that holds train.txt")
    parser.add_argument("--out", type=Path, default=ROOT / "embedded/model", help="the model folder")
    parser.add_argument("--vocab", type=int, default=2048, help="number of tokens")
    args = parser.parse_args()

    documents = (args.build / "train.txt").read_text().split("\f")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=args.vocab,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    if tokenizer.get_vocab_size() != args.vocab or tokenizer.token_to_id(END) != 0:
        raise SystemExit("the tokenizer did not come out as planned")

    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(args.out / "tokenizer.json"))
    config = {
        "bos_token": END,
        "eos_token": END,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (args.out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    text = "".join(documents)
    print(f"{len(text) / len(tokenizer.encode(text).ids):.3f} bytes a token on the training text")


if __name__ == "__main__":
    main()
