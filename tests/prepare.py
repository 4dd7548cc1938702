#!/usr/bin/env python3
"""prepare.py - prepare as people run it: killed at any moment on one rank and on several, on a terminal, stopped by a
signal, without writing, before training; what comes out is the same each time."""
import fcntl
import gzip
import hashlib
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
from runs import ENV, ROOT, Rows, command, dsv2, log_of, said  # noqa: E402

EXIT_DONE, EXIT_USAGE, EXIT_INPUT, EXIT_IO, EXIT_RETRY = 0, 2, 65, 74, 75
TOKENIZER = os.path.join(ROOT, "tests/fixtures/tokenizer/deepseek-v2.json")


def corpus(folder, megabytes=8):
    """Text of the sample in documents of some verses, some of them twice; JSONL, part of it packed."""
    dice = random.Random(7)
    verses = []
    for name in sorted(os.listdir(os.path.join(ROOT, "data/sample"))):
        if name.endswith(".txt"):
            with open(os.path.join(ROOT, "data/sample", name), encoding="utf-8") as f:
                verses += f.read().split("\n")
    files = [open(os.path.join(folder, "a.jsonl"), "w", encoding="utf-8"),
             gzip.open(os.path.join(folder, "b.jsonl.gz"), "wt", encoding="utf-8", compresslevel=1)]
    for to, most in ((files[0], megabytes * 800_000), (files[1], megabytes * 200_000)):
        size = 0
        while size < most:
            n = dice.choice([2, 5, 20])
            k = dice.randrange(200) if dice.random() < 0.1 else dice.randrange(len(verses) - n)
            line = json.dumps({"text": "\n".join(verses[k:k + n]), "n": size}) + "\n"
            to.write(line)
            size += len(line)
        to.close()


def keys(rows, folder, extra=""):
    path = rows.config("steps: 5\n" + extra)
    with open(path, encoding="utf-8") as f:
        text = f.read()
    settings = "{path: %s, validation: 0.1, deduplicate: true, shard_tokens: 300000}" % os.path.join(folder, "*")
    with open(path, "w", encoding="utf-8") as f:
        f.write("tokenizer: %s\n" % TOKENIZER + text.replace('text: {path: "%s"}' % os.path.join(rows.folder, "text.txt"), "text: " + settings))
    return path


def digest(out):
    """Of every file that a run left, by name."""
    found = {}
    for folder, _, names in os.walk(os.path.join(out, "data")):
        for name in names:
            if name != ".lock":
                path = os.path.join(folder, name)
                with open(path, "rb") as f:
                    found[os.path.relpath(path, out)] = hashlib.sha256(f.read()).hexdigest()
    return found


def finished(out):
    folder = os.path.join(out, "data/.making-text")
    return len([n for n in os.listdir(folder) if n.endswith(".records")]) if os.path.isdir(folder) else 0


def start(words, ranks):
    return subprocess.Popen(command(words, ranks), cwd=ROOT, env=ENV, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_tree(pid):
    """A process and all below it, before any of them can notice."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % entry, encoding="ascii", errors="replace") as f:
                parents.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
        except OSError:
            pass
    tree = [pid]
    for process in tree:
        tree += parents.get(process, [])
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in tree:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                pass


def kills(rows, config, wanted, ranks, times):
    """Killed ever later, all of its processes at once."""
    out = os.path.join(rows.folder, "killed-%d" % ranks)
    killed, most, steps = 0, 0, []
    for i in range(times):
        job = start(["prepare", config, "output_dir=" + out], ranks)
        begin = time.time()
        while finished(out) <= most and job.poll() is None and time.time() - begin < 30:
            time.sleep(0.002)
        time.sleep(0.003 * (i % 5))
        kill_tree(job.pid)
        killed += job.wait() != 0
        steps.append(finished(out))
        if digest(out) == wanted:
            break
        most = max(most, finished(out))
    done = dsv2(["prepare", config, "output_dir=" + out], ranks)
    what = "killed %d times on %d rank%s" % (killed, ranks, "s" if ranks > 1 else "")
    rising = steps[:-1] == sorted(steps[:-1]) and steps[-1] in (0, max(steps))
    rows.row(done.returncode == 0 and killed > 2 and digest(out) == wanted, what, "%s; parts %s" % (said(done), steps))
    rows.row(rising and steps[0] > 0, "parts of killed runs are kept on %d" % ranks, str(steps))


def same_on_ranks(rows, config, wanted):
    for ranks in (2, 3):
        out = os.path.join(rows.folder, "ranks-%d" % ranks)
        done = dsv2(["prepare", config, "output_dir=" + out], ranks)
        rows.row(done.returncode == 0 and digest(out) == wanted, "%d ranks make the same bytes" % ranks, said(done))


def stopped(rows, config, wanted):
    """TERM: ends with 75, and the same command goes on."""
    out = os.path.join(rows.folder, "stopped")
    job = start(["prepare", config, "output_dir=" + out], 1)
    while finished(out) < 2 and job.poll() is None:
        time.sleep(0.002)
    job.send_signal(signal.SIGTERM)
    code = job.wait(30)
    left = finished(out)
    done = dsv2(["prepare", config, "output_dir=" + out])
    rows.row(code in (EXIT_RETRY, EXIT_DONE) and digest(out) == wanted, "stopped by TERM, then whole",
             "exit %d, %d parts left" % (code, left))
    rows.row(code == EXIT_DONE or "went on from" in done.stdout, "the next run says that it goes on", said(done))


def waits(rows, config, wanted):
    """For another run in the same folder: says so once, can be stopped, and goes on when that one has ended."""
    out = os.path.join(rows.folder, "waits")
    os.makedirs(os.path.join(out, "data"))
    with open(os.path.join(out, "data/.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for ranks in 1, 2:
            job = subprocess.Popen(command(["prepare", config, "output_dir=" + out], ranks), cwd=ROOT, env=ENV, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            first, late = "", threading.Timer(20, kill_tree, [job.pid])
            late.start()
            while "waiting" not in first and (line := job.stderr.readline()):
                first = line
            time.sleep(0.3)
            job.send_signal(signal.SIGTERM)
            rest = job.communicate()[1]
            late.cancel()
            rows.row("waiting for another run that prepares in" in first and "waiting" not in rest and
                     "stopped by a signal" in rest and job.returncode == EXIT_RETRY,
                     "stopped while it waits, %d rank%s" % (ranks, "s" * (ranks > 1)), "exit %d: %s" % (job.returncode, first.strip()[:60]))
        job = start(["prepare", config, "output_dir=" + out], 1)
        time.sleep(0.5)
        fcntl.flock(lock, fcntl.LOCK_UN)
    rows.row(job.wait(60) == EXIT_DONE and digest(out) == wanted, "goes on when the other run has ended")


def no_locks(rows, config, wanted):
    """Some file systems have no flock."""
    out = os.path.join(rows.folder, "no-locks")
    for error in "ENOSYS", "EOPNOTSUPP":
        done = subprocess.run(["strace", "-f", "-qq", "-e", "trace=flock", "-e", "inject=flock:error=" + error, "-o", "/dev/null"] +
                              command(["prepare", config, "output_dir=" + out + error]), cwd=ROOT, env=ENV, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True)
        rows.row(done.returncode == EXIT_DONE and digest(out + error) == wanted, "no locks: %s" % error, said(done))


def dry_run(rows, config):
    out = os.path.join(rows.folder, "dry")
    done = dsv2(["prepare", config, "--dry-run", "output_dir=" + out])
    two = dsv2(["prepare", config, "--dry-run", "output_dir=" + out], 2)
    words = ("documents", "tokens", "bytes each", "longest", "U+FFFD", "duplicates", "row ")
    rows.row(done.returncode == 0 and all(w in done.stdout for w in words), "--dry-run tells the figures", said(done))
    rows.row(done.stdout == two.stdout, "--dry-run on two ranks tells the same", said(two))
    rows.row(not os.path.exists(out), "--dry-run writes nothing")
    more = ["data.%s.validation=1000000" % re.search(r"^(\w+): \d+ file", done.stdout, re.M).group(1)]
    for words in ["--dry-run"], []:
        done = dsv2(["prepare", config, "output_dir=" + out, *more, *words])
        rows.row(done.returncode == EXIT_INPUT and "none to train on" in done.stderr,
                 "more validation than documents %s" % " ".join(words), said(done)[-100:])


def on_terminal(rows, config):
    """A bar only where standard error is a terminal."""
    out = os.path.join(rows.folder, "terminal")
    ours, theirs = pty.openpty()
    job = subprocess.Popen(command(["prepare", config, "output_dir=" + out]), cwd=ROOT, env=ENV,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            piece = b""
        if not piece:
            break
        text += piece
    code = job.wait()
    rows.row(code == 0 and b"MB/s" in text and b"left" in text and b"[" in text, "a bar on a terminal",
             text.decode("utf-8", "replace").split("\r")[1].strip()[:90] if b"\r" in text else "none")
    quiet = dsv2(["prepare", config, "output_dir=" + out + "-2"])
    rows.row(quiet.stderr == "", "no bar elsewhere", quiet.stderr[:60])


def inspect(rows, config, folder):
    out = os.path.join(rows.folder, "inspect")
    dsv2(["prepare", config, "output_dir=" + out])
    made = os.path.join(out, "data", next(n for n in os.listdir(os.path.join(out, "data")) if n.startswith("text-")))
    with open(os.path.join(folder, "a.jsonl"), encoding="utf-8") as f:
        texts = {json.loads(line)["text"] for line in f}
    done = dsv2(["inspect", made + "/train", "--document", "17"])
    body = done.stdout.split("\n", 1)[1] if "\n" in done.stdout else ""
    text = body.replace("\\n\n", "\n").replace("\\|", "\0").replace("|", "").replace("\0", "|").strip("\n")
    bos, eos = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
    text = text.replace(bos.replace("|", ""), "").replace(eos.replace("|", ""), "")
    rows.row(done.returncode == 0 and text in texts and body.count("|") > 20, "inspect shows a document", body[:60])
    rows.row(dsv2(["inspect", made]).returncode == 0 and dsv2(["verify", made]).returncode == 0, "inspect, verify a set")
    for words, sentence in ((["--document", "1000000"], "has documents 0 to"), (["--document", "x"], "takes the number"),
                            (["--document", "1", "--tokenizer", "bytes"], "another tokenizer"),
                            (["--document", "1", "--tokenizer", "none"], "none")):
        done = dsv2(["inspect", made + "/train", *words])
        rows.row(done.returncode == EXIT_INPUT and sentence in done.stderr, " ".join(["inspect", *words]), said(done))


def training(rows, folder):
    """Shards of any size train alike; train prepares with all its ranks."""
    config = keys(rows, folder)
    losses = []
    for i, words in enumerate((["data.text.shard_tokens=100M"], ["data.text.shard_tokens=200000"])):
        out = os.path.join(rows.folder, "train-%d" % i)
        done = dsv2(["train", config, "output_dir=" + out, "tokenizer=bytes", "eval_tokens=2000", *words], 2)
        losses.append([line["loss"] for line in log_of(out)])
        rows.row(done.returncode == 0 and len(losses[-1]) == 5, "train prepares first, %s" % words[0], said(done))
    rows.row(losses[0] == losses[1], "shards of any size train alike", str(losses))


def full_disk(rows, config, wanted):
    """With no room it is said and ends with 74; with more room the same command goes on."""
    mount = os.path.join(rows.folder, "tmpfs")
    os.makedirs(mount)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount], capture_output=True).returncode:
        return print("     prepare/a full tmpfs is not tried: mount is not allowed here")
    for ranks in 1, 2:
        done = dsv2(["prepare", config, "output_dir=" + mount], ranks)
        rows.row(done.returncode == EXIT_IO and "No space left" in done.stderr, "a full disk, %d ranks" % ranks, said(done))
    subprocess.run(["mount", "-o", "remount,size=100m", mount])
    done = dsv2(["prepare", config, "output_dir=" + mount])
    rows.row(done.returncode == EXIT_DONE and digest(mount) == wanted, "a disk with room again", said(done))
    subprocess.run(["umount", mount])


def main():
    rows = Rows("prepare")
    folder = rows.new_folder("source")
    corpus(folder)
    config = keys(rows, folder)
    out = os.path.join(rows.folder, "whole")
    done = dsv2(["prepare", config, "output_dir=" + out])
    wanted = digest(out)
    rows.row(done.returncode == 0 and len(wanted) > 8, "prepare", said(done))
    same_on_ranks(rows, config, wanted)
    kills(rows, config, wanted, 1, 12)
    kills(rows, config, wanted, 2, 6)
    stopped(rows, config, wanted)
    waits(rows, config, wanted)
    no_locks(rows, config, wanted)
    full_disk(rows, config, wanted)
    dry_run(rows, config)
    on_terminal(rows, config)
    inspect(rows, config, folder)
    training(rows, folder)
    rows.end()


if __name__ == "__main__":
    main()
