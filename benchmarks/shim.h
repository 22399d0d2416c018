// Enough of CUDA to run the kernels on a CPU, blocks one after another. Slow, and exact.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#define DEVICE static inline
#define UNROLL
#define SHARED_MEMORY(name) char* name = shim::memory
#define COPY_ASIDE(to, from, bytes) std::memcpy(to, from, bytes)
#define COPIES_DONE()
#define __global__ __attribute__((visibility("hidden")))  // the C library has functions of such names
#define __shared__ static
#define __launch_bounds__(...)

using std::cos, std::exp, std::fabs, std::log, std::pow, std::sin, std::sqrt, std::tanh;

struct Index { int x; };

#ifdef ON_THREADS  // slow, for what looks for races
#include <barrier>
#include <thread>

static thread_local Index threadIdx, blockIdx;

namespace shim {
typedef std::barrier<> Gate;

template <class Work> void run_all(Work work, int threads) {
  std::vector<std::thread> team;
  for (int t = 0; t < threads; t++)
    team.emplace_back([=] {
      threadIdx.x = t;
      work();
    });
  for (auto& one : team) one.join();
}
}  // namespace shim

#else  // one thread that goes from one of its contexts to the next wherever one has to wait
#include <functional>
#include <ucontext.h>

static Index threadIdx, blockIdx;

namespace shim {
constexpr size_t STACK = 256 * 1024;
static std::vector<ucontext_t> team;
static std::vector<char> over;
static std::function<void()> work;
static ucontext_t home;

// To the next context that has not ended; home where all have.
static void next() {
  const int from = threadIdx.x, count = team.size();
  for (int by = 1; by <= count; by++) {
    const int to = (from + by) % count;
    if (over[to]) continue;
    threadIdx.x = to;
    if (to != from) swapcontext(&team[from], &team[to]);
    return;
  }
  setcontext(&home);
}

struct Gate {
  explicit Gate(int size) : size(size) {}
  int size, there = 0;
  unsigned passed = 0;
  void arrive_and_wait() {
    const unsigned before = passed;
    if (++there == size) there = 0, passed++;
    while (passed == before) next();
  }
};

static void begin() {
  work();
  over[threadIdx.x] = 1;
  next();
}

template <class Work> void run_all(Work given, int threads) {
  const std::unique_ptr<char[]> stacks(new char[threads * STACK]);
  team.assign(threads, ucontext_t{});
  over.assign(threads, 0);
  work = given;
  for (int t = 0; t < threads; t++) {
    getcontext(&team[t]);
    team[t].uc_stack.ss_sp = stacks.get() + t * STACK;
    team[t].uc_stack.ss_size = STACK;
    makecontext(&team[t], begin, 0);
  }
  threadIdx.x = 0;
  swapcontext(&home, &team[0]);
}
}  // namespace shim
#endif

namespace shim {
struct Warp {
  Gate gate{32};
  uint64_t lanes[32];
};
static char* memory;
static Gate* block;
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
  Gate all(threads);
  const auto lanes = std::make_unique<Warp[]>((threads + 31) / 32);
  std::vector<double> room(shared / sizeof(double) + 2);
  memory = reinterpret_cast<char*>(room.data());
  memory += (16 - reinterpret_cast<uintptr_t>(memory) % 16) % 16;
  block = &all;
  warps = lanes.get();
  run_all([=, &all] {
    for (int b = 0; b < blocks; b++) {
      all.arrive_and_wait();  // nobody is in another block
      blockIdx.x = b;
      kernel();
      all.arrive_and_wait();
    }
  }, threads);
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
