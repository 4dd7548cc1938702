#!/usr/bin/env python3
"""Cuts a tokenizer.json down to what some texts need: usage prune_tokenizer.py tokenizer.json texts.jsonl > small.json

Byte pairs are merged by rank, so a merge that a text never makes can be left out without changing the text's ids.
Ids stay as they are; the vocabulary then has holes. Needs the Python package tokenizers."""
import json
import sys

from tokenizers import Tokenizer


def merges_made(pieces, rank):
    made = set()
    for piece in pieces:
        symbols = list(piece)
        while len(symbols) > 1:
            best = min(range(len(symbols) - 1), key=lambda i: rank.get((symbols[i], symbols[i + 1]), 1 << 60))
            pair = (symbols[best], symbols[best + 1])
            if pair not in rank:
                break
            made.add(pair)
            symbols[best : best + 2] = ["".join(pair)]
    return made


def main():
    path, texts = sys.argv[1:]
    whole, tokenizer = json.load(open(path)), Tokenizer.from_file(path)
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in whole["model"]["merges"]]
    pieces = set()
    for line in open(texts):
        text = tokenizer.normalizer.normalize_str(json.loads(line)["text"])
        pieces |= {p for p, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)}
    made = merges_made(pieces, {m: i for i, m in enumerate(merges)})
    kept = {c for c in whole["model"]["vocab"] if len(c) == 1} | {"".join(m) for m in made} | {s for m in made for s in m}
    whole["model"]["vocab"] = {t: i for t, i in whole["model"]["vocab"].items() if t in kept}
    whole["model"]["merges"] = [" ".join(m) for m in merges if m in made]
    whole["added_tokens"] = [a for a in whole["added_tokens"] if not a["content"].startswith("[PAD")]
    json.dump(whole, sys.stdout, ensure_ascii=False)
    print()


main()
