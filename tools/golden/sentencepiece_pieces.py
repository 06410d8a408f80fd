#!/usr/bin/env python3
"""Makes tests/golden/sentencepiece: tiny SentencePiece BPE models with byte fallback, with the ids of
sentencepiece, of transformers' tokenizer.json and of llama.cpp.

usage: sentencepiece_pieces.py OUTDIR      (needs sentencepiece, transformers, gguf, llama-cpp-python)

`prefix` begins texts with a space (Llama, Mistral), `plain` does not (Gemma). OUTDIR/NAME/ holds
tokenizer.model, and tokenizer.json as `LlamaTokenizer` or `GemmaTokenizer` of transformers makes it of
the same pieces; OUTDIR/expected.json has texts and ids. What differs between the three is an error.
"""

import json
import os
import sys

import gguf
import llama_cpp
import sentencepiece as spm
import transformers as T

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "../../embedded/calibration.txt")
TEXTS = [
    "Hello world, this is a test.", "  two spaces and\na new line\n\n\ttab", "na\u00efve caf\u00e9 \u4f60\u597d \U0001f600",
    "The 1234567890 numbers; \u2581 marks, <s> and </s> spelled out", "a", " a", "thethethe  the   the",
    "x" * 40, "ANOTHER LINE OF CAPITALS", "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u00df\u00fc",
]


def train(folder, prefix):
    os.makedirs(folder, exist_ok=True)
    spm.SentencePieceTrainer.train(
        input=CORPUS, model_prefix=os.path.join(folder, "tokenizer"), vocab_size=700,
        model_type="bpe", byte_fallback=True, add_dummy_prefix=prefix, remove_extra_whitespaces=False,
        normalization_rule_name="identity", split_digits=True, allow_whitespace_only_pieces=True,
        num_threads=1, minloglevel=2)
    os.remove(os.path.join(folder, "tokenizer.vocab"))
    return spm.SentencePieceProcessor(model_file=os.path.join(folder, "tokenizer.model"))


def merges(sp):
    vocab = {sp.id_to_piece(i): i for i in range(len(sp))}
    found = []
    for piece, i in vocab.items():
        if sp.is_byte(i) or sp.is_control(i) or sp.is_unknown(i):
            continue
        pairs = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
        pairs = [p for p in pairs if p[0] in vocab and p[1] in vocab]
        pairs.sort(key=lambda p: (vocab[p[0]], vocab[p[1]]))
        found += [(sp.get_score(i), *p) for p in pairs]
    found.sort(key=lambda m: -m[0])
    return vocab, [(a, b) for _, a, b in found]


def main(out):
    result = dict(made_by=f"sentencepiece {spm.__version__}, transformers {T.__version__}, "
                          f"llama-cpp-python {llama_cpp.__version__}", texts=TEXTS, cases={})
    for name, prefix, cls in (("prefix", True, T.LlamaTokenizer), ("plain", False, T.GemmaTokenizer)):
        folder = os.path.join(out, name)
        sp = train(folder, prefix)
        vocab, pairs = merges(sp)
        special = dict(unk_token="<unk>", bos_token="<s>", eos_token="</s>")
        tokenizer = cls(vocab=vocab, merges=pairs, **special) if prefix else \
            cls(vocab=vocab, merges=pairs, pad_token="<unk>", mask_token="<unk>", **special)
        tokenizer.save_pretrained(folder)
        types = [gguf.TokenType.UNKNOWN if sp.is_unknown(i) else gguf.TokenType.CONTROL if sp.is_control(i)
                 else gguf.TokenType.BYTE if sp.is_byte(i) else gguf.TokenType.NORMAL for i in range(len(sp))]
        path = os.path.join(folder, "vocabulary.gguf")
        w = gguf.GGUFWriter(path, "llama")
        w.add_block_count(0)
        w.add_context_length(64); w.add_embedding_length(8); w.add_feed_forward_length(8)
        w.add_head_count(1); w.add_layer_norm_rms_eps(1e-5)
        w.add_tokenizer_model("llama")
        w.add_tokenizer_pre("default")
        w.add_token_list([sp.id_to_piece(i) for i in range(len(sp))])
        w.add_token_scores([sp.get_score(i) for i in range(len(sp))])
        w.add_token_types(types)
        w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_unk_token_id(0)
        w.add_add_bos_token(True)
        w.add_add_space_prefix(prefix)
        w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
        llama = llama_cpp.Llama(path, vocab_only=True, verbose=False)
        ids, differ = [], []
        for text in TEXTS:
            own = sp.encode(text)
            cpp = llama.tokenize(text.encode(), add_bos=False, special=False)
            fast = tokenizer.encode(text, add_special_tokens=False)
            if own != cpp:
                differ.append(["llama.cpp", text, own, cpp])
            if own != fast and "<s>" not in text:
                differ.append(["transformers", text, own, fast])
            ids.append(own)
        for row in differ:
            print("differs", *row)
        special = [llama.tokenize(t.encode(), add_bos=False, special=True) for t in TEXTS]
        result["cases"][name] = dict(prefix=prefix, ids=ids, special=special)
        print(name, len(sp), [os.path.getsize(os.path.join(folder, n)) for n in sorted(os.listdir(folder))])
    with open(os.path.join(out, "expected.json"), "w") as f:
        json.dump(result, f)
        f.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
