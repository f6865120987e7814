"""Two processes of torchrun against one: the same training, the same probes, the same class means."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from lib.system import files, parallel
from two_processes import work

TESTS = Path(__file__).parent


def torchrun(*arguments: str) -> subprocess.CompletedProcess:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command, "--master-port", str(port), *arguments],
        env=environment, cwd=TESTS.parent, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_two_processes_find_what_one_finds(tmp_path):
    (tmp_path / "two").mkdir()
    (tmp_path / "one").mkdir()
    done = torchrun(str(TESTS / "two_processes.py"), str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    two, _ = files.read_tensors(tmp_path / "two" / "found")
    one = work(tmp_path / "one")
    assert int(two.pop("size")) == 2 and two.keys() == one.keys()
    torch.testing.assert_close(two["curve"], one["curve"], atol=1e-4, rtol=0)
    torch.testing.assert_close(two["weights"], one["weights"], atol=1e-4, rtol=0)
    torch.testing.assert_close(two["probe_curve"], one["probe_curve"], atol=1e-4, rtol=0)
    torch.testing.assert_close(two["resumed_curve"], two["probe_curve"], atol=1e-6, rtol=0)  # sums in another order
    assert torch.equal(one["resumed_curve"], one["probe_curve"])
    torch.testing.assert_close(two["class_means"], one["class_means"], atol=1e-6, rtol=0)
    torch.testing.assert_close(two["accuracy"], one["accuracy"])


def test_one_process_is_a_group_of_its_own():
    parallel.begin()
    assert parallel.size() == 1 and parallel.rank() == 0 and parallel.any_of(True, False) == (True, False)
    assert parallel.part(7) == slice(0, 7)
