#!/usr/bin/env python3
"""eval.py - `dsv2 eval` as people call it: the same figures on any number of ranks, held-out sets and evaluations of a
config, what lands in log.jsonl and behind -o, and what mistakes end with."""
import glob
import json
import math
import os
import random
import re
import shutil
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
from runs import ENV, MODEL, ROOT, Rows, dsv2, said, signalled  # noqa: E402

FIXTURE = os.path.join(ROOT, "tests/fixtures/tiny-lite")
BYTES = 5000  # of text, all ASCII
CHOICE = [{"question": "Where did Jonah flee from?", "choices": ["the presence of the LORD", "the sea", "Nineveh"],
           "answer": "A"},
          {"question": "Who threw Jonah into the sea?", "choices": ["the king", "the sailors"], "answer": 1},
          {"question": "How many days in the fish?", "choices": [1, 2, 3], "answer": "3"},
          {"question": "What did God prepare?", "choices": ["a gourd", "a ship"], "answer": "a gourd"}]


def write_lines(path, objects):
    with open(path, "w", encoding="utf-8") as to:
        for each in objects:
            to.write(json.dumps(each) + "\n")
    return path


def figures(text):
    """Numbers of the lines, speed left out."""
    return [[float(n) for n in re.findall(r"-?\d+\.\d+", line.split(" questions")[0].split(" tokens in ")[0])]
            for line in text.splitlines() if ": " in line]


def equal_on_ranks(rows, text, choice):
    words = ["eval", FIXTURE, text, choice, "sequence_length=128", "eval_shots=2"]
    one = dsv2(words)
    rows.row(one.returncode == 0 and len(figures(one.stdout)) == 2, "a text and questions", said(one))
    base = figures(one.stdout)
    for ranks, ep in (2, 1), (2, 2), (4, 4):
        many = dsv2([*words, "layout.ep=%d" % ep], ranks)
        other = figures(many.stdout)
        gap = max((abs(a - b) / max(b, 1) for x, y in zip(base, other) for a, b in zip(x, y)), default=math.inf)
        rows.row(many.returncode == 0 and [len(x) for x in base] == [len(x) for x in other] and gap < 2e-6,
                 "%d ranks, ep %d" % (ranks, ep), "worst gap %.1e" % gap)
    loss, perplexity, bits = base[0]
    rows.row(abs(perplexity / math.exp(loss) - 1) < 1e-5, "perplexity is exp(loss)")
    tokens = BYTES  # eos is one more, and the first of all is not scored
    rows.row(abs(bits - loss / math.log(2) * tokens / (BYTES - 1)) < 1e-5, "bits are spread over the bytes scored")


def items(rows, choice):
    logs = []
    for ranks in 1, 2:
        out = os.path.join(rows.folder, "items-%d.jsonl" % ranks)
        dsv2(["eval", FIXTURE, choice, "-o", out, "layout.ep=%d" % ranks], ranks)
        with open(out, encoding="utf-8") as lines:
            logs.append([json.loads(line) for line in lines])
    rows.row([i["answer"] for i in logs[0]] == [0, 1, 2, 0], "-o: what is right")
    gap = max(abs(a - b) for x, y in zip(*logs) for a, b in zip(x["log_likelihood"], y["log_likelihood"]))
    scale = max(abs(a) for x in logs[0] for a in x["log_likelihood"])
    rows.row(gap < 1e-6 * scale, "-o: log-likelihoods on two ranks", "worst gap %.1e of %.0f" % (gap, scale))
    rows.row(all(i["log_likelihood"][i["chosen_plain"]] == max(i["log_likelihood"]) for i in logs[0]),
             "-o: the chosen is the likeliest")


def of_config(rows, text, choice):
    folder = rows.new_folder("config")
    config = os.path.join(folder, "run.yaml")
    with open(config, "w", encoding="utf-8") as to:
        to.write(MODEL.replace('{path: "TEXT"}', "{path: %s, validation: 0.1}" % text))
        to.write("steps: 4\neval_steps: 2\n"
                 "eval:\n  quiz: {path: %s, shots: 1}\n  again: {path: %s, format: text}\n" % (choice, text))
    done = dsv2(["train", config], cwd=folder)
    with open(os.path.join(folder, "run/log.jsonl"), encoding="utf-8") as log:
        evals = [json.loads(line) for line in log if "eval_loss" in line]
    rows.row(done.returncode == 0 and [e["step"] for e in evals] == [2, 4], "evaluations beside training", said(done))
    rows.row(all(set(e["eval_loss"]) == {"text", "again"} and set(e["eval_accuracy"]) == {"quiz"} and
                 set(e["eval_error"]) == {"quiz"} for e in evals), "log.jsonl names them")
    after = dsv2(["eval", "run", config], cwd=folder)
    lines = {line.split(":")[0]: line for line in after.stdout.splitlines()}
    loss = float(re.search(r"loss ([\d.]+)", lines.get("text", "loss 0")).group(1))
    share = float(re.search(r"normalised ([\d.]+)%", lines.get("quiz", "normalised 999%")).group(1))
    rows.row(list(lines) == ["text", "quiz", "again"] and abs(loss - evals[-1]["eval_loss"]["text"]) < 1e-5 and
             abs(share - 100 * evals[-1]["eval_accuracy"]["quiz"]) < 0.01,
             "eval RUN CONFIG gives what the last evaluation said", said(after))


def learned(rows):
    """A model that has seen the answers gives them."""
    folder = rows.new_folder("learned")
    facts = [("colour of snow", "white"), ("colour of grass", "green"), ("colour of coal", "black"),
             ("colour of blood", "red")]
    config = os.path.join(folder, "run.yaml")
    with open(os.path.join(folder, "facts.txt"), "w", encoding="utf-8") as to:
        order = random.Random(1)  # so that nothing but the question tells the answer
        to.write("".join("Question: %s\nAnswer: %s\n\n" % order.choice(facts) for _ in range(400)))
    asked = write_lines(os.path.join(folder, "asked.jsonl"), [{"question": q, "answer": a.upper()} for q, a in facts])
    four = write_lines(os.path.join(folder, "four.jsonl"),
                       [{"question": q, "choices": [a for _, a in facts], "answer": a} for q, a in facts])
    with open(config, "w", encoding="utf-8") as to:
        to.write(MODEL.replace("TEXT", "facts.txt") + "steps: 300\neval_steps: 100\neval_ignore_case: true\n"
                 "eval:\n  asked: {path: asked.jsonl, format: answer}\n  four: {path: four.jsonl}\n")
    done = dsv2(["train", config], cwd=folder)
    with open(os.path.join(folder, "run/log.jsonl"), encoding="utf-8") as log:
        shares = [json.loads(line)["eval_accuracy"] for line in log if "eval_accuracy" in line]
    rows.row(shares and shares[-1] == {"asked": 1, "four": 1},
             "answers are right once they were learned", "%s" % shares[-1:] if shares else said(done))
    for ranks in 1, 2:
        after = dsv2(["eval", "run", asked, four, "eval_ignore_case=false", "layout.ep=%d" % ranks], ranks, cwd=folder)
        rows.row("exact match 0.00%" in after.stdout and "normalised 100.00%" in after.stdout,
                 "case counts where it shall, %d ranks" % ranks, said(after))


def mistakes(rows, text, choice):
    bad = write_lines(os.path.join(rows.folder, "bad.jsonl"), [*CHOICE, {"question": "q", "choices": ["a", "b"]}])
    empty = os.path.join(rows.folder, "empty.yaml")
    with open(empty, "w", encoding="utf-8") as to:
        to.write(MODEL.replace("TEXT", text).replace("warmup_steps: 3", "steps: 1"))
    for words, code, says in (([FIXTURE, bad], 65, "bad.jsonl:5: no field 'answer'"),
                              ([FIXTURE, "gone.txt"], 65, "gone.txt: there is no such file"),
                              ([FIXTURE, choice, "eval_shots=4"], 65, "take 5 different questions"),
                              ([FIXTURE, empty], 2, "has no eval"),
                              ([FIXTURE, choice, "eval_shots=-1"], 2, "eval_shots"),
                              ([FIXTURE], 2, "needs MODEL DATA"),
                              ([FIXTURE, text, "sequence_length=129"], 2, "more than max_position_embeddings 128"),
                              ([FIXTURE, 5000 * "x"], 2, "this path has more than 4095 bytes"),
                              (["gone", choice], 2, "gone: no such file"),
                              ([FIXTURE, choice, "-o", "no/folder/x"], 74, "no/folder/x")):
        done = dsv2(["eval", *words])
        rows.row(done.returncode == code and says in done.stderr and len(done.stderr.splitlines()) == 1, says,
                 said(done)[:160])


def micro_batches(rows, text):
    """As many sequences at once as somebody asks for, of a folder and of a run."""
    run = os.path.join(rows.folder, "config", "run")
    for model, more in (FIXTURE, ["sequence_length=128"]), (run, []):
        words = ["eval", model, text, *more]
        few, many = dsv2(words), dsv2([*words, "micro_batch_size=16"])
        a, b = figures(few.stdout), figures(many.stdout)
        gap = max((abs(x - y) for x, y in zip(a[0], b[0])), default=math.inf) if a and b else math.inf
        rows.row(many.returncode == 0 and gap < 1e-4, "micro_batch_size=16, %s" % os.path.basename(model), said(many))
    done = dsv2(["eval", run, text, "layout={ep: 1}"], 2)
    rows.row(done.returncode == 0, "layout as a section", said(done))
    done = dsv2(["inspect", run])
    rows.row(", seed 1\n" in done.stdout, "inspect tells the seed",
             next((line for line in done.stdout.splitlines() if line.startswith("progress")), said(done)))


def broken_models(rows, choice):
    """A model that cannot be read is bad input, as for generate and chat."""
    folder = rows.new_folder("broken")
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as to:
        to.write("{")
    for words in ["eval", folder, choice], ["generate", folder, "x"], ["chat", folder, "x"]:
        done = dsv2(words)
        rows.row(done.returncode == 65 and "config.json" in done.stderr, "a broken model: " + words[0], said(done)[:120])


def stopped(rows):
    """TERM while a text is prepared leaves nothing behind."""
    folder, temporary = rows.new_folder("stopped"), rows.new_folder("temporary")
    text, out = os.path.join(folder, "long.txt"), os.path.join(folder, "out.jsonl")
    with open(os.path.join(ROOT, "data/sample/psalms.txt"), "rb") as source, open(text, "wb") as to:
        to.write(source.read() * 100)
    for ranks in 1, 2:
        code, says = signalled(["eval", FIXTURE, text, "-o", out, "sequence_length=128"], ranks, signal.SIGTERM,
                               temporary + "/dsv2-eval-*/*", {**ENV, "TMPDIR": temporary})
        left = glob.glob(temporary + "/dsv2-eval-*") + glob.glob(out + "*")
        rows.row(code == 75 and not left and "stopped by a signal" in says, "TERM while it prepares, %d ranks" % ranks,
                 "exit %d, left: %s" % (code, left))


def not_numbers(rows, text, choice):
    folder = rows.new_folder("nan")
    shutil.copy(os.path.join(FIXTURE, "config.json"), folder)
    with open(os.path.join(FIXTURE, "model.safetensors"), "rb") as source:
        weights = bytearray(source.read())
    weights[-4:] = struct.pack("<f", 3e38)  # of the last norm: logits overflow
    with open(os.path.join(folder, "model.safetensors"), "wb") as to:
        to.write(weights)
    out = os.path.join(rows.folder, "nan.jsonl")
    done = dsv2(["eval", folder, text, choice, "-o", out, "sequence_length=128"])
    with open(out, encoding="utf-8") as lines:
        kept = [json.loads(line) for line in lines]
    rows.row(done.returncode == 70 and "not numbers" in done.stderr and kept[0]["loss"] is None,
             "log-likelihoods that are not numbers", said(done))


def main():
    rows = Rows("eval")
    choice = write_lines(os.path.join(rows.folder, "choice.jsonl"), CHOICE)
    text = os.path.join(rows.folder, "text.txt")
    with open(os.path.join(ROOT, "data/sample/genesis.txt"), "rb") as source, open(text, "wb") as to:
        to.write(source.read(BYTES))
    equal_on_ranks(rows, text, choice)
    items(rows, choice)
    of_config(rows, text, choice)
    learned(rows)
    mistakes(rows, text, choice)
    micro_batches(rows, text)
    broken_models(rows, choice)
    stopped(rows)
    not_numbers(rows, text, choice)
    rows.end()


if __name__ == "__main__":
    main()
