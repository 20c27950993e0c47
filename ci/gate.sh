#!/usr/bin/env bash
# Runs the gate in a pipeline and leaves what pipelines show: JUnit, a Markdown summary, the run folders with their pages.
#
#   TARGET            profile of the server under test (needed)
#   CHECK             options of `check`, or "no"            (--profile fast)
#   BENCH             options of `bench`, or "no"            (no)
#   ROADMAP_REPORTS   folder for the run folders             (reports)
#   SUMMARY           Markdown is appended there             ($GITHUB_STEP_SUMMARY, or reports/summary.md)
#
# Ends with the worse exit code of the two: a broken contract stays broken, whatever else could not be judged.
set -uo pipefail
: "${TARGET:?the profile of the server under test}"
: "${CHECK:=--profile fast}" "${BENCH:=no}" "${ROADMAP_REPORTS:=reports}"
: "${SUMMARY:=${GITHUB_STEP_SUMMARY:-$ROADMAP_REPORTS/summary.md}}"
export ROADMAP_REPORTS
bin=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin
PATH="$bin:$PATH"
mkdir -p "$ROADMAP_REPORTS"

worst=0
worse() { # of two exit codes, the one that comes first here
  local code
  for code in 1 3 2 4; do
    if [ "$1" = "$code" ] || [ "$2" = "$code" ]; then worst=$code; return; fi
  done
  worst=$(($1 > $2 ? $1 : $2))
}

# The options are words of a command line, split as a shell splits them.
if [ "$CHECK" != no ]; then
  # shellcheck disable=SC2086
  roadmap-harness check "$TARGET" $CHECK --quiet --junit "$ROADMAP_REPORTS/junit.xml" --markdown "$SUMMARY"
  worse "$worst" $?
fi
if [ "$BENCH" != no ]; then
  # shellcheck disable=SC2086
  roadmap-harness bench $BENCH --target "$TARGET" | tee "$ROADMAP_REPORTS/bench.txt"
  worse "$worst" "${PIPESTATUS[0]}"
  { printf '\n### Load\n\n```text\n'; cat "$ROADMAP_REPORTS/bench.txt"; printf '```\n'; } >> "$SUMMARY"
fi
exit "$worst"
