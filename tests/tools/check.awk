# check.awk - reads formatted C files; prints what breaks a rule of the house, and the lengths of functions.
#
# Includes point only to the right in tests > train > optim > {data, model} > launch > configs > kernels,
# model and data never meet; a file has at most 500 lines, a function 80.

BEGIN {
    n = split("kernels configs launch model data optim train tests", order, " ")
    for (i = 1; i <= n; i++) level[order[i]] = i
    level["data"] = level["model"] # side by side
}

function complain(text) { print FILENAME ":" FNR ": " text; bad++ }

FNR == 1 {
    close_file()
    file = FILENAME
    split(FILENAME, path, "/")
    folder = path[1]
    start = 0
}
{ lines[FILENAME] = FNR }

/^#include "/ {
    split($2, quoted, "\"")
    split(quoted[2], target, "/")
    if (!(target[1] in level) || quoted[2] !~ /\//)
        complain("include \"" quoted[2] "\" is not written from the root")
    else if (level[target[1]] > level[folder] || (level[target[1]] == level[folder] && target[1] != folder))
        complain(folder " must not include " quoted[2])
}

# A function begins at the left edge with a name and a parenthesis; its brace may come lines later.
/^[A-Za-z_].*\(/ && !/^(typedef|struct|enum|union)[^(]*[{;]/ && !/;[ ]*(\/\*.*)?$/ { start = FNR; text = $0 }
start && /;[ ]*$/ && !/[{}]/ && !open { start = 0 }
start && /[{][^}]*$/ { open = 1 }
start && FNR == start && /[}][ ]*(\/\*.*\*\/)?$/ { add(1) ; start = 0; open = 0 }
start && open && /^}/ { add(FNR - start + 1); start = 0; open = 0 }

function add(count) {
    length_of[++functions] = count
    if (count > 80) { print FILENAME ":" start ": a function of " count " lines (at most 80)"; bad++ }
}
function close_file() {
    if (file != "" && lines[file] > 500) { print file ": " lines[file] " lines (at most 500)"; bad++ }
}

END {
    close_file()
    for (i = 1; i <= functions; i++) seen[length_of[i]]++
    for (size = 1; below < functions; size++) {
        below += seen[size]
        if (!median && below >= functions / 2) median = size
        if (!ninety && below >= functions * 0.9) ninety = size
    }
    total = 0
    for (f in lines) total += lines[f]
    printf "%d lines, %d functions: median %d lines, 90%% <= %d, longest %d\n", total, functions, median, ninety, size - 1
    exit bad > 0
}
