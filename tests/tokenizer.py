#!/usr/bin/env python3
"""tokenizer.py - a tokenizer trained from texts, used by prepare and train; what mistakes end with and leave behind."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
from runs import DSV2, ENV, ROOT, Rows, differing, dsv2, log_of, said  # noqa: E402

EXIT_USAGE, EXIT_INPUT = 2, 65
SAMPLE = os.path.join(ROOT, "data/sample/john.txt")
BOS, EOS = 1000, 1001  # of vocab_size=1005


def tokenize(tokenizer, objects, *options):
    done = subprocess.run([DSV2, "tokenize", *options, tokenizer], env=ENV, check=True, stdout=subprocess.PIPE,
                          input="".join(json.dumps(o) + "\n" for o in objects).encode())
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def train_one(rows):
    """The folder, the same whatever the threads and however the text is split into files."""
    folder = os.path.join(rows.folder, "tok")
    done = dsv2(["train-tokenizer", SAMPLE, "-o", folder, "vocab_size=1005", "threads=1"])
    rows.row(done.returncode == 0 and "744 merges" in done.stdout, "train-tokenizer", said(done))
    parts = rows.new_folder("parts")
    with open(SAMPLE, encoding="utf-8") as f:
        lines = f.readlines()
    with open(os.path.join(parts, "a.txt"), "w", encoding="utf-8") as f:
        f.writelines(lines[:500])
    with open(os.path.join(parts, "b.jsonl"), "w", encoding="utf-8") as f:
        for at in range(500, len(lines), 100):
            f.write(json.dumps({"body": "".join(lines[at:at + 100])}) + "\n")
    other = os.path.join(rows.folder, "other")
    done = dsv2(["train-tokenizer", parts, "-o", other, "vocab_size=1005", "threads=2", "text_field=body"])
    same = done.returncode == 0 and not differing(folder, other)
    rows.row(same, "the same from two files and two threads", said(done) if not same else "")
    return folder


def use_one(rows, folder):
    config = rows.config("tokenizer: %s\nsteps: 5\n" % folder)
    done = dsv2(["train", config], cwd=rows.folder)
    losses = [line["loss"] for line in log_of(os.path.join(rows.folder, "run"))]
    rows.row(done.returncode == 0 and len(losses) == 5 and losses[4] < losses[0], "a model is trained with it", said(done))
    data = os.path.join(rows.folder, "run", "data")
    shard = next((os.path.join(base, "train-00000.h5") for base, _, names in os.walk(data)
                  if "train-00000.h5" in names), "")
    dump = subprocess.run(["h5dump", "-y", "-w", "0", "-d", "/tokens", shard], stdout=subprocess.PIPE, text=True).stdout
    values = dump.partition("DATA {")[2].partition("}")[0]
    stored = [int(n) for n in re.findall(r"\d+", values)]
    with open(os.path.join(rows.folder, "text.txt"), encoding="utf-8") as f:
        text = f.read()
    ids = tokenize(folder, [{"text": text}])[0]["ids"]
    rows.row(stored == [BOS] + ids + [EOS], "shards hold its ids, bos before and eos after", "%d" % len(stored))
    marked = subprocess.run([DSV2, "tokenize", folder], input=b'\xef\xbb\xbf{"text":"a"}\n{"text":"b"}', env=ENV,
                            stdout=subprocess.PIPE).stdout.splitlines()
    rows.row([json.loads(line)["ids"] for line in marked] == [[64], [65]], "a byte order mark is passed over", "%s" % marked)
    back = tokenize(folder, [{"ids": ids}], "--decode")[0]["text"]
    rows.row(back == text, "ids decode to the text")
    model = dsv2(["generate", "run", "In the", "max_new_tokens=8", "temperature=0"], cwd=rows.folder)
    rows.row(model.returncode == 0 and model.stdout.startswith("In the"), "generate uses it", said(model))


def mistakes(rows, folder):
    work = rows.new_folder("mistakes")
    broken, empty = os.path.join(work, "broken.txt"), os.path.join(work, "empty.txt")
    with open(broken, "wb") as f:
        f.write(b"one\ntwo\xff\n")
    open(empty, "w").close()
    to = os.path.join(work, "to")
    cases = [
        ([SAMPLE, "-o", to, "vocab_size=50000"], EXIT_INPUT, "too small for vocab_size=50000: 1873 merges"),
        ([broken, "-o", to], EXIT_INPUT, "broken.txt:2:"),
        ([empty, "-o", to], EXIT_INPUT, "too small"),
        ([os.path.join(work, "nothing*"), "-o", to], EXIT_INPUT, "no file matches"),
        ([SAMPLE, "-o", to, "max_words=10"], EXIT_INPUT, "max_words"),
        ([SAMPLE, "-o", folder], EXIT_USAGE, "is there already"),
        ([SAMPLE], EXIT_USAGE, "needs -o FOLDER"),
        ([SAMPLE, "-o", to, "vocab_size=100"], EXIT_USAGE, "vocab_size=100 is too small"),
        ([SAMPLE, "-o", to, "learning_rate=1"], EXIT_USAGE, "learning_rate means nothing to train-tokenizer"),
        ([SAMPLE, "-o", to, "min_frequency=0"], EXIT_USAGE, "min_frequency"),
        ([SAMPLE, "-o", "/proc/nowhere", "vocab_size=300"], EXIT_INPUT, "/proc/nowhere"),
    ]
    for words, code, sentence in cases:
        done = dsv2(["train-tokenizer", *words])
        rows.row(done.returncode == code and sentence in done.stderr and done.stderr.count("\n") == 1,
                 "%s" % sentence, "" if sentence in done.stderr else said(done))
    left = sorted(os.listdir(work))
    rows.row(left == ["broken.txt", "empty.txt"], "nothing is left behind", " ".join(left))


def main():
    rows = Rows("tokenizer")
    folder = train_one(rows)
    if os.path.isdir(folder):
        use_one(rows, folder)
        mistakes(rows, folder)
    rows.end()


main()
