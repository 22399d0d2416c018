"""Compiling by NVRTC and launching by the CUDA driver, through NVIDIA's own bindings, on torch's memory and streams.

The bindings (`cuda-bindings`, extra `gpu`) come with torch for CUDA 13; NVRTC comes with every torch for CUDA.
"""

from __future__ import annotations

import ctypes
import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from gsimplicit.marching import kept

if TYPE_CHECKING:
    from gsimplicit.marching.machine import Job

HEAD = """
#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define SHARED_MEMORY(name) extern __shared__ __align__(16) char name[]
#define COPY_ASIDE(to, from, bytes) \\
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"((unsigned)__cvta_generic_to_shared(to)), "l"(from), \\
               "n"(bytes) : "memory")
#define COPIES_DONE() asm volatile("cp.async.wait_all;" ::: "memory")
"""


class CannotCompileError(RuntimeError):
    """NVRTC refused the kernels, with its words."""


def code_of(name: str, text: str, major: int, minor: int) -> tuple[bytes, str]:
    """Code of a kernel for a compute capability, and what the assembler says of it. No device is needed.

    It is machine code; for a device that is newer than this NVRTC it is PTX, which the driver compiles on loading.

    Raises:
        CannotCompileError: With the words of NVRTC.
    """
    nvrtc, target = _bindings("nvrtc"), target_of(major, minor)
    program = _checked(nvrtc.nvrtcCreateProgram(headed(name, text).encode(), b"gsimplicit.cu", 0, [], []))
    options = [f"--gpu-architecture={target}".encode(), b"--std=c++17", b"--ptxas-options=-v"]
    status, *_ = nvrtc.nvrtcCompileProgram(program, len(options), options)
    try:
        log = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
        _checked(nvrtc.nvrtcGetProgramLog(program, log))
        words = log.decode(errors="replace").strip(chr(0)).strip()
        if int(status):
            raise CannotCompileError(f"NVRTC: {words}")
        kind = "CUBIN" if target.startswith("sm_") else "PTX"
        code = b" " * _checked(getattr(nvrtc, f"nvrtcGet{kind}Size")(program))
        _checked(getattr(nvrtc, f"nvrtcGet{kind}")(program, code))
        return code, words
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def target_of(major: int, minor: int) -> str:
    """What NVRTC is to compile for: the device itself, or the newest it knows of those that are older.

    Raises:
        CannotCompileError: It knows none.
    """
    known = sorted(_checked(_bindings("nvrtc").nvrtcGetSupportedArchs()))
    device = 10 * major + minor
    if device in known:
        return f"sm_{device}"
    if device < known[0]:
        oldest = f"{known[0] // 10}.{known[0] % 10}"
        raise CannotCompileError(
            f"NVRTC compiles for {oldest} and later, this device has compute capability {major}.{minor}"
        )
    return f"compute_{max(one for one in known if one < device)}"


def headed(name: str, text: str) -> str:
    """The whole source of a kernel."""
    return f"{HEAD}#define WITH_{name}\n{text}"


class CudaKernel:
    """A kernel loaded on a device."""

    def __init__(self, name: str, device: int, code: bytes) -> None:
        self._name, self._device, self._driver = name, device, _bindings("driver")
        self._context = _checked(self._driver.cuDevicePrimaryCtxRetain(device))
        self._shared, before = 0, _checked(self._driver.cuCtxGetCurrent())
        _checked(self._driver.cuCtxSetCurrent(self._context))
        try:
            self._module = _checked(self._driver.cuModuleLoadData(code))
            self._function = _checked(self._driver.cuModuleGetFunction(self._module, name.encode()))
        finally:
            _checked(self._driver.cuCtxSetCurrent(before))

    def launch(self, blocks: int, threads: int, shared: int, job: Job) -> None:
        """Start it on torch's stream of the moment."""
        driver = self._driver
        before = _checked(driver.cuCtxGetCurrent())
        _checked(driver.cuCtxSetCurrent(self._context))  # of this thread
        try:
            self._launch(blocks, threads, shared, job)
        finally:
            _checked(driver.cuCtxSetCurrent(before))

    def _launch(self, blocks: int, threads: int, shared: int, job: Job) -> None:
        driver = self._driver
        if shared > self._shared:  # beyond 48 KB, what a kernel declares itself included, it has to be asked for
            wanted = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _checked(driver.cuFuncSetAttribute(self._function, wanted, shared))
            self._shared = shared
        stream = torch.cuda.current_stream(self._device).cuda_stream
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(job))
        _checked(driver.cuLaunchKernel(
            self._function, blocks, 1, 1, threads, 1, 1, shared, stream, ctypes.addressof(arguments), 0
        ))  # fmt: skip


class CudaMachine:
    """A device of CUDA's."""

    def __init__(self, index: int) -> None:
        self._index, self._kernels = index, dict[str, CudaKernel]()
        found = torch.cuda.get_device_properties(index)
        self._capability = (found.major, found.minor)
        self.processors = int(found.multi_processor_count)
        driver = _bindings("driver")
        _checked(driver.cuInit(0))
        limit = driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        self.shared_limit = int(_checked(driver.cuDeviceGetAttribute(limit, index)))

    def compiled(self, name: str, text: str) -> CudaKernel:
        """A kernel of a source text: compiled once, and kept on disk for the next process."""
        whole = headed(name, text)
        found = self._kernels.get(whole)
        if found is None:
            found = self._kernels[whole] = CudaKernel(name, self._index, self._code(name, text))
        return found

    def free_bytes(self) -> int:
        """Memory that is free, what torch holds back for itself included."""
        return free_bytes(self._index)

    def wait(self) -> None:
        """Until what was launched on this stream is done."""
        torch.cuda.current_stream(self._index).synchronize()

    def _code(self, name: str, text: str) -> bytes:
        version = _checked(_bindings("nvrtc").nvrtcVersion(), several=True)
        made_of = f"{self._capability} {version} {torch.version.cuda} {headed(name, text)}"
        file = f"gsimplicit-{name}-{hashlib.sha256(made_of.encode()).hexdigest()[:32]}.cubin"
        for folder in kept.folders():
            code = kept.read(folder / file)
            if code is not None:
                return code
        code, _ = code_of(name, text, *self._capability)
        for folder in kept.folders(make=True):
            if kept.write(folder / file, code):
                break
        return code


@lru_cache(maxsize=16)
def _machine(index: int) -> CudaMachine:
    return CudaMachine(index)


def machine_of(device: torch.device) -> CudaMachine:
    """The machine of a device of CUDA's."""
    return _machine(_index(device))


def missing(device: torch.device) -> str | None:
    """Why there are no kernels for a device of CUDA's; None where there are."""
    if torch.version.cuda is None:
        return "this torch is not built for CUDA"
    return _missing(_index(device))


@lru_cache(maxsize=16)
def _missing(index: int) -> str | None:
    try:
        _bindings("driver"), target_of(*torch.cuda.get_device_capability(index))
    except ImportError as error:
        return f"{error}; `pip install gsimplicit[gpu]` brings it"
    except CannotCompileError as error:
        return str(error)
    except Exception as error:  # the bindings are there, and a library of CUDA's is not
        return f"{type(error).__name__}: {error}"
    return None


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def _bindings(name: str) -> Any:
    import importlib

    return importlib.import_module(f"cuda.bindings.{name}")


def free_bytes(device: torch.device | int) -> int:
    """Memory of a device that is free, what torch holds back for itself included."""
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + held


def _checked(result: tuple[Any, ...], *, several: bool = False) -> Any:
    """What a call of the bindings gives, or an error with the name of its status."""
    status, *values = result
    if int(status):
        raise RuntimeError(f"CUDA: {status.name}")
    return values if several else values[0] if values else None
