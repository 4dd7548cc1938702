#!/usr/bin/env python3
"""Saves checkpoints while everything goes wrong (RELIABILITY section 2.2): faults.py BUILD_FOLDER

Each sweep starts from a folder with steps 1 and 2, disturbs the save of step 3 at one point, and asks
what a run would then resume from. BUILD_FOLDER holds driver and nth. The last line is the total."""
import collections
import concurrent.futures
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
DRIVER, NTH = BUILD + "/driver", BUILD + "/nth"
WORK = tempfile.mkdtemp(prefix="dsv2-fault-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
WORKERS = len(os.sched_getaffinity(0))
MPIRUN = ["mpirun", "--oversubscribe", "--mca", "odls_base_sigkill_timeout", "0", "--mca", "btl_vader_single_copy_mechanism", "none"]
if os.geteuid() == 0:
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def run(command):
    """Lines that the command printed, and its exit status; a hang is a failure like any other. The call that nth let
    fail comes as a last line "nth: NAME fails"."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
        return done.stdout.split("\n")[:-1] + re.findall("nth: .*", done.stderr), done.returncode
    except subprocess.TimeoutExpired:
        return ["hung"], 124


def short(lines):
    """'saved 3, loaded 3': what happened, without the reasons."""
    return ", ".join(line.split(" warning")[0] if not line.startswith("failed") else "failed" for line in lines)


def fresh(base, name):
    """A copy of the starting folder. Files are linked: the program never changes one in place."""
    folder = f"{WORK}/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder, copy_function=os.link)
    return folder


@functools.cache
def make_base(layers, ranks=1):
    """The starting folder, and the driver's command for its size of model."""
    driver, folder = [DRIVER, "-l", layers], f"{WORK}/base-{layers}-{ranks}"
    lines, code = run([*(MPIRUN + ["-n", ranks] if ranks > 1 else []), *driver, folder, 1, 2, "load"])
    assert code == 0 and short(lines) == "saved 1, saved 2, loaded 2", lines
    return driver, folder


def count(driver, base, what):
    """System calls of a save: all of them, or those that write."""
    lines, _ = run([NTH, "count", what, *driver, fresh(base, "count"), 3])
    return int(lines[-1])


def kill_point(driver, base, n):
    """Killed before call n, then: what is there is whole, it is step 2 or 3, and the next save works."""
    folder = fresh(base, f"kill{n}")
    lines, code = run([NTH, "kill", n, *driver, folder, 3])
    after, status = run([*driver, folder, "load", 4, "load"])
    left = [name for name in os.listdir(folder) if name.startswith((".tmp", ".del"))]
    shutil.rmtree(folder)
    good = {"loaded 2, saved 4, loaded 4", "loaded 3, saved 4, loaded 4"}
    if "saved 3" in lines:
        good.discard("loaded 2, saved 4, loaded 4")
    reached = code == 137 or (code == 99 and "saved 3" in lines)  # the number of calls varies a little with timing
    ok = reached and status == 0 and short(after) in good and not left
    return ok, after[0] if ok else f"call {n}: exit {code}, then {after} {left}"


MUST_TELL = ("pwrite64", "fsync", "fallocate", "rename", "mkdir", "statfs")  # what is lost when these fail cannot be seen here


def error_point(driver, base, kind, n):
    """Call n fails: the program says so, tells the truth about step 3, and goes on to save step 4."""
    folder = fresh(base, f"{kind}{n}")
    lines, code = run([NTH, kind, n, *driver, folder, 3, "load", 4, "load"])
    shutil.rmtree(folder)
    failed = lines.pop().split()[1] if lines[-1].startswith("nth: ") else ""
    good = {"saved 3, loaded 3, saved 4, loaded 4"}
    if kind != "short":
        good |= {"failed, loaded 2, saved 4, loaded 4", "failed, loaded 3, saved 4, loaded 4"}
    told = kind not in ("EIO", "ENOSPC") or failed not in MUST_TELL or "failed" in lines[0] or "warning" in lines[0]
    ok = code == 0 and short(lines) in good and told
    return ok, short(lines[:1]) if ok else f"{kind} at call {n} {failed}: exit {code}, {lines}"


def full_point(driver, base, n):
    """The disk is full from call n on: step 3 fails or was done, 2 or 3 stays, and training goes on."""
    folder = fresh(base, f"full{n}")
    lines, code = run([NTH, "full", n, *driver, folder, 3, "load", 4, "load"])
    lines = [line for line in lines if not line.startswith("nth")]
    again, status = run([*driver, folder, "load", 5, "load"])
    shutil.rmtree(folder)
    good = {"failed, loaded 2, failed, loaded 2", "failed, loaded 3, failed, loaded 3", "saved 3, loaded 3, failed, loaded 3"}
    ok = code == 0 and status == 0 and short(lines) in good and again[-1] == "loaded 5"
    return ok, short(lines[:1]) if ok else f"full from call {n}: exit {code}, {lines}, then {again}"


def mpi_point(driver, base, victim, kind, n):
    """Two ranks, something happens to one of them."""
    folder = fresh(base, f"mpi{victim}{kind}{n}")
    usual, hurt = [*driver, "-e", 2, folder, 3], [NTH, kind, n, *driver, "-e", 2, folder, 3]
    first, second = (hurt, usual) if victim == 0 else (usual, hurt)
    lines, code = run([*MPIRUN, "-n", 1, *first, ":", "-n", 1, *second])
    after, status = run([*driver, folder, "load", 4, "load"])
    shutil.rmtree(folder)
    said = short(line for line in lines if line.startswith(("saved", "failed", "hung")))
    good = {"loaded 2, saved 4, loaded 4", "loaded 3, saved 4, loaded 4"} if said != "saved 3" else {"loaded 3, saved 4, loaded 4"}
    ended = code == 137 if kind == "kill" else code in (0, 99) and said in ("saved 3", "failed")
    ok = (ended or code == 99) and status == 0 and short(after) in good
    return ok, after[0] if ok else f"rank {victim} {kind} at {n}: exit {code}, {lines}, then {after}"


def sweep(title, function, points, workers=WORKERS):
    """Runs all points and prints one line; True when none is bad and there are as many as promised."""
    start, outcomes, bad = time.time(), collections.Counter(), []
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for ok, text in pool.map(lambda point: function(*point), points):
            outcomes[text] += ok
            bad += [] if ok else [text]
    shown = ", ".join(f"{name} {n}" for name, n in sorted(outcomes.items()) if n)
    print(f"{title}: {len(points)} points, {len(bad)} bad ({shown}) {time.time() - start:.1f} s", flush=True)
    for text in bad[:5]:
        print("   " + text)
    return not bad


def at_least(n, points):
    if len(points) < n:
        print(f"only {len(points)} points, {n} are promised")
    return len(points) >= n


def kills():
    driver, base = make_base(4)
    points = [(driver, base, n) for n in range(1, count(driver, base, "all") + 1)]
    return sweep("kill before every system call", kill_point, points) and at_least(400, points)


def errors():
    driver, base = make_base(3)
    calls = count(driver, base, "write")
    kinds = ("EIO", "ENOSPC", "EIO", "short", "ENOSPC", "EINTR")
    points = [(driver, base, kinds[n % 6], n) for n in range(1, calls + 1)]
    points += [(driver, base, kind, n) for n in range(calls - 30, calls + 1) for kind in ("EIO", "ENOSPC")]  # publishing
    return sweep("error at every write", error_point, points) and at_least(200, points)


def spread(calls, n):
    return sorted({1 + i * (calls - 1) // (n - 1) for i in range(n)})


def full_disk():
    driver, base = make_base(2)
    points = [(driver, base, n) for n in spread(count(driver, base, "write"), 30)]
    return sweep("disk full from some write on", full_point, points)


def two_ranks():
    driver, base = make_base(2, ranks=2)
    calls = count(driver, base, "write") // 2
    points = [(driver, base, victim, kind, n) for victim in (0, 1) for kind in ("kill", "ENOSPC") for n in spread(calls, 10)]
    return sweep("one of two ranks", mpi_point, points)


def flipped_bytes():
    start = time.time()
    driver, base = make_base(4)
    lines, code = run([*driver, "-x", 2000, fresh(base, "flips"), 2])
    print(f"flipped bytes: {' '.join(lines)} {time.time() - start:.1f} s", flush=True)
    return code == 0


def power_cut():
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "power_cut.py")
    lines, code = run([sys.executable, script, DRIVER, WORK])
    print("\n".join(lines), flush=True)
    return code == 0


def main():
    names = sys.argv[2:]
    sweeps = [s for s in (kills, errors, full_disk, two_ranks, flipped_bytes, power_cut) if not names or s.__name__ in names]
    start = time.time()
    try:
        passed = sum(bool(s()) for s in sweeps)
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    print(f"{passed} passed, {len(sweeps) - passed} failed ({time.time() - start:.0f} s)")
    sys.exit(passed != len(sweeps))


main()
