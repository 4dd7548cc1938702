#!/usr/bin/env python3
"""tokenizer_hf.py - the tokenizer beside Hugging Face's: ids and texts of random strings, merges that were trained,
conversations. Skipped, saying so, where Python's `tokenizers` is not installed (and jinja2, for conversations).

    tests/tokenizer_hf.py [TOKENIZER.json ...]     these files too
    tests/tokenizer_hf.py --speed TOKENIZER [TEXT] MB/s of both on the texts of `dsv2 bench`, in turn
"""
import glob
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
from runs import DSV2, ENV, ROOT, Rows, dsv2, said  # noqa: E402

os.environ["TOKENIZERS_PARALLELISM"] = "true"
try:
    import tokenizers
except ImportError:
    tokenizers = None

FIXTURE = os.path.join(ROOT, "tests/fixtures/tokenizer/deepseek-v2.json")
SAMPLE = sorted(glob.glob(os.path.join(ROOT, "data/sample/*.txt")))
TEXTS = 3000
TEXT_BYTES = 4096  # as dsv2 bench cuts
BLOCKS = [(0x20, 0x7f)] * 4 + [(0x80, 0x250), (0x300, 0x370), (0x370, 0x600), (0x600, 0xe00), (0xe00, 0x1100),
                               (0x1c80, 0x2000), (0x2000, 0x2c00), (0x2c00, 0x3400), (0x4e00, 0xa000), (0xa640, 0xac00),
                               (0xac00, 0xd800), (0xf900, 0x10000), (0x10000, 0x12000), (0x16800, 0x17000),
                               (0x1d000, 0x1d800), (0x1e000, 0x1fb00), (0x31350, 0x31400), (0, 0x110000)]
SPACES = [" "] * 6 + ["\n"] * 3 + ["\r", "\r\n", "\t", "\v", "\x85", "\xa0", "\u2003", "\u2028", "\u3000", "\u200b", "  "]
WORDS = ["'s", "'LL", "don't", "I'm", "\u017f", "e\u0301", "\u0301", "\u1100\u1161\u11a8", "1234", "\u0663\u0664",
         "\u00bd", "\u2167", "\u2026", "\u201c", "def f(x):\n    return x+1\n", "<|", "\uff5c>", "://", "\u4e2d\u6587",
         "\u3072\u3089", "\u30ab\u30bf", "\u30fc", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001fae8", "\u2a6b",
         "https://example.org/a?b=1", "the", " of", " answer"]
# kind of pre-tokenizer -> its JSON: the forms that published byte-level files have
SPLIT = '{"type":"Sequence","pretokenizers":[%s,{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}'
REGEX = '{"type":"Split","pattern":{"Regex":%s},"behavior":"Isolated","invert":false}'
FORMS = {
    "words of GPT-2": '{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}',
    "one split, cases alike": SPLIT % REGEX % json.dumps(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"),
    "three splits": SPLIT % ",".join(REGEX % json.dumps(r) for r in (
        r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")),
}


def some_characters(r):
    low, high = r.choice(BLOCKS)
    codes = (r.randrange(low, high) for _ in range(r.choice([1, 1, 2, 3, 8, 20])))
    return "".join(chr(c) if not 0xd800 <= c < 0xe000 else " " for c in codes)


def some_text(r, added):
    parts = []
    for _ in range(r.choice([1, 2, 3, 6, 10, 30])):
        kind = r.random()
        if kind < 0.35:
            parts.append(some_characters(r))
        elif kind < 0.55:
            parts.append(r.choice(SPACES) * r.choice([1, 1, 1, 2, 5]))
        elif kind < 0.85:
            parts.append(r.choice(WORDS))
        elif kind < 0.93 and added:
            token = r.choice(added)
            parts.append(token if r.random() < 0.7 else token[:r.randrange(len(token) + 1)])
        elif kind < 0.95:
            parts.append(r.choice(["a", " ", "\u4e2d", "1", "=", "th"]) * r.randrange(1, 300))
        else:
            parts.append(str(r.randrange(10 ** r.randrange(1, 9))))
    return "".join(parts)


def tokenize(path, objects, *options):
    given = "".join(json.dumps(o) + "\n" for o in objects).encode()
    done = subprocess.run([DSV2, "tokenize", *options, path], input=given, env=ENV, stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def compare(rows, name, path, seed):
    """Ids of random texts, and the texts of random ids; added tokens that are not ASCII are left out of the second:
    there Hugging Face decodes letters beyond ASCII as bytes of the alphabet and loses them."""
    theirs = tokenizers.Tokenizer.from_file(path)
    r = random.Random(seed)
    with open(path, encoding="utf-8") as f:
        added = json.load(f)["added_tokens"]
    texts = [some_text(r, [a["content"] for a in added[:60]]) for _ in range(TEXTS)]
    wanted = [e.ids for e in theirs.encode_batch(texts, add_special_tokens=False)]
    got = [o["ids"] for o in tokenize(path, [{"text": t} for t in texts])]
    bad = [i for i in range(TEXTS) if got[i] != wanted[i]]
    rows.row(not bad, "%s: ids of %d texts" % (name, TEXTS), "%d differ: %r" % (len(bad), texts[bad[0]][:60]) if bad
             else "")
    odd = {a["id"] for a in added if not a["content"].isascii()}
    known = sorted(set(theirs.get_vocab().values()) - odd)
    ids = [[r.choice(known) for _ in range(r.randrange(1, 12))] for _ in range(TEXTS)]
    wanted = theirs.decode_batch(ids)
    got = [o["text"] for o in tokenize(path, [{"ids": i} for i in ids], "--decode")]
    bad = [i for i in range(TEXTS) if got[i] != wanted[i]]
    rows.row(not bad, "%s: texts of %d rows of ids" % (name, TEXTS), "%d differ" % len(bad) if bad else "")


def merges_of(path):
    with open(path, encoding="utf-8") as f:
        merges = json.load(f)["model"]["merges"]
    return [tuple(m.split(" ") if isinstance(m, str) else m) for m in merges]


def training(rows):
    """The same corpus through both: the same merges, in the same order."""
    ours, theirs = os.path.join(rows.folder, "ours"), os.path.join(rows.folder, "theirs.json")
    done = dsv2(["train-tokenizer", *SAMPLE, "-o", ours, "vocab_size=4005"])
    if not rows.row(done.returncode == 0, "train-tokenizer", said(done)):
        return None
    path = os.path.join(ours, "tokenizer.json")
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.Tokenizer.from_file(path).pre_tokenizer
    trained.train(SAMPLE, tokenizers.trainers.BpeTrainer(
        vocab_size=4000, min_frequency=2, show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    trained.save(theirs)
    rows.row(merges_of(path) == merges_of(theirs), "the same merges as BpeTrainer", "%d" % len(merges_of(path)))
    with_bos = tokenizers.Tokenizer.from_file(path).encode("In the beginning")
    rows.row(with_bos.tokens[0] == "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "Hugging Face adds bos")
    return path


def forms(rows, trained):
    """The trained vocabulary behind other pre-tokenizers, with a normalizer and added tokens of every kind."""
    with open(trained, encoding="utf-8") as f:
        base = json.load(f)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    extra = [("<tool>", {}), ("<tool>s", {}), ("e\u0301x", {"normalized": True}), ("[L]", {"lstrip": True}),
             ("[R]", {"rstrip": True}), ("  ", {}), ("[LR]", {"lstrip": True, "rstrip": True, "normalized": True})]
    base["added_tokens"] += [{"id": 4005 + i, "content": text, **flags, **more} for i, (text, more) in enumerate(extra)]
    for number, (name, pre) in enumerate(FORMS.items()):
        base["pre_tokenizer"] = json.loads(pre)
        base["normalizer"] = {"type": "NFC"} if number == 1 else None
        base["model"]["ignore_merges"] = number == 1
        path = os.path.join(rows.folder, "form-%d.json" % number)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(base, f)
        compare(rows, name, path, 10 + number)


def conversations(rows):
    """The template as jinja2 renders it, encoded by Hugging Face: as many tokens as `chat` reads. (Their ids are golden
    in tests/test_chat.c.)"""
    try:
        import jinja2
    except ImportError:
        print("skipped: conversations need jinja2")
        return
    model, fixture = os.path.join(rows.folder, "model"), os.path.join(ROOT, "tests/fixtures/tiny-lite")
    dsv2(["train-tokenizer", SAMPLE[0], "-o", model, "vocab_size=320"])
    for name in "config.json", "model.safetensors":
        shutil.copy(os.path.join(fixture, name), model)
    with open(os.path.join(model, "tokenizer_config.json"), encoding="utf-8") as f:
        config = json.load(f)
    talks = [[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Who was he?\n"},
              {"role": "assistant", "content": "A man."}, {"role": "user", "content": "2024"}],
             [{"role": "user", "content": "  \u4e2d\u6587 "}], [{"role": "assistant", "content": ""}],
             [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}, {"role": "assistant", "content": " c"}]]
    path = os.path.join(rows.folder, "talks.jsonl")
    with open(path, "w", encoding="utf-8") as f:
        f.write("".join(json.dumps({"messages": t}) + "\n" for t in talks))
    done = dsv2(["chat", model, "--messages", path, "max_new_tokens=1"])
    got = [json.loads(line)["prompt_tokens"] for line in done.stdout.splitlines()]
    template = jinja2.Template(config["chat_template"])
    theirs = tokenizers.Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    texts = [template.render(messages=t, bos_token=config["bos_token"], eos_token=config["eos_token"],
                             add_generation_prompt=True) for t in talks]
    wanted = [len(theirs.encode(text, add_special_tokens=False).ids) for text in texts]
    rows.row(got == wanted, "conversations as jinja2 renders them", "%s, %s" % (got, wanted))


def texts_of(paths):
    whole = b"".join(open(p, "rb").read() for p in paths)
    texts, at = [], 0
    while at < len(whole):
        end = whole.find(b"\n", min(at + TEXT_BYTES, len(whole)) - 1) + 1 or len(whole)
        texts.append(whole[at:end].decode())
        at = end
    return len(whole), texts


def speed(path, files):
    """Median ratio of five turns; each turn times both."""
    import statistics
    if os.path.isdir(path):
        path = os.path.join(path, "tokenizer.json")
    size, texts = texts_of(files)
    theirs = tokenizers.Tokenizer.from_file(path)
    env = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    ratios = {"encode": [], "decode": []}
    for _ in range(5):
        rates = {}
        begin = time.time()
        ids = [e.ids for e in theirs.encode_batch(texts, add_special_tokens=False)]
        rates["encode"] = size / 1e6 / (time.time() - begin)
        begin = time.time()
        theirs.decode_batch(ids)
        rates["decode"] = size / 1e6 / (time.time() - begin)
        out = subprocess.run([DSV2, "bench", path, *files[:1]] if len(files) == 1 else [DSV2, "bench", path], cwd=ROOT,
                             env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
        for what in ratios:
            ours = float(re.findall(r"%s .* ([\d.]+) MB/s" % what, out)[-1])
            ratios[what].append(ours / rates[what])
            print("%s: %.2f MB/s, Hugging Face %.2f MB/s" % (what, ours, rates[what]))
    for what, r in ratios.items():
        print("%s: %.1f times Hugging Face %s (median of %d)" % (what, statistics.median(r), tokenizers.__version__,
                                                                len(r)))


def main():
    if not tokenizers:
        print("skipped: Python's tokenizers is not installed\n0 passed, 0 failed")
        return
    if sys.argv[1:2] == ["--speed"]:
        speed(sys.argv[2], sys.argv[3:] or SAMPLE)
        return
    rows = Rows("tokenizer-hf")
    trained = training(rows)
    for number, path in enumerate([trained] * bool(trained) + sys.argv[1:]):
        compare(rows, "the trained one" if path == trained else path, path, number)
    if trained:
        forms(rows, trained)
        conversations(rows)
    rows.end()


main()
