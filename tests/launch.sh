#!/bin/bash
# launch.sh - a mistake is one sentence and exit code 2, however the ranks are started.
dsv2=$(realpath "${BUILD:-build}/dsv2")
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
output=$(mktemp)
trap 'rm -f "$output"' EXIT
passed=0 failed=0

# expect NAME CODE PATTERN COMMAND...: the exit code, and one line of dsv2 that holds the pattern.
expect() {
    local name=$1 code=$2 pattern=$3 got
    shift 3
    timeout -k 5 30 "$@" >"$output" 2>&1
    got=$?
    if [[ $got == "$code" && $(grep -c '^dsv2: ' "$output") == 1 ]] && grep -q "^dsv2: .*$pattern" "$output"; then
        passed=$((passed + 1))
    else
        echo "FAIL $name: code $got, wanted $code and one line with '$pattern'; said:"
        cat "$output"
        failed=$((failed + 1))
    fi
}

expect "no such config" 2 "nope.yaml" "$dsv2" train nope.yaml
expect "no such config, -n 2" 2 "nope.yaml" "$dsv2" -n 2 train nope.yaml
expect "no such config, plain mpirun" 2 "nope.yaml" mpirun --oversubscribe -n 2 "$dsv2" train nope.yaml
expect "another tool's word" 2 "write learning_rate" "$dsv2" -n 2 train configs/tiny.yaml lr=3
expect "ranks that do not fit" 2 "does not divide 3 ranks" "$dsv2" -n 3 train configs/tiny.yaml
expect "unknown command" 2 "did you mean train" mpirun --oversubscribe -n 2 "$dsv2" trian configs/tiny.yaml
expect "no model" 2 "no such file" "$dsv2" -n 2 generate nowhere
expect "two numbers of ranks" 2 "leave -n out" mpirun --oversubscribe -n 2 "$dsv2" -n 3 train configs/tiny.yaml
lite=$(realpath tests/fixtures/tiny-lite)
expect "lengths that the reference gives" 2 "have no effect here" "$dsv2" verify "$lite" "$lite/reference.safetensors" \
    sequence_length=8
expect "a folder that cannot be made" 74 "cannot make this folder" "$dsv2" train configs/tiny.yaml layout.ep=1 \
    output_dir=/proc/nowhere
expect "bench of a config that is refused" 2 "does not divide" "$dsv2" bench configs/tiny.yaml
expect "srun without PMIx" 2 "mpi=pmix" env SLURM_STEP_NUM_TASKS=4 "$dsv2" train configs/tiny.yaml

# Files that may not be as long as MPI needs are told of before anything starts; a rank whose words are lost works on;
# mpirun itself cannot do without.
limited=(bash -c 'ulimit -f "$1"; shift; exec "$@"' _)
for kib in 0 8 4096; do
    expect "ulimit -f $kib" 74 "ulimit -f" bash -c 'set -o pipefail; "$@" 2>&1 | cat' _ "${limited[@]}" $kib "$dsv2" -n 2 \
        train configs/tiny.yaml --dry-run
done
made=$(mktemp -d)
trap 'rm -rf "$output" "$made"' EXIT
truncate -s 16M "$made/full"
expect "standard error beyond ulimit -f" 0 "all" bash -c '"${@:2}" 2>>"$1" && echo "dsv2: all"' _ "$made/full" \
    "${limited[@]}" 16384 "$dsv2" -n 2 generate $lite --token-ids 1 max_new_tokens=3
printf '#!/bin/bash\nkill -XFSZ $$\n' >"$made/mpirun"
chmod +x "$made/mpirun"
expect "mpirun that writes beyond ulimit -f" 74 "ended by signal 25" env PATH="$made:$PATH" "$dsv2" -n 2 generate $lite

# A machine that lacks what the others have: rank 1 stands in another folder, so that a relative path means another file.
elsewhere=$(mktemp -d)
trap 'rm -rf "$output" "$made" "$elsewhere"' EXIT
apart=(mpirun --oversubscribe -n 2 bash -c '[[ $OMPI_COMM_WORLD_RANK == 1 ]] && cd "$1"; shift; exec "$@"' _ "$elsewhere" "$dsv2")
model=tests/fixtures/tiny-lite
expect "a model that rank 1 lacks" 2 "rank 1: $model: no such file" "${apart[@]}" generate $model --token-ids 1
expect "a config that rank 1 lacks" 2 "rank 1: .*tiny.yaml" "${apart[@]}" train configs/tiny.yaml
expect "a config that rank 1 lacks, dry run" 2 "rank 1: .*tiny.yaml" "${apart[@]}" train configs/tiny.yaml --dry-run
expect "sets whose config rank 1 lacks" 2 "rank 1: .*tiny.yaml" "${apart[@]}" prepare configs/tiny.yaml
mkdir -p "$elsewhere/$model"
echo '{' >"$elsewhere/$model/config.json"
cp $model/reference.safetensors "$elsewhere/$model"
echo text >"$elsewhere/README.md"
broken="rank 1: .*config.json"
expect "a model broken on rank 1: generate" 65 "$broken" "${apart[@]}" generate $model --token-ids 1
expect "a model broken on rank 1: eval" 65 "$broken" "${apart[@]}" eval $model README.md
expect "a model broken on rank 1: verify" 65 "$broken" "${apart[@]}" verify $model $model/reference.safetensors
expect "a model broken on rank 1: train" 2 "$broken" "${apart[@]}" train "$PWD/configs/tiny.yaml" init_from=$model \
    init=null sequence_length=128
rm "$elsewhere/$model/config.json"
expect "a folder without a model on rank 1" 65 "rank 1: $model: this model is not there" "${apart[@]}" generate $model \
    --token-ids 1

# Threads that wait sleep soon, however ranks are started, unless the user says otherwise.
spins() {
    local name=$1 wanted=$2 count=$3 got
    shift 3
    got=$(OMP_DISPLAY_ENV=verbose timeout -k 5 30 "$@" verify "$PWD/tests/fixtures/tiny-lite" \
        "$PWD/tests/fixtures/tiny-lite/reference.safetensors" 2>&1 | grep -ac "GOMP_SPINCOUNT = '$wanted'")
    if [[ $got == "$count" ]]; then
        passed=$((passed + 1))
    else
        echo "FAIL $name: $got programs began with GOMP_SPINCOUNT $wanted, not $count"
        failed=$((failed + 1))
    fi
}
unset GOMP_SPINCOUNT OMP_WAIT_POLICY
spins "one rank sleeps soon" 1000 1 "$dsv2"
spins "ranks sleep soon" 1000 2 "$dsv2" -n 2
spins "ranks of plain mpirun sleep soon" 1000 2 mpirun --oversubscribe -n 2 "$dsv2"
spins "a user's count" 77 1 env GOMP_SPINCOUNT=77 "$dsv2"
spins "a user's policy, here and in both ranks" 0 3 env OMP_WAIT_POLICY=passive "$dsv2" -n 2

echo "$passed passed, $failed failed"
[[ $failed == 0 ]]
