#!/bin/sh
# setup.sh PACKAGE... - installs the Debian packages that are missing; `make setup` names them.
# Prints the list first and does nothing when all is there.
set -eu

missing=""
if command -v dpkg-query >/dev/null; then
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || exit 0
fi

# Other systems, and libraries that came another way: what counts is that a program builds.
headers='#include <mpi.h>
#include <hdf5.h>
#include <oneapi/dnnl/dnnl.h>
#include <yaml.h>
#include <jansson.h>
#include <xxhash.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <utf8proc.h>
#include <zlib.h>
#include <zstd.h>'
builds() {
    command -v mpirun >/dev/null && command -v mpicc >/dev/null &&
        printf '%s\n' "$headers" | mpicc $(pkg-config --cflags hdf5 2>/dev/null) -x c -fsyntax-only - 2>/dev/null
}
name_libraries() {
    echo "dsv2 needs gcc, make, pkg-config, Open MPI 4, HDF5 1.10 or newer, oneDNN, libyaml, jansson, xxhash,"
    echo "PCRE2, utf8proc, zlib and zstd;"
    echo "its tests also need h5diff (HDF5 tools), strace and python3."
}

run=""
if [ "$(id -u)" != 0 ]; then run="sudo -n"; fi
if ! command -v apt-get >/dev/null || { [ -n "$run" ] && ! sudo -n true 2>/dev/null; }; then
    if builds; then
        [ -z "$missing" ] || echo "setup: not installed as packages, but it builds without:$missing"
        exit 0
    fi
    name_libraries
    [ -z "$missing" ] || echo "Missing packages:$missing"
    command -v apt-get >/dev/null && echo "As root: apt-get install${missing}"
    exit 1
fi

echo "setup: installing$missing"
$run apt-get update -qq
$run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
