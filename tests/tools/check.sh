#!/bin/bash
# check.sh FILE... - the rules of the house: format, direction of includes, lengths, every key read,
# README in step with the key table. `make check` calls it with every source file.
cd "$(dirname "$0")/../.." || exit 1
bad=0
complain() { echo "$*"; bad=1; }

if command -v clang-format >/dev/null; then
    for file in "$@"; do
        clang-format --dry-run -Werror "$file" >/dev/null 2>&1 || complain "$file: run clang-format -i $file"
    done
else
    echo "clang-format is not installed: format not checked"
fi

awk -f tests/tools/check.awk "$@" || bad=1

# A key that nobody reads would be a lie. One that has a single allowed value is read by validate.c alone.
read_outside=$(printf '%s\n' "$@" | grep -v '^configs/' | xargs cat)
validate=$(cat configs/validate*.c)
while IFS=, read -r field single; do
    grep -qE "(->|\.)$field\b" <<<"$read_outside" && continue
    [[ $single == single ]] && grep -qE "(->|\.)$field\b" <<<"$validate" && continue
    complain "configs/keys.def: nothing outside configs/ reads '$field'"
done < <(awk -F', ' '/^(DATA_)?KEY\(/ {
    field = $1; sub(/.*\(/, "", field)
    fixed = /"0\.\.0"/ || /must be/ || /must equal/ || ($2 == "CHOICE" && split($0, quoted, "\"") && quoted[6] !~ /\|/)
    print field "," (fixed ? "single" : "")
}' configs/keys.def)

# The key reference in README.md is what the program prints.
if ! diff <(sed -n '/<!-- keys -->/,/<!-- end of keys -->/p' README.md | sed '1d;$d') <("${BUILD:-build}/dsv2" help --markdown) \
    >/dev/null; then
    complain "README.md: the key reference is out of step; run tests/tools/readme.sh"
fi
[[ $bad == 0 ]] && echo "check: all is well"
exit $bad
