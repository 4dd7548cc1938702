#!/usr/bin/env python3
"""signals.py - a wish to stop ends every command with 75, from its beginning, and leaves nothing half made."""
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
from runs import ENV, ROOT, Rows, command, log_of  # noqa: E402

FIXTURE = os.path.join(ROOT, "tests/fixtures/tiny-lite")
SAMPLE = os.path.join(ROOT, "data/sample/genesis.txt")
EXIT_DONE, EXIT_RETRY = 0, 75
rows = Rows("signals")


def stopped(job, number, what, limit=60):
    """Sends a signal; a row: the code of the end."""
    job.send_signal(number)
    try:
        says = job.communicate(timeout=limit)[1]
    except subprocess.TimeoutExpired:
        job.kill()
        says = "did not end; " + job.communicate()[1]
    last = (says.strip().splitlines() or ["said nothing"])[-1]
    rows.row(job.returncode == EXIT_RETRY, what, "exit %d: %s" % (job.returncode, last[-80:]))
    return says


def start(words, ranks=1, **more):
    return subprocess.Popen(command(words, ranks), **{"env": ENV, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
                                                      "stderr": subprocess.PIPE, "text": True, **more})


def at_the_start(config):
    """A signal that waits for the process before its first instruction, as a parent can hold it back."""
    out = os.path.join(rows.folder, "early")
    hashes = [FIXTURE, os.path.join(FIXTURE, "reference.safetensors")]
    commands = [["prepare", config, "steps=9"], ["train", config, "steps=9"], ["eval", FIXTURE, SAMPLE],
                ["export", FIXTURE, "-o", out], ["generate", FIXTURE, "a"], ["chat", FIXTURE, "a"], ["tokenize", "bytes"],
                ["import", FIXTURE, "-o", out], ["train-tokenizer", SAMPLE, "-o", out], ["verify", *hashes],
                ["inspect", FIXTURE], ["plan", config, "steps=9"], ["bench", "rmsnorm"], ["doctor"]]
    for i, words in enumerate(commands):
        number = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)[i % 3]

        def hold():
            signal.pthread_sigmask(signal.SIG_BLOCK, [number])
            os.kill(os.getpid(), number)
        done = subprocess.run(command(words), cwd=rows.folder, env=ENV, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, preexec_fn=hold, timeout=60)
        rows.row(done.returncode == EXIT_RETRY and done.stderr == "dsv2: stopped by %s\n" % number.name and
                 not done.stdout, "%s before the start of %s" % (number.name, words[0]), "exit %d" % done.returncode)
    rows.row(not os.path.exists(out), "before the start: nothing is made")


def late_mpirun(name, does):
    """An environment whose mpirun does something first."""
    folder = rows.new_folder(name)
    path = os.path.join(folder, "mpirun")
    with open(path, "w") as f:
        f.write("#!/bin/bash\n" + does)
    os.chmod(path, 0o755)
    return {**ENV, "PATH": folder + ":" + ENV["PATH"]}


def before_the_ranks(config):
    """-n 2: the signal comes when the launcher has begun and no rank has."""
    slow = late_mpirun("slow", "sleep 0.5\nexec %s \"$@\"\n" % shutil.which("mpirun"))
    words = ["train", config, "layout.ep=2", "steps=4000"]
    # bash stands between mpirun and the program with its words
    late = late_mpirun("late", 'exec %s "${@:1:$#-%d}" bash -c \'sleep 0.5; exec "$@"\' _ "${@: -%d}"\n'
                       % (shutil.which("mpirun"), len(words) + 1, len(words) + 1))
    for env, what in (slow, "an mpirun"), (late, "a rank"):
        for number in signal.SIGTERM, signal.SIGUSR1:
            job = start(words, 2, cwd=rows.new_folder("%s-%s" % (what[-4:], number.name)), env=env)
            job.stderr.readline()  # the command that is started
            time.sleep(0.3)
            stopped(job, number, "%s before there is %s" % (number.name, what))
    job = start(words, 2, cwd=rows.new_folder("asked"), env=slow)
    job.stderr.readline()
    job.send_signal(signal.SIGUSR2)
    time.sleep(0.8)
    stopped(job, signal.SIGTERM, "SIGUSR2 before there is a rank ends nothing")
    job = start(words, 2, cwd=rows.new_folder("no-ranks"), env=late_mpirun("never", "exec sleep 60\n"))
    job.stderr.readline()
    job.send_signal(signal.SIGTERM)
    time.sleep(1.2)
    stopped(job, signal.SIGTERM, "ranks that never begin: the second time ends it", 10)


def through_the_script():
    """launch.sh, and a signal before the program's first instruction: it dies of it, which is no other end."""
    job = subprocess.Popen([os.path.join(ROOT, "launch/launch.sh"), "bash", "-c", "kill -TERM $PPID; exec sleep 9"],
                           stderr=subprocess.DEVNULL)
    job.wait(30)
    rows.row(job.returncode == EXIT_RETRY, "launch.sh: USR1 kills what has not begun", "exit %d" % job.returncode)


def open_files(pid):
    folder = "/proc/%d/fd" % pid
    try:
        return [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder)]
    except OSError:
        return []


def stopped_at(words, cwd, file, call):
    """SIGTERM once the program has a file open, whose first such system call takes half a second: code and messages."""
    slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", file, "-P", os.path.relpath(file, cwd), "-e", "trace=" + call,
            "-e", "inject=%s:delay_enter=500000:when=1" % call]
    job = subprocess.Popen(slow + command(words), cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True)
    pid = None
    while job.poll() is None and not (pid and file in open_files(pid)):
        with open("/proc/%d/task/%d/children" % (job.pid, job.pid)) as f:
            pid = next(iter([int(word) for word in f.read().split()]), None)
    if pid:
        os.kill(pid, signal.SIGTERM)
    says = job.communicate(timeout=60)[1]
    return job.returncode, says


def half_made():
    """import and export: while the folder is being filled."""
    for word, file in ("import", "rank-00000.h5"), ("export", "model.safetensors"):
        folder = rows.new_folder(word)
        code, says = stopped_at([word, FIXTURE, "-o", "out"], folder, os.path.join(folder, ".tmp-out", file), "pwrite64")
        left = os.listdir(folder)
        rows.row(code == EXIT_RETRY and not left and "nothing is written" in says, "SIGTERM while %s writes" % word,
                 "exit %d, left: %s" % (code, left))


def hashing():
    """train hashes the checkpoint that it resumes from: there is nothing new to save."""
    cwd, words = rows.new_folder("hashing"), ["train", rows.config(), "save_steps=4", "lr_scheduler_type=constant"]
    subprocess.run(command(words + ["steps=4"]), cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, capture_output=True)
    file = os.path.join(cwd, "run/checkpoints/step-00000004/rank-00000.h5")
    code, says = stopped_at(words + ["steps=8"], cwd, file, "pread64")
    rows.row(code == EXIT_RETRY and "stopped by SIGTERM" in says and len(log_of(os.path.join(cwd, "run"))) == 4,
             "SIGTERM while train hashes a checkpoint", "exit %d: %s" % (code, says.strip()[-60:]))


def in_the_middle():
    """train-tokenizer reads for long; tokenize waits for its input."""
    text, out = os.path.join(rows.folder, "long.txt"), os.path.join(rows.folder, "tokenizer")
    with open(SAMPLE, "rb") as source, open(text, "wb") as to:
        to.write(source.read() * 400)
    job = start(["train-tokenizer", text, "-o", out])
    while job.poll() is None and text not in open_files(job.pid):
        time.sleep(0.001)
    stopped(job, signal.SIGTERM, "SIGTERM while train-tokenizer reads")
    rows.row(not [name for name in os.listdir(rows.folder) if name.startswith("tokenizer")], "train-tokenizer: nothing is left")
    os.remove(text)
    hashing()
    job = start(["tokenize", "bytes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    job.stdin.write('{"text": "a"}\n' * 9)
    job.stdin.flush()
    time.sleep(0.3)
    stopped(job, signal.SIGINT, "SIGINT while tokenize waits for its input")


def main():
    config = rows.config()
    at_the_start(config)
    before_the_ranks(config)
    through_the_script()
    half_made()
    in_the_middle()
    rows.end()


if __name__ == "__main__":
    main()
