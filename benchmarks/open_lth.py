"""LeNet's training against open_lth's, whole commands side by side.

  git clone https://github.com/facebookresearch/open_lth PEER
  pip install torch torchvision
  python -m benchmarks.open_lth --peer=PEER --data_dir=DATA [--json]

`DATA` has MNIST's four original files. Both sides train LeNet with Adam at
1.2e-3 on batches of 60. Every 1,000 steps, open_lth's epoch, they evaluate
10,000 test images (ours also 5,000 validation images) and save a checkpoint. A
command trains one network, or two, one a core; open_lth reads images in the
training process or in two others. Each is timed with two numbers of steps: the
difference gives the rate without the start.

open_lth is of 2020: `--peer_python` may be the Python of an environment with
packages of that time.
"""

import functools
import gzip
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from benchmarks import tables

_BATCH = 60
_EPOCH = 1000  # steps: 60,000 images
# (folder, epochs) -> a process that trains
Start = Callable[[pathlib.Path, int], subprocess.Popen]
_COMMON = ("--lr=1.2e-3", f"--batch_size={_BATCH}", "--optimizer_name=adam")


def main() -> None:
  """Prints the table."""
  parser = tables.arguments(__doc__)
  parser.add_argument("--peer", required=True, help="a clone of open_lth")
  parser.add_argument("--data_dir", required=True, help="MNIST's files")
  parser.add_argument("--peer_python", default=sys.executable)
  parser.add_argument("--epochs", type=int, nargs=2, default=(1, 4))
  parser.add_argument("--repeats", type=int, default=3)
  options = parser.parse_args()
  peer, data_dir = (
    pathlib.Path(x).absolute() for x in (options.peer, options.data_dir)
  )
  ours = functools.partial(_ours, data_dir)
  theirs = functools.partial(_peer, options.peer_python, peer, data_dir)
  loaders = functools.partial(theirs, flags=("--num_workers=2",))
  single = functools.partial(theirs, threads=1)
  # Number of networks, and the commands that train them.
  sides: dict[str, tuple[int, list[Start]]] = {
    "lth_jax, two trials": (2, [ours]),
    "open_lth": (1, [theirs]),
    "open_lth, two loader workers": (1, [loaders]),
    "open_lth, two processes of one thread": (2, [single, single]),
  }
  times: dict[tuple[str, int], list[float]] = {}
  for _ in range(options.repeats):
    for name, (_, commands) in sides.items():
      for epochs in options.epochs:
        times.setdefault((name, epochs), []).append(_seconds(commands, epochs))
  rows = []
  short, long = options.epochs
  for name, (trainings, _) in sides.items():
    few, many = (statistics.median(times[name, x]) for x in (short, long))
    steps = trainings * _EPOCH * (long - short)
    rows.append(
      {
        "side": name,
        "trainings": trainings,
        f"{short}_epochs_s": few,
        f"{long}_epochs_s": many,
        "examples_per_s": steps * _BATCH / (many - few),
        "with_start": trainings * _EPOCH * long * _BATCH / many,
      }
    )
  tables.show(rows, options.json)


def _seconds(commands: Sequence[Start], epochs: int) -> float:
  """Returns how long commands take that run at once."""
  with tempfile.TemporaryDirectory() as folder:
    begin = time.perf_counter()
    processes = [
      start(pathlib.Path(folder) / str(index), epochs)
      for index, start in enumerate(commands)
    ]
    codes = [process.wait() for process in processes]
    seconds = time.perf_counter() - begin
  if any(codes):
    raise RuntimeError(f"{processes[0].args}: exit codes {codes}")
  return seconds


def _ours(
  data_dir: pathlib.Path, folder: pathlib.Path, epochs: int
) -> subprocess.Popen:
  """Starts a command that trains two dense networks, one a core."""
  command = [
    *(sys.executable, "-m", "experiments.mnist_lenet"),
    f"--workdir={folder}",
    *(f"--data_dir={data_dir}", f"--steps={epochs * _EPOCH}"),
    *(f"--batch_size={_BATCH}", "--optimizer=adam", "--learning_rate=1.2e-3"),
    *(f"--eval_every={_EPOCH}", f"--test_every={_EPOCH}"),
    *("--rounds=0", "--arms=ticket", "--replicates=2", "--devices=2"),
    *("--checkpoint_minutes=0", "--progress=log"),
  ]
  return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def _peer(
  python: str,
  peer: pathlib.Path,
  data_dir: pathlib.Path,
  folder: pathlib.Path,
  epochs: int,
  flags: Sequence[str] = (),
  threads: int | None = None,
) -> subprocess.Popen:
  """Starts open_lth's command that trains one dense network."""
  raw = folder / "open_lth_datasets/mnist/MNIST/raw"
  raw.mkdir(parents=True)
  for path in data_dir.glob("*-ubyte.gz"):
    (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
  environment = {**os.environ, "HOME": str(folder)}
  if threads:
    environment["OMP_NUM_THREADS"] = str(threads)
  command = [
    *(python, "open_lth.py", "train"),
    *("--default_hparams=mnist_lenet_300_100", *_COMMON, *flags),
    f"--training_steps={epochs}ep",
  ]
  return subprocess.Popen(
    command, cwd=peer, env=environment, stdout=subprocess.DEVNULL
  )


if __name__ == "__main__":
  main()
