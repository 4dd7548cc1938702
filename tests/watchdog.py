#!/usr/bin/env python3
"""watchdog.py - a rank that others wait for too long is named and ends the job; who reads, prepares or thinks for long
does not. The program under test waits two seconds where the real one waits minutes (tests/fault/impatient.c), or the
real one waits two seconds in a step (watchdog_seconds)."""
import concurrent.futures
import glob
import os
import re
import shlex
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from chat import make_model  # noqa: E402
from runs import DSV2, ENV, ROOT, Rows, dsv2, said  # noqa: E402

IMPATIENT = os.path.join(os.path.dirname(DSV2), "tests/impatient")
LONG = 3.5  # seconds, more than the limit
EXIT_DONE, EXIT_RETRY = 0, 75
KEYS = ["layout.ep=2", "warmup_steps=0", "save_steps=2"]
rows = Rows("watchdog")


def start(words, cwd, rank=0, slow=None, program=IMPATIENT):
    """Two ranks. slow: (system call, path): the first of them on that path takes long, on that rank (None: on any)."""
    program = [program, *words]
    if slow:
        call, path = slow
        strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-P", path, "-e", "trace=" + call, "-e",
                  "inject=%s:delay_enter=%d:when=1" % (call, LONG * 1e6)]
        which = "true" if rank is None else "[[ $OMPI_COMM_WORLD_RANK == %d ]]" % rank
        ranks = '%s && exec %s "$@"; exec "$@"' % (which, shlex.join(strace))
        program = ["bash", "-c", ranks, "_", *program]
    return subprocess.Popen(["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", *program], cwd=cwd,
                            env={**ENV, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(job, began, code, what, pattern="", given=None):
    """A row: the code, what was said, and that it took as long as it was slow."""
    try:
        says = job.communicate(given, timeout=60)[1]
    except subprocess.TimeoutExpired:
        job.kill()
        says = job.communicate()[1]
    late = re.search("dsv2: watchdog: .*", says)
    seconds = time.time() - began
    ok = job.returncode == code and (re.search(pattern, late[0]) if pattern and late else not late and not pattern)
    rows.row(ok and (pattern or seconds > LONG), what, "exit %d after %.1f s %s" % (job.returncode, seconds,
                                                                                  late[0][:90] if late else ""))


def rank_of(job, rank):
    """The process of a rank."""
    for status in glob.glob("/proc/[0-9]*/status"):
        try:
            with open(status) as f:
                if "\nPPid:\t%d\n" % job.pid not in f.read():
                    continue
            with open(os.path.join(os.path.dirname(status), "environ"), "rb") as f:
                if b"\0OMPI_COMM_WORLD_RANK=%d\0" % rank in f.read():
                    return int(status.split("/")[2])
        except OSError:
            continue
    return None


def late(config):
    """Ranks that are late: in a save, and in an answer."""
    cwd, began = rows.new_folder("save"), time.time()
    file = "run/checkpoints/.tmp-00000002/rank-00001.h5"
    save = start(["train", config, "steps=2", *KEYS], cwd, 1, ("openat", file))
    prompts = os.path.join(rows.folder, "prompts")
    with open(prompts, "w") as f:
        f.write("a\n" * 5000)
    generate = start(["generate", os.path.join(ROOT, "tests/fixtures/tiny-lite"), "--prompts", prompts, "max_new_tokens=100"], cwd)
    generate.stdout.read(1)  # the first of many answers
    os.kill(rank_of(generate, 1), signal.SIGSTOP)
    ended(generate, began, EXIT_RETRY, "a rank that stops while it generates", r"rank 0 .* late: rank 1 \(generate")
    ended(save, began, EXIT_RETRY, "a rank that takes long to save", r"rank 0 .* late: rank 1 \(save 2")


def patient(config, model):
    """Ranks that the others wait for: one reads text, one hashes a checkpoint, one listens to somebody who thinks."""
    made = rows.new_folder("load")
    done = dsv2(["train", config, "steps=2", *KEYS], 2, made)
    rows.row(done.returncode == 0, "a checkpoint", said(done))
    began = time.time()
    text = os.path.join(rows.folder, "text.txt")
    slow = ("read,pread64", text)  # of whichever rank takes the text
    prepare = start(["prepare", config, "steps=2", *KEYS], rows.new_folder("prepare"), None, slow)
    chat = start(["chat", model, "temperature=0", "max_new_tokens=8"], rows.folder)
    load = start(["train", config, "steps=3", *KEYS], made, 0, ("pread64", "run/checkpoints/step-00000002/rank-00000.h5"))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        both = [pool.submit(ended, prepare, began, EXIT_DONE, "text that takes long to read"),
                pool.submit(ended, load, began, EXIT_DONE, "a checkpoint that takes long to hash")]
    for job in both:
        job.result()
    ended(chat, began, EXIT_DONE, "somebody who thinks for long", given="who?\n")


def told(config):
    """Who knows that a save takes long says so."""
    cwd, began = rows.new_folder("told"), time.time()
    slow = "openat", "run/checkpoints/.tmp-00000002/rank-00001.h5"
    save = start(["train", config, "steps=2", *KEYS, "watchdog_seconds=20"], cwd, 1, slow)
    ended(save, began, EXIT_DONE, "a save that takes no longer than was said")


def training(config):
    """The disk of one rank is slow while training goes on: no step is late for that."""
    words = ["train", config, "layout.ep=2", "warmup_steps=0", "steps=16", "watchdog_seconds=2"]
    for call, file, steps, what in (
            ("fsync", ".tmp-00000008/MANIFEST", 8, "a save that takes long to finish"),
            ("fsync", ".tmp-00000004/rank-00000.h5", 4, "a save that the next one waits for"),
            ("pwrite64", ".tmp-00000008/rank-00000.h5", 8, "a save that a step waits for")):
        cwd, began = rows.new_folder(os.path.join(call, file)), time.time()
        slow = call, os.path.join(cwd, "run/checkpoints", file)
        ended(start(words + ["save_steps=%d" % steps], cwd, 0, slow, DSV2), began, EXIT_DONE, what)
    cwd, words = rows.new_folder("evaluation"), words + ["eval_steps=8", "data.text.validation=0.2"]
    dsv2(["prepare", *words[1:]], 2, cwd)
    file = glob.glob(os.path.join(cwd, "run/data/text-*/validation-00000.h5"))[0]
    began, slow = time.time(), ("openat", os.path.relpath(file, cwd))
    ended(start(words, cwd, 1, slow, DSV2), began, EXIT_DONE, "text that takes long to open between steps")


def main():
    config = rows.config()
    late(config)
    told(config)
    training(config)
    patient(config, make_model(rows))
    rows.end()


if __name__ == "__main__":
    main()
