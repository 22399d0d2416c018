// Enough of CUDA to run the kernels on a CPU: a thread a thread, blocks one after another. Slow, and exact.
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#define DEVICE static inline
#define UNROLL
#define SHARED_MEMORY(name) char* name = shim::memory
#define COPY_ASIDE(to, from, bytes) std::memcpy(to, from, bytes)
#define COPIES_DONE()
#define __global__ __attribute__((visibility("hidden")))  // the C library has functions of such names
#define __shared__ static
#define __launch_bounds__(...)

using std::cos, std::exp, std::log, std::pow, std::sin, std::sqrt, std::tanh;

struct Index { int x; };
static thread_local Index threadIdx, blockIdx;

namespace shim {
struct Warp {
  std::barrier<> gate{32};
  uint64_t lanes[32];
};
static char* memory;
static std::barrier<>* block;
static Warp* warps;

template <class V> V exchanged(V value, int from) {
  Warp& warp = warps[threadIdx.x / 32];
  std::memcpy(&warp.lanes[threadIdx.x % 32], &value, sizeof(V));
  warp.gate.arrive_and_wait();
  V found;
  std::memcpy(&found, &warp.lanes[from], sizeof(V));
  warp.gate.arrive_and_wait();
  return found;
}

template <class Kernel> void run(Kernel kernel, int blocks, int threads, size_t shared) {
  std::barrier<> all(threads);
  const auto lanes = std::make_unique<Warp[]>((threads + 31) / 32);
  std::vector<double> room(shared / sizeof(double) + 2);
  memory = reinterpret_cast<char*>(room.data());
  memory += (16 - reinterpret_cast<uintptr_t>(memory) % 16) % 16;
  block = &all;
  warps = lanes.get();
  std::vector<std::thread> team;
  for (int t = 0; t < threads; t++)
    team.emplace_back([=, &all] {
      threadIdx.x = t;
      for (int b = 0; b < blocks; b++) {
        blockIdx.x = b;
        kernel();
        all.arrive_and_wait();
      }
    });
  for (auto& one : team) one.join();
}
}  // namespace shim

static inline void __syncthreads() { shim::block->arrive_and_wait(); }
template <class V> static inline V __shfl_sync(unsigned, V value, int from) { return shim::exchanged(value, from); }
template <class V> static inline V __shfl_xor_sync(unsigned, V value, int by) {
  return shim::exchanged(value, threadIdx.x % 32 ^ by);
}
template <class A, class B> static inline A same_bits(B value) {
  A found;
  std::memcpy(&found, &value, sizeof(A));
  return found;
}
static inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
static inline float __uint_as_float(unsigned x) { return same_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return same_bits<double>(x); }
