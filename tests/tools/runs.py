"""runs.py - what the tests of whole runs share: a work folder, the program, its log, rows and a total.

Only Python's standard library. BUILD names the build folder; every run has one thread a rank, so that the
order of sums is the same on any machine.
"""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DSV2 = os.path.join(ROOT, os.environ.get("BUILD", "build"), "dsv2")
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, by the programs tested too

# A model with every kind of layer, small enough that a step takes milliseconds.
MODEL = """
model: {hidden_size: 48, num_hidden_layers: 3, num_attention_heads: 3, q_lora_rank: 20, kv_lora_rank: 24,
        qk_nope_head_dim: 12, qk_rope_head_dim: 8, v_head_dim: 12, intermediate_size: 80,
        n_routed_experts: 8, num_experts_per_tok: 3, moe_intermediate_size: 24, n_group: 4, topk_group: 2,
        topk_method: group_limited_greedy, routed_scaling_factor: 2.5, initializer_range: 0.05,
        aux_loss_alpha: 0.01}
init: random
output_dir: run
threads: 1
data:
  text: {path: "TEXT"}
mix: [text]
sequence_length: 48
global_batch_size: 7
learning_rate: 3e-3
warmup_steps: 3
lr_scheduler_type: cosine
"""


class Rows:
    """Prints a row a check, counts, and ends the script."""

    def __init__(self, name):
        self.name, self.passed, self.failed = name, 0, 0
        self.folder = tempfile.mkdtemp(prefix="dsv2-%s-" % name)

    def row(self, ok, what, detail=""):
        print("%-4s %s/%-62s %s" % ("ok" if ok else "FAIL", self.name, what, detail), flush=True)
        self.passed += bool(ok)
        self.failed += not ok
        return ok

    def end(self):
        if self.failed:
            print("what the runs left is in %s" % self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        print("%d passed, %d failed" % (self.passed, self.failed))
        sys.exit(self.failed != 0)

    def new_folder(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(path)
        return path

    def config(self, extra=""):
        """The small model's config, with more lines; returns its path."""
        text = os.path.join(self.folder, "text.txt")
        if not os.path.exists(text):
            with open(os.path.join(ROOT, "data/sample/genesis.txt"), "rb") as source, open(text, "wb") as to:
                to.write(source.read(30000))
        path = tempfile.mkstemp(suffix=".yaml", dir=self.folder)[1]
        with open(path, "w") as f:
            f.write(MODEL.replace("TEXT", text) + extra)
        return path


def command(words, ranks=1):
    return [DSV2] + (["-n", str(ranks)] if ranks > 1 else []) + [str(w) for w in words]


def signalled(words, ranks, number, waits_for, env=ENV):
    """The exit code and messages of a run that gets a signal once files of that pattern are there."""
    job = subprocess.Popen(command(words, ranks), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True)
    end = time.time() + 60
    while not glob.glob(waits_for) and job.poll() is None and time.time() < end:
        time.sleep(0.001)
    job.send_signal(number)
    says = job.communicate(timeout=60)[1]
    return job.returncode, says


def dsv2(words, ranks=1, cwd=ROOT, limit=120):
    """Runs the program to its end; .returncode, .stdout and .stderr of it."""
    return subprocess.run(command(words, ranks), cwd=cwd, env=ENV, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=limit)


def lines_of(folder):
    """A run folder's log: steps and evaluations, in order."""
    path = os.path.join(folder, "log.jsonl")
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [json.loads(line) for line in f if line.endswith("\n")]


def log_of(folder):
    """The steps in a run folder's log, in order."""
    return [line for line in lines_of(folder) if "loss" in line]


def said(done):
    """The last line of what a run said, of its complaint when it failed."""
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return "exit %d: %s" % (done.returncode, lines[-1] if lines else "")


def worst(a, b, key="loss"):
    """Largest relative difference of a number over the steps of two logs; infinite when they are not alike."""
    if not a or [x["step"] for x in a] != [x["step"] for x in b]:
        return float("inf")
    gaps = [abs(x[key] - y[key]) / max(abs(y[key]), 1e-30) for x, y in zip(a, b)]
    return float("inf") if any(g != g for g in gaps) else max(gaps)


def files_of(folder):
    """Every file below a folder: name -> bytes."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, folder)] = f.read()
    return found


def differing(a, b):
    """Names of the files that are not the same in two folders."""
    x, y = files_of(a), files_of(b)
    return sorted(name for name in set(x) | set(y) if x.get(name) != y.get(name))
