#!/usr/bin/env bash
# isa_symbols.sh ISA OBJECT...: fails when code compiled for one instruction set could be shared by the linker with
# the rest of the program: a weak symbol outside the namespace fastconv::ISA.
set -euo pipefail
isa=$1
shift
leaks=$(nm -C "$@" | awk '$2 ~ /^[WVu]$/' | grep -v "fastconv::$isa::" | sort -u || true)
if [ -n "$leaks" ]; then
  echo "weak symbols outside fastconv::$isa:"
  echo "$leaks"
  exit 1
fi
