"""A model of the DeepSeek-V2 family in plain PyTorch, with the maths of the published remote code, and the files that
`dsv2 verify` reads. Written out here again, because transformers leaves parts of it out (norm_topk_prob,
moe_layer_freq, balance losses). A model is a dictionary `c` of fields of config.json; `o` says what else a case of
torch_compare.py asks for."""
import json, math, torch
from safetensors.torch import save_file


def has_experts(c, layer):
    return bool(c["n_routed_experts"]) and layer >= c["first_k_dense_replace"] and layer % c["moe_layer_freq"] == 0


def shapes(c):
    """Published name -> shape."""
    h, heads, rope, rank = c["hidden_size"], c["num_attention_heads"], c["qk_rope_head_dim"], c["q_lora_rank"]
    q, s = heads * (c["qk_nope_head_dim"] + rope), {"model.embed_tokens": (c["vocab_size"], h), "model.norm": (h,)}
    ffn = lambda at, f: s.update({at + ".gate_proj": (f, h), at + ".up_proj": (f, h), at + ".down_proj": (h, f)})
    for l in range(c["num_hidden_layers"]):
        p, a = f"model.layers.{l}", f"model.layers.{l}.self_attn"
        s.update({p + ".input_layernorm": (h,), p + ".post_attention_layernorm": (h,)})
        s.update({a + ".q_a_proj": (rank, h), a + ".q_a_layernorm": (rank,), a + ".q_b_proj": (q, rank)} if rank
                 else {a + ".q_proj": (q, h)})
        s.update({a + ".kv_a_proj_with_mqa": (c["kv_lora_rank"] + rope, h), a + ".kv_a_layernorm": (c["kv_lora_rank"],),
                  a + ".kv_b_proj": (heads * (c["qk_nope_head_dim"] + c["v_head_dim"]), c["kv_lora_rank"]),
                  a + ".o_proj": (h, heads * c["v_head_dim"])})
        if not has_experts(c, l):
            ffn(p + ".mlp", c["intermediate_size"])
            continue
        s[p + ".mlp.gate"] = (c["n_routed_experts"], h)
        for e in range(c["n_routed_experts"]): ffn(f"{p}.mlp.experts.{e}", c["moe_intermediate_size"])
        if c["n_shared_experts"]: ffn(p + ".mlp.shared_experts", c["n_shared_experts"] * c["moe_intermediate_size"])
    s["lm_head"] = (c["vocab_size"], h)
    return {k + ".weight": v for k, v in s.items()}


def rmsnorm(x, w, eps): return w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))
def magnitude(factor, mscale): return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def rotary(c, length):
    """cos and sin (length, d / 2), and the factor on the softmax scale."""
    d, base, y = c["qk_rope_head_dim"], c.get("rope_theta", 10000.0), c.get("rope_scaling")
    pair = torch.arange(d // 2, dtype=torch.float64)
    w, amplitude, factor = base ** (-2 * pair / d), 1.0, 1.0
    if y:
        original = y["original_max_position_embeddings"]
        corr = lambda turns: d * math.log(original / (2 * math.pi * turns)) / (2 * math.log(base))
        low, high = max(math.floor(corr(y.get("beta_fast", 32))), 0), min(math.ceil(corr(y.get("beta_slow", 1))), d - 1)
        ramp = ((pair - low) / (high - low if high != low else 0.001)).clamp(0, 1)
        w = w * (1 - ramp) + w / y["factor"] * ramp
        all_dim = y.get("mscale_all_dim", 0)
        amplitude = magnitude(y["factor"], y.get("mscale", 1)) / magnitude(y["factor"], all_dim)
        factor = magnitude(y["factor"], all_dim) ** 2 if all_dim else 1.0
    angle = torch.arange(length, dtype=torch.float64)[:, None] * w
    return amplitude * angle.cos(), amplitude * angle.sin(), factor


def turn(x, cos, sin):
    """As published: pairs (2i, 2i + 1) become (i, d/2 + i), then halves rotate. x (B, heads, T, d)."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attention(c, W, p, x):
    B, T, heads = x.shape[0], x.shape[1], c["num_attention_heads"]
    nope, rope, latent = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["kv_lora_rank"]
    w = lambda name: W[f"{p}.self_attn.{name}.weight"]
    if c["q_lora_rank"]: q = rmsnorm(x @ w("q_a_proj").T, w("q_a_layernorm"), 1e-6) @ w("q_b_proj").T
    else: q = x @ w("q_proj").T
    q = q.view(B, T, heads, nope + rope).transpose(1, 2)
    a = x @ w("kv_a_proj_with_mqa").T
    kv = rmsnorm(a[..., :latent], w("kv_a_layernorm"), 1e-6) @ w("kv_b_proj").T
    kv = kv.view(B, T, heads, nope + c["v_head_dim"]).transpose(1, 2)
    cos, sin, factor = rotary(c, T)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    k_rope = turn(a[:, None, :, latent:], cos, sin).expand(-1, heads, -1, -1)
    q, k = torch.cat((q[..., :nope], turn(q[..., nope:], cos, sin)), -1), torch.cat((kv[..., :nope], k_rope), -1)
    score = (q @ k.transpose(2, 3)) * ((nope + rope) ** -0.5 * factor)
    o = score.masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf).softmax(-1) @ kv[..., nope:]
    return o.transpose(1, 2).reshape(B, T, -1) @ w("o_proj").T


def ffn(W, at, x):
    g = x @ W[at + ".gate_proj.weight"].T
    return (g * torch.sigmoid(g) * (x @ W[at + ".up_proj.weight"].T)) @ W[at + ".down_proj.weight"].T


def gap(z, k):
    """How far the last chosen stands from the first not chosen."""
    top = z.detach().sort(-1, descending=True).values
    return math.inf if k >= z.shape[-1] else (top[..., k - 1] - top[..., k]).min().item()


def route(c, W, p, x, seen):
    z = x @ W[p + ".mlp.gate.weight"].T
    E, K, G = c["n_routed_experts"], c["num_experts_per_tok"], c["n_group"]
    prob, allowed, gaps = z.softmax(-1), z, []
    if c["topk_method"] == "group_limited_greedy":
        best = z.view(-1, G, E // G).amax(-1)
        keep = torch.zeros_like(best).scatter_(1, best.topk(c["topk_group"], -1).indices, 1).bool()
        gaps.append(gap(best, c["topk_group"]))
        allowed = z.masked_fill(~keep.repeat_interleave(E // G, 1), -math.inf)
    index = allowed.topk(K, -1).indices
    seen.append((prob, index, min(gaps + [gap(allowed, K)])))
    w = prob.gather(1, index)
    if K > 1 and c["norm_topk_prob"]: return w / (w.sum(-1, keepdim=True) + 1e-20), index
    return w * c["routed_scaling_factor"], index


def experts(c, W, p, x, seen):
    flat = x.reshape(-1, x.shape[-1])
    weight, index = route(c, W, p, flat, seen)
    y = torch.zeros_like(flat)
    for e in range(c["n_routed_experts"]):
        token, slot = (index == e).nonzero(as_tuple=True)
        y = y.index_add(0, token, weight[token, slot, None] * ffn(W, f"{p}.mlp.experts.{e}", flat[token]))
    if c["n_shared_experts"]: y = y + ffn(W, p + ".mlp.shared_experts", flat)
    return y.view_as(x)


def forward(c, W, ids):
    """Logits, the output of each layer, and (probabilities, chosen, gap) of each router."""
    x, outputs, seen, eps = W["model.embed_tokens.weight"][ids], [], [], c["rms_norm_eps"]
    for l in range(c["num_hidden_layers"]):
        p = f"model.layers.{l}"
        x = x + attention(c, W, p, rmsnorm(x, W[p + ".input_layernorm.weight"], eps))
        h = rmsnorm(x, W[p + ".post_attention_layernorm.weight"], eps)
        x = x + (experts(c, W, p, h, seen) if has_experts(c, l) else ffn(W, p + ".mlp", h))
        outputs.append(x)
    return rmsnorm(x, W["model.norm.weight"], eps) @ W["lm_head.weight"].T, outputs, seen


def device_limit(c, groups):
    """M of the communication loss: device groups that a token can reach."""
    if c["topk_method"] != "group_limited_greedy": return min(c["num_experts_per_tok"], groups)
    if groups == c["n_group"]: return c["topk_group"]
    a, b = c["n_routed_experts"] // c["n_group"], c["n_routed_experts"] // groups
    touched = 1 if b % a == 0 else a // b if a % b == 0 else -(-(a - 1) // b) + 1
    return min(c["num_experts_per_tok"], groups, c["topk_group"] * touched)


def balance(c, seen, batch, alphas, groups, micro):
    """Balance losses of all layers, mean over sequences; a pool is a sequence, or a micro-batch."""
    E, K, total = c["n_routed_experts"], c["num_experts_per_tok"], 0.0
    pool = 1 if c.get("seq_aux", True) else micro
    for prob, index, _ in seen:
        hit = torch.zeros_like(prob).scatter_(1, index, 1.0).view(batch, -1, E)
        prob = prob.view(batch, -1, E)
        for s in range(0, batch, pool):
            h, p = hit[s : s + pool].reshape(-1, E), prob[s : s + pool].reshape(-1, E)
            f, P = h.sum(0) * E / (K * len(h)), p.mean(0)
            fd, Pd = f.view(groups, -1).mean(1), P.view(groups, -1).sum(1)
            sent = h.view(len(h), groups, -1).amax(-1).mean(0)
            each = (f * P).sum(), (fd * Pd).sum(), (sent * groups / device_limit(c, groups) * Pd).sum()
            total = total + sum(a * L for a, L in zip(alphas, each)) * len(prob[s : s + pool]) / batch
    return total


# -- files -----------------------------------------------------------------------------------------------------

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def make_weights(c, g, o):
    def one(name, shape):
        x = torch.randn(shape, generator=g, dtype=torch.float64)
        if len(shape) == 1: return 1 + 0.1 * x
        return x * shape[-1] ** -0.5 * (2.0 if "mlp.gate." in name else o.get("scale", 1.0))
    return {n: one(n, s).to(DTYPES[o.get("dtype", "fp32")]) for n, s in shapes(c).items()}


def write_config(folder, c, o):
    c = {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_act": "silu", **c}
    c["num_key_value_heads"] = c["num_attention_heads"]
    if o.get("new"):
        y, theta = c.pop("rope_scaling", None), c.pop("rope_theta", 10000.0)
        y = y or {"type": "default"}
        c["rope_parameters"] = {"rope_theta": theta, **{("rope_type" if k == "type" else k): v for k, v in y.items()}}
    json.dump(c, open(f"{folder}/config.json", "w"), indent=1)


def write_weights(folder, weights, shards):
    if shards == 1: return save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
    file = lambda i: f"model-{i % shards + 1:05d}-of-{shards:06d}.safetensors"
    where = {name: file(i) for i, name in enumerate(weights)}
    for f in set(where.values()): save_file({n: w for n, w in weights.items() if where[n] == f}, f"{folder}/{f}")
    size = sum(w.numel() * w.element_size() for w in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    json.dump(index, open(f"{folder}/model.safetensors.index.json", "w"))


def make_labels(ids, g, share):
    labels = ids.clone()
    labels[torch.rand(ids.shape, generator=g) < share] = -100
    labels[0, -1] = ids[0, -1]  # one at least
    return labels


def compute(c, weights, ids, labels, o, dtype):
    """All that a reference file holds, and the smallest gap of a router."""
    W = {n: w.to(dtype).requires_grad_() for n, w in weights.items()}
    logits, outputs, seen = forward(c, W, ids)
    ref = {"logits": logits, **{f"layer.{i}.output": x for i, x in enumerate(outputs)}}
    if ids.shape[1] > 1:
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())  # not -100
        gradients = lambda of: torch.autograd.grad(of, W.values(), retain_graph=True)
        ref["loss"] = loss.reshape(1)
        ref |= {"grad." + n: d for n, d in zip(W, gradients(loss))}
        if seen:
            total = loss + balance(c, seen, len(ids), *balance_of(c, o))
            ref |= {"grad_balanced." + n: d for n, d in zip(W, gradients(total))}
    return {n: t.detach() for n, t in ref.items()}, min([s[2] for s in seen] + [math.inf])


def balance_of(c, o):
    """Alphas, groups and micro-batch: the case's, or what verify takes by itself."""
    experts, n_group = c["n_routed_experts"], c["n_group"]
    alone = n_group if n_group > 1 else 1 if experts % 4 else 4
    return o.get("alphas", (0.003, 0.05, 0.02 if n_group > 1 else 0.0)), o.get("groups", alone), o.get("micro", 1)


def write_reference(folder, ids, labels, ref):
    with_labels = {"labels": labels.int()} if "loss" in ref else {}
    save_file({"input_ids": ids.int(), **with_labels, **{n: t.float().contiguous() for n, t in ref.items()}},
              f"{folder}/reference.safetensors")
