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


def bound_of(ep, top_k=3, groups=2):
    """min(num_experts_per_tok, ep, topk_group x ranks a group lies on) of the small model."""
    return min(top_k, ep, groups * -(-ep // 4))


def compare(what, log, base, keys=("loss", "grad_norm")):
    """A row: the losses and gradient norms of two logs, and what depends on routing alone."""
    if not log or not base:
        return
    gaps = {key: worst(log, base, key) for key in keys}
    ok = gaps["loss"] <= LIMIT and all(g <= 100 * LIMIT for g in gaps.values())
    rows.row(ok, what, "  ".join("%s %.1e" % item for item in gaps.items()))


def layouts_agree(name, config, micros):
    """All layouts, small and large buffers, against one rank: dropping looks at one micro-batch, so each size of it
    has its own results. Returns the log of the last size on one rank."""
    for micro in micros:
        base = None
        for (ranks, ep), factor in itertools.product(LAYOUTS, (1000, 0.25)):
            title = "%s, micro %d, %d ranks, ep %d, capacity %g" % (name, micro, ranks, ep, factor)
            log = train(title.replace(" ", "-"), config, ranks, ep, "micro_batch_size=%d" % micro,
                        "layout.expert_capacity_factor=%g" % factor)
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
    return base


BALANCED = "balance: {device_loss_alpha: 0.02, communication_loss_alpha: 0.02, token_dropping: true}\n"

# Losses of the first run above; other processors round otherwise.
GOLDEN = [5.56634, 5.37167, 5.10890, 4.81733, 4.59382, 4.46144, 4.29641, 4.18130, 4.07043, 3.90007,
          3.72494, 3.68019, 3.65460, 3.64568, 3.53771, 3.49268, 3.43535, 3.43010, 3.47558, 3.42104]


def golden(log):
    gaps = [abs(x["loss"] - y) / y for x, y in zip(log, GOLDEN)]
    ok = len(log) == len(GOLDEN) and max(gaps) < 1e-4
    rows.row(ok, "20 losses as they have always been", "%.1e" % max(gaps) if ok else str([x["loss"] for x in log]))


def micro_batches(config):
    """Balance losses a sequence and no dropping: no result depends on how a batch is cut or who computes it."""
    base = train("cut-base", config, 1, 1, "micro_batch_size=7")
    for micro, (ranks, ep) in ((1, (1, 1)), (3, (1, 1)), (1, (4, 2)), (3, (4, 4)), (4, (2, 2)), (7, (4, 2))):
        log = train("cut-%d-%d-%d" % (micro, ranks, ep), config, ranks, ep, "micro_batch_size=%d" % micro)
        compare("micro %d on %d ranks, ep %d like 7 on one" % (micro, ranks, ep), log, base)
    base = train("batch-losses", config, 1, 1, "micro_batch_size=3", "model.seq_aux=false")
    log = train("batch-losses-4", config, 4, 4, "micro_batch_size=3", "model.seq_aux=false")
    compare("balance losses a micro-batch, 4 ranks", log, base)
    log = train("idle", config, 4, 2, "micro_batch_size=7", "recompute=block", "layout.expert_capacity_factor=0.1")
    compare("three ranks without sequences, recompute, rounds", log, train("idle-1", config, 1, 1, "micro_batch_size=7"))
    one = ["global_batch_size=1", "micro_batch_size=1"]
    compare("one sequence on 4 ranks", train("one-4", config, 4, 4, *one), train("one-1", config, 1, 1, *one))


# Small weights and nothing that keeps the load even: all tokens of a layer go to the same experts, the others get
# none (max/mean is at its highest, experts / experts a token).
SKEWED = ["model.routed_scaling_factor=16", "model.aux_loss_alpha=0", "balance.device_loss_alpha=0",
          "balance.communication_loss_alpha=0", "learning_rate=1e-2", "model.initializer_range=0.006"]


def skewed(config):
    base = train("skew-1", config, 1, 1, "micro_batch_size=2", *SKEWED)
    worst_load = max((x["max_load"] for x in base), default=0)
    dead = max((x["dead_experts"] for x in base), default=0)
    rows.row(worst_load > 2.6 and dead > 8, "skewed routing is skewed", "max/mean %.2f, %d dead" % (worst_load, dead))
    for ranks, ep, factor in ((2, 2, 0), (4, 4, 0), (4, 4, 1), (4, 2, 0.5)):
        log = train("skew-%d-%d-%g" % (ranks, ep, factor), config, ranks, ep, "micro_batch_size=2",
                    "layout.expert_capacity_factor=%g" % factor, *SKEWED)
        compare("skewed, %d ranks, ep %d, capacity %g" % (ranks, ep, factor), log, base)


def same_bits(config):
    for ranks, ep, keys in ((1, 1, []), (2, 2, []), (4, 2, ["layout.expert_capacity_factor=0.25", "recompute=block"]),
                            (2, 2, ["dtype=bf16"])):
        name = "bits-%d-%d-%s" % (ranks, ep, len(keys))
        folders = [rows.new_folder("%s-%s" % (name, i)) for i in "ab"]
        done = [dsv2(["train", config, "layout.ep=%d" % ep, "steps=8", *keys], ranks, cwd) for cwd in folders]
        files = differing(*[os.path.join(cwd, "run/checkpoints") for cwd in folders])
        ok = not files and all(d.returncode == 0 for d in done)
        rows.row(ok, "twice the same bits, %d ranks, ep %d %s" % (ranks, ep, " ".join(keys)),
                 "files that differ: %s" % (files or "none"))


def small_things(config):
    """A communication loss without groups of routing is trained, so it is logged; made-up tokens take any vocabulary."""
    log = train("groups-of-balance", config, 2, 2, "model.n_group=1", "model.topk_group=1", "model.topk_method=greedy",
                "balance.balance_groups=4", "balance.communication_loss_alpha=0.5")
    rows.row(bool(log) and all(x["balance_communication"] for x in log), "communication loss of balance groups is logged")
    log = train("few-words", config, 1, 1, "synthetic_data=true", "mix=null", "data=null", "model.vocab_size=50")
    rows.row(bool(log), "synthetic data with a vocabulary of 50")


def main():
    plain = rows.config(BALANCED.replace(", token_dropping: true", ""))
    dropping = rows.config(BALANCED)
    verify_all()
    golden(layouts_agree("dropping", dropping, (1, 2)))
    micro_batches(plain)
    skewed(plain)
    same_bits(dropping)
    small_things(plain)
    rows.end()


if __name__ == "__main__":
    main()
