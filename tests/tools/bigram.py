#!/usr/bin/env python3
"""Loss of a bigram model over bytes with add-one smoothing, the bar that a trained model must clear.

usage: bigram.py FOLDER    (a folder of prepared shards, one for each side; needs h5dump)
"""
import math
import re
import subprocess
import sys

VOCABULARY = 258


def tokens(shard):
    text = subprocess.run(["h5dump", "-y", "-w", "0", "-d", "/tokens", shard], check=True, capture_output=True, text=True).stdout
    return [int(n) for n in re.findall(r"\d+", text[text.index("DATA {") :].split("}")[0][6:])]


train, held_out = tokens(sys.argv[1] + "/train-00000.h5"), tokens(sys.argv[1] + "/validation-00000.h5")
pairs, firsts = {}, {}
for a, b in zip(train, train[1:]):
    pairs[a, b] = pairs.get((a, b), 0) + 1
    firsts[a] = firsts.get(a, 0) + 1
loss = sum(-math.log((pairs.get((a, b), 0) + 1) / (firsts.get(a, 0) + VOCABULARY)) for a, b in zip(held_out, held_out[1:]))
print(f"{loss / (len(held_out) - 1):.4f}")
