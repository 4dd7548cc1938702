#!/usr/bin/env python3
"""resume.py - stopping changes nothing: every step as a place to stop, kill -9 at random moments, other numbers of
ranks, signals, damaged checkpoints, and what a run says about keys that must not change."""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
from runs import ENV, ROOT, Rows, command, differing, dsv2, lines_of, log_of, said, worst  # noqa: E402

rows = Rows("resume")
BALANCED = "balance: {device_loss_alpha: 0.02, communication_loss_alpha: 0.02, token_dropping: true}\n"
EXIT_USAGE, EXIT_INPUT, EXIT_NUMERIC, EXIT_IO, EXIT_RETRY = 2, 65, 70, 74, 75


def checkpoints(cwd):
    return os.path.join(cwd, "run/checkpoints")


def step_folder(cwd, step):
    return os.path.join(checkpoints(cwd), "step-%08d" % step)


def same_end(what, cwd, straight, step):
    """A row: the last checkpoint and the log of two runs are the same."""
    a, b = step_folder(cwd, step), step_folder(straight, step)
    if not os.path.isdir(a) or not os.path.isdir(b):
        return rows.row(False, what, "no checkpoint of step %d" % step)
    files = differing(a, b)
    log = worst(log_of(os.path.join(cwd, "run")), log_of(os.path.join(straight, "run")))
    return rows.row(not files and log == 0, what, "files that differ: %s; log: %g" % (files or "none", log))


def begin_at(name, straight, steps, keep_log=True):
    """A run folder that stopped after the checkpoints of these steps."""
    cwd = rows.new_folder(name)
    os.makedirs(checkpoints(cwd))
    for step in steps:
        shutil.copytree(step_folder(straight, step), step_folder(cwd, step))
    with open(os.path.join(checkpoints(cwd), "LATEST"), "w") as f:
        f.write("step-%08d\n" % steps[-1])
    if keep_log:
        for name in ("log.jsonl", "metrics.csv"):
            shutil.copy(os.path.join(straight, "run", name), os.path.join(cwd, "run", name))
    return cwd


def every_step(config, steps):
    """One run of all steps; then from each of its checkpoints to the end again."""
    words = ["train", config, "steps=%d" % steps, "save_steps=1", "save_total_limit=100"]
    straight = rows.new_folder("straight")
    done = dsv2(words, 1, straight)
    rows.row(done.returncode == 0, "%d steps" % steps, said(done))
    for k in range(1, steps):
        cwd = begin_at("stopped-at-%d" % k, straight, [k])
        done = dsv2(words, 1, cwd)
        if done.returncode:
            rows.row(False, "stopped after step %d" % k, said(done))
        else:
            same_end("stopped after step %d" % k, cwd, straight, steps)
    return words, straight


def slow_disk(words, straight, steps):
    """Every write of a checkpoint takes its time: training goes on beside it and changes nothing that is not yet
    written."""
    cwd = rows.new_folder("slow-disk")
    slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", "inject=pwrite64:delay_enter=4000"]
    done = subprocess.run(slow + command(words), cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    rows.row(done.returncode == 0, "slow disk", said(done))
    for k in range(1, steps):
        files = differing(step_folder(cwd, k), step_folder(straight, k))
        if files:
            rows.row(False, "slow disk: checkpoint of step %d" % k, "files that differ: %s" % files)
    same_end("slow disk: all checkpoints as on a fast one", cwd, straight, steps)


def fewer_steps(config):
    """Stopped by a smaller `steps`, which is a key that may change; on 2 ranks."""
    words = ["train", config, "layout.ep=2", "lr_scheduler_type=constant"]
    straight, cwd = rows.new_folder("straight-2"), rows.new_folder("raised")
    dsv2(words + ["steps=9"], 2, straight)
    for steps in (4, 9):
        done = dsv2(words + ["steps=%d" % steps], 2, cwd)
    rows.row("steps 4 -> 9" in done.stdout, "a key that may change is told", said(done))
    same_end("4 steps, then 9, on 2 ranks", cwd, straight, 9)


def half_precision(config):
    """The masters of bf16 weights are saved too."""
    words = ["train", config, "layout.ep=2", "dtype=bf16", "steps=6", "save_steps=3"]
    straight = rows.new_folder("bf16")
    dsv2(words, 2, straight)
    cwd = begin_at("bf16-stopped", straight, [3])
    done = dsv2(words, 2, cwd)
    rows.row(done.returncode == 0, "bf16 goes on after step 3", said(done))
    same_end("bf16: as if never stopped", cwd, straight, 6)


def members(session):
    """Processes of a session: the job that this script started in it, and nobody else."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open("/proc/%s/stat" % name) as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if fields[3] == str(session) and fields[0] != "Z":
            found.append(int(name))
    return found


def start(words, ranks, cwd):
    return subprocess.Popen(command(words, ranks), cwd=cwd, env=ENV, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)


def kill_all(job):
    """SIGKILL to every process of the job, as when its machine goes down."""
    while members(job.pid):
        for pid in members(job.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.005)
    job.communicate()


def wait_for_steps(job, cwd, least, limit=60):
    """Until the log holds that many steps or the job is over."""
    end = time.time() + limit
    while job.poll() is None and time.time() < end:
        if len(log_of(os.path.join(cwd, "run"))) >= least:
            return
        time.sleep(0.002)


def killed(config, kills=12, steps=60):
    """kill -9 of a whole job on 2 ranks, again and again; what it leaves is what an undisturbed run leaves."""
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))
    dice = random.Random(seed)
    words = ["train", config, "layout.ep=2", "steps=%d" % steps, "save_steps=2", "save_total_limit=100"]
    straight, cwd = rows.new_folder("undisturbed"), rows.new_folder("killed")
    dsv2(words, 2, straight)
    places = []
    for i in range(kills):
        job = start(words, 2, cwd)
        if i % 4 != 3:  # else: while it starts
            wait_for_steps(job, cwd, (i + 1) * steps // (kills + 2))
            time.sleep(dice.uniform(0, 0.03))
        else:
            time.sleep(dice.uniform(0.2, 0.8))
        kill_all(job)
        places.append(len(log_of(os.path.join(cwd, "run"))))
    done = dsv2(words, 2, cwd)
    rows.row(done.returncode == 0, "%d kills (SEED=%d)" % (kills, seed), "after steps %s; %s" % (places, said(done)))
    same_end("as if never killed", cwd, straight, steps)
    left = [name for name in os.listdir(checkpoints(cwd)) if not re.fullmatch(r"step-\d{8}|LATEST", name)]
    rows.row(not left, "nothing half-written is left", str(left))


def other_ranks(config):
    """A checkpoint of 4 ranks goes on on 4, 2 and 1. Dropping looks at one micro-batch, so its size is said."""
    words = ["train", config, "save_steps=5", "steps=12", "save_total_limit=100", "micro_batch_size=2"]
    four = rows.new_folder("four-ranks")
    dsv2(words + ["layout.ep=4"], 4, four)
    base = log_of(os.path.join(four, "run"))
    for ranks, ep in ((4, 4), (4, 2), (2, 2), (2, 1), (1, 1)):
        cwd = begin_at("on-%d-%d" % (ranks, ep), four, [5])
        done = dsv2(words + ["layout.ep=%d" % ep], ranks, cwd)
        gap = worst(log_of(os.path.join(cwd, "run")), base)
        told = ep == 4 or "layout.ep 4 -> %d" % ep in done.stdout
        rows.row(done.returncode == 0 and gap <= 1e-5 and told, "from 4 ranks to %d, ep %d" % (ranks, ep),
                 "loss %.1e  %s" % (gap, said(done)))


def stopped_by_signal(config, name, number):
    words = ["train", config, "layout.ep=2", "steps=40"]
    straight, cwd = os.path.join(rows.folder, "whole-40"), rows.new_folder(name)
    if not os.path.exists(straight):
        dsv2(words, 2, rows.new_folder("whole-40"))
    job = start(words, 2, cwd)
    wait_for_steps(job, cwd, 10)
    os.kill(job.pid, number)
    job.communicate()
    steps = len(log_of(os.path.join(cwd, "run")))
    saved = os.path.isdir(step_folder(cwd, steps))
    rows.row(job.returncode == EXIT_RETRY and saved, name, "exit %d after step %d" % (job.returncode, steps))
    done = dsv2(words, 2, cwd)
    rows.row(done.returncode == 0, name + ": the same command goes on", said(done))
    same_end(name + ": as if never stopped", cwd, straight, 40)
    return words, cwd


def told_twice(config):
    """A signal to launch.sh and to its whole group, as a terminal, `timeout` and a scheduler send it: one wish, and a
    checkpoint. Several tries, since what comes first is chance."""
    words = ["train", config, "layout.ep=2", "steps=4000", "save_steps=4000"]
    for i in range(4):
        number = (signal.SIGTERM, signal.SIGINT)[i % 2]
        cwd = rows.new_folder("told-twice-%d" % i)
        job = subprocess.Popen([os.path.join(ROOT, "launch/launch.sh")] + command(words, 2), cwd=cwd, env=ENV,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
        wait_for_steps(job, cwd, 10)
        os.kill(job.pid, number)
        os.killpg(job.pid, number)
        told = job.communicate()[1].count("stopping at the next step")
        steps = len(log_of(os.path.join(cwd, "run")))
        rows.row(job.returncode == EXIT_RETRY and os.path.isdir(step_folder(cwd, steps)) and told == 1,
                 "%s to a script and its group" % number.name,
                 "exit %d after step %d, told %d times" % (job.returncode, steps, told))


def in_use(config):
    """A folder that another run writes is neither used nor renamed."""
    words, cwd = ["train", config, "layout.ep=1", "steps=100000", "save_steps=100000"], rows.new_folder("in-use")
    job = start(words, 1, cwd)
    wait_for_steps(job, cwd, 3)
    for more in [], ["--fresh"]:
        done = dsv2(["train", config, "steps=10", *more], 1, cwd)
        rows.row(done.returncode == EXIT_IO and "another run uses" in done.stderr and os.listdir(cwd) == ["run"],
                 "a folder in use %s" % " ".join(more), said(done))
    kill_all(job)


def long_paths(config):
    """A path that does not fit is refused, not shortened."""
    cwd = rows.new_folder("long-paths")
    deep = os.path.join(cwd, *["x" * 200] * 5)
    os.makedirs(deep)
    for word in "output_dir=" + deep, "resume=" + deep:
        done = dsv2(["train", config, "steps=4", word], 1, cwd)
        rows.row(done.returncode == EXIT_USAGE and "shorten it" in done.stderr, "a path too long: %.10s" % word, said(done)[-60:])
    shutil.copytree(os.path.join(ROOT, "tests/fixtures/tiny-lite"), os.path.join(deep, "model"))
    done = dsv2(["generate", os.path.join(deep, "model"), "x"], 1, cwd)
    rows.row(done.returncode == EXIT_USAGE and "shorten it" in done.stderr, "a path too long: MODEL", said(done)[-60:])


def kept_at_the_end(config):
    """A save that is on its way when the run ends by NaN is finished."""
    cwd = rows.new_folder("kept-at-the-end")
    words = ["train", config, "steps=20", "learning_rate=100", "warmup_steps=0", "lr_scheduler_type=constant",
             "save_steps=1"]
    slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", "inject=pwrite64:delay_enter=4000"]
    done = subprocess.run(slow + command(words), cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    steps = len(log_of(os.path.join(cwd, "run")))
    rows.row(done.returncode == EXIT_NUMERIC and os.path.isdir(step_folder(cwd, steps - 1)),
             "the save before a NaN is kept", "%s; after step %d there are %s" % (said(done)[:60], steps,
                                                                                 os.listdir(checkpoints(cwd))))


def finished(config, words, cwd):
    before = sorted(os.listdir(checkpoints(cwd)))
    done = dsv2(words, 2, cwd)
    rows.row(done.returncode == 0 and "steps were taken before" in done.stdout and
             before == sorted(os.listdir(checkpoints(cwd))), "a finished run says so", said(done))
    done = dsv2(words + ["sequence_length=32"], 2, cwd)
    rows.row(done.returncode == EXIT_USAGE and "sequence_length" in done.stderr, "a fixed key is refused", said(done))
    done = dsv2(words + ["resume=never"], 2, cwd)
    rows.row(done.returncode == EXIT_USAGE and "--fresh" in done.stderr, "resume=never", said(done))
    done = dsv2(["train", config, "steps=4", "--fresh"], 2, cwd)
    renamed = os.path.join(cwd, "run.old-1")
    rows.row(done.returncode == 0 and before == sorted(os.listdir(os.path.join(renamed, "checkpoints"))) and
             [x["step"] for x in log_of(os.path.join(cwd, "run"))] == [1, 2, 3, 4], "--fresh renames", said(done))


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at, 2 if at < 0 else 0)
        byte = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([byte[0] ^ 1]))


def damage(folder, kind):
    path = os.path.join(folder, "rank-00000.h5")
    if kind == "a flipped bit":
        flip(path, os.path.getsize(path) // 2)
    elif kind == "a file cut short":
        os.truncate(path, os.path.getsize(path) - 1)
    elif kind == "a file missing":
        os.remove(path)
    elif kind == "a manifest flipped":
        flip(os.path.join(folder, "MANIFEST"), -20)
    else:
        os.remove(os.path.join(folder, "MANIFEST"))


def damaged(words, straight, steps):
    kinds = ["a flipped bit", "a file cut short", "a file missing", "a manifest flipped", "no manifest"]
    for kind in kinds:
        cwd = begin_at(kind.replace(" ", "-"), straight, [4, 6])
        damage(step_folder(cwd, 6), kind)
        done = dsv2(words, 1, cwd)
        told = "step-00000006" in done.stderr and "resume" in done.stdout and "step-00000004" in done.stdout
        rows.row(done.returncode == 0 and told, "newest damaged: %s" % kind,
                 next((line for line in done.stderr.splitlines() if "step-" in line), "nothing said")[-150:])
        same_end("newest damaged: %s: the same end" % kind, cwd, straight, steps)
    cwd = begin_at("all-damaged", straight, [4, 6])
    for step, kind in ((4, kinds[0]), (6, kinds[1])):
        damage(step_folder(cwd, step), kind)
    done = dsv2(words, 1, cwd)
    rows.row(done.returncode == EXIT_INPUT and not os.path.exists(step_folder(cwd, steps)), "all damaged", said(done))


def full_disk(config):
    """No checkpoint can be written any more: the run goes on, and says at its end that it has not done its work."""
    cwd = rows.new_folder("full-disk")
    words = ["train", config, "steps=6", "save_steps=3"]
    dsv2(["prepare"] + words[1:], 1, cwd)
    full = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC"]
    for step in 3, 6:
        full += ["-P", os.path.join(checkpoints(cwd), ".tmp-%08d/rank-00000.h5" % step)]
    done = subprocess.run(full + command(words), cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    steps = len(log_of(os.path.join(cwd, "run")))
    rows.row(done.returncode == EXIT_IO and steps == 6 and "goes on from the newest checkpoint" in done.stderr and
             done.stdout.count("No space left") == 2, "full disk", said(done))
    left = os.listdir(checkpoints(cwd))
    rows.row(not [name for name in left if name.startswith("step-")], "full disk: no checkpoint is pretended", str(left))
    done = dsv2(words, 1, cwd)
    rows.row(done.returncode == 0 and os.path.isdir(step_folder(cwd, 6)), "full disk: room again", said(done))


def broken_save(config):
    """A call fails while a checkpoint is saved: that one is not there, which is said, and the next one is."""
    words, folder = ["train", config, "steps=6", "save_steps=3"], "run/checkpoints/"
    made = rows.new_folder("broken-save")
    dsv2(["prepare"] + words[1:], 1, made)
    saving = folder + ".tmp-00000003"
    for i, (call, path) in enumerate([("mkdir", saving), ("openat", saving + "/rank-00000.h5"), ("openat", saving + "/MANIFEST"),
                                      ("rename", saving), ("rename", folder + "LATEST.tmp")]):
        name, says = (("EIO", "Input/output error"), ("ENOSPC", "No space left"))[i % 2]
        cwd = os.path.join(rows.folder, "broken-%d" % i)
        shutil.copytree(made, cwd)
        bad = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-P", path, "-e", "trace=" + call, "-e",
               "inject=%s:error=%s:when=1" % (call, name)]
        done = subprocess.run(bad + command(words), cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        left, what = sorted(os.listdir(checkpoints(cwd))), "%s of %s: %s" % (call, os.path.basename(path), name)
        first = ["step-00000003"] if "LATEST" in path else []  # whole, and found without LATEST
        rows.row(done.returncode == 0 and left == ["LATEST", *first, "step-00000006"] and
                 re.search("not saved .*%s.*training goes on" % says, done.stdout), what, "%s; %s" % (said(done), left))
        whole = [dsv2(["verify", step_folder(cwd, step)], 1, cwd).returncode for step in ([3] if first else []) + [6]]
        rows.row(not any(whole), what + ": what is there is whole")


def broken_at_the_start(config):
    """ftruncate gives token shards their size; without it there is no set, and the same command makes it."""
    for name, says in ("EIO", "Input/output error"), ("ENOSPC", "No space left"):
        cwd = rows.new_folder("ftruncate-" + name)
        words = ["train", config, "steps=4"]
        bad = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=ftruncate", "-e", "inject=ftruncate:error=" + name]
        done = subprocess.run(bad + command(words), cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        rows.row(done.returncode == EXIT_IO and says in done.stderr and not os.path.exists(checkpoints(cwd)),
                 "ftruncate of a shard: %s" % name, said(done))
        done = dsv2(words, 1, cwd)
        rows.row(done.returncode == 0, "ftruncate of a shard: %s, then the same command" % name, said(done))
    full = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fallocate", "-e", "inject=fallocate:error=ENOSPC:when=1"]
    done = subprocess.run(full + command(words), cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    rows.row(done.returncode == EXIT_IO and "journal: No space left" in done.stderr, "/dev/shm is full", said(done))


def full_at_the_start(config):
    """config.yaml cannot be written: the disk is the reason, and nothing half-made stays."""
    cwd = rows.new_folder("full-at-the-start")
    words = ["train", config, "steps=6"]
    full = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", os.path.join(cwd, "run/.config.yaml.tmp"), "-e",
            "trace=write,pwrite64", "-e", "inject=write,pwrite64:error=ENOSPC"]
    done = subprocess.run(full + command(words), cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    left = [name for name in os.listdir(os.path.join(cwd, "run")) if "config.yaml" in name]
    rows.row(done.returncode == EXIT_IO and "No space left" in done.stderr and not left, "full disk at the start",
             "%s; left: %s" % (said(done), left))


def says_what_goes_on(config):
    """The command that goes on is not always the same one."""
    words = ["train", config, "layout.ep=1", "steps=4000", "save_steps=4000"]
    for i, (more, says) in enumerate([([], "; the same command goes on"), (["--fresh"], "without --fresh goes on"),
                                      (["resume=never"], "with resume=auto goes on"),
                                      (["--fresh", "resume=never"], "without --fresh and with resume=auto goes on")]):
        cwd = rows.new_folder("says-%d" % i)
        job = subprocess.Popen(command(words + more), cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
        wait_for_steps(job, cwd, 3)
        job.send_signal(signal.SIGTERM)
        told = job.communicate()[0]
        rows.row(job.returncode == EXIT_RETRY and says in told, "stopped, said: %s" % says,
                 next((line for line in told.splitlines() if "stopped" in line), "nothing said"))


def stopped_in_evaluation(config):
    """A signal while the validation text is read: the evaluation is given up and the stop is not late."""
    cwd = rows.new_folder("in-evaluation")
    words = ["train", config, "layout.ep=2", "steps=40", "eval_steps=1", "data.text.validation=0.5", "sequence_length=1",
             "global_batch_size=2", "micro_batch_size=1"]
    job = start(words, 2, cwd)
    wait_for_steps(job, cwd, 1)
    time.sleep(0.1)
    os.kill(job.pid, signal.SIGUSR1)
    job.communicate()
    with open(os.path.join(cwd, "run/log.jsonl")) as f:
        log = f.read()
    steps = len(log_of(os.path.join(cwd, "run")))
    rows.row(job.returncode == EXIT_RETRY and steps <= 2 and "eval_loss" not in log, "SIGUSR1 in an evaluation",
             "exit %d after step %d" % (job.returncode, steps))
    rows.row(os.path.isdir(step_folder(cwd, steps)), "SIGUSR1 in an evaluation: saved")


def stopped_in_answers():
    """A signal while the last answers are generated: what they were cut down to is no result."""
    cwd = rows.new_folder("in-answers")
    words = ["train", rows.config("eval: {hay: {format: needle}}\n"), "steps=1", "warmup_steps=0", "sequence_length=120",
             "eval_needles=200"]
    job = start(words, 1, cwd)
    wait_for_steps(job, cwd, 1)
    time.sleep(0.3)
    job.send_signal(signal.SIGUSR1)
    job.communicate()
    rows.row(job.returncode == EXIT_RETRY and len(results(cwd)) == 1, "SIGUSR1 while answers are generated",
             "exit %d, %d lines" % (job.returncode, len(results(cwd))))


def results(cwd):
    """All of the log but what the clock says: steps and evaluations in order."""
    return [(line["step"], line.get("loss"), line.get("eval_loss")) for line in lines_of(os.path.join(cwd, "run"))]


def number_of(path):
    """What tells a file from another one of that name; None: there is none."""
    return os.stat(path).st_ino if os.path.exists(path) else None


def evaluations_made_up(config):
    """Stopped in the first evaluation, in the last one, and in making up for it: in the end none is missing, and what
    has nothing new saves nothing."""
    words = ["train", config, "layout.ep=2", "steps=2", "warmup_steps=0", "eval_steps=1", "data.text.validation=0.5",
             "eval_tokens=8000", "sequence_length=4", "global_batch_size=2", "micro_batch_size=1"]
    straight, cwd = rows.new_folder("evaluated"), rows.new_folder("evaluations-stopped")
    dsv2(words, 2, straight)
    for step, what in (1, "the first"), (2, "the last"), (2, "the last, made up for"):
        log, saved = os.path.join(cwd, "run/log.jsonl"), os.path.join(step_folder(cwd, step), "MANIFEST")
        old, before = number_of(log), number_of(saved)
        job = start(words, 2, cwd)
        while job.poll() is None and (number_of(log) == old or len(results(cwd)) < 2 * step - 1):
            time.sleep(0.002)  # until the log was cut back, which makes a new file, and has the step
        time.sleep(0.1)
        job.send_signal(signal.SIGUSR1)
        job.communicate()
        ok = job.returncode == EXIT_RETRY and results(cwd) == results(straight)[:2 * step - 1]
        rows.row(ok and before in (None, number_of(saved)), "SIGUSR1 in an evaluation: %s" % what,
                 "exit %d: %s" % (job.returncode, results(cwd)))
    for again in "", ", once and no more":
        done = dsv2(words, 2, cwd)
        rows.row(done.returncode == 0 and len(results(cwd)) == 4 and results(cwd) == results(straight),
                 "evaluations that were stopped are made up for" + again, said(done))


def different_views(config):
    """Ranks that do not see the same folder: rank 0 chooses, and nobody starts from something else."""
    words = ["train", config, "layout.ep=2", "save_steps=4", "save_total_limit=100", "lr_scheduler_type=constant"]
    one, other = rows.new_folder("view-one"), rows.new_folder("view-other")
    dsv2(words + ["steps=8"], 2, one)
    dsv2(words + ["steps=4", "learning_rate=2e-3"], 2, other)
    stay = '[[ $OMPI_COMM_WORLD_RANK == 0 ]] || cd "$1"; shift; exec "$@"'
    for i, (what, mine, theirs, code, says) in enumerate([
            ("rank 1 sees a later one", (one, [4]), (one, [4, 8]), EXIT_IO, "rank 1: run/checkpoints/.tmp-00000008"),
            ("rank 1 lacks the newest", (one, [4, 8]), (one, [4]), EXIT_INPUT, "rank 1: run/checkpoints/step-00000008"),
            ("rank 1 sees another run's", (one, [4]), (other, [4]), EXIT_INPUT,
             "rank 1: run/checkpoints/step-00000004: is another checkpoint here than on rank 0")]):
        views = [begin_at("view-%d-%d" % (i, r), *view, keep_log=False) for r, view in enumerate((mine, theirs))]
        for view in views:
            shutil.copytree(os.path.join(one, "run/data"), os.path.join(view, "run/data"))
        done = subprocess.run(["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", "bash", "-c", stay, "_", views[1]] +
                              command(words + ["steps=9"]), cwd=views[0], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                              env={**ENV, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})
        steps = [x["step"] for x in log_of(os.path.join(views[0], "run"))]
        told = next((line for line in done.stdout.splitlines() + done.stderr.splitlines() if says in line), "")
        rows.row(done.returncode == code and told and steps == ([5, 6, 7, 8, 9] if code == EXIT_IO else []), what,
                 "exit %d, steps %s: %s" % (done.returncode, steps, told[:90]))


def skipped_in_a_row(config):
    """The count of passed-over steps survives a stop: 3 are allowed in all, not 3 after each start."""
    cwd = rows.new_folder("skipped-in-a-row")
    words = ["train", config, "learning_rate=100", "warmup_steps=0", "lr_scheduler_type=constant", "skip_nonfinite=3",
             "save_steps=1"]
    straight = dsv2(words + ["steps=20"], 1, rows.new_folder("skipped-straight"))
    last = len(log_of(os.path.join(rows.folder, "skipped-straight", "run")))
    first = dsv2(words + ["steps=%d" % (last - 2)], 1, cwd)
    done = dsv2(words + ["steps=20"], 1, cwd)
    steps = len(log_of(os.path.join(cwd, "run")))
    rows.row([x.returncode for x in (straight, first, done)] == [EXIT_NUMERIC, 0, EXIT_NUMERIC] and steps == last,
             "skipped steps are counted across a stop", "%d steps, %d without a stop" % (steps, last))
    rows.row("-nan" not in straight.stdout + straight.stderr, "NaN has no sign")


def numeric(config):
    """Weights blown up by an absurd learning rate: each step is skipped, then the run gives up."""
    for ranks, ep in ((1, 1), (4, 4)):
        for skip in (0, 3):
            cwd = rows.new_folder("nan-%d-%d" % (ranks, skip))
            done = dsv2(["train", config, "layout.ep=%d" % ep, "steps=20", "learning_rate=100", "warmup_steps=0",
                         "lr_scheduler_type=constant", "skip_nonfinite=%d" % skip, "save_steps=1"], ranks, cwd)
            log = log_of(os.path.join(cwd, "run"))
            bad = [x["step"] for x in log if x["loss"] is None or x["grad_norm"] is None]
            ok = (done.returncode == EXIT_NUMERIC and len(bad) == skip + 1 and log[-1]["skipped"] == skip + 1 and
                  "data" in done.stderr)
            rows.row(ok, "NaN on %d ranks, skip_nonfinite %d" % (ranks, skip), "steps %s; %s" % (bad, said(done)))


def other_words(config):
    """Text or tokenizer changed under a run: refused by name; the same words under other names are the same."""
    cwd = rows.new_folder("other-words")
    text, tokenizer = os.path.join(cwd, "words.txt"), os.path.join(cwd, "own")
    with open(text, "w") as f:
        f.writelines("It was line %d of a text that nobody wrote.\n" % i for i in range(1000))
    for name in ("john", "genesis"):
        dsv2(["train-tokenizer", os.path.join(ROOT, "data/sample", name + ".txt"), "-o", tokenizer + "-" + name,
              "vocab_size=300"], 1, cwd)
    shutil.copytree(tokenizer + "-john", tokenizer)
    words = ["train", config, "data.text.path=" + text, "warmup_steps=0", "model.vocab_size=300", "tokenizer=" + tokenizer]

    def goes_on(what, steps, code, says):
        done = dsv2([*words, "steps=%d" % steps], 1, cwd)
        rows.row(done.returncode == code and says in done.stderr + done.stdout, what, said(done))

    goes_on("other words: a run begins", 2, 0, "done")
    shutil.copy(tokenizer + "-genesis/tokenizer.json", tokenizer)
    goes_on("other words: another tokenizer", 4, EXIT_USAGE, "is not the tokenizer that this run began with")
    shutil.copy(tokenizer + "-john/tokenizer.json", tokenizer)
    goes_on("other words: the old tokenizer again", 4, 0, "done")
    with open(text, "a") as f:
        f.write("One more line.\n")
    goes_on("other words: more text", 6, EXIT_USAGE, "data: the text of the mixture is not what this run began with")


def main():
    config = rows.config(BALANCED)
    words, straight = every_step(config, 12)
    slow_disk(words, straight, 12)
    damaged(words, straight, 12)
    fewer_steps(config)
    killed(config)
    other_ranks(config)
    words, cwd = stopped_by_signal(config, "SIGUSR1", signal.SIGUSR1)
    stopped_by_signal(config, "SIGTERM", signal.SIGTERM)
    told_twice(config)
    in_use(config)
    long_paths(config)
    kept_at_the_end(config)
    half_precision(config)
    finished(config, words, cwd)
    numeric(config)
    skipped_in_a_row(config)
    full_disk(config)
    different_views(config)
    other_words(config)
    broken_save(config)
    broken_at_the_start(config)
    full_at_the_start(config)
    says_what_goes_on(config)
    stopped_in_evaluation(config)
    stopped_in_answers()
    evaluations_made_up(config)
    rows.end()


if __name__ == "__main__":
    main()
