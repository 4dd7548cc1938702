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

# A key that nobody reads would be a lie. validate.c alone reads one that must have a certain value, and none needs to
# read one whose range has a single value.
read_outside=$(printf '%s\n' "$@" | grep -v '^configs/' | xargs cat)
validate=$(cat configs/validate*.c)
while IFS=, read -r field kind; do
    [[ $kind == single ]] || grep -qE "(->|\.)$field\b" <<<"$read_outside" && continue
    [[ $kind == must ]] && grep -qE "(->|\.)$field\b" <<<"$validate" && continue
    complain "configs/keys.def: nothing outside configs/ reads '$field'"
done < <(awk -F', ' '/^(DATA_|EVAL_)?KEY\(/ {
    field = $1; sub(/.*\(/, "", field)
    split($0, quoted, "\"") # path, default, range are 2, 4, 6
    single = quoted[6] == "0..0" || ($2 == "CHOICE" && quoted[6] !~ /\|/)
    print field "," (single ? "single" : /must be|must equal/ ? "must" : "")
}' configs/keys.def)

# The key reference in README.md is what the program prints.
if ! diff <(sed -n '/<!-- keys -->/,/<!-- end of keys -->/p' README.md | sed '1d;$d') <("${BUILD:-build}/dsv2" help --markdown) \
    >/dev/null; then
    complain "README.md: the key reference is out of step; run tests/tools/readme.sh"
fi
[[ $bad == 0 ]] && echo "check: all is well"
exit $bad
