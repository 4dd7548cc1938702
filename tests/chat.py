#!/usr/bin/env python3
"""chat.py - `dsv2 chat` as people use it: a question, turns, a file of conversations, a terminal; on any ranks."""
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
from runs import ENV, ROOT, Rows, command, dsv2, said  # noqa: E402

EXIT_USAGE, EXIT_INPUT, EXIT_IO, EXIT_RETRY = 2, 65, 74, 75
FIXTURE = os.path.join(ROOT, "tests/fixtures/tiny-lite")
KEYS = ["temperature=0", "max_new_tokens=8"]


def make_model(rows):
    """The fixture's weights with a tokenizer of its size that was trained here, whose template is recognised."""
    folder = os.path.join(rows.folder, "model")
    done = dsv2(["train-tokenizer", os.path.join(ROOT, "data/sample/john.txt"), "-o", folder, "vocab_size=320"])
    rows.row(done.returncode == 0, "a tokenizer for the fixture", said(done))
    shutil.copy(os.path.join(FIXTURE, "model.safetensors"), folder)
    with open(os.path.join(FIXTURE, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    config["bos_token_id"], config["eos_token_id"] = 315, 316
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    return folder


def run(words, ranks=1, given=""):
    """As dsv2, with something on standard input."""
    return subprocess.run(command(["chat", *words], ranks), env=ENV, input=given, encoding="utf-8", timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def question(rows, model):
    one = run([model, "who?", *KEYS])
    rows.row(one.returncode == 0 and len(one.stdout) > 1 and "max_new_tokens" in one.stderr, "one question", said(one))
    for ranks, ep in (2, 1), (2, 2), (4, 4):
        many = run([model, "who?", *KEYS, "layout.ep=%d" % ep], ranks)
        rows.row(many.returncode == 0 and many.stdout == one.stdout, "%d ranks, ep %d: the same" % (ranks, ep))
    other = run([model, "who?", "--system", "Be kind.", *KEYS])
    rows.row(other.returncode == 0 and other.stdout != one.stdout, "--system changes the answer")
    named = run([model, "who?", *KEYS, "chat_template=deepseek-v2"])
    rows.row(named.stdout == one.stdout, "the template by its name")
    return one.stdout


def turns(rows, model, first):
    typed = "who?\n\nwho?\n/new\nwho?\n/help\n/exit\nnever\n"
    for ranks in 1, 2:
        done = run([model, *KEYS], ranks, typed)
        lines = done.stdout.split(first)
        good = done.returncode == 0 and done.stdout.startswith(first) and done.stdout.endswith(first) and len(lines) == 3
        rows.row(good, "turns on %d ranks; /new forgets, /exit ends" % ranks, said(done))
    done = run([model, *KEYS, "context_length=40"], 2, "who?\nwho?\nwho?\n/new\nwho?")
    full = done.stderr.count("the conversation is full")
    rows.row(done.returncode == 0 and full >= 1 and done.stdout.endswith(first), "a full conversation is said", "%d" % full)
    done = run([model, *KEYS, "context_length=10"], 1, "what about the father and the son?\n")
    rows.row(done.returncode == 0 and "/new begins another" in done.stderr and not done.stdout, "a question that is too long")


def files(rows, model, first):
    path, out = os.path.join(rows.folder, "talks.jsonl"), os.path.join(rows.folder, "answers.jsonl")
    talks = [{"id": 7, "messages": [{"role": "user", "content": "who?"}]},
             {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "who?"},
                           {"role": "assistant", "content": "I."}, {"role": "user", "content": "and <\uff5cend\u2581of"
                                                                    "\u2581sentence\uff5c>?"}]}]
    with open(path, "w", encoding="utf-8-sig") as f:
        f.write("".join(json.dumps(t) + "\n" for t in talks) + "\n")
    results = []
    for ranks in 1, 2:
        done = run([model, "--messages", path, *KEYS], ranks)
        results.append(done.stdout)
        rows.row(done.returncode == 0 and len(done.stdout.splitlines()) == 2, "a file on %d ranks" % ranks, said(done))
    lines = [json.loads(line) for line in results[0].splitlines()]
    rows.row(results[0] == results[1] and [{k: v for k, v in line.items() if k in ("id", "messages")} for line in lines]
             == talks, "lines come back as they were, with answers")
    rows.row(lines[0]["answer"] + "\n" == first and lines[0]["new_tokens"] == 8, "the same answer as to one question")
    done = run([model, "--messages", path, "-o", out, *KEYS])
    with open(out, encoding="utf-8") as f:
        rows.row(done.returncode == 0 and f.read() == results[0], "-o")
    done = run([model, "--messages", path, "-o", os.path.join(rows.folder, "no/folder/x"), *KEYS])
    rows.row(done.returncode == EXIT_IO and "no/folder/x" in done.stderr, "-o to a place that is none", said(done))
    for name, text in ("role", '{"messages":[{"role":"tool","content":"x"}]}'), ("content", '{"messages":[{"role":"user"}]}'), \
            ("no messages", '{"text":"x"}'), ("no JSON", '{"messages":'), ("long", json.dumps(
                {"messages": [{"role": "user", "content": "word " * 500}]})):
        with open(path, "w", encoding="utf-8") as f:
            f.write(json.dumps(talks[0]) + "\n" + text + "\n")
        done = run([model, "--messages", path, *KEYS])
        rows.row(done.returncode == EXIT_INPUT and "talks.jsonl:2: " in done.stderr and not done.stdout,
                 "a bad line: %s" % name, said(done))


def mistakes(rows, model):
    config = os.path.join(model, "tokenizer_config.json")
    cases = [([FIXTURE, "x"], EXIT_INPUT, "set chat_template to"),
             ([model, "x", "chat_template=llama"], EXIT_INPUT, "'llama'"),
             ([model, "x", "chat_template=deepseek-v2.5"], EXIT_INPUT, "needs the token"),
             ([model, "x", "--messages", config], EXIT_USAGE, "give one of"),
             ([model, "--messages", "/nowhere"], EXIT_USAGE, "/nowhere"),
             ([model, "x", "-o", "y"], EXIT_USAGE, "-o goes with"),
             (["/nowhere", "x"], EXIT_USAGE, "/nowhere")]
    for words, code, sentence in cases:
        done = run(words)
        rows.row(done.returncode == code and sentence in done.stderr, "%s" % sentence, said(done))
    with open(config, encoding="utf-8") as f:
        text = json.load(f)
    with open(config, "w", encoding="utf-8") as f:
        json.dump({**text, "chat_template": "{{ messages }}"}, f)
    done = run([model, "x"])
    rows.row(done.returncode == EXIT_INPUT and "tokenizer_config.json" in done.stderr and "chat_template" in done.stderr,
             "a template that is not known", said(done))
    with open(config, "w", encoding="utf-8") as f:
        json.dump(text, f)


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, words, ranks):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(command(words, ranks)[0], command(words, ranks), ENV)
        self.text = ""

    def wait_for(self, words, limit=60):
        end = time.time() + limit
        while words not in self.text and time.time() < end:
            if not select.select([self.fd], [], [], 0.2)[0]:
                continue
            try:
                self.text += os.read(self.fd, 4096).decode(errors="replace")
            except OSError:
                break
        found, self.text = words in self.text, self.text.partition(words)[2]
        return found

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self, limit=60):
        """The exit code; None when it had to be killed."""
        end = time.time() + limit
        while time.time() < end:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    os.read(self.fd, 4096)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return None


def terminal(rows, model, first):
    answer = first.replace("\n", "\r\n")
    for ranks in 1, 2:
        t = Terminal(["chat", model, *KEYS], ranks)
        good = t.wait_for("> ")
        t.type("who?\n")
        good = good and t.wait_for(answer) and t.wait_for("> ")
        t.type("\x04")
        rows.row(good and t.end() == 0, "a terminal on %d ranks: prompt, answer, ctrl-D" % ranks)
        t = Terminal(["chat", model, *KEYS], ranks)
        good = t.wait_for("> ")
        t.type("\x03")
        rows.row(good and t.end() == EXIT_RETRY, "ctrl-C at the prompt on %d ranks" % ranks)


def main():
    rows = Rows("chat")
    model = make_model(rows)
    first = question(rows, model)
    turns(rows, model, first)
    files(rows, model, first)
    mistakes(rows, model)
    terminal(rows, model, first)
    rows.end()


if __name__ == "__main__":
    main()
