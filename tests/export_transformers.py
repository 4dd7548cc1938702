#!/usr/bin/env python3
"""export_transformers.py - an exported folder in transformers: it loads, every weight is taken, and its logits are
those of dsv2 (and so is the text's tokenization, where the folder has a tokenizer).

usage: tests/export_transformers.py [FOLDER...]

Without FOLDER: exports of the fixtures, and of a small model that is trained here. Each folder's logits and loss are
computed by transformers in float32, written as a reference, and given to `dsv2 verify`, whose limits hold. Needs torch and
transformers, in $PYTHON or python3; says so and ends with 0 otherwise."""
import os
import subprocess
import sys

if os.environ.get("PYTHON") and not os.environ.get("EXPORT_TRANSFORMERS_CHILD"):
    os.environ["EXPORT_TRANSFORMERS_CHILD"] = "1"
    os.execvp(os.environ["PYTHON"], [os.environ["PYTHON"], *sys.argv])
try:
    import torch
    import transformers
except ImportError as error:
    print("skipped: %s is not installed" % error.name)
    sys.exit(0)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "tools"), os.path.join(HERE, "../tools")]
import dump_reference  # noqa: E402
import hf_folder as hf  # noqa: E402
from runs import ROOT, Rows, dsv2, said  # noqa: E402

FIXTURES = ["tiny-lite", "tiny-lite-yarn", "tiny-v2"]
rows = Rows("transformers")


def exported(name, source, *keys):
    folder = os.path.join(rows.folder, name)
    done = dsv2(["export", source, "-o", folder, *keys])
    return folder if rows.row(done.returncode == 0, name + ": export", said(done)) else None


def trained():
    cwd = rows.new_folder("run")
    dsv2(["train", rows.config("steps: 20\n"), "layout.ep=2"], 2, cwd)
    return os.path.join(cwd, "run")


def check(folder):
    """Loads without a complaint, computes what dsv2 computes, and is saved again with the same tensors."""
    name = os.path.basename(folder)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                                    output_loading_info=True)
    odd = {k: sorted(v)[:3] for k, v in info.items() if v}
    rows.row(not odd, name + ": every weight is taken, none is missing", str(odd or ""))
    reference = os.path.join(rows.folder, name + "-reference.safetensors")
    ids = torch.randint(0, model.config.vocab_size, (2, 40), generator=torch.Generator().manual_seed(1))
    dump_reference.dump(model, ids, reference)
    done = dsv2(["verify", folder, reference])
    rows.row(done.returncode == 0, name + ": logits, layers, loss", said(done))
    generation = model.generation_config.to_dict()
    rows.row(generation["eos_token_id"] == model.config.eos_token_id, name + ": generation_config.json")
    again = os.path.join(rows.folder, name + "-again")
    model.save_pretrained(again)
    done = dsv2(["import", again, "-o", again + "-in"])
    rows.row(done.returncode == 0, name + ": what transformers saves can be imported", said(done))


def check_tokenizer(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = "Hello world, 你好 2024 ½\n"
    mine = subprocess.run([os.path.join(ROOT, os.environ.get("BUILD", "build"), "dsv2"), "tokenize", folder], text=True,
                          input='{"text": "%s"}\n' % text.replace("\n", "\\n"), capture_output=True)
    theirs = tokenizer.encode(text, add_special_tokens=False)
    rows.row(str(theirs).replace(" ", "") in mine.stdout.replace(" ", ""), os.path.basename(folder) + ": tokenizer")


def references():
    """tools/dump_reference.py as it is called, gradients too."""
    fixture, out = os.path.join(ROOT, "tests/fixtures/tiny-v2"), os.path.join(rows.folder, "dumped.safetensors")
    for dtype in "float64", "float32":
        made = subprocess.run([sys.executable, os.path.join(ROOT, "tools/dump_reference.py"), fixture, "--ids",
                               "1 2 3 4 5 6 7 8 9", "--gradients", "--dtype", dtype, "-o", out], capture_output=True, text=True)
        done = dsv2(["verify", fixture, out])
        rows.row(made.returncode == 0 and done.returncode == 0, "a reference in %s" % dtype,
                 said(done) if made.returncode == 0 else made.stderr.strip()[-80:])


def main():
    print("torch %s, transformers %s" % (torch.__version__, transformers.__version__))
    folders = sys.argv[1:]
    if not folders:
        folders = [exported(name, os.path.join(ROOT, "tests/fixtures", name), "max_shard_size=400000") for name in FIXTURES]
        folders.append(exported("trained", trained()))
        source = hf.make(os.path.join(rows.folder, "published"), hf.SMALL)
        folders.append(exported("published-again", source, "dtype=fp32"))
    for folder in filter(None, folders):
        check(folder)
        if os.path.exists(os.path.join(folder, "tokenizer.json")):
            check_tokenizer(folder)
    references()
    rows.end()


if __name__ == "__main__":
    main()
