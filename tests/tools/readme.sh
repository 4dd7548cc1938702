#!/bin/bash
# readme.sh - puts the key reference that `dsv2 help --markdown` prints into README.md.
cd "$(dirname "$0")/../.." || exit 1
"${BUILD:-build}/dsv2" help --markdown >README.keys || exit 1
sed -i -e '/<!-- keys -->/,/<!-- end of keys -->/{/<!-- keys -->/{p;r README.keys' -e 'd};/<!-- end of keys -->/p;d}' README.md
rm README.keys
