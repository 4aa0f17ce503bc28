#!/bin/sh
# What a newcomer sees first: train, evaluate, export, verify, benchmark. Needs no network.
set -eu
step() { printf '\n\033[1m$ %s\033[0m\n' "$*" >&2; "$@"; }

run=$(step kzoo train resnet18)
step kzoo evaluate "$run"
file=$(step kzoo export "$run" --quantize int8)
step kzoo evaluate "$file"
step kzoo benchmark "$file"

printf '\nRun     %s\nReport  %s/report.html\nFile    %s\n' "$run" "$run" "$file"
