#!/usr/bin/env python3
"""import.py [broken] - import and export: the same bytes back in every dtype, a model of V2-Lite's layout through a
step of training, broken folders, kills, a full disk, memory. `broken` alone for the broken folders."""
import json
import os
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
import hf_folder as hf  # noqa: E402
from runs import ENV, ROOT, Rows, command, dsv2, said  # noqa: E402

EXIT_USAGE, EXIT_INPUT, EXIT_IO = 2, 65, 74
FIXTURE = os.path.join(ROOT, "tests/fixtures/tiny-v2")
AS_THEY_CAME = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                "configuration_deepseek.py"]
rows = Rows("import")


def place(name):
    return os.path.join(rows.folder, name)


def left(name):
    """What an attempt left beside its result's name."""
    return [n for n in os.listdir(rows.folder) if n in (name, ".tmp-" + name)]


def ran(what, words, ranks=1):
    done = dsv2(words, ranks)
    return rows.row(done.returncode == 0, what, said(done)) and done


# -- there and back ----------------------------------------------------------------------------------


def same_files(what, folder, source, names=None):
    names = names or AS_THEY_CAME
    bad = [n for n in names if not os.path.exists(os.path.join(folder, n)) or
           hf.read(folder, n) != hf.read(source, n)]
    rows.row(not bad and "README.md" not in os.listdir(folder), what + ": small files as they came", ", ".join(bad))


def loss(model):
    text = place("short.txt")
    with open(text, "w") as f:
        f.write("In the beginning God created the heaven and the earth. " * 4)
    return dsv2(["eval", model, text, "sequence_length=64"]).stdout.split(" tokens in ")[0]


def round_trips():
    kinds = [("bf16", "BF16", None), ("fp16", "F16", None), ("fp32", "F32", None),
             ("mixed", "BF16", lambda name: "F32" if "norm" in name else "F16" if "gate" in name else "BF16")]
    for name, dtype, dtype_of in kinds:
        source = hf.make(place(name), hf.SMALL, dtype, 1 if name == "fp32" else 3, dtype_of=dtype_of)
        checkpoint, out, direct = place(name + "-in"), place(name + "-out"), place(name + "-direct")
        if not (ran(name + ": import", ["import", source, "-o", checkpoint]) and
                ran(name + ": export", ["export", checkpoint, "-o", out, "max_shard_size=1M"]) and
                ran(name + ": verify", ["verify", checkpoint]) and
                ran(name + ": export of the folder", ["export", source, "-o", direct])):
            continue
        whole = hf.weights(source)
        rows.row(hf.weights(out) == whole, name + ": the same bytes, in several files",
                 "%d files" % len([n for n in os.listdir(out) if n.endswith(".safetensors")]))
        rows.row(hf.weights(direct) == whole and os.path.exists(os.path.join(direct, "model.safetensors")),
                 name + ": the same bytes, in one file")
        same_files(name, out, source)
        losses = [loss(model) for model in (source, checkpoint, out)]
        rows.row("loss" in losses[0] and len(set(losses)) == 1, name + ": eval says the same of all three", losses[0])


def converted():
    """dtype= : bf16 -> fp32 is exact, and back gives the same bits."""
    source, wide, narrow = place("bf16"), place("wide"), place("narrow")
    if ran("to fp32", ["export", source, "-o", wide, "dtype=fp32"]) and \
            ran("back to bf16", ["export", wide, "-o", narrow, "dtype=bf16"]):
        a, b, c = hf.weights(source), hf.weights(wide), hf.weights(narrow)
        exact = all(b[n][2][2::4] == a[n][2][0::2] and b[n][2][3::4] == a[n][2][1::2] for n in a)
        rows.row(exact and c == a, "fp32 holds the same numbers, and gives the same bits back")
        kinds = [json.loads(hf.read(f, "config.json"))["torch_dtype"] for f in (wide, narrow)]
        rows.row(kinds == ["float32", "bfloat16"], "config.json says which", str(kinds))


def other_tokenizer():
    """Files of a tokenizer that is not read here come along all the same; a run of another tokenizer has its own."""
    source, checkpoint, out = place("odd"), place("odd-in"), place("odd-out")
    shutil.copytree(place("bf16"), source)
    os.rename(os.path.join(source, "tokenizer.json"), os.path.join(source, "tokenizer.model"))
    ran("tokenizer.model: import", ["import", source, "-o", checkpoint])
    ran("tokenizer.model: export", ["export", checkpoint, "-o", out])
    same_files("tokenizer.model", out, source, ["tokenizer.model", "tokenizer_config.json", "config.json"])
    config = rows.config("steps: 4\n")
    with open(config) as f:
        text = f.read().replace("init: random", "init_from: " + place("bf16")).replace("model:", "tokenizer: bytes\nunused:")
    with open(config, "w") as f:
        f.write("\n".join(line for line in text.split("\n") if not line.startswith(("unused:", "        "))))
    done = dsv2(["train", config, "output_dir=" + place("bytes-run")])
    rows.row(done.returncode == 0, "a run of bytes from a folder with a tokenizer", said(done))
    files = os.listdir(os.path.join(place("bytes-run"), "checkpoints/step-00000004"))
    rows.row("tokenizer.json" not in files and "config.json" in files, "its checkpoint has no tokenizer of the folder")


def begin_alike():
    """A run from a folder and one from its import compute with the same bits."""
    for name in "fp16", "mixed":
        runs = ["%s-from-%s" % (name, kind) for kind in ("folder", "import")]
        if all([train(run, place(name + end), "1e-3", 1, 1) for run, end in zip(runs, ("", "-in"))]):
            outs = [ran(run + ": export", ["export", place(run), "-o", place(run + "-out"), "dtype=fp32"]) and
                    hf.weights(place(run + "-out")) for run in runs]
            rows.row(outs[0] == outs[1] and outs[0], name + ": after a step the masters are the same")


def reference():
    """Logits and gradients of an imported model against another implementation."""
    checkpoint = place("fixture-in")
    ran("fixture: import", ["import", FIXTURE, "-o", checkpoint])
    ran("fixture: agrees with the reference", ["verify", checkpoint, os.path.join(FIXTURE, "reference.safetensors")])
    done = dsv2(["inspect", checkpoint])
    rows.row(done.returncode == 0 and "imported weights, without optimizer state" in done.stdout and
             "config.json, " in done.stdout, "inspect", said(done))
    for path, what in ((checkpoint, "a checkpoint"), (os.path.join(checkpoint, "rank-00000.h5"), "an HDF5 file of another kind"),
                       (FIXTURE, "a model's folder or file")):
        done = dsv2(["inspect", path, "--document", "0"])
        rows.row(done.returncode == 65 and "is %s; documents" % what in done.stderr and not done.stdout,
                 "inspect --document of %s" % what, said(done)[-120:])


# -- the layout of V2-Lite -----------------------------------------------------------------------------

TRAIN = """
init_from: %s
output_dir: %s
threads: 1
data: {text: {path: "%s"}}
mix: [text]
sequence_length: 32
global_batch_size: 2
learning_rate: %s
steps: 1
dtype: bf16
"""


def train(name, source, rate, ranks, ep):
    text, config = place("text.txt"), place(name + ".yaml")
    shutil.copy(os.path.join(ROOT, "data/sample/genesis.txt"), text)
    with open(text, "r+b") as f:
        f.truncate(5000)
    with open(config, "w") as f:
        f.write(TRAIN % (source, place(name), text, rate))
    return ran("%s: one step on %d ranks, ep %d" % (name, ranks, ep), ["train", config, "layout.ep=%d" % ep], ranks)


def lite():
    source, checkpoint = hf.make(place("lite"), hf.LITE), place("lite-in")
    whole = hf.weights(source)
    rows.row(len(whole) == 5291, "V2-Lite's layout", "%d tensors" % len(whole))
    done = ran("lite: import", ["import", source, "-o", checkpoint])
    # a rate of 0 changes nothing: what comes out of two ranks' checkpoint is what went in
    if done and train("lite-still", checkpoint, "0", 2, 2) and \
            ran("lite: export of two ranks", ["export", place("lite-still"), "-o", place("still-out"), "dtype=bf16"]):
        rows.row(hf.weights(place("still-out")) == whole, "a step of rate 0 on two ranks gives the same bytes")
        same_files("still", place("still-out"), source)
    if not (done and train("lite-run", source, "1e-3", 1, 1)):
        return
    first, back, second = place("lite-out"), place("lite-back"), place("lite-again")
    ran("lite: export of the run", ["export", place("lite-run"), "-o", first, "dtype=bf16", "max_shard_size=3M"])
    ran("lite: import again", ["import", first, "-o", back])
    ran("lite: export again", ["export", back, "-o", second, "max_shard_size=2M"])
    a, b = hf.weights(first), hf.weights(second)
    moved = sum(a[n][2] != whole[n][2] for n in whole)
    rows.row(set(a) == set(whole) and all(a[n][:2] == whole[n][:2] for n in a) and moved > 1000 and a == b,
             "import, a step, export, import, export", "%d tensors have moved" % moved)
    same_files("trained", second, source)
    os.rename(source, source + "-gone")  # a run needs nothing of the folder that it began from
    ran("lite: the run without the folder it began from", ["generate", place("lite-run"), "In", "max_new_tokens=2"])
    os.rename(source + "-gone", source)
    ran("lite: masters", ["export", place("lite-run"), "-o", place("masters"), "dtype=fp32"])
    masters = hf.weights(place("masters"))
    rows.row(all(len(masters[n][2]) == 2 * len(a[n][2]) for n in a) and
             any(masters[n][2][0::4].strip(b"\0") for n in a), "fp32 masters have more bits than bf16")


def born_here():
    """A model without a folder behind it: config.json is complete, and reads back."""
    config = rows.config("steps: 4\n")
    cwd = rows.new_folder("born")
    dsv2(["train", config, "layout.ep=2"], 2, cwd)
    out = place("born-out")
    done = ran("born here: export", ["export", os.path.join(cwd, "run"), "-o", out])
    if not done:
        return
    said_config = json.loads(hf.read(out, "config.json"))
    wanted = {"model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"], "torch_dtype": "float32",
              "rope_scaling": None, "q_lora_rank": 20, "n_routed_experts": 8, "routed_scaling_factor": 2.5,
              "vocab_size": 258, "bos_token_id": 256, "eos_token_id": 257, "max_position_embeddings": 48}
    wrong = {k: said_config.get(k) for k in wanted if said_config.get(k) != wanted[k]}
    rows.row(not wrong, "born here: config.json", str(wrong))
    generation = json.loads(hf.read(out, "generation_config.json"))
    rows.row(generation["eos_token_id"] == 257 and generation["do_sample"], "born here: generation_config.json")
    a = dsv2(["generate", os.path.join(cwd, "run"), "One", "temperature=0", "max_new_tokens=20"])
    b = dsv2(["generate", out, "One", "temperature=0", "max_new_tokens=20"])
    rows.row(a.returncode == 0 and a.stdout == b.stdout, "born here: the exported folder says the same", said(b))


# -- mistakes and broken folders -------------------------------------------------------------------------


def refused(what, words, code, *words_said):
    done = dsv2(words)
    last = (done.stderr.strip().splitlines() or [""])[-1]
    out = os.path.basename(words[words.index("-o") + 1]) if "-o" in words else "none"
    ok = done.returncode == code and all(w in last for w in words_said) and "Sanitizer" not in done.stderr
    rows.row(ok and (out == "taken" or not left(out)), what, said(done)[:150])


def mistakes():
    source, checkpoint = place("bf16"), place("bf16-in")
    os.makedirs(place("taken"))
    refused("import without -o", ["import", source], EXIT_USAGE, "needs -o")
    refused("import takes no keys", ["import", source, "-o", place("new"), "seed=3"], EXIT_USAGE, "takes no settings")
    refused("import onto something", ["import", source, "-o", place("taken")], EXIT_USAGE, "taken: is there already")
    refused("export onto something", ["export", source, "-o", place("taken")], EXIT_USAGE, "taken: is there already")
    big = "tokenizer=" + os.path.join(ROOT, "tests/fixtures/tokenizer/deepseek-v2.json")
    refused("export with a tokenizer too large", ["export", FIXTURE, "-o", place("new"), big], EXIT_USAGE,
            "has 100015 tokens")
    refused("import of a checkpoint", ["import", checkpoint, "-o", place("new")], EXIT_INPUT, "a checkpoint already")
    refused("import of nothing", ["import", place("text.txt"), "-o", place("new")], EXIT_INPUT, "no such folder")
    config = place("resume.yaml")
    with open(config, "w") as f:
        f.write(TRAIN % (checkpoint, place("resume-run"), place("text.txt"), "1e-3") + "resume: %s\n" % checkpoint)
    refused("resume from an imported one", ["train", config], EXIT_USAGE, "was imported", "init_from")


def edit_json(folder, name, change):
    value = json.loads(hf.read(folder, name))
    change(value)
    hf.write(folder, name, json.dumps(value))


def edit_index(change):
    return lambda folder: edit_json(folder, INDEX, change)


def edit_header(shard, change, data=lambda d: d):
    def edit(folder):
        raw = hf.read(folder, shard)
        length = struct.unpack("<Q", raw[:8])[0]
        header = json.loads(raw[8:8 + length])
        change(header)
        text = json.dumps(header).encode()
        hf.write(folder, shard, struct.pack("<Q", len(text)) + text + data(raw[8 + length:]))
    return edit


def edit_text(name, old, new):
    return lambda folder: hf.write(folder, name, hf.read(folder, name).decode().replace(old, new, 1))


def replace_element(name, shard, bits):
    """Sets element 5 of a bf16 tensor."""
    def edit(folder):
        raw = bytearray(hf.read(folder, shard))
        length = struct.unpack("<Q", raw[:8])[0]
        at = 8 + length + json.loads(raw[8:8 + length])[name]["data_offsets"][0]
        raw[at + 10:at + 12] = struct.pack("<H", bits)
        hf.write(folder, shard, bytes(raw))
    return edit


def rename(entry, to):
    def change(header):
        header[to] = header.pop(entry)
    return change


def turned(header):
    header["lm_head.weight"]["shape"].reverse()


def to_fifo(folder):
    os.remove(os.path.join(folder, SHARD_2))
    os.mkfifo(os.path.join(folder, SHARD_2))


def swapped(folder):
    a, b = hf.read(folder, SHARD_1), hf.read(folder, SHARD_2)
    hf.write(folder, SHARD_1, b)
    hf.write(folder, SHARD_2, a)


INDEX = "model.safetensors.index.json"
SHARD_1, SHARD_2 = "model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors"
EMBED, HEAD, GATE = "model.embed_tokens.weight", "lm_head.weight", "model.layers.1.mlp.gate.weight"


def point(where):
    return edit_index(lambda index: index["weight_map"].update({HEAD: where}))


def drop(folder):
    edit_header(SHARD_2, lambda h: h.pop(HEAD), lambda d: d[:-2 * 102400 * 16])(folder)
    edit_index(lambda i: (i["weight_map"].pop(HEAD), i["metadata"].update(total_size=None)))(folder)
    edit_text(INDEX, '"total_size": null', '"other": 1')(folder)


def add(header):
    last = max(e["data_offsets"][1] for e in header.values())
    header["model.extra.weight"] = {"dtype": "BF16", "shape": [0], "data_offsets": [last, last]}


def surplus(folder):
    edit_header(SHARD_2, add)(folder)
    edit_index(lambda i: i["weight_map"].update({"model.extra.weight": SHARD_2}))(folder)


BROKEN = [  # what, how, what the last line must say
    ("absolute path", point("/etc/passwd.safetensors"), [INDEX, "/etc/passwd.safetensors", HEAD]),
    ("path up", point("../" + SHARD_2), [INDEX, "../", HEAD]),
    ("folder in a path", point("a/" + SHARD_2), [INDEX, "a/" + SHARD_2]),
    ("NUL in a path", point(SHARD_2 + "\0"), [INDEX, "escape"]),
    ("hidden file", point(".model.safetensors"), [INDEX, "plain name"]),
    ("not safetensors", point("config.json"), [INDEX, "plain name"]),
    ("shard is missing", lambda f: os.remove(os.path.join(f, SHARD_2)), [SHARD_2, "cannot open"]),
    ("shard is a pipe", to_fifo, [SHARD_2, "not a plain file"]),
    ("shard is a link to a folder", lambda f: (os.remove(os.path.join(f, SHARD_2)),
                                               os.symlink("/etc", os.path.join(f, SHARD_2))), [SHARD_2, "plain file"]),
    ("shard is a link to a device", lambda f: (os.remove(os.path.join(f, SHARD_2)),
                                               os.symlink("/dev/zero", os.path.join(f, SHARD_2))), [SHARD_2]),
    ("tensor in another shard than the index says", point(SHARD_1), [HEAD, "should be in", SHARD_1]),
    ("shards swapped", swapped, ["should be in"]),
    ("total_size", edit_index(lambda i: i["metadata"].update(total_size=77)), [INDEX, "total_size", "77"]),
    ("total_size is a word", edit_index(lambda i: i["metadata"].update(total_size="7x")), [INDEX, "total_size"]),
    ("tensor twice in the index", edit_text(INDEX, '"weight_map": {', '"weight_map": {"%s": "%s", ' % (HEAD, SHARD_2)),
     [INDEX, HEAD, "twice"]),
    ("weight_map is a list", edit_text(INDEX, '"weight_map": {', '"weight_map": [{'), [INDEX, "byte"]),
    ("index cut off", lambda f: hf.write(f, INDEX, hf.read(f, INDEX)[:500]), [INDEX, "byte"]),
    ("index is empty", lambda f: hf.write(f, INDEX, b""), [INDEX]),
    ("shard cut off", lambda f: hf.write(f, SHARD_2, hf.read(f, SHARD_2)[:-1]), [SHARD_2, HEAD, "data_offsets"]),
    ("shard with a tail", lambda f: hf.write(f, SHARD_1, hf.read(f, SHARD_1) + b"x"), [SHARD_1, "bytes without"]),
    ("shard of 3 bytes", lambda f: hf.write(f, SHARD_2, b"abc"), [SHARD_2, "at least 8"]),
    ("header beyond the file", lambda f: hf.write(f, SHARD_1, b"\xff" * 7 + hf.read(f, SHARD_1)[7:]),
     [SHARD_1, "does not fit"]),
    ("same tensor in two shards", edit_header(SHARD_2, rename(HEAD, EMBED)), [EMBED, "also in"]),
    ("two tensors overlap", edit_header(SHARD_2, lambda h: h["model.norm.weight"].update(data_offsets=[0, 32])),
     [SHARD_2, "overlaps"]),
    ("another dtype", edit_header(SHARD_2, lambda h: h["model.norm.weight"].update(dtype="I16")),
     [SHARD_2, "model.norm.weight", "BF16, F16 or F32"]),
    ("unknown dtype", edit_header(SHARD_2, lambda h: h[HEAD].update(dtype="BF17")), [SHARD_2, HEAD, "BF17"]),
    ("tensor missing everywhere", drop, [HEAD, "is missing"]),
    ("tensor too many", surplus, [SHARD_2, "model.extra.weight"]),
    ("wrong shape", edit_header(SHARD_2, turned), [SHARD_2, HEAD, "(16, 102400)", "(102400, 16)"]),
    ("NaN", replace_element(HEAD, SHARD_2, 0x7FC0), [SHARD_2, HEAD, "NaN at element 5"]),
    ("infinity", replace_element(EMBED, SHARD_1, 0xFF80), [SHARD_1, EMBED, "infinity at element 5"]),
    ("config of more layers", edit_text("config.json", '"num_hidden_layers": 2', '"num_hidden_layers": 3'),
     ["model.layers.2.", "is missing"]),
    ("config of fewer experts", edit_text("config.json", '"n_routed_experts": 8', '"n_routed_experts": 6'),
     [GATE, "(8, 16)", "(6, 16)"]),
    ("quantised", edit_text("config.json", '"ep_size": 1', '"quantization_config": {"bits": 4}'),
     ["config.json", "quantization_config"]),
    ("config is no JSON", edit_text("config.json", "{", "{,"), ["config.json:1"]),
    ("no config.json", lambda f: os.remove(os.path.join(f, "config.json")), ["config.json"]),
    ("tokenizer.json is a folder", lambda f: (os.remove(os.path.join(f, "tokenizer.json")),
                                              os.makedirs(os.path.join(f, "tokenizer.json"))), ["tokenizer.json"]),
]


def broken():
    good = hf.make(place("good"), hf.SMALL, shards=2)
    for i, (what, edit, sentence) in enumerate(BROKEN):
        folder = place("broken-%d" % i)
        shutil.copytree(good, folder)
        edit(folder)
        refused(what, ["import", folder, "-o", place("new")], EXIT_INPUT, *sentence)
        if "NaN" in what or "missing everywhere" in what:
            refused(what + ", export", ["export", folder, "-o", place("new")], EXIT_INPUT, *sentence)
        shutil.rmtree(folder)
    links = place("links")  # as the cache of downloaded models has them
    os.makedirs(links)
    for name in os.listdir(good):
        os.symlink(os.path.join(good, name), os.path.join(links, name))
    if ran("a folder of links", ["import", links, "-o", place("links-in")]):
        ran("a folder of links: verify", ["verify", place("links-in")])


# -- kills and a full disk -----------------------------------------------------------------------------

CALLS = ["mkdir", "fallocate", "pwrite64", "fsync", "renameat2"]


def strace(calls, words, *more):
    full = ["strace", "-f", "-qq", "-e", "trace=" + ",".join(calls), *more, *command(words)]
    return subprocess.run(full, env=ENV, stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=120)


def counts(words):
    log = place("calls")
    strace(CALLS, words, "-o", log)
    with open(log) as f:
        text = f.read()
    return {call: text.count(call + "(") for call in CALLS}


def is_whole(what, folder):
    """A result that stands under its name is one, to the last byte."""
    if what == "import":
        return dsv2(["verify", folder]).returncode == 0
    return hf.weights(folder) == hf.weights(place("good")) and \
        all(hf.read(folder, n) == hf.read(place("good"), n) for n in AS_THEY_CAME)


def kills(what, source, few=8):
    words = [what, source, "-o", place("new")]
    total, there, bad = 0, 0, []
    for call, n in counts(words).items():
        shutil.rmtree(place("new"))
        for i in sorted({1 + (n - 1) * k // max(few - 1, 1) for k in range(few)}) if n else []:
            strace([call], words, "-o", "/dev/null", "-e", "inject=%s:signal=KILL:when=%d" % (call, i))
            total += 1
            if os.path.exists(place("new")):
                there += 1
                bad += [] if is_whole(what, place("new")) else ["%s %d" % (call, i)]
                shutil.rmtree(place("new"))
            if i in (1, n):  # the next attempt works, and cleans up
                again = dsv2(words)
                if again.returncode or left("new") != ["new"] or not is_whole(what, place("new")):
                    bad.append("after %s %d: %s" % (call, i, said(again)))
                shutil.rmtree(place("new"), ignore_errors=True)
        dsv2(words)
    shutil.rmtree(place("new"))
    rows.row(not bad and total >= 15, "%s: kill -9 at a call that writes" % what,
             "%d kills, %d times it was there: %s" % (total, there, bad))


def full_disk(what, source):
    words = [what, source, "-o", place("new")]
    for call in "pwrite64", "fsync", "fallocate", "mkdir", "renameat2":
        done = strace([call], words, "-o", "/dev/null", "-e", "inject=%s:error=ENOSPC" % call)
        rows.row(done.returncode == EXIT_IO and "No space left" in done.stderr and not left("new"),
                 "%s: no space at %s" % (what, call), said(done)[:120])
    done = subprocess.run(["prlimit", "--fsize=100000", *command(words)], cwd=ROOT, env=ENV, capture_output=True, text=True)
    rows.row(done.returncode == EXIT_IO and "File too large" in done.stderr and not left("new"),
             "%s: a file beyond ulimit -f" % what, said(done)[:120])


def full_tmpfs(what, source):
    mount = place("tmpfs")
    os.makedirs(mount, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount], capture_output=True).returncode:
        return print("     import/a full tmpfs is not tried: mount is not allowed here")
    done = dsv2([what, source, "-o", os.path.join(mount, "new")])
    rows.row(done.returncode == EXIT_IO and "No space left" in done.stderr and not os.listdir(mount),
             what + ": a full tmpfs", said(done)[:120])
    subprocess.run(["umount", mount])


# -- memory --------------------------------------------------------------------------------------------


def sparse(folder, layers):
    """A model of zeros that takes no room on disk, of 25 MB a layer."""
    size = dict(hf.SMALL, hidden=512, dense=8192, expert=2048, layers=layers, vocab=2048)
    os.makedirs(folder)
    hf.write(folder, "config.json", (hf.CONFIG % {**size, "dtype": "bfloat16"}).replace("100000,", "0,").replace(
        "100001,", "1,"))
    header, at = {}, 0
    for name, shape in hf.shapes(**size).items():
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + 2 * hf.count(shape)]}
        at += 2 * hf.count(shape)
    text = json.dumps(header).encode()
    hf.write(folder, "model.safetensors", struct.pack("<Q", len(text)) + text)
    os.truncate(os.path.join(folder, "model.safetensors"), 8 + len(text) + at)
    return at


def peak_mib(words):
    with subprocess.Popen(command(words), env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as job:
        text = job.stderr.read()
        _, status, usage = os.wait4(job.pid, 0)
        job.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024 if job.returncode == 0 else text.decode()


def memory():
    peaks, sizes = {}, []
    for layers in 3, 13:
        folder = place("sparse-%d" % layers)
        sizes.append(sparse(folder, layers) / 2**20)
        for words in (["import", folder], ["export", folder], ["export", folder + "-import"]):
            out = "%s-%s" % (words[1], words[0])
            peaks.setdefault(" ".join([words[0], os.path.basename(words[1]).replace(str(layers), "N")]), []).append(
                peak_mib([*words, "-o", out]))
            if words[0] == "export":
                shutil.rmtree(out)
        shutil.rmtree(folder + "-import")
    for what, (small, large) in peaks.items():
        ok = isinstance(small, float) and isinstance(large, float) and large < small + 16
        rows.row(ok, "memory: " + what, "%s MiB for a model of %.0f MiB, %s for one of %.0f" %
                 (small, sizes[0], large, sizes[1]))


def main():
    if sys.argv[1:] != ["broken"]:
        memory()  # first: a process begins with the peak of the one that started it
        round_trips()
        converted()
        other_tokenizer()
        begin_alike()
        reference()
        lite()
        born_here()
        mistakes()
    broken()
    if sys.argv[1:] != ["broken"]:
        for what, source in ("import", place("good")), ("export", place("links-in")):
            kills(what, source)
            full_disk(what, source)
            full_tmpfs(what, source)
    rows.end()


if __name__ == "__main__":
    main()
