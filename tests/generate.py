#!/usr/bin/env python3
"""generate.py - `dsv2 generate` as people call it: text, ids, files of prompts and gaps, the same on any number of ranks,
and what mistakes end with."""
import glob
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
from runs import ENV, ROOT, Rows, command, dsv2, said, signalled  # noqa: E402

FIXTURE = os.path.join(ROOT, "tests/fixtures/tiny-v2")
GREEDY = ["temperature=0", "max_new_tokens=12"]
PROMPTS = ["In the beginning", "And God said, Let there be light", "", "A river went out of Eden to water the garden"]


def byte_letters():
    """The letter that stands for each byte in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return {b: chr(b) if b in plain else chr(256 + n)
            for n, b in [(i, b) for i, b in enumerate(b for b in range(256) if b not in plain)] +
            [(0, b) for b in plain]}


def tokenizer_folder(rows, name, tokens):
    """The fixture with a tokenizer of bytes, bos, eos and these tokens."""
    folder = rows.new_folder(name)
    for file in "config.json", "model.safetensors":
        shutil.copy(os.path.join(FIXTURE, file), folder)
    added = ["<bos>", "<eos>", *tokens]
    letters = byte_letters()
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as to:
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        json.dump({"version": "1.0", "normalizer": None, "pre_tokenizer": level, "post_processor": None,
                   "decoder": level,
                   "added_tokens": [{"id": 256 + i, "content": text, "single_word": False, "lstrip": False,
                                     "rstrip": False, "normalized": False, "special": True}
                                    for i, text in enumerate(added)],
                   "model": {"type": "BPE", "vocab": {letters[b]: b for b in range(256)}, "merges": []}}, to)
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as to:
        json.dump({"add_bos_token": True, "add_eos_token": False, "bos_token": "<bos>", "eos_token": "<eos>"}, to)
    return folder


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def by_ids(rows):
    words = ["generate", FIXTURE, "--token-ids", "5 6,7", *GREEDY]
    one = dsv2(words)
    ids = [int(x) for x in one.stdout.split()]
    rows.row(one.returncode == 0 and ids[:3] == [5, 6, 7] and len(ids) == 15 and max(ids) < 320, "ids", said(one))
    rows.row("cache 640 bytes a token, 40,960 in all; 3 prompt tokens" in one.stderr, "what the cache takes",
             one.stderr.strip())
    for ranks, ep in (2, 1), (2, 2), (4, 1), (4, 2), (4, 4):
        many = dsv2([*words, "layout.ep=%d" % ep], ranks)
        rows.row(many.returncode == 0 and many.stdout == one.stdout, "ids on %d ranks, ep %d" % (ranks, ep), said(many))
    bf16 = dsv2([*words, "dtype=bf16"])
    rows.row("cache 320 bytes a token" in bf16.stderr, "half of it in bf16", bf16.stderr.strip())


def by_text(rows, folder):
    done = dsv2(["generate", folder, PROMPTS[0], *GREEDY])
    rows.row(done.returncode == 0 and done.stdout.startswith(PROMPTS[0]) and done.stdout.endswith("\n"), "a text",
             said(done))
    rows.row("17 prompt tokens" in done.stderr, "bos stands in front", done.stderr.strip())
    short = dsv2(["generate", FIXTURE, 600 * "x", "temperature=0"])
    rows.row(short.returncode == 0 and "max_new_tokens 40: " in short.stderr and "40 new tokens" in short.stderr,
             "as many tokens as the model has positions for", said(short)[-60:])
    silent = dsv2(["generate", FIXTURE, "x", *GREEDY, "tokenizer=bytes"])
    rows.row("no tokenizer.json lies beside" in short.stderr and "no tokenizer" not in silent.stderr,
             "a model without its tokenizer is spoken of", short.stderr[:100])
    out = os.path.join(rows.folder, "one.jsonl")
    kept = dsv2(["generate", folder, PROMPTS[0], *GREEDY, "-o", out])
    with open(out, encoding="utf-8") as file:
        line = lines_of(file.read())
    rows.row(kept.returncode == 0 and not kept.stdout and len(line) == 1 and line[0]["prompt"] == PROMPTS[0] and
             set(line[0]) == {"prompt", "text", "prompt_tokens", "new_tokens", "ended"}, "a line of JSON", str(line))


def by_file(rows, folder):
    plain, json_lines = (os.path.join(rows.folder, name) for name in ("prompts.txt", "prompts.jsonl"))
    with open(plain, "w", encoding="utf-8") as to:
        to.write("\r\n".join(PROMPTS))
    with open(json_lines, "w", encoding="utf-8") as to:
        to.write("\n\n".join(json.dumps({key: text}) for key, text in zip(["prompt", "text"] * 2, PROMPTS)) + "\n")
    words = ["max_new_tokens=20", "seed=3"]
    one = dsv2(["generate", folder, "--prompts", plain, *words])
    lines = lines_of(one.stdout)
    rows.row([x["prompt"] for x in lines] == PROMPTS and [x["prompt_tokens"] for x in lines] ==
             [len(p) + 1 for p in PROMPTS], "a prompt a line, answers in order", said(one)[:100])
    rows.row(all(x["ended"] in ("length", "eos") and (x["ended"] == "eos" or x["new_tokens"] == 20) for x in lines),
             "why they ended")
    for what, ranks, more in (("JSONL", 1, []), ("one at a time", 1, ["prompts_at_once=1"]), ("two ranks", 2, []),
                              ("two ranks, ep 2", 2, ["layout.ep=2"])):
        other = dsv2(["generate", folder, "--prompts", json_lines, *words, *more], ranks)
        rows.row(other.returncode == 0 and other.stdout == one.stdout, "the same, " + what, said(other)[:100])


def gaps(rows, folder):
    words = ["generate", folder, "--prefix", "def f(", "--suffix", "return <｜fim▁end｜>", *GREEDY]
    done = dsv2(words)
    rows.row(done.returncode == 0 and done.stdout.startswith("def f(") and
             done.stdout.endswith("return <｜fim▁end｜>\n"), "a gap is filled", said(done))
    bytes_around = len("def f(") + len("return <｜fim▁end｜>".encode())
    rows.row("%d prompt tokens" % (1 + 3 + bytes_around) in done.stderr, "what people wrote is no control token",
             done.stderr.strip())


def not_numbers(rows):
    folder = rows.new_folder("nan")
    shutil.copy(os.path.join(FIXTURE, "config.json"), folder)
    with open(os.path.join(FIXTURE, "model.safetensors"), "rb") as source:
        weights = bytearray(source.read())
    weights[-256:] = struct.pack("<f", 3e38) * 64  # the last norm: logits overflow
    with open(os.path.join(folder, "model.safetensors"), "wb") as to:
        to.write(weights)
    done = dsv2(["generate", folder, "--token-ids", "1", *GREEDY], 2)
    rows.row(done.returncode == 70 and "not numbers" in done.stderr, "logits that are not numbers", said(done))


def samples(rows):
    config = rows.config("steps: 4\nsample_steps: 2\nsample_prompt: In the\n")
    for ranks in 1, 2:
        done = dsv2(["train", config, "output_dir=%s/sampled %d" % (rows.folder, ranks)], ranks)
        rows.row(done.returncode == 0 and done.stdout.count("In the") >= 2, "samples while training, %d ranks" % ranks,
                 said(done))
        rows.row("next: dsv2 generate '%s/sampled %d' " % (rows.folder, ranks) in done.stdout, "what comes next, quoted",
                 said(done))
    done = dsv2(["train", config, "output_dir=%s/long" % rows.folder, "sample_prompt=" + 60 * "x"])
    rows.row(done.returncode == 2 and "sample_prompt has 60 tokens" in done.stderr, "a sample's prompt that is too long",
             said(done))


def mistakes(rows, folder):
    bad = os.path.join(rows.folder, "bad.jsonl")
    with open(bad, "w", encoding="utf-8") as to:
        to.write('{"prompt": "a"}\n{"question": "b"}\n')
    empty = os.path.join(rows.folder, "empty.txt")
    open(empty, "w", encoding="utf-8").close()
    broken = rows.new_folder("broken")
    with open(os.path.join(broken, "config.json"), "w", encoding="utf-8") as to:
        to.write("{")
    for words, code, says in (
            ([FIXTURE, "a", "--token-ids", "1"], 2, "give one of PROMPT"),
            ([FIXTURE, "--prefix", "a"], 2, "--prefix goes with --suffix"),
            ([FIXTURE, "--prompts", "gone"], 2, "gone: no such file"),
            ([FIXTURE, "--token-ids", "1 320"], 65, "'320' is not an id from 0 to 319"),
            ([FIXTURE, "--token-ids", "1 x"], 65, "'x' is not an id"),
            ([FIXTURE, "--token-ids", " "], 65, "there is no id"),
            ([FIXTURE, "--prompts", bad], 65, "bad.jsonl:2: the object has no text"),
            ([FIXTURE, "--prompts", empty], 65, "holds no prompt"),
            ([FIXTURE, "--prefix", "a", "--suffix", "b"], 65, "has no token <｜fim▁begin｜>"),
            ([folder, "--prompts", bad, "-o", "no/folder/x"], 65, "bad.jsonl:2"),
            ([FIXTURE, "a", "-o", "no/folder/x"], 74, "no/folder/x"),
            ([FIXTURE, "a", "-o", rows.folder], 74, "is a folder"),
            ([FIXTURE, "a", "-o", 5000 * "x"], 2, "this path has more than 4095 bytes"),
            ([broken, "a"], 65, "config.json:1: not valid JSON"),
            ([broken, "a", "seed=2"], 65, "config.json:1: not valid JSON"),
            ([FIXTURE, "a", "top_p=2"], 2, "generate.top_p is 2"),
            ([FIXTURE, "a", "temprature=1"], 2, "did you mean generate.temperature?"),
            ([FIXTURE, 600 * "x", "max_new_tokens=200"], 65, "lower max_new_tokens to 40"),
            ([FIXTURE, 700 * "x"], 65, "leaves no room in max_position_embeddings 640")):
        done = dsv2(["generate", *words])
        rows.row(done.returncode == code and says in done.stderr and len(done.stderr.splitlines()) == 1, says,
                 said(done)[:160])


def file_limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (64000000, 64000000))


def full_disks(rows):
    """Standard output that takes nothing, and devices that -o must leave where they are."""
    says = "dsv2: standard output: cannot write; is the disk full?\n"  # whoever notices it
    for words in [["a"], ["--token-ids", "1"], ["--prompts", os.path.join(FIXTURE, "config.json")]]:
        for ranks in 1, 2:
            done = subprocess.run(command(["generate", FIXTURE, *words, "max_new_tokens=4"], ranks), env=ENV,
                                  stdout=open("/dev/full", "w"), stderr=subprocess.PIPE, text=True)
            rows.row(done.returncode == 74 and done.stderr.count(says) == 1 == done.stderr.count("standard output"),
                     "full disk, %s, %d ranks" % (words[0], ranks))
    for words in [["help"], ["inspect", FIXTURE]]:
        done = subprocess.run(command(words), env=ENV, stdout=open("/dev/full", "w"), stderr=subprocess.PIPE, text=True)
        rows.row(done.returncode == 74 and done.stderr == says, "full disk, %s" % words[0])
    nearly = os.path.join(rows.folder, "nearly-full")
    with open(nearly, "w") as f:
        f.truncate(64000000)  # all that a file may have: MPI makes smaller ones
    for ranks in 1, 2:
        done = subprocess.run(command(["generate", FIXTURE, "a", "max_new_tokens=4"], ranks), env=ENV,
                              stdout=open(nearly, "a"), stderr=subprocess.PIPE, text=True, preexec_fn=file_limit)
        rows.row(done.returncode == 74 and done.stderr.count(says) == 1, "ulimit -f, %d ranks" % ranks,
                 "exit %d" % done.returncode)
    place = os.path.join(rows.folder, "null")
    os.symlink("/dev/null", place)
    done = dsv2(["generate", FIXTURE, "a", "-o", place, "max_new_tokens=4"])
    rows.row(done.returncode == 0 and os.path.islink(place), "-o to a device", said(done))


def hung_up(rows):
    """A terminal that closes ends it in good order: no half of OUT is left."""
    out = os.path.join(rows.folder, "hung-up.jsonl")
    for ranks in 1, 2:
        code, says = signalled(["generate", FIXTURE, "--token-ids", "1", "temperature=0", "max_new_tokens=600", "-o", out],
                               ranks, signal.SIGHUP, out + ".tmp-*")
        rows.row(code == 75 and not glob.glob(out + "*") and "stopped by a signal" in says,
                 "a terminal that closes, %d ranks" % ranks, "exit %d, left: %s" % (code, glob.glob(out + "*")))


def main():
    rows = Rows("generate")
    folder = tokenizer_folder(rows, "model", ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"])
    by_ids(rows)
    by_text(rows, folder)
    by_file(rows, folder)
    gaps(rows, folder)
    not_numbers(rows)
    samples(rows)
    full_disks(rows)
    hung_up(rows)
    mistakes(rows, folder)
    rows.end()


if __name__ == "__main__":
    main()
