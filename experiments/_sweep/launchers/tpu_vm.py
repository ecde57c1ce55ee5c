"""A sweep as a script that runs it on one TPU VM, over ssh."""

import shlex
from collections.abc import Sequence

from experiments._sweep import points
from experiments._sweep.launchers import shell

_SCRIPT = r"""#!/bin/bash
# A sweep on one TPU VM; docs/tpu.md says how to run it. Start it again, from
# the folder of the code, to go on.
set -euo pipefail
PROJECT=${PROJECT:-$(gcloud config get-value project)}
ZONE=${ZONE:-us-west4-a}
NAME=${NAME:-lth-jax}
TYPE=${TYPE:-v5litepod-1}                # of @HOSTS@
VERSION=${VERSION:-v2-alpha-tpuv5-lite}  # of its image
OPTIONS=${OPTIONS---spot}                # OPTIONS= is a VM that stays

tpu() {
  gcloud compute tpus tpu-vm "$@" --project="$PROJECT" --zone="$ZONE"
}

state() {
  tpu describe "$NAME" --format='value(state)' 2>/dev/null || true
}

on_all() {
  tpu ssh "$NAME" --worker=all --ssh-flag='-o ServerAliveInterval=30' \
    --command="$1"
}

# A VM that was preempted cannot be started again, only made anew.
create() {
  [ -z "$(state)" ] || tpu delete "$NAME" --quiet || true
  tpu create "$NAME" --accelerator-type="$TYPE" --version="$VERSION" $OPTIONS
}

install() {
  local archive
  archive=$(mktemp -d)/lth_jax.tgz
  git ls-files -z | tar -czf "$archive" --null --files-from=- &&
    tpu scp "$archive" "$NAME:" --worker=all &&
    on_all @INSTALL@
}

# Retries for as long as there is no capacity, and else twice: a permission or
# a type does not come by waiting.
ready() {
  local said failures=0
  [ "$(state)" != READY ] || [ -z "${installed:-}" ] || return 0
  installed=
  until [ "$(state)" = READY ] || said=$(create 2>&1); do
    echo "$said" >&2
    [[ $said == *capacity* ]] || failures=$((failures + 1))
    [ $failures -lt 3 ] || exit 1
    sleep 60
  done
  install && installed=1
}

# Tries again after each stop (75), preemption or lost connection, and gives up
# on bad input (2) or when something else fails three times in a row, within ten
# minutes each, on a healthy VM.
run() {
  local code begin failures=0
  while true; do
    code=0 begin=$SECONDS
    # The lock waits for a process whose connection was lost.
    { ready && on_all "cd lth_jax && . .venv/bin/activate && flock .run $1"; } \
      || code=$?
    case $code in
      0) return ;;
      2) exit 2 ;;
      75) ;;
      *)
        [ $((SECONDS - begin)) -lt 600 ] || failures=0
        [ "$(state)" != READY ] || failures=$((failures + 1))
        [ $failures -lt 3 ] || exit $code
        sleep 30
        ;;
    esac
  done
}

@POINTS@"""

_UNPACK = """\
set -e
mkdir -p lth_jax
tar -xzf lth_jax.tgz -C lth_jax
cd lth_jax
"""


def text(sweep: Sequence[points.Point], remote: bool) -> str:
  """Writes a bash script for a machine that has gcloud and the code.

  Args:
    sweep: its points, run one after the other.
    remote: whether the workdir is in a bucket.

  >>> script = text(points.make([], {"seed": ["1"]}, "gs://runs"), True)
  >>> print(script.splitlines()[-1])
  run 'python -m experiments.mnist_lenet --seed=1 --workdir=gs://runs/seed=1'
  """
  install = _UNPACK + shell.install(remote)
  commands = [shlex.quote(shlex.join(point.command)) for point in sweep]
  runs = "".join(f"run {each}\n" for each in commands)
  hosts = "one host or more" if points.several(sweep) else "one host"
  script = _SCRIPT.replace("@INSTALL@", shlex.quote(install))
  script = script.replace("@HOSTS@", hosts)
  return script.replace("@POINTS@", runs)
