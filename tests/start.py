#!/usr/bin/env python3
"""start.py - what a run begins or goes on from: the same files named from another folder, data sets that nothing uses, a
model that is gone, and what --dry-run finds."""
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
from runs import ROOT, Rows, dsv2, files_of, said  # noqa: E402

rows = Rows("start")
EXIT_USAGE, EXIT_INPUT, EXIT_IO = 2, 65, 74


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def expect(what, done, code=0, *words):
    """A row: it ended with the code, and said these words."""
    lacking = [w for w in words if w not in done.stdout + done.stderr]
    rows.row(done.returncode == code and not lacking, what, "%s%s" % (said(done), "; not said: %s" % lacking if lacking else ""))


def tokenizer_folder(name):
    path = os.path.join(rows.folder, name)
    done = dsv2(["train-tokenizer", os.path.join(ROOT, "data/sample/genesis.txt"), "-o", path, "vocab_size=300"])
    expect("a tokenizer to use", done)
    return path


def other_folders(config):
    """Each word of a path is what its writer saw from where they stood."""
    cwd = rows.new_folder("places")
    shutil.copytree(rows.folder + "/tk", cwd + "/tk")
    with open(config) as f:
        text = f.read()
    write(cwd + "/base/base.yaml", text.replace(rows.folder + "/text.txt", "text/*.txt") + "tokenizer: ../tk\n")
    write(cwd + "/base/text/a.txt", open(rows.folder + "/text.txt").read())
    write(cwd + "/sub/top.yaml", "base: ../base/base.yaml\n")
    out = "output_dir=%s/run" % cwd
    expect("begun from one folder", dsv2(["train", "sub/top.yaml", out, "steps=1"], cwd=cwd))
    expect("goes on from another", dsv2(["train", "top.yaml", out, "steps=2"], cwd=cwd + "/sub"), 0, "steps 1 -> 2")
    expect("goes on from a third", dsv2(["train", "places/base/base.yaml", out, "steps=3"], cwd=rows.folder), 0, "steps 2 -> 3")
    expect("a tokenizer's folder is its file", dsv2(["train", "sub/top.yaml", out, "steps=4", "tokenizer=tk/tokenizer.json"],
                                                    cwd=cwd), 0, "steps 3 -> 4")
    shutil.copytree(cwd + "/base/text", cwd + "/base/other")
    expect("other files are refused", dsv2(["train", "sub/top.yaml", out, "steps=5", "data.text.path=base/other/*.txt"], cwd=cwd),
           EXIT_USAGE, "data.text.path was")
    with open(cwd + "/run/config.yaml") as f:
        lines = f.read().splitlines()
    rows.row(lines[0] == '# relative paths begin in "%s"' % os.path.realpath(cwd), "config.yaml says where paths begin", lines[0])
    write(cwd + "/run/config.yaml", "\n".join(lines[1:]) + "\n")  # as before it did
    expect("a run of before goes on", dsv2(["train", "sub/top.yaml", out, "steps=5"], cwd=cwd), 0, "steps 4 -> 5")
    shutil.move(cwd, cwd + "-moved")
    expect("a project that was moved goes on", dsv2(["train", "sub/top.yaml", "output_dir=run", "steps=6"], cwd=cwd + "-moved"), 0,
           "steps 5 -> 6")


def unused_sets(config):
    """A set that is not in the mixture is prepared only where what it holds out is evaluated."""
    cwd = rows.new_folder("unused")
    words = ["train", config, "steps=1", "data.gone.path=nowhere/*.txt"]
    expect("a set that nothing uses need not be there", dsv2(words, cwd=cwd), 0, "data.gone is not in mix; training does not use it")
    rows.row(not [n for n in files_of(cwd) if "/gone" in n], "it is not prepared")
    text = os.path.join(ROOT, "data/sample/john.txt")
    done = dsv2(["train", config, "steps=1", "data.held.path=" + text, "data.held.validation=0.1", "output_dir=held"], cwd=cwd)
    expect("one that holds something out is evaluated", done, 0, "data.held is not in mix; only what it holds out is used", "held ")
    expect("and must be there", dsv2(words + ["data.gone.validation=0.1", "output_dir=new"], cwd=cwd), EXIT_INPUT, "no file matches")


def gone_model(config):
    """A run that goes on reads nothing from the model that it began from."""
    cwd = rows.new_folder("gone")
    source = os.path.join(cwd, "source")
    shutil.copytree(os.path.join(ROOT, "tests/fixtures/tiny-v2"), source)
    shutil.copytree(rows.folder + "/tk", source, dirs_exist_ok=True)
    with open(config) as f:
        text = f.read()
    begin, end = text.index("model:"), text.index("init: random")
    write(cwd + "/sub/a.yaml", text[:begin] + text[end:].replace("init: random", "init_from: ../source"))
    words = ["train", "sub/a.yaml", "sequence_length=16"]
    expect("a run begins from a model", dsv2(words + ["steps=1"], cwd=cwd))
    expect("the same, straight", dsv2(words + ["steps=2", "output_dir=straight"], cwd=cwd))
    os.rename(source, source + "-away")
    expect("it goes on without it", dsv2(words + ["steps=2"], cwd=cwd), 0, "init_from sub/../source is not there any more")
    a, b = (files_of("%s/%s/checkpoints/step-00000002" % (cwd, run)) for run in ("run", "straight"))
    rows.row(sorted(a) == sorted(b) and all(a[n] == b[n] for n in a if n.endswith(".json")), "with the same files in its checkpoint",
             "%s %s" % (sorted(a), sorted(b)))
    expect("on two ranks", dsv2(words + ["steps=3"], 2, cwd=cwd), 0, "steps 2 -> 3")
    expect("its checkpoint, named", dsv2(words + ["steps=4", "resume=run/checkpoints/step-00000003", "output_dir=named"], cwd=cwd))
    for what, more in (("a new run", ["output_dir=new"]), ("--fresh", ["--fresh"]), ("another model", ["init_from=elsewhere"])):
        before = sorted(os.listdir(cwd))
        done = dsv2(words + ["steps=4"] + more, cwd=cwd)
        expect("%s needs it" % what, done, EXIT_USAGE, "init_from")
        rows.row(before == sorted(os.listdir(cwd)), "%s leaves everything as it was" % what)


def dry_runs(config):
    """What a run would refuse at its start is refused by --dry-run, which leaves everything as it is."""
    cwd = rows.new_folder("dry")
    words = ["train", config, "--dry-run", "steps=2"]
    expect("a good config", dsv2(words, cwd=cwd), 0, "hidden_size: 48", "memory")
    expect("a data path that matches nothing", dsv2(words + ["data.text.path=nowhere/*.txt"], cwd=cwd), EXIT_INPUT, "no file matches nowhere")
    expect("the same of an evaluation", dsv2(words + ["eval.quiz.path=nowhere.jsonl"], cwd=cwd), EXIT_INPUT, "nowhere.jsonl")
    write(cwd + "/file", "")
    expect("an output_dir below a file", dsv2(words + ["output_dir=file/run"], cwd=cwd), EXIT_IO, "file/run")
    expect("an output_dir that is a file", dsv2(words + ["output_dir=file"], cwd=cwd), EXIT_IO, "file")
    rows.row(os.listdir(cwd) == ["file"], "nothing is made", os.listdir(cwd))
    dsv2(["train", config, "steps=2"], cwd=cwd)
    before = files_of(cwd)
    expect("a key that may not change", dsv2(words + ["seed=77"], cwd=cwd), EXIT_USAGE, "seed was 1 when this run began")
    expect("on two ranks", dsv2(words + ["seed=77"], 2, cwd=cwd), EXIT_USAGE, "seed was 1 when this run began")
    expect("one that may", dsv2(words + ["learning_rate=1e-4"], cwd=cwd), 0, "learning_rate 0.003 -> 0.0001", "step-00000002")
    expect("resume=never", dsv2(words + ["resume=never"], cwd=cwd), EXIT_USAGE, "holds checkpoints")
    expect("--fresh", dsv2(words + ["seed=77", "--fresh"], cwd=cwd), 0)
    rows.row(before == files_of(cwd), "nothing is changed")


def main():
    tokenizer_folder("tk")
    config = rows.config()
    with open(config) as f:
        text = f.read()
    write(config, text.replace("warmup_steps: 3\n", "").replace("cosine", "constant"))
    other_folders(config)
    unused_sets(config)
    gone_model(config)
    dry_runs(config)
    rows.end()


if __name__ == "__main__":
    main()
