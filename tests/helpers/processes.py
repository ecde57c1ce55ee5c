"""Runs by several processes on this machine."""

import contextlib
import pathlib
import socket
import subprocess
import sys

_ROOT = pathlib.Path(__file__).parents[2]
FLAGS = (
  "--dataset=mnist_10k",
  "--num_train=1000",
  "--num_valid=100",
  "--num_test=200",
  "--hidden=8",
  "--batch_size=20",
  "--steps=40",
  "--eval_every=20",
  "--test_every=40",
  "--rates=kernel=0.2",
  "--rounds=2",
  "--replicates=3",
  "--arms=ticket,reinit,random",
  "--reinits=1",
  "--progress=log",
)


# How long anything may take; a hang is a failure.
PATIENCE = 240


@contextlib.contextmanager
def started(commands, tmp_path):
  """Processes of (arguments of Python), and what they print, in files."""
  files = [tmp_path / f"output_{i}.txt" for i in range(len(commands))]
  begun = []
  try:
    for command, path in zip(commands, files):
      with open(path, "w") as file:
        begun.append(
          subprocess.Popen(
            [sys.executable, *command],
            cwd=_ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
          )
        )
    yield begun, files
  finally:
    for process in begun:
      process.kill()
      process.wait()


def together(num=2):
  """The flags of each of some processes, which meet at a free port."""
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    port = found.getsockname()[1]
  return [
    [
      "--distributed=auto",
      f"--coordinator_address=127.0.0.1:{port}",
      f"--num_processes={num}",
      f"--process_id={index}",
      "--join_seconds=120",
    ]
    for index in range(num)
  ]


def run(workdir, tmp_path, *changed, flags=((),)):
  """One run by as many processes as there are flags; returns what they say."""
  commands = [command(workdir, *changed, *own) for own in flags]
  with started(commands, tmp_path) as (begun, files):
    codes = [process.wait(timeout=PATIENCE) for process in begun]
    return codes, [file.read_text() for file in files]


def command(workdir, *flags):
  module = ["-m", "experiments.mnist_lenet"]
  return [*module, f"--workdir={workdir}", *FLAGS, *flags]
