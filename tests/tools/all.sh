#!/bin/bash
# all.sh [WORD] - the unit tests, then the scripts; the last line is the total over all of them.
# WORD picks tests whose suite/name contains it, and scripts whose name does. BUILD is the build folder.
cd "$(dirname "$0")/../.." || exit 1
export BUILD=${BUILD:-build}
word=${1:-}
passed=0 failed=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# Adds the "N passed, N failed" of a command; one that ends without that line has failed.
count() {
    echo "== $*"
    local start=$SECONDS status line
    "$@" 2>&1 | tee "$output"
    status=${PIPESTATUS[0]}
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed' "$output" | tail -n 1)
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
        [[ $status == 0 || ${BASH_REMATCH[2]} != 0 ]] || { echo "$1: exit code $status"; failed=$((failed + 1)); }
    else
        echo "$1: ended with code $status and without a result"
        failed=$((failed + 1))
    fi
    echo "== $((SECONDS - start)) s"
}

count "$BUILD/tests/run" ${word:+"$word"}
for script in tests/*.sh; do
    [[ -e $script && $script == *"$word"* ]] && count bash "$script"
done
for script in signals watchdog ranks resume start hostile prepare import eval generate tokenizer tokenizer_hf chat; do
    script=tests/$script.py
    [[ $script == *"$word"* ]] && count python3 "$script"
done
echo "$passed passed, $failed failed"
[[ $failed == 0 ]]
