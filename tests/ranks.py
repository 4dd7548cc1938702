#!/usr/bin/env python3
"""ranks.py - any layout gives the same training: verify of the fixtures, 20 steps of a small model with all
balance losses and token dropping on, skewed routing, ranks without work, and the same bits twice."""
import itertools
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
from runs import ROOT, Rows, differing, dsv2, log_of, said, worst  # noqa: E402

LAYOUTS = [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)]  # ranks, ep
LIMIT = 1e-5
rows = Rows("ranks")


def verify(fixture, ranks, ep, *keys):
    folder = os.path.join(ROOT, "tests/fixtures", fixture)
    done = dsv2(["verify", folder, os.path.join(folder, "reference.safetensors"), "layout.ep=%d" % ep, *keys], ranks)
    total = re.search(r"^(\d+) of (\d+) tensors pass", done.stdout, re.M)
    ok = done.returncode == 0 and total and total[1] == total[2]
    what = "verify %s, %d ranks, ep %d %s" % (fixture, ranks, ep, " ".join(keys))
    rows.row(ok, what, total[0] if total else said(done))


def verify_all():
    for fixture, (ranks, ep) in itertools.product(["tiny-lite", "tiny-v2", "tiny-lite-yarn"], LAYOUTS):
        verify(fixture, ranks, ep)
    for ranks, ep in LAYOUTS:  # so small that every layer takes several rounds
        verify("tiny-v2", ranks, ep, "layout.expert_capacity_factor=0.3", "recompute=block", "micro_batch_size=1")


def train(name, config, ranks, ep, *keys):
    """20 steps in a folder of their own; the log."""
    cwd = rows.new_folder(name)
    done = dsv2(["train", config, "layout.ep=%d" % ep, "steps=20", *keys], ranks, cwd)
    log = log_of(os.path.join(cwd, "run"))
    if done.returncode or len(log) != 20:
        rows.row(False, name, said(done))
        return []
    return log


def bound_of(ep):
    """min(num_experts_per_tok, ep, topk_group x ranks a group lies on) of the small model."""
    return min(3, ep, 2 * -(-ep // 4))


def compare(what, log, base, keys=("loss", "grad_norm")):
    """A row: the losses and gradient norms of two logs, and what depends on routing alone."""
    if not log or not base:
        return
    gaps = {key: worst(log, base, key) for key in keys}
    ok = gaps["loss"] <= LIMIT and all(g <= 100 * LIMIT for g in gaps.values())
    rows.row(ok, what, "  ".join("%s %.1e" % item for item in gaps.items()))


def layouts_agree(name, config, keys, micros):
    """All layouts, small and large buffers, against one rank; micros: sizes that must each agree with themselves."""
    for micro in micros:
        base = None
        for (ranks, ep), factor in itertools.product(LAYOUTS, (1000, 0.25)):
            title = "%s, micro %d, %d ranks, ep %d, capacity %g" % (name, micro, ranks, ep, factor)
            log = train(title.replace(" ", "-"), config, ranks, ep, "micro_batch_size=%d" % micro,
                        "layout.expert_capacity_factor=%g" % factor, *keys)
            if base is None:
                base = log
                continue
            compare(title, log, base, ("loss", "grad_norm", "balance_expert", "balance_device", "balance_communication"))
            sent = max((x["vectors_sent"] for x in log), default=9)
            rounds = min((x["extra_rounds"] for x in log), default=-1)
            rows.row(sent <= bound_of(ep) and (rounds > 0) == (factor < 1), title + ": sent, rounds",
                     "sent %.3f of %d, rounds beyond the first %d" % (sent, bound_of(ep), rounds))
            rows.row([x["dropped"] for x in log] == [x["dropped"] for x in base], title + ": dropped",
                     str(sum(x["dropped"] for x in log)))


BALANCED = "balance: {device_loss_alpha: 0.02, communication_loss_alpha: 0.02, token_dropping: true}\n"


def main():
    verify_all()
    layouts_agree("dropping", rows.config(BALANCED), [], (1, 2))
    rows.end()


if __name__ == "__main__":
    main()
