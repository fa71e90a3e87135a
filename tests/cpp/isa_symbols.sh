#!/usr/bin/env bash
# isa_symbols.sh NM ISA OBJECT...: fails when code compiled for one instruction set could be shared by the linker with
# the rest of the program: a weak symbol outside the namespace fastconv::ISA. NM is nm for the objects' machine.
set -euo pipefail
nm=$1
isa=$2
shift 2
symbols=$("$nm" -C "$@")
leaks=$(awk '$2 ~ /^[WVu]$/' <<<"$symbols" | grep -v "fastconv::$isa::" | sort -u || true)
if [ -n "$leaks" ]; then
  echo "weak symbols outside fastconv::$isa:"
  echo "$leaks"
  exit 1
fi
