#!/usr/bin/env python3
"""hostile.py - what strangers may hand over: broken and hostile text, configurations, weights and shards. Each gets
its exit code and one sentence that names the file; nothing crashes, nothing takes long or much memory."""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
from runs import ENV, ROOT, Rows, command, dsv2  # noqa: E402

EXIT_USAGE, EXIT_INPUT = 2, 65
MOST_SECONDS, MOST_MIB = 20, 256
FIXTURE = os.path.join(ROOT, "tests/fixtures/tiny-lite")
CONFIG = """
model: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 1, kv_lora_rank: 8, qk_nope_head_dim: 4,
        qk_rope_head_dim: 4, v_head_dim: 4, intermediate_size: 16}
init: random
output_dir: run
threads: 1
data: {text: {path: PATH}}
mix: [text]
sequence_length: 16
global_batch_size: 1
steps: 1
"""


def packed(data, times=1):
    """As gzip; the whole is never in memory, because what a child is said to take includes its parent's peak."""
    to = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join(to.compress(data) for _ in range(times)) + to.flush()


MANY_BYTES = [b"a" * 1_000_000] * 100

# name of the file, its bytes (or pieces of them), the line that is named
TEXTS = [
    ("overlong.jsonl", b'{"text":"good"}\n{"text":"b\xc0\xafd"}\n', 2),
    ("surrogate.jsonl", b'{"text":"\xed\xa0\x80"}\n', 1),
    ("half-surrogate.jsonl", b'{"text":"\\ud834"}\n', 1),
    ("nul.jsonl", b'{"text":"good"}\n\n{"text":"b\x00d"}\n', 3),
    ("escaped-nul.jsonl", b'{"text":"b\\u0000d"}\n', 1),
    ("long-line.jsonl", [b'{"text":"', *MANY_BYTES, b'"}\n'], 1),
    ("no-line.jsonl", MANY_BYTES, 1),
    ("nested.jsonl", b'{"text":' + b"[" * 1_000_000 + b"\n", 1),
    ("cut.jsonl", b'{"text":"a"}\n{"text":"b', 2),
    ("array.jsonl", b'["text"]\n', 1),
    ("no-field.jsonl", b'{"txt":"a"}\n', 1),
    ("twice.jsonl", b'{"text":"a","text":"b"}\n', 1),
    ("bomb.jsonl.gz", packed(b" " * 1_000_000, 300), 1),
    ("bomb.txt.gz", packed(bytes(1_000_000), 100), 1),
    ("overlong.jsonl.gz", packed(b'{"text":"good"}\n{"text":"b\xc0\xafd"}\n'), 2),
    ("nul.txt", b"one\ntwo\x00\n", 2),
    ("latin1.txt", b"caf\xe9 au lait", 1),
    ("binary.txt", bytes(range(256)) * 4000, 1),
]
GOOD_TO_TOKENIZE = ["escaped-nul.jsonl", "no-field.jsonl"]  # a NUL has an id; other objects pass through
TAKEN = [
    ("letter.txt", b"a" * 1_000_000),
    ("spaces.txt", b" " * 1_000_000),
    ("no-newline.jsonl", b'{"text":"a"}\n{"text":"b"}'),
    ("crlf.jsonl", b'\xef\xbb\xbf{"text":"a"}\r\n\r\n{"text":"b"}\r\n'),
    ("deep.jsonl", b'{"text":"a","x":' + b'{"a":' * 1900 + b"1" + b"}" * 1900 + b"}\n"),
    ("packed.txt.gz", packed(b"In the beginning\n" * 10_000, 100)),
    ("members.jsonl.gz", packed(b'{"text":"a"}\n') * 1000),
    ("many-keys.jsonl", json.dumps({"text": "a", **{"k%d" % i: i for i in range(100000)}}).encode()),
]
CONFIGS = [
    ("laughs.yaml", "a: &a [x, x]\n" + "".join("k%d: [*a, *a]\n" % i for i in range(100))),
    ("brackets.yaml", "[" * 100000),
    ("braces.yaml", "{" * 100000),
    ("dashes.yaml", "- " * 500000),
    ("questions.yaml", "? " * 300000),
    ("keys.yaml", "".join("k%d: 1\n" % i for i in range(90000))),
    ("sets.yaml", "data: {" + ", ".join("s%d: {path: x}" % i for i in range(20000)) + "}\n"),
    ("value.yaml", 'steps: "' + "1" * 900000 + '"\n'),
    ("large.yaml", "# " + "a" * 1048576),
    ("tag.yaml", "steps: " + "!" * 1000000),
    ("nul.yaml", "steps: 1\0"),
    ("escape.yaml", '"\\e[2J\\n": 1\n'),
]


def run(words, cwd, stdin="/dev/null"):
    """Exit code, what was said as errors, seconds and MiB of one run."""
    begin = time.time()
    with open(stdin, "rb") as given, subprocess.Popen(command(words), cwd=cwd, env=ENV, stdin=given,
                                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as job:
        text = job.stderr.read()
        _, status, usage = os.wait4(job.pid, 0)
        job.returncode = os.waitstatus_to_exitcode(status)
    return job.returncode, text, time.time() - begin, usage.ru_maxrss // 1024


def judge(rows, what, words, cwd, code, sentence, stdin="/dev/null"):
    """A row: the exit code, and the last line names what it should."""
    got, text, seconds, mib = run(words, cwd, stdin)
    lines = text.decode("utf-8", "replace").strip().split("\n")
    plain = not any(c < 0x20 and c != 0x0A for c in text)
    ok = got == code and sentence in lines[-1] and plain and seconds < MOST_SECONDS and mib < MOST_MIB
    rows.row(ok, what, "exit %d, %.1f s, %d MiB: %s" % (got, seconds, mib, lines[-1][:120]))


def write(cwd, name, data):
    path = os.path.join(cwd, name)
    with open(path, "wb") as f:
        for piece in data if isinstance(data, list) else [data]:
            f.write(piece if isinstance(piece, bytes) else piece.encode())
    return path


def texts(rows, cwd):
    write(cwd, "a.yaml", CONFIG)
    for name, data, line in TEXTS:
        path = write(cwd, name, data)
        place = "%s:%d: " % (name, line)
        judge(rows, name, ["prepare", "a.yaml", "data.text.path=" + name], cwd, EXIT_INPUT, place)
        judge(rows, "eval " + name, ["eval", FIXTURE, name], cwd, EXIT_INPUT, place)
        if name.endswith(".jsonl") and name not in GOOD_TO_TOKENIZE:
            judge(rows, "tokenize " + name, ["tokenize", "bytes"], cwd, EXIT_INPUT, "input:%d: " % line, path)
        os.remove(path)
    for name, data in TAKEN:
        write(cwd, name, data)
        judge(rows, name, ["prepare", "a.yaml", "data.text.path=" + name], cwd, 0, "")
    left = [name for name in os.listdir(os.path.join(cwd, "run/data")) if name.startswith(".making")]
    rows.row(not left, "nothing half-made is left", str(left))


def packed_files(rows, cwd):
    """Streams that are cut off, damaged, or not what their names say."""
    good = packed(b'{"text":"In the beginning"}\n' * 1000)
    files = [("cut.jsonl.gz", good[:-9]), ("half.jsonl.gz", good[:20]), ("flip.jsonl.gz", good[:-6] + b"x" + good[-5:]),
             ("empty.jsonl.gz", b""), ("tail.jsonl.gz", good + b"tail"), ("plain.jsonl.gz", b'{"text":"a"}\n'),
             ("plain.jsonl.zst", b'{"text":"a"}\n'), ("window.txt.zst", bytes.fromhex("28b52ffd00f8") + bytes(8)),
             ("empty.txt.zstd", b"")]
    for name, data in files:
        write(cwd, name, data)
        judge(rows, name, ["prepare", "a.yaml", "data.text.path=" + name], cwd, EXIT_INPUT, name + ": ")
        judge(rows, name + ", --dry-run", ["prepare", "a.yaml", "--dry-run", "data.text.path=" + name], cwd, EXIT_INPUT,
              name + ": ")


def configs(rows, cwd):
    for name, text in CONFIGS:
        write(cwd, name, text)
        judge(rows, name, ["train", name], cwd, EXIT_USAGE, name)


def weights(rows, cwd):
    """A folder as published, with one thing wrong in it."""
    with open(os.path.join(FIXTURE, "model.safetensors"), "rb") as f:
        good = f.read()
    header = struct.unpack("<Q", good[:8])[0]
    nan = b"\x00\x00\xc0\x7f" * ((len(good) - 8 - header) // 4)
    files = [("cut", good[:5000]), ("short", good[:7]), ("length", struct.pack("<Q", 1 << 63) + good[8:]),
             ("tail", good + b"x"), ("hole", good[:-4]), ("nan", good[:8 + header] + nan),
             ("nested", struct.pack("<Q", 100000) + b'{"a":' + b"[" * 99995), ("empty", b"")]
    for name, data in files:
        folder = os.path.join(cwd, name)
        os.makedirs(folder)
        shutil.copy(os.path.join(FIXTURE, "config.json"), folder)
        write(folder, "model.safetensors", data)
        judge(rows, name + "/model.safetensors", ["generate", name, "x"], cwd, EXIT_INPUT, name + "/model.safetensors")


def tokenizers(rows, cwd):
    """An expression that some texts take exponential time with: it ends at its limits, and says so."""
    with open(os.path.join(ROOT, "tests/fuzz/corpus/tokenizer/ok-small"), encoding="utf-8") as f:
        tokenizer = json.load(f)
    split = {"type": "Split", "pattern": {"Regex": "(a+)+[bd]"}, "behavior": "Isolated", "invert": False}
    pieces = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, pieces]}
    write(cwd, "slow.json", json.dumps(tokenizer))
    text = "a" * 10000 + "c b"
    write(cwd, "slow.txt", text)
    keys = ["a.yaml", "tokenizer=slow.json", "model.eos_token_id=3"]
    judge(rows, "slow expression", ["prepare", *keys, "data.text.path=slow.txt"], cwd, EXIT_INPUT, "beyond their limits")
    judge(rows, "slow expression, sample_prompt", ["train", *keys, "sample_steps=1", "sample_prompt=" + text], cwd,
          EXIT_USAGE, "sample_prompt: ")


def changed(rows, cwd, what, good, places, dice, seed):
    """A file with bytes changed: an answer or a refusal, whole and in one line, whatever the bytes."""
    codes, torn = {}, 0
    for _ in range(60):
        data = bytearray(good)
        for _ in range(dice.choice([1, 1, 2, 8])):
            data[dice.choice(places)] = dice.choice([0, 1, 128, 255, dice.randrange(256)])
        write(cwd, "changed.h5", bytes(data))
        job = dsv2(["inspect", "changed.h5"], 1, cwd)
        codes[job.returncode] = codes.get(job.returncode, 0) + 1
        refused = not job.stdout and job.stderr.startswith("dsv2: changed.h5: ") and job.stderr.count("\n") == 1
        torn += job.returncode != 0 and not refused
    rows.row(set(codes) <= {0, EXIT_INPUT} and EXIT_INPUT in codes and not torn, "changed %s (SEED=%d)" % (what, seed),
             "%s, %d torn" % (codes, torn))


def hdf5_files(rows, cwd):
    """A token shard, and the part of a checkpoint's model.h5 that has no checksums, on which HDF5 itself crashes."""
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))
    dice = random.Random(seed)
    write(cwd, "small.txt", b"In the beginning " * 100)
    dsv2(["train", "a.yaml", "data.text.path=small.txt", "output_dir=small"], 1, cwd)
    folder = os.path.join(cwd, "small/data")
    with open(os.path.join(folder, next(n for n in os.listdir(folder) if n.startswith("text-")), "train-00000.h5"), "rb") as f:
        shard = f.read()
    with open(os.path.join(cwd, "small/checkpoints/step-00000001/model.h5"), "rb") as f:
        master = f.read()
    heap = master.index(b"GCOL")
    changed(rows, cwd, "shards", shard, range(min(len(shard), 3000)), dice, seed)
    changed(rows, cwd, "masters", master, range(heap, min(len(master), heap + 4096)), dice, seed)


def links(rows, cwd):
    """Names in a run folder under which a run makes files, as links to what is not its own."""
    words = ["train", "a.yaml", "data.text.path=small.txt", "save_steps=1"]
    write(cwd, "small.txt", b"In the beginning " * 100)
    dsv2(words + ["output_dir=model"], 1, cwd)
    key = next(n for n in os.listdir(os.path.join(cwd, "model/data")) if n.startswith("text-"))[5:]
    files = [".config.yaml.tmp", "config.yaml", "log.jsonl.tmp", "metrics.csv.tmp", "checkpoints/LATEST.tmp"]
    folders = ["checkpoints/.tmp-step-00000001", "checkpoints/.del-step-00000001", "data/.making-text",
               "data/.making-text/" + key]
    os.makedirs(os.path.join(cwd, "victim"))
    victim = write(cwd, "victim/shard.tmp", b"precious")
    for name in files + folders + ["log.jsonl", "metrics.csv", "lock", "data/.lock"]:
        shutil.rmtree(os.path.join(cwd, "linked"), ignore_errors=True)
        place = os.path.join(cwd, "linked", name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if "log" in name or "csv" in name:  # what there is to cut back
            dsv2(words + ["output_dir=linked"], 1, cwd)
        if os.path.exists(place):
            os.remove(place)
        os.symlink(os.path.dirname(victim) if name in folders else victim, place)
        done = dsv2(words + ["output_dir=linked", "steps=2"], 1, cwd)
        whole = os.listdir(os.path.join(cwd, "victim")) == ["shard.tmp"]
        whole = whole and open(victim, "rb").read() == b"precious"
        good = done.returncode == 0 if name in files + folders else done.returncode != 0 and name in done.stderr
        rows.row(good and whole, "a link as " + name.replace(key, "KEY"),
                 "exit %d %s" % (done.returncode, done.stderr.strip()[-110:]))
        if not whole:
            shutil.rmtree(os.path.dirname(victim), ignore_errors=True)
            os.makedirs(os.path.dirname(victim))
            write(cwd, "victim/shard.tmp", b"precious")


def main():
    rows = Rows("hostile")
    cwd = rows.new_folder("files")
    texts(rows, cwd)
    packed_files(rows, cwd)
    configs(rows, cwd)
    weights(rows, cwd)
    tokenizers(rows, cwd)
    hdf5_files(rows, cwd)
    links(rows, cwd)
    rows.end()


if __name__ == "__main__":
    main()
