#!/bin/bash
# run.sh PROGRAM [WORD] - FUZZ_SECONDS of random bytes from FUZZ_SEED on (0: others each time) for each target, as many
# at a time as there are CPUs, at most two; WORD picks targets. New inputs stay in build-fuzz/corpus. The last line is
# "N passed, N failed".
program=$1 word=$2 seconds=${FUZZ_SECONDS:-60} seed=${FUZZ_SEED:-1}
corpus=build-fuzz/corpus found=build-fuzz/found
scratch=$(mktemp -d "$([[ -w /dev/shm ]] && echo /dev/shm || echo "${TMPDIR:-/tmp}")/dsv2-fuzz-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export UBSAN_OPTIONS=print_stacktrace=1

fuzz() {
    local name=$1 log=$scratch/$1.log
    mkdir -p "$corpus/$name" "$found" "$scratch/$name"
    if FUZZ_TARGET=$name FUZZ_FOLDER=$scratch/$name "$program" -max_total_time="$seconds" -seed="$seed" \
        -timeout=10 -rss_limit_mb=2048 -max_len=8192 -verbosity=1 -print_final_stats=1 -artifact_prefix="$found/$name-" \
        "$corpus/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
        echo "ok   fuzz/$name $(awk '/number_of_executed_units/ { n = $2 } / cov: / { c = $0 }
            END { sub(/.* cov: /, "", c); sub(/ .*/, "", c); print n " inputs, " c " edges" }' "$log")"
    else
        grep -aE 'ERROR|runtime error|dsv2: rank|SUMMARY|ALARM' "$log" | head -n 4
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        echo "FAIL fuzz/$name on ${input:-an input that was not kept; $(tail -n 1 "$log")}"
        echo "     again: FUZZ_TARGET=$name FUZZ_FOLDER=/tmp $program $input"
    fi
}

fuzz_all() {
    local most=$(($(nproc) < 2 ? 1 : 2)) folder name
    for folder in tests/fuzz/corpus/*/; do
        name=$(basename "$folder")
        [[ $name == *"$word"* ]] || continue
        while (($(jobs -rp | wc -l) >= most)); do wait -n; done
        fuzz "$name" &
    done
    wait
}

fuzz_all | tee "$scratch/rows"
failed=$(grep -c '^FAIL' "$scratch/rows")
echo "$(grep -c '^ok' "$scratch/rows") passed, $failed failed"
[[ $failed == 0 ]]
