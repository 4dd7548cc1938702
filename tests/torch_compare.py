#!/usr/bin/env python3
"""Models of the DeepSeek-V2 family with odd and random shapes: PyTorch in float64 beside `dsv2 verify`.

usage: tests/torch_compare.py [-n RANDOM] [--seed S] [--only NAME] [--keep FOLDER] [--dsv2 PROGRAM]

For each of the cases below and RANDOM drawn ones: writes a Hugging Face folder and a reference file (logits, loss,
layer outputs, all gradients; torch_model.py), runs verify on several layouts, and prints the worst relative
differences of ours and of PyTorch's own float32 run. Where transformers is installed and computes what was published,
its logits are compared too. Needs PyTorch and safetensors, in $PYTHON or python3; says so and ends with 0 otherwise."""
import argparse, os, random, re, subprocess, sys, tempfile

if os.environ.get("PYTHON") and not os.environ.get("TORCH_COMPARE_CHILD"):
    os.environ["TORCH_COMPARE_CHILD"] = "1"
    os.execvp(os.environ["PYTHON"], [os.environ["PYTHON"], *sys.argv])
try:
    import torch
    import torch_model as model
except ImportError as error:
    print("skipped: PyTorch is not installed" if error.name == "torch" else f"skipped: {error.name} is not installed")
    sys.exit(0)

BASE = dict(vocab_size=131, hidden_size=48, intermediate_size=72, num_hidden_layers=2, num_attention_heads=3,
            q_lora_rank=None, kv_lora_rank=20, qk_nope_head_dim=14, qk_rope_head_dim=6, v_head_dim=11,
            n_routed_experts=12, n_shared_experts=1, num_experts_per_tok=3, moe_intermediate_size=22,
            first_k_dense_replace=1, moe_layer_freq=1, n_group=1, topk_group=1, topk_method="greedy",
            routed_scaling_factor=1.0, norm_topk_prob=False, rms_norm_eps=1e-6, max_position_embeddings=640)
LIMITED = dict(topk_method="group_limited_greedy", n_group=4, topk_group=2)
KINDS = "logits", "layer", "loss", "grad"


def yarn(factor=40, original=16, **more):
    return {"type": "yarn", "factor": factor, "original_max_position_embeddings": original, **more}


# name: (fields of config.json, what else). What else: new (rope_parameters in place of rope_scaling); shards and dtype
# of the weights; scale of the matrices; batch, length; ignored (share of labels -100); alphas, groups and micro of the
# balance losses (expert, device, communication; a pool has micro sequences where seq_aux is false).
CASES = {
    "plain": ({}, {}),
    "heads-192-128": (dict(qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, kv_lora_rank=64),
                      dict(length=33)),
    "heads-odd": (dict(qk_nope_head_dim=13, kv_lora_rank=19, v_head_dim=7, hidden_size=51), {}),
    "q-lora": (dict(q_lora_rank=17, n_shared_experts=2), dict(batch=5, ignored=0.8)),
    "latent-eps": (dict(q_lora_rank=17, rms_norm_eps=1e-3), dict(scale=0.05)),
    "length-1": (dict(LIMITED), dict(length=1, batch=3)),
    "length-2": (dict(q_lora_rank=9), dict(length=2, batch=1)),
    "length-7": (dict(n_shared_experts=0), dict(length=7, batch=5, ignored=0.5)),
    "length-130": (dict(LIMITED, q_lora_rank=24), dict(length=130, batch=1, shards=3)),
    "length-300": (dict(rope_scaling=yarn(mscale=0.707, mscale_all_dim=0.707)), dict(length=300, batch=1, ignored=0.9)),
    "one-layer": (dict(num_hidden_layers=1, first_k_dense_replace=0), {}),
    "five-layers": (dict(num_hidden_layers=5, first_k_dense_replace=3, q_lora_rank=16), dict(shards=4)),
    "moe-freq": (dict(num_hidden_layers=5, first_k_dense_replace=1, moe_layer_freq=2), {}),
    "moe-freq-0": (dict(num_hidden_layers=3, first_k_dense_replace=0, moe_layer_freq=2), dict(dtype="bf16")),
    "no-shared": (dict(n_shared_experts=0, n_routed_experts=20, num_experts_per_tok=6), {}),
    "top-1": (dict(num_experts_per_tok=1, norm_topk_prob=True, routed_scaling_factor=2.5), {}),
    "top-all": (dict(num_experts_per_tok=12, norm_topk_prob=True, routed_scaling_factor=3.0), {}),
    "normed": (dict(LIMITED, norm_topk_prob=True, routed_scaling_factor=16.0), {}),
    "scaled": (dict(LIMITED, routed_scaling_factor=16.0, n_routed_experts=20, n_group=5, topk_group=3), dict(batch=4)),
    "all-groups": (dict(LIMITED, topk_group=4), {}),
    "all-allowed": (dict(LIMITED, topk_group=2, num_experts_per_tok=6, norm_topk_prob=True), {}),
    "groups-of-1": (dict(LIMITED, n_group=12, topk_group=4), {}),
    "greedy-groups": (dict(n_group=4, topk_group=2), {}),
    "yarn-absent": (dict(rope_scaling=yarn()), dict(length=40)),
    "yarn-equal": (dict(rope_scaling=yarn(mscale=0.707, mscale_all_dim=0.707), q_lora_rank=17),
                   dict(length=40, new=True)),
    "yarn-different": (dict(rope_scaling=yarn(mscale=0.5, mscale_all_dim=0.9)), dict(length=40, dtype="fp16")),
    "yarn-all-dim": (dict(rope_scaling=yarn(mscale_all_dim=0.7)), dict(length=40, new=True)),
    "yarn-betas": (dict(rope_scaling=yarn(7.5, 64, beta_fast=8, beta_slow=2, mscale=1.3, mscale_all_dim=0.0),
                        rope_theta=500.0, qk_rope_head_dim=16), dict(length=70)),
    "yarn-factor-1": (dict(rope_scaling=yarn(1.0, 64, mscale=0.5, mscale_all_dim=0.9)), {}),
    "theta": (dict(rope_theta=1234567.0, qk_rope_head_dim=2), dict(new=True, length=60)),
    "dense": (dict(n_routed_experts=None), dict(dtype="bf16", shards=2)),
    "dense-by-layers": (dict(first_k_dense_replace=3), {}),
    "half": (dict(LIMITED, q_lora_rank=17), dict(dtype="fp16", shards=5)),
    "balance-coarse": (dict(LIMITED), dict(alphas=(0.01, 0.2, 0.3), groups=2)),
    "balance-fine": (dict(LIMITED, num_experts_per_tok=4), dict(alphas=(0.02, 0.1, 0.1), groups=6, batch=3)),
    "balance-greedy": (dict(n_routed_experts=20), dict(alphas=(0.1, 0.05, 0.07), groups=5, batch=3)),
    "balance-pool": (dict(LIMITED, seq_aux=False), dict(alphas=(0.1, 0.2, 0.3), groups=4, batch=5, micro=2)),
}


def random_case(r):
    """Any of the above, mixed."""
    n_group = r.choice([1, 2, 4, 5, 6])
    experts, topk_group, limited = n_group * r.choice([2, 3, 4]), r.randint(1, n_group), r.random() < 0.6
    c = dict(q_lora_rank=r.choice([None, 7, 24]), kv_lora_rank=r.choice([5, 16, 24, 40]),
             num_attention_heads=r.choice([1, 2, 5]), hidden_size=r.choice([24, 40, 72]),
             vocab_size=r.choice([30, 258, 511]), qk_nope_head_dim=r.choice([3, 8, 16, 24]),
             qk_rope_head_dim=r.choice([2, 8, 14]), v_head_dim=r.choice([5, 16, 33]), num_hidden_layers=r.randint(1, 4),
             first_k_dense_replace=r.randint(0, 2), moe_layer_freq=r.choice([1, 1, 2]), n_routed_experts=experts,
             n_shared_experts=r.choice([0, 1, 2]), moe_intermediate_size=r.choice([9, 32]), n_group=n_group,
             topk_group=topk_group, topk_method="group_limited_greedy" if limited else "greedy",
             num_experts_per_tok=r.randint(1, min(6, topk_group * experts // n_group if limited else experts)),
             norm_topk_prob=r.random() < 0.4, routed_scaling_factor=r.choice([1.0, 2.5, 16.0]),
             rms_norm_eps=r.choice([1e-6, 1e-5, 1e-3]), rope_theta=r.choice([10000.0, 100.0]))
    if r.random() < 0.5:
        marks = {k: r.choice([0.5, 0.707, 1.0]) for k in ("mscale", "mscale_all_dim") if r.random() < 0.7}
        c["rope_scaling"] = yarn(r.choice([4, 40]), r.choice([8, 32]), **marks)
    return c, dict(batch=r.randint(1, 5), length=r.choice([3, 17, 50]), ignored=r.choice([0, 0.3, 0.9]),
                   new=r.random() < 0.5, dtype=r.choice(["fp32", "bf16", "fp16"]), shards=r.choice([1, 1, 2, 4]))


def make(folder, c, o, seed):
    """Writes the model and its reference; returns PyTorch's own float32 differences and the reference logits."""
    os.makedirs(folder, exist_ok=True)
    for attempt in range(500):  # a near tie of a router may fall either way in float32: draw again
        g = torch.Generator().manual_seed(1000 * seed + attempt)
        weights = model.make_weights(c, g, o)
        ids = torch.randint(0, c["vocab_size"], (o.get("batch", 2), o.get("length", 24)), generator=g)
        labels = model.make_labels(ids, g, o.get("ignored", 0.2))
        ref, gap = model.compute(c, weights, ids, labels, o, torch.float64)
        if gap > 1e-4: break
    else:
        sys.exit(f"{folder}: every draw has a near tie of a router")
    own, _ = model.compute(c, weights, ids, labels, o, torch.float32)
    model.write_config(folder, c, o)
    model.write_weights(folder, weights, o.get("shards", 1))
    model.write_reference(folder, ids, labels, ref)
    return {n: ((own[n].double() - t).norm() / max(t.norm().item(), 1e-300)).item() for n, t in ref.items()}, ids, ref


def in_transformers(c):
    """Whether it takes such a model, and computes what was published."""
    y = c.get("rope_scaling") or {}
    both = "mscale" in y and y.get("mscale_all_dim")
    neither = (y.get("mscale", 1), y.get("mscale_all_dim", 0)) == (1, 0)
    if not both and not neither: return False  # one mark alone is taken as if there were none
    if (c["norm_topk_prob"] and c["num_experts_per_tok"] > 1) or c["moe_layer_freq"] > 1: return False  # ignored
    odd = c["qk_nope_head_dim"] % 2 or c["kv_lora_rank"] % 2  # it views rows as complex numbers
    return not odd and c["n_routed_experts"] and c["hidden_size"] % c["num_attention_heads"] == 0


def compare_transformers(folder, c, ids, logits):
    """Relative difference of its logits, or None."""
    if not in_transformers(c): return None
    try:
        import transformers
    except ImportError:
        return None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    plain = dict(dtype=torch.float32, attn_implementation="eager", experts_implementation="eager")
    with torch.no_grad():
        own = transformers.AutoModelForCausalLM.from_pretrained(folder, **plain)(ids).logits
    return ((own.double() - logits).norm() / logits.norm()).item()


def layouts(c, o):
    """What to run: (ranks, keys)."""
    E, batch = c["n_routed_experts"] or 1, o.get("batch", 2)
    ep = lambda ranks: max(d for d in range(1, ranks + 1) if ranks % d == 0 and E % d == 0)
    yield 1, []
    yield 2, ["layout.ep=1", "recompute=block"]
    if batch > 1 and "micro" not in o: yield 1, ["micro_batch_size=1", "backend=ref"]
    if ep(2) > 1: yield 2, ["layout.ep=2", "layout.expert_capacity_factor=0.3"]
    yield 4, [f"layout.ep={ep(4)}"]


def balance_keys(c, o):
    if "alphas" not in o: return []
    names = "model.aux_loss_alpha", "balance.device_loss_alpha", "balance.communication_loss_alpha"
    keys = [f"{n}={a}" for n, a in zip(names, o["alphas"])] + [f"balance.balance_groups={o['groups']}"]
    return keys + ([f"micro_batch_size={o['micro']}"] if "micro" in o else [])


def verify(program, folder, ranks, keys, own):
    """Differences by tensor, and what is wrong. What PyTorch's float32 misses by as much is not."""
    command = [program, *(["-n", str(ranks)] if ranks > 1 else []), "verify", folder, f"{folder}/reference.safetensors"]
    command += keys
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    rows = re.findall(r"^(\S+) +(\S+) +\S+ +\S+ +\S+ (PASS|FAIL.*)$", run.stdout, re.M)
    missed = lambda n, d, mark: mark != "PASS" and (mark != "FAIL" or float(d) > 2 * own[n])
    wrong = [" ".join(row) for row in rows if missed(*row)]
    if run.returncode not in (0, 70) or len(rows) != len(own):
        wrong += (run.stderr or run.stdout).strip().splitlines()[-3:] + [f"ended with {run.returncode}"]
    return {n: float(d) for n, d, _ in rows}, wrong, " ".join(command)


def kinds(differences):
    return {k: max([d for n, d in differences.items() if n.startswith(k)], default=0) for k in KINDS}


def run_case(name, seed, c, o, root, program):
    c, folder, worst, bad = {**BASE, **c}, f"{root}/{name}", dict.fromkeys(KINDS, 0), []
    own, ids, ref = make(folder, c, o, seed)
    for ranks, keys in layouts(c, o):
        rows, wrong, command = verify(program, folder, ranks, keys + balance_keys(c, o), own)
        worst = {k: max(worst[k], d) for k, d in kinds(rows).items()}
        if wrong: bad.append("\n    ".join(["  " + command] + wrong[:6]))
    nat = compare_transformers(folder, c, ids, ref["logits"])
    if nat and nat > 1e-4: bad.append("  the logits of transformers are others")
    cells = [f"{worst[k]:8.1e} ({v:.0e})" for k, v in kinds(own).items()]
    nat = "-" if nat is None else f"{nat:.1e}"
    print(f"{name:16s} {' '.join(cells)}  {nat:>9s}  {'FAIL' if bad else 'PASS'}", flush=True)
    for lines in bad: print(lines)
    return not bad


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-n", type=int, default=4, help="random models besides the listed ones")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", help="cases whose name holds this")
    p.add_argument("--keep", help="folder for the models; without it they are removed")
    p.add_argument("--dsv2", default=os.path.join(os.path.dirname(__file__), "../build/dsv2"))
    args = p.parse_args()
    torch.set_num_threads(2)
    cases = dict(CASES)
    for seed in range(args.seed, args.seed + args.n): cases[f"random-{seed}"] = random_case(random.Random(seed))
    cases = {name: case for name, case in cases.items() if not args.only or args.only in name}
    with tempfile.TemporaryDirectory() as own:
        print("worst relative difference of ours (of PyTorch in float32)")
        print(17 * " " + " ".join(f"{kind:16s}" for kind in KINDS) + "  transformers")
        passed = [run_case(name, args.seed + i, c, o, args.keep or own, args.dsv2)
                  for i, (name, (c, o)) in enumerate(cases.items())]
    print(f"{sum(passed)} of {len(passed)} models pass")
    return 0 if passed and all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
