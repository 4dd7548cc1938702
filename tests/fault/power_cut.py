#!/usr/bin/env python3
"""What a power cut could leave behind, and whether a run resumes from it: power_cut.py DRIVER WORK_FOLDER

A kill -9 loses nothing that was written, so it cannot show a missing fsync. This can: the save of step 3
is recorded with strace and played onto a model of a disk, on which bytes last only after fsync of their
file, and names only after fsync of their folder; of the rest any part may be there. At many moments such
images are made and loaded. Two controls leave fsyncs out and must lose a save that was acknowledged, or
the model would prove nothing."""
import collections
import concurrent.futures
import os
import random
import re
import shutil
import subprocess
import sys
import time

DRIVER, WORK = [sys.argv[1], "-l", "1"], sys.argv[2] + "/power"
ROOT = WORK + "/run"
CALLS = "openat,mkdir,pwrite64,fallocate,fsync,rename,renameat2,unlink,unlinkat,rmdir,close,write"


class Node:
    """A file (data) or a folder (names); what the disk had before the save."""

    def __init__(self, names=None, data=b""):
        self.is_folder, self.names, self.data = names is not None, names or {}, data


def scan(path):
    if os.path.isdir(path):
        return Node({name: scan(f"{path}/{name}") for name in os.listdir(path)})
    with open(path, "rb") as f:
        return Node(data=f.read())


class Recorder:
    """Turns a strace log into operations on Nodes: (kind, node, ...)."""

    def __init__(self, root):
        self.operations, self.files = [], {}  # files: descriptor -> node
        self.paths = {}  # what the running system shows: path -> node
        self.add_tree(ROOT, root)

    def add_tree(self, path, node):
        self.paths[path] = node
        for name, child in node.names.items():
            self.add_tree(f"{path}/{name}", child)

    def note(self, *operation):
        self.operations.append(operation)

    def link(self, path, node):
        self.paths[path] = node
        self.note("link", self.paths[os.path.dirname(path)], os.path.basename(path), node)

    def forget(self, path):
        del self.paths[path]
        self.note("unlink", self.paths[os.path.dirname(path)], os.path.basename(path))

    def line(self, call, args, result):
        texts = [bytes.fromhex(t.replace("\\x", "")) for t in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', args)]
        numbers = re.sub(r'"[^"]*"(\.\.\.)?', "", args).split(", ")
        handler = getattr(self, "on_" + call, None)
        if handler:
            handler(texts, numbers, result)

    def on_openat(self, texts, numbers, result):
        path = texts[0].decode()
        if path not in self.paths and "O_CREAT" in numbers[2] and path.startswith(ROOT):
            self.link(path, Node())
        if path in self.paths:
            self.files[result] = (path, self.paths[path])

    def on_close(self, _, numbers, __):
        self.files.pop(int(numbers[0]), None)

    def on_mkdir(self, texts, *_):
        self.link(texts[0].decode(), Node({}))

    def on_fallocate(self, _, numbers, __):
        self.note("size", self.files[int(numbers[0])][1], int(numbers[3]))

    def on_pwrite64(self, texts, numbers, result):
        self.note("data", self.files[int(numbers[0])][1], int(numbers[3]), texts[0][:result])

    def on_fsync(self, _, numbers, __):
        self.note("fsync", self.files[int(numbers[0])][1])

    def on_rename(self, texts, *_):
        old, new = (t.decode() for t in texts)
        for path in [p for p in self.paths if p == old or p.startswith(old + "/")]:
            self.paths[new + path[len(old):]] = self.paths.pop(path)
        self.note("rename", self.paths[os.path.dirname(new)], os.path.basename(old), os.path.basename(new), self.paths[new])

    def on_renameat2(self, *_):
        sys.exit("power_cut.py: the model has no exchange of names; the save should not need one here")

    def on_unlink(self, texts, *_):
        self.forget(texts[0].decode())

    def on_unlinkat(self, texts, numbers, _):
        self.forget(f"{self.files[int(numbers[0])][0]}/{texts[0].decode()}")

    on_rmdir = on_unlink

    def on_write(self, texts, numbers, _):
        if numbers[0] == "1" and texts[0].startswith(b"saved 3"):
            self.note("acknowledged", None)


def record(root):
    log = WORK + "/log"
    subprocess.run(["strace", "-f", "-xx", "-s", "100000000", "-o", log, "-e", "trace=" + CALLS, *DRIVER, ROOT, "3"],
                   check=True, stdout=subprocess.DEVNULL)
    recorder = Recorder(root)
    with open(log) as f:
        for line in f:
            m = re.match(r"\d+ +(\w+)\((.*)\) += (\d+)", line)
            if m:
                recorder.line(m[1], m[2], int(m[3]))
            elif "unfinished" in line:
                sys.exit("power_cut.py: two threads used the disk at once; the log cannot be played")
    return recorder.operations


class Disk:
    """What has surely reached the disk, and what is on its way."""

    def __init__(self, root):
        self.data, self.names, self.waiting = {}, {}, []
        self.start(root)

    def start(self, node):
        if node.is_folder:
            self.names[node] = dict(node.names)
            for child in node.names.values():
                self.start(child)
        else:
            self.data[node] = bytearray(node.data)

    def apply(self, operation, torn=None):
        kind, node, *rest = operation
        if kind == "data" or kind == "size":
            data = self.data.setdefault(node, bytearray())
            end = rest[0] if kind == "size" else rest[0] + len(rest[1])
            data.extend(bytes(max(0, end - len(data))))
            if kind == "data":
                part = rest[1] if torn is None else rest[1][:int(len(rest[1]) * torn)]
                data[rest[0]:rest[0] + len(part)] = part
            return
        names = self.names.setdefault(node, {})
        if kind == "unlink":
            names.pop(rest[0], None)
        elif kind == "link":
            names[rest[0]] = rest[1]
        else:
            names.pop(rest[0], None)
            names[rest[1]] = rest[2]

    def sync(self, node):
        for operation in [o for o in self.waiting if o[1] is node]:
            self.apply(operation)
        self.waiting = [o for o in self.waiting if o[1] is not node]


def cut(root, operations, survives):
    """The disk after these operations and a power cut; survives(i, n, operation) decides about what was not synced:
    False, True, or the share of its bytes."""
    disk = Disk(root)
    for operation in operations:
        if operation[0] == "fsync":
            disk.sync(operation[1])
        elif operation[0] != "acknowledged":
            disk.waiting.append(operation)
    for i, operation in enumerate(disk.waiting):
        share = survives(i, len(disk.waiting), operation)
        if share:
            disk.apply(operation, None if share is True else share)
    return disk


def at_random(seed):
    rng = random.Random(seed)
    reordered, until = rng.random() < 0.5, rng.random()
    return lambda i, n, o: (rng.random() < 0.5 if reordered or o[0] == "data" else i < until * n) and (
        rng.choice([True, 0.5]) if o[0] == "data" else True)


VARIANTS = {
    "nothing": lambda i, n, o: False,
    "names, no bytes": lambda i, n, o: o[0] not in ("data", "size"),
    "names and sizes": lambda i, n, o: o[0] != "data",
    "all": lambda i, n, o: True,
    "the last one torn": lambda i, n, o: True if i + 1 < n or o[0] != "data" else 0.5,
    "bytes, no names": lambda i, n, o: o[0] in ("data", "size"),
}


def put(path, node, disk):
    if node.is_folder:
        os.mkdir(path)
        for name, child in disk.names.get(node, {}).items():
            put(f"{path}/{name}", child, disk)
    else:
        with open(path, "wb") as f:
            f.write(disk.data.get(node, b""))


def check_image(root, operations, moment, name, survives):
    """'loaded 2', 'loaded 3', or what is wrong."""
    folder = f"{WORK}/image-{moment}-{name}".replace(" ", "_")
    put(folder, root, cut(root, operations[:moment], survives))
    done = subprocess.run([*DRIVER, folder, "load"], capture_output=True, text=True)
    shutil.rmtree(folder)
    said = done.stdout.strip()
    if done.returncode or said not in ("loaded 2", "loaded 3"):
        return f"BAD after call {moment}, {name}: exit {done.returncode}, {said}"
    if said == "loaded 2" and any(o[0] == "acknowledged" for o in operations[:moment]):
        return f"LOST after call {moment}, {name}: step 3 had been acknowledged"
    return said


def check_images(root, operations, moments, randoms):
    jobs = [(m, name, survives) for m in moments for name, survives in VARIANTS.items()]
    jobs += [(m, f"random {r}", at_random(m * 1000 + r)) for m in moments for r in range(randoms)]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda job: check_image(root, operations, *job), jobs))


def main():
    os.makedirs(WORK)
    subprocess.run([*DRIVER, ROOT, "1", "2"], check=True, stdout=subprocess.DEVNULL)
    root = scan(ROOT)
    operations = record(root)
    start, end = time.time(), len(operations)
    inner = [m for m in range(1, end + 1) if operations[m - 1][0] != "data"]
    writes = [m for m in range(1, end + 1) if operations[m - 1][0] == "data"][::5]
    results = collections.Counter(check_images(root, operations, inner + writes, 12))
    bad = [text for text in results if text.startswith(("BAD", "LOST"))]
    kinds = ", ".join(f"{text} {n}" for text, n in sorted(results.items()) if text not in bad)
    print(f"power cut: {sum(results.values())} points, {len(bad)} bad ({kinds}) {time.time() - start:.1f} s")
    for text in bad[:5]:
        print("   " + text)
    passed = not bad and sum(results.values()) >= 500
    for title, skipped in (("any fsync", lambda node: True), ("fsync of folders", lambda node: node.is_folder)):
        careless = [o for o in operations if o[0] != "fsync" or not skipped(o[1])]
        lost = sum(text.startswith("LOST") for text in check_images(root, careless, [len(careless)], 10))
        print(f"control without {title}: {lost} acknowledged saves lost of 16 images (must be some)")
        passed = passed and lost > 0
    sys.exit(not passed)


main()
