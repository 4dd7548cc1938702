#!/usr/bin/env python3
"""dump_reference.py - what transformers computes with a model and a text, as a reference file for `dsv2 verify`.

usage: tools/dump_reference.py MODEL (TEXT_FILE | --ids "1 2 3") -o REFERENCE.safetensors [--length N] [--gradients]
                               [--dtype float32|bfloat16|float64]

MODEL is a Hugging Face folder. Writes input_ids, labels, logits, loss, layer.K.output (the residual stream behind layer
K), and with --gradients grad.NAME of every weight. Then: dsv2 verify MODEL REFERENCE.safetensors. Needs torch,
transformers and safetensors; they hold the whole model in memory."""
import argparse
import sys


def labels_of(ids):
    """The published convention: position t is scored against the label at t + 1; here they are the ids themselves."""
    return ids.clone()


def collect_layers(model, outputs):
    """A hook on every block: its output, before anything that follows."""
    def hook(k):
        def keep(_, __, out):
            outputs["layer.%d.output" % k] = (out[0] if isinstance(out, tuple) else out).detach()
        return keep
    return [layer.register_forward_hook(hook(k)) for k, layer in enumerate(model.model.layers)]


def gradients(model):
    """grad.NAME by published name: fused experts are taken apart, as they lie in the files."""
    found = {}
    for name, p in model.named_parameters():
        if p.grad is None:
            continue
        if name.endswith("experts.gate_up_proj"):
            for e, g in enumerate(p.grad):
                gate, up = g.chunk(2)
                base = "grad." + name[:-len("gate_up_proj")] + "%d." % e
                found[base + "gate_proj.weight"], found[base + "up_proj.weight"] = gate, up
        elif name.endswith("experts.down_proj"):
            for e, g in enumerate(p.grad):
                found["grad." + name[:-len("down_proj")] + "%d.down_proj.weight" % e] = g
        else:
            found["grad." + name] = p.grad
    return found


def dump(model, ids, path, with_gradients=False):
    """Runs the model on ids (batch, length) and writes the reference."""
    import torch
    from safetensors.torch import save_file
    outputs, labels = {}, labels_of(ids)
    hooks = collect_layers(model, outputs)
    model.eval()
    with torch.set_grad_enabled(with_gradients):
        done = model(input_ids=ids, use_cache=False)
        logits = done.logits.float()
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    if with_gradients:
        model.zero_grad()
        loss.backward()
        outputs.update(gradients(model))
    for h in hooks:
        h.remove()
    outputs.update(input_ids=ids, labels=labels, logits=logits.detach(), loss=loss.detach().reshape(1))
    save_file({k: (v if v.dtype == torch.int64 else v.float()).contiguous() for k, v in outputs.items()}, path)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model")
    arguments.add_argument("text", nargs="?")
    arguments.add_argument("--ids")
    arguments.add_argument("-o", "--out", required=True)
    arguments.add_argument("--length", type=int, default=512)
    arguments.add_argument("--gradients", action="store_true")
    arguments.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float64"])
    options = arguments.parse_args()
    try:
        import torch
        import transformers
    except ImportError as error:
        sys.exit("dump_reference.py needs %s" % error.name)
    if bool(options.text) == bool(options.ids):
        sys.exit("give a file of text, or --ids \"1 2 3\"")
    if options.ids:
        ids = [int(word) for word in options.ids.split()]
    else:
        with open(options.text, encoding="utf-8") as f:
            ids = transformers.AutoTokenizer.from_pretrained(options.model).encode(f.read())
    ids = torch.tensor([ids[:options.length]])
    model = transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # grouped products know no float64
    dump(model, ids, options.out, options.gradients)
    print("%s: %d tokens; next: dsv2 verify %s %s" % (options.out, ids.shape[1], options.model, options.out))


if __name__ == "__main__":
    main()
