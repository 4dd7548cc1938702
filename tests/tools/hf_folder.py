"""hf_folder.py - Hugging Face folders made up for tests: V2-Lite's tensors, names and files with other shapes, and
safetensors read and written byte for byte. Only Python's standard library."""
import json
import os
import random
import struct

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOKENIZER = os.path.join(ROOT, "tests/fixtures/tokenizer/deepseek-v2.json")
BYTES = {"BF16": 2, "F16": 2, "F32": 4}

# As published for V2-Lite but for the sizes, and with fields that dsv2 has no use for, oddly spelled.
CONFIG = """{
  "architectures": ["DeepseekV2ForCausalLM"],
  "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV2Config"},
  "attention_bias": false, "attention_dropout": 0.0, "aux_loss_alpha": 0.001,
  "bos_token_id": 100000, "eos_token_id": 100001, "ep_size": 1,
  "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": %(hidden)d, "initializer_range": 0.02,
  "intermediate_size": %(dense)d, "kv_lora_rank": 8, "max_position_embeddings": 163840, "model_type": "deepseek_v2",
  "moe_intermediate_size": %(expert)d, "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": %(experts)d,
  "n_shared_experts": 2, "norm_topk_prob": false, "num_attention_heads": 2, "num_experts_per_tok": 6,
  "num_hidden_layers": %(layers)d, "num_key_value_heads": 2, "pretraining_tp": 1, "q_lora_rank": null,
  "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "rms_norm_eps": 1e-06,
  "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707,
                   "original_max_position_embeddings": 4096, "type": "yarn"},
  "rope_theta": 10000, "routed_scaling_factor": 1.0, "scoring_func": "softmax", "seq_aux": true,
  "tie_word_embeddings": false, "topk_group": 1, "topk_method": "greedy", "torch_dtype": "%(dtype)s",
  "transformers_version": "4.39.3", "use_cache": true, "v_head_dim": 8, "vocab_size": %(vocab)d,
  "a_note": {"\\u00e9": [0.10, 1E2, null]}
}
"""
LITE = dict(hidden=16, dense=24, expert=4, experts=64, layers=27, vocab=102400)
SMALL = dict(hidden=16, dense=24, expert=4, experts=8, layers=2, vocab=102400)
TORCH = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


def shapes(hidden, dense, expert, experts, layers, vocab):
    """Name -> shape of every tensor, as SEMANTICS lists them: no q_lora, the first layer dense."""
    found = {"model.embed_tokens.weight": (vocab, hidden)}

    def ffn(prefix, width):
        found.update({prefix + "gate_proj.weight": (width, hidden), prefix + "up_proj.weight": (width, hidden),
                      prefix + "down_proj.weight": (hidden, width)})

    for i in range(layers):
        layer = "model.layers.%d." % i
        found.update({layer + "input_layernorm.weight": (hidden,), layer + "post_attention_layernorm.weight": (hidden,),
                      layer + "self_attn.q_proj.weight": (24, hidden),
                      layer + "self_attn.kv_a_proj_with_mqa.weight": (12, hidden),
                      layer + "self_attn.kv_a_layernorm.weight": (8,), layer + "self_attn.kv_b_proj.weight": (32, 8),
                      layer + "self_attn.o_proj.weight": (hidden, 16)})
        if i == 0:
            ffn(layer + "mlp.", dense)
            continue
        found[layer + "mlp.gate.weight"] = (experts, hidden)
        for e in range(experts):
            ffn(layer + "mlp.experts.%d." % e, expert)
        ffn(layer + "mlp.shared_experts.", 2 * expert)
    found.update({"model.norm.weight": (hidden,), "lm_head.weight": (vocab, hidden)})
    return found


def count(shape):
    total = 1
    for dim in shape:
        total *= dim
    return total


def values(dice, name, shape, dtype):
    """Bytes of random numbers of both signs near 2^-7, of positive ones around 1 for norms; every mantissa occurs."""
    raw = bytearray(dice.randbytes(count(shape) * BYTES[dtype]))
    norm, sign = "norm" in name, 0 if "norm" in name else 0x80
    if dtype == "F16":  # sign, 5 bits of exponent, 2 of mantissa
        table = bytes((b & sign) | ((15 if norm else 8) << 2) | (b & 3) for b in range(256))
    else:  # sign, 7 bits of exponent
        table = bytes((b & sign) | (63 if norm else 60) for b in range(256))
    raw[BYTES[dtype] - 1::BYTES[dtype]] = raw[BYTES[dtype] - 1::BYTES[dtype]].translate(table)
    return bytes(raw)


def safetensors(tensors):
    """The file of a list of (name, dtype, shape, bytes)."""
    header, at = {}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(t[3] for t in tensors)


def write(folder, name, data):
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as f:
        return f.read()


def make(folder, size, dtype="BF16", shards=4, seed=1, dtype_of=None):
    """A folder as published. dtype_of(name) gives a tensor its own dtype."""
    os.makedirs(folder)
    dice, tensors = random.Random(seed), []
    for name, shape in shapes(**size).items():
        kind = dtype_of(name) if dtype_of else dtype
        tensors.append((name, kind, shape, values(dice, name, shape, kind)))
    write(folder, "config.json", CONFIG % {**size, "dtype": TORCH[dtype]})
    write(folder, "generation_config.json", '{"bos_token_id": 100000, "do_sample": true, "eos_token_id": 100001, "temperature": 0.30, "top_p": 0.95}\n')
    write(folder, "tokenizer_config.json", '{"add_bos_token": true, "add_eos_token": false, '
          '"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}\n')
    write(folder, "tokenizer.json", read(os.path.dirname(TOKENIZER), os.path.basename(TOKENIZER)))
    write(folder, "configuration_deepseek.py", "# code that auto_map names\n")
    write(folder, "README.md", "stays behind\n")
    if shards == 1:
        write(folder, "model.safetensors", safetensors(tensors))
        return folder
    names = ["model-%05d-of-%06d.safetensors" % (i + 1, shards) for i in range(shards)]
    parts = [tensors[len(tensors) * i // shards:len(tensors) * (i + 1) // shards] for i in range(shards)]
    for name, part in zip(names, parts):
        write(folder, name, safetensors(part))
    index = {"metadata": {"total_size": sum(len(t[3]) for t in tensors)},
             "weight_map": {t[0]: name for name, part in zip(names, parts) for t in part}}
    write(folder, "model.safetensors.index.json", json.dumps(index))
    return folder


def weights(folder):
    """Name -> (dtype, shape, bytes) of a folder; the index must be right about where each is."""
    files = sorted(n for n in os.listdir(folder) if n.endswith(".safetensors"))
    found, where = {}, {}
    for file in files:
        data = read(folder, file)
        length = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8:8 + length]).items():
            if name != "__metadata__":
                a, b = entry["data_offsets"]
                found[name] = (entry["dtype"], tuple(entry["shape"]), data[8 + length + a:8 + length + b])
                where[name] = file
    if files != ["model.safetensors"]:
        index = json.loads(read(folder, "model.safetensors.index.json"))
        assert index["weight_map"] == where, "weight_map"
        assert index["metadata"]["total_size"] == sum(len(t[2]) for t in found.values()), "total_size"
    return found
