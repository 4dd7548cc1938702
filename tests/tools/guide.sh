#!/bin/bash
# guide.sh - runs every command of docs/continued-pretraining.md as it is written there (the blocks marked sh).
cd "$(dirname "$0")/../.." || exit 1
rm -rf runs/guide
awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' docs/continued-pretraining.md | bash -ex
