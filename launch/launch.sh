#!/bin/bash
# launch.sh COMMAND... - runs a job under a batch scheduler so that it saves before it is killed.
#
#   #SBATCH --signal=B:USR1@300 --requeue --open-mode=append
#   launch/launch.sh dsv2 -n 8 train my.yaml          (or: launch/launch.sh mpirun ... dsv2 train my.yaml)
#
# A scheduler ends a job with TERM, and mpirun kills its ranks one second after a TERM. USR1 reaches
# the ranks through mpirun at once: they stop at the next step, save and end with code 75 (try again).

# One wish reaches the job once, whichever signals tell of it; the same signal again, later, ends it at once.
wished= job=
declare -A seen
pass_on() {
    [[ -z $wished || ( -n ${seen[$1]} && $((SECONDS - ${seen[$1]:-0})) -gt 1 ) ]] && [[ $job ]] && kill -USR1 $job 2>/dev/null
    wished=yes seen[$1]=${seen[$1]:-$SECONDS}
}
for signal in TERM INT HUP USR1; do trap "pass_on $signal" $signal; done
trap '[[ $job ]] && kill -USR2 $job 2>/dev/null' USR2
"$@" &
job=$!
[[ $wished ]] && kill -USR1 $job 2>/dev/null # it came before the job
while :; do
    wait $job
    code=$?
    # a signal interrupts wait; the job itself may still run
    kill -0 $job 2>/dev/null || break
done
wait $job 2>/dev/null
final=$?
[[ $final == 127 ]] && final=$code
[[ $wished && $final == 138 ]] && final=75 # USR1 kills what has not begun, or has ended
exit $final
