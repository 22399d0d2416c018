"""A machine of threads for the kernels of the GPU: the same source, compiled by g++ and run on the CPU."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import threading
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsimplicit.marching.machine import Job

COMPILER = shutil.which("g++")
HEADER = Path(__file__).with_name("shim.h")

LIMIT = 227 * 1024
"""Bytes of shared memory that a block may have on an H100."""

LAUNCH = """
extern "C" void launch(int blocks, int threads, size_t shared, const Job* job) {
  shim::run([=] { KERNEL(*job); }, blocks, threads, shared);
}
"""

ALONE = """
#include <cstdio>
int main() {
  const int B = 2, steps_of[B] = {7, 4};
  std::vector<T> fields(B * SPECIES * CELLS, T(0.3)), other(fields), constants(B * CONSTANTS, T(0.01)), change(B, 1);
  std::vector<T> history(B * 4 * SPECIES * CELLS, T(0.2));
  std::vector<double> sums(B * SUMS);
  std::vector<int> which{1, 0}, steps(steps_of, steps_of + B);
  for (size_t p = 0; p < fields.size(); p++) fields[p] += T(0.001) * T(p % 7);
  Job job{};
  job.fields = fields.data(), job.other = other.data(), job.constants = constants.data(), job.which = which.data();
  job.steps = steps.data(), job.change = change.data(), job.history = history.data(), job.sums = sums.data();
  job.capacity = 4, job.instances = B, job.most = 12, job.limit = 12, job.check = 3, job.tol = 0;
  shim::run([&] { KERNEL(job); }, B, THREADS, 1 << 20);
  std::printf("%d %d\\n", steps[0], steps[1]);
}
"""


_one = threading.Lock()
"""One launch at a time: a library has one block."""


class ThreadsKernel:
    """A kernel as a function of a library of its own."""

    def __init__(self, library: Path) -> None:
        self._launch = ctypes.CDLL(str(library)).launch

    def launch(self, blocks: int, threads: int, shared: int, job: Job) -> None:
        """Run it, and wait; what a device would refuse to launch is refused."""
        if not (0 < blocks < 2**31 and 0 < threads <= 1024 and threads % 32 == 0 and 0 <= shared <= LIMIT):
            raise ValueError(f"no launch of {blocks} blocks of {threads} threads and {shared} bytes")
        with _one:
            self._launch(ctypes.c_int(blocks), ctypes.c_int(threads), ctypes.c_size_t(shared), ctypes.byref(job))


class ThreadsMachine:
    """One multiprocessor of threads.

    Args:
        shared_limit: Bytes of shared memory that a block may have.
        free: Bytes said to be free for fields.
    """

    processors = 1

    def __init__(self, shared_limit: int = LIMIT, free: int = 2**30) -> None:
        self.shared_limit, self._free = shared_limit, free
        self._kernels: dict[str, ThreadsKernel] = {}

    def compiled(self, name: str, text: str) -> ThreadsKernel:
        """A kernel of a source text; kept for the life of the process."""
        whole = text_for(name, text) + LAUNCH
        if whole not in self._kernels:
            self._kernels[whole] = ThreadsKernel(built(whole, "-shared", "-fPIC"))
        return self._kernels[whole]

    def free_bytes(self) -> int:
        """Memory said to be free."""
        return self._free

    def wait(self) -> None:
        """Launches wait themselves."""


def text_for(name: str, text: str) -> str:
    """The whole source of a kernel for threads."""
    return f"{HEADER.read_text()}\n#define WITH_{name}\n#define KERNEL {name}\n{text}"


_folder: list[Path] = []


def built(text: str, *options: str) -> Path:
    """A library or program of some source, in a folder of this process."""
    if COMPILER is None:
        raise RuntimeError("g++ is not there")
    if not _folder:
        _folder.append(Path(mkdtemp(prefix="gsimplicit-shim-")))
    file = _folder[0] / hashlib.sha256(f"{text}{options}".encode()).hexdigest()[:24]
    if not file.exists():
        file.with_suffix(".cpp").write_text(text)
        command = [COMPILER, "-std=c++20", "-O1", "-pthread", "-ffp-contract=off", *options]
        subprocess.run([*command, str(file.with_suffix(".cpp")), "-o", str(file)], check=True)
    return file
