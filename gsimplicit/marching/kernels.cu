// Explicit steps of one reaction-diffusion instance a block, forward, recorded, backward and with tangents.
//
// Compiled once a model, shape and dtype, with these defined before it:
//   T                                          float or double
//   SPECIES CONSTANTS SUMS PARAMETERS          of the model, whose formulas step_of, adjoint_of, tangents_of come first
//   H, W                                       rows and columns of the grid
//   THREADS, BLOCKS                            threads a block; blocks that shall fit on one multiprocessor
//   WITH_march WITH_advance ...                the kernel that is wanted
// and, for fields held in registers, LANES * COLS == W, WARPS * ROWS == H and IN_REGISTERS; IN_SHARED keeps the fields
// of the other kernels in shared memory instead of global memory.
//
// Every second state of a march is recorded for its adjoint, which forms the one between anew: half the traffic, which is
// what an adjoint waits for. In registers, the recorded state lies in shared memory while two steps are taken backward; in
// the second of them each row makes room for the same row of the state recorded before, copied while the sweep goes on.
//
// In registers: a warp owns ROWS rows, a lane COLS columns of them. Neighbours to the sides come by shuffles, the rows
// of the warps above and below through shared memory, in two buffers by turns, so that one barrier a step is enough. A
// sweep downwards writes each new row into the slot above it, a sweep upwards moves them back: there is one row of
// registers more than a warp has rows.
//
// No instance waits for another, and none sees another: a value that is not finite stays where it is.

#ifdef DOUBLE
typedef unsigned long long Bits;
#else
typedef unsigned int Bits;
#endif

#define CELLS (H * W)
#define ALL 0xffffffffu
#define HISTORY_OF(b) (job.history + (b) * job.capacity * SPECIES * CELLS)

struct Job {
  T* fields;             // (count, SPECIES, H, W): fields, or cotangents of an adjoint; in place
  T* other;              // as large: the second buffer of fields in global memory
  T* tangents;           // (count, PARAMETERS, SPECIES, H, W)
  T* other_tangents;     // as large
  const T* constants;    // (B, CONSTANTS)
  const int* which;      // (count): the instance that block i works on
  int* steps;            // (B): steps taken, or to take
  T* change;             // (B): largest change over the last step tested
  T* history;            // (B, capacity, SPECIES, H, W): states before the first step, the third, ...; may be null
  double* sums;          // (count, SUMS): of an adjoint, added to
  long long capacity;    // states that fit in history
  int instances;         // B: cotangents come in groups of B
  int most;              // cap on the steps of an instance
  int limit;             // steps of this launch, a multiple of check
  int check;             // steps between tests
  T tol;
};

// The magnitude as an integer: not-a-number lies above infinity, so that a maximum never loses it.
DEVICE Bits bits_of(T x) {
#ifdef DOUBLE
  return (Bits)__double_as_longlong(x) & 0x7fffffffffffffffull;
#else
  return __float_as_uint(x) & 0x7fffffffu;
#endif
}
DEVICE T number_of(Bits x) {
#ifdef DOUBLE
  return __longlong_as_double((long long)x);
#else
  return __uint_as_float(x);
#endif
}

DEVICE Bits most_of(Bits a, Bits b) { return a > b ? a : b; }

// Largest over the block; `parts` are not written again before another barrier has passed.
DEVICE Bits largest_of(Bits m, Bits* parts) {
  for (int by = 16; by; by >>= 1) m = most_of(m, __shfl_xor_sync(ALL, m, by));
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = m;
  __syncthreads();
  m = 0;
  for (int w = 0; w < THREADS / 32; w++) m = most_of(m, parts[w]);
  return m;
}

// Sum over the block, always in the same order, added to *total.
DEVICE void add_to(double* total, double value, double* parts) {
  for (int by = 16; by; by >>= 1) value += __shfl_xor_sync(ALL, value, by);
  __syncthreads();
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x == 0) {
    value = 0;
    for (int w = 0; w < THREADS / 32; w++) value += parts[w];
    *total += value;
  }
}

DEVICE void constants_of(T* c, const Job& job, int b) {
  UNROLL for (int i = 0; i < CONSTANTS; i++) c[i] = job.constants[b * CONSTANTS + i];
}

#ifdef IN_REGISTERS

#define GRAIN (COLS * sizeof(T) % 16 == 0 ? 16 : COLS * sizeof(T) % 8 == 0 ? 8 : sizeof(T))
#define PACK (GRAIN / sizeof(T))

struct alignas(GRAIN) Pack { T at[PACK]; };

DEVICE void load(T* row, const T* from) {
  UNROLL for (int j = 0; j < COLS; j += PACK) {
    const Pack p = *reinterpret_cast<const Pack*>(from + j);
    UNROLL for (int k = 0; k < PACK; k++) row[j + k] = p.at[k];
  }
}
DEVICE void store(T* to, const T* row) {
  UNROLL for (int j = 0; j < COLS; j += PACK) {
    Pack p;
    UNROLL for (int k = 0; k < PACK; k++) p.at[k] = row[j + k];
    *reinterpret_cast<Pack*>(to + j) = p;
  }
}

// The outer rows of all warps: [buffer][top or bottom][species][warp][column].
#define EDGE(buffer, side, s, warp) (((((buffer) * 2 + (side)) * SPECIES + (s)) * WARPS + (warp)) * W)

typedef T Rows[SPECIES][ROWS + 1][COLS];

struct Place {
  int warp, up, down;    // this warp and its neighbours
  int left, right, col;  // lanes of the neighbours, and the first column
  bool idle;             // a lane beyond the grid's width: it does what lane 0 does, and stores nothing
};

DEVICE Place place() {
  Place at;
  const int lane = threadIdx.x % 32, l = lane < LANES ? lane : 0;
  at.warp = threadIdx.x / 32;
  at.up = at.warp == 0 ? WARPS - 1 : at.warp - 1;
  at.down = at.warp == WARPS - 1 ? 0 : at.warp + 1;
  at.left = l == 0 ? LANES - 1 : l - 1;
  at.right = l == LANES - 1 ? 0 : l + 1;
  at.col = l * COLS;
  at.idle = lane >= LANES;
  return at;
}

DEVICE void read(Rows& x, const T* fields, const Place& at) {
  UNROLL for (int s = 0; s < SPECIES; s++)
    UNROLL for (int i = 0; i < ROWS; i++) load(x[s][i + 1], fields + s * CELLS + (at.warp * ROWS + i) * W + at.col);
}

// Rows lie from slot `first` on.
template <int first>
DEVICE void write(T* fields, const Rows& x, const Place& at) {
  if (at.idle) return;
  UNROLL for (int s = 0; s < SPECIES; s++)
    UNROLL for (int i = 0; i < ROWS; i++) store(fields + s * CELLS + (at.warp * ROWS + i) * W + at.col, x[s][i + first]);
}

template <int first>
DEVICE void publish(const Rows& x, T* edges, int buffer, const Place& at) {
  if (!at.idle) {
    UNROLL for (int s = 0; s < SPECIES; s++) {
      store(edges + EDGE(buffer, 0, s, at.warp) + at.col, x[s][first]);
      store(edges + EDGE(buffer, 1, s, at.warp) + at.col, x[s][first + ROWS - 1]);
    }
  }
  __syncthreads();
}

// An odd step leaves the rows one slot too high.
DEVICE void moved_back(Rows& x) {
  UNROLL for (int s = 0; s < SPECIES; s++)
    UNROLL for (int i = ROWS; i > 0; i--)
      UNROLL for (int j = 0; j < COLS; j++) x[s][i][j] = x[s][i - 1][j];
}

// The sum of the four neighbours of a row's entry j, in the order of the other kernels.
DEVICE T around_of(const T* row, const T* up, const T* down, T left, T right, int j) {
  return ((j ? row[j ? j - 1 : 0] : left) + (j < COLS - 1 ? row[j < COLS - 1 ? j + 1 : 0] : right)) + (up[j] + down[j]);
}

// A recorded state in shared memory, and the one before it in the history; null where there is none.
struct Recorded {
  T* here;
  const T* before;
};

// Row i of this warp, as an offset: rows -1 and ROWS are those of its neighbours.
DEVICE int row_of(int i, int s, const Place& at) {
  const int r = i < 0 ? at.up * ROWS + ROWS - 1 : i == ROWS ? at.down * ROWS : at.warp * ROWS + i;
  return s * CELLS + r * W + at.col;
}

// The state one step after the recorded one, at row i.
DEVICE void state_between(T (*given)[COLS], const Recorded& state, const T* c, int i, const Place& at) {
  T row[SPECIES][COLS], up[SPECIES][COLS], down[SPECIES][COLS], left[SPECIES], right[SPECIES];
  UNROLL for (int s = 0; s < SPECIES; s++) {
    load(row[s], state.here + row_of(i, s, at));
    load(up[s], state.here + row_of(i - 1, s, at));
    load(down[s], state.here + row_of(i + 1, s, at));
    left[s] = __shfl_sync(ALL, row[s][COLS - 1], at.left);
    right[s] = __shfl_sync(ALL, row[s][0], at.right);
  }
  UNROLL for (int j = 0; j < COLS; j++) {
    T here[SPECIES], around[SPECIES], next[SPECIES];
    UNROLL for (int s = 0; s < SPECIES; s++) {
      here[s] = row[s][j];
      around[s] = around_of(row[s], up[s], down[s], left[s], right[s], j);
    }
    step_of(here, around, c, next);
    UNROLL for (int s = 0; s < SPECIES; s++) given[s][j] = next[s];
  }
}

// Row i of a state that follows from memory to memory, while this thread goes on.
DEVICE void bring(T* to, const T* from, int i, const Place& at) {
  if (at.idle) return;
  UNROLL for (int s = 0; s < SPECIES; s++)
    UNROLL for (int j = 0; j < COLS; j += PACK) COPY_ASIDE(to + row_of(i, s, at) + j, from + row_of(i, s, at) + j, GRAIN);
}

// The recorded state at row i, whose place in shared memory the one before it takes.
DEVICE void state_here(T (*given)[COLS], const Recorded& state, int i, const Place& at) {
  UNROLL for (int s = 0; s < SPECIES; s++) {
    if (LANES == 32 || !at.idle) {  // lane 0 may have made room before an idle one has read
      load(given[s], state.here + row_of(i, s, at));
    } else {
      UNROLL for (int j = 0; j < COLS; j++) given[s][j] = 0;
    }
  }
  if (state.before) bring(state.here, state.before, i, at);
}

enum { PLAIN, MEASURED, BETWEEN, RECORDED };

// One step. Backward, the state of the step is the recorded one or that between, and `sums` gain.
template <bool DOWN, int MODE>
DEVICE void sweep(Rows& x, const T* c, T* edges, int& buffer, const Place& at, Bits& m, const Recorded& state, T* sums) {
  constexpr bool BACKWARD = MODE == BETWEEN || MODE == RECORDED;
  constexpr int near = DOWN ? 0 : ROWS;
  T far[SPECIES][COLS];
  UNROLL for (int s = 0; s < SPECIES; s++) {
    load(x[s][near], edges + EDGE(buffer, DOWN ? 1 : 0, s, DOWN ? at.up : at.down) + at.col);
    load(far[s], edges + EDGE(buffer, DOWN ? 0 : 1, s, DOWN ? at.down : at.up) + at.col);
  }
  UNROLL for (int n = 0; n < ROWS; n++) {
    const int i = DOWN ? n : ROWS - 1 - n;
    const int old = DOWN ? i + 1 : i, fresh = DOWN ? i : i + 1, ahead = DOWN ? i + 2 : i - 1;
    T left[SPECIES], right[SPECIES];
    UNROLL for (int s = 0; s < SPECIES; s++) {
      left[s] = __shfl_sync(ALL, x[s][old][COLS - 1], at.left);
      right[s] = __shfl_sync(ALL, x[s][old][0], at.right);
    }
    T given[SPECIES][COLS];
    if (MODE == BETWEEN) state_between(given, state, c, i, at);
    if (MODE == RECORDED) state_here(given, state, i, at);
    UNROLL for (int j = 0; j < COLS; j++) {
      T here[SPECIES], around[SPECIES], next[SPECIES];
      UNROLL for (int s = 0; s < SPECIES; s++) {
        here[s] = x[s][old][j];
        around[s] = around_of(x[s][old], x[s][fresh], n == ROWS - 1 ? far[s] : x[s][ahead], left[s], right[s], j);
      }
      if (BACKWARD) {
        T y[SPECIES], gained[SUMS];
        UNROLL for (int s = 0; s < SPECIES; s++) y[s] = given[s][j];
        adjoint_of(here, around, y, c, next, gained);
        UNROLL for (int q = 0; q < SUMS; q++) sums[q] += gained[q];
      } else {
        step_of(here, around, c, next);
        if (MODE == MEASURED) {
          UNROLL for (int s = 0; s < SPECIES; s++) m = most_of(m, bits_of(next[s] - here[s]));
        }
      }
      UNROLL for (int s = 0; s < SPECIES; s++) x[s][fresh][j] = next[s];
    }
  }
  buffer ^= 1;
  if (MODE == RECORDED) COPIES_DONE();  // and with the barrier of `publish` those of all threads
  publish<DOWN ? 0 : 1>(x, edges, buffer, at);
}

#ifdef WITH_march
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) march(const Job job) {
  SHARED_MEMORY(memory);
  T* edges = reinterpret_cast<T*>(memory);
  __shared__ Bits parts[THREADS / 32];
  const int b = job.which[blockIdx.x];
  const Place at = place();
  T c[CONSTANTS];
  constants_of(c, job, b);
  Rows x;
  T* fields = job.fields + (long long)b * SPECIES * CELLS;
  read(x, fields, at);
  int buffer = 0, n = job.steps[b];
  const int end = job.limit < job.most - n ? n + job.limit : job.most;
  T change = job.change[b];
  publish<1>(x, edges, buffer, at);
  Bits m = 0;
  while (n < end) {
    int left = job.check < end - n ? job.check : end - n;
    n += left;
    for (; left > 2; left -= 2) {
      sweep<true, PLAIN>(x, c, edges, buffer, at, m, {}, nullptr);
      sweep<false, PLAIN>(x, c, edges, buffer, at, m, {}, nullptr);
    }
    m = 0;
    if (left == 2) {
      sweep<true, PLAIN>(x, c, edges, buffer, at, m, {}, nullptr);
      sweep<false, MEASURED>(x, c, edges, buffer, at, m, {}, nullptr);
    } else {
      sweep<true, MEASURED>(x, c, edges, buffer, at, m, {}, nullptr);
      moved_back(x);
    }
    change = number_of(largest_of(m, parts));
    if (!(change >= job.tol && change - change == 0)) break;  // small enough, or no longer finite
  }
  write<1>(fields, x, at);
  __syncthreads();  // all have read their number of steps
  if (threadIdx.x == 0) { job.steps[b] = n; job.change[b] = change; }
}
#endif

// As many steps as job.steps says, every second state kept where there is a history.
#ifdef WITH_advance
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) advance(const Job job) {
  SHARED_MEMORY(memory);
  T* edges = reinterpret_cast<T*>(memory);
  const int b = job.which[blockIdx.x];
  const Place at = place();
  T c[CONSTANTS];
  constants_of(c, job, b);
  Rows x;
  T* fields = job.fields + (long long)b * SPECIES * CELLS;
  T* kept = job.history ? HISTORY_OF(b) : nullptr;
  read(x, fields, at);
  int buffer = 0;
  Bits m = 0;
  publish<1>(x, edges, buffer, at);
  int left = job.steps[b];
  for (; left > 1; left -= 2) {
    if (kept) { write<1>(kept, x, at); kept += SPECIES * CELLS; }
    sweep<true, PLAIN>(x, c, edges, buffer, at, m, {}, nullptr);
    sweep<false, PLAIN>(x, c, edges, buffer, at, m, {}, nullptr);
  }
  if (left) {
    if (kept) write<1>(kept, x, at);
    sweep<true, PLAIN>(x, c, edges, buffer, at, m, {}, nullptr);
    moved_back(x);
  }
  write<1>(fields, x, at);
}
#endif

// The adjoint of recorded steps: cotangents in place, and what they add to the sums.
#ifdef WITH_adjoint
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) adjoint(const Job job) {
  SHARED_MEMORY(memory);
  T* edges = reinterpret_cast<T*>(memory);
  __shared__ double parts[THREADS / 32];
  const int i = job.which[blockIdx.x], b = i % job.instances;
  const Place at = place();
  T c[CONSTANTS];
  constants_of(c, job, b);
  Rows a;
  T* cotangent = job.fields + (long long)i * SPECIES * CELLS;
  read(a, cotangent, at);
  int buffer = 0, left = job.steps[b];
  Bits m = 0;
  Recorded state{edges + 4 * SPECIES * WARPS * W, HISTORY_OF(b) + (left - 1ll) / 2 * SPECIES * CELLS};
  if (left) {
    UNROLL for (int i = 0; i < ROWS; i++) bring(state.here, state.before, i, at);
    COPIES_DONE();
  }
  publish<1>(a, edges, buffer, at);
  double totals[SUMS];
  UNROLL for (int q = 0; q < SUMS; q++) totals[q] = 0;
  for (; left > 0; left -= left % 2 ? 1 : 2) {
    T sums[SUMS];
    UNROLL for (int q = 0; q < SUMS; q++) sums[q] = 0;
    state.before = left > 2 ? state.before - SPECIES * CELLS : nullptr;
    if (left % 2) {  // the last step of an odd number has no state between
      sweep<true, RECORDED>(a, c, edges, buffer, at, m, state, sums);
      moved_back(a);
    } else {
      sweep<true, BETWEEN>(a, c, edges, buffer, at, m, state, sums);
      sweep<false, RECORDED>(a, c, edges, buffer, at, m, state, sums);
    }
    UNROLL for (int q = 0; q < SUMS; q++) totals[q] += sums[q];
  }
  write<1>(cotangent, a, at);
  UNROLL for (int q = 0; q < SUMS; q++) add_to(job.sums + (long long)i * SUMS + q, at.idle ? 0 : totals[q], parts);
}
#endif

#else  // fields in shared or global memory: any shape, one barrier a step, two buffers

DEVICE T around_of(const T* field, int p) {
  const int column = p % W;
  const T side = field[column ? p - 1 : p + W - 1] + field[column < W - 1 ? p + 1 : p - W + 1];
  return side + (field[p < W ? p + CELLS - W : p - W] + field[p < CELLS - W ? p + W : p + W - CELLS]);
}

template <bool MEASURED>
DEVICE void step_into(T* to, const T* from, const T* c, Bits& m) {
  for (int p = threadIdx.x; p < CELLS; p += THREADS) {
    T here[SPECIES], around[SPECIES], next[SPECIES];
    UNROLL for (int s = 0; s < SPECIES; s++) { here[s] = from[s * CELLS + p]; around[s] = around_of(from + s * CELLS, p); }
    step_of(here, around, c, next);
    UNROLL for (int s = 0; s < SPECIES; s++) {
      to[s * CELLS + p] = next[s];
      if (MEASURED) m = most_of(m, bits_of(next[s] - here[s]));
    }
  }
  __syncthreads();
}

DEVICE void copy(T* to, const T* from, long long count) {
  for (long long p = threadIdx.x; p < count; p += THREADS) to[p] = from[p];
}

// Two buffers with the fields in the first.
struct Pair { T *now, *then; };

DEVICE Pair opened(T* fields, T* other, T* memory, long long count) {
#ifdef IN_SHARED
  copy(memory, fields, count);
  __syncthreads();
  return Pair{memory, memory + count};
#else
  return Pair{fields, other};
#endif
}

DEVICE void closed(T* fields, const T* now, long long count) {
  if (now != fields) copy(fields, now, count);
}

DEVICE void swap(Pair& x) { T* was = x.now; x.now = x.then; x.then = was; }

#ifdef WITH_march
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) march(const Job job) {
  SHARED_MEMORY(memory);
  __shared__ Bits parts[THREADS / 32];
  const int b = job.which[blockIdx.x];
  const long long offset = (long long)b * SPECIES * CELLS;
  T c[CONSTANTS];
  constants_of(c, job, b);
  Pair x = opened(job.fields + offset, job.other + offset, reinterpret_cast<T*>(memory), SPECIES * CELLS);
  int n = job.steps[b];
  const int end = job.limit < job.most - n ? n + job.limit : job.most;
  T change = job.change[b];
  Bits m = 0;
  while (n < end) {
    const int count = job.check < end - n ? job.check : end - n;
    n += count;
    for (int k = 1; k < count; k++) { step_into<false>(x.then, x.now, c, m); swap(x); }
    m = 0;
    step_into<true>(x.then, x.now, c, m);
    swap(x);
    change = number_of(largest_of(m, parts));
    if (!(change >= job.tol && change - change == 0)) break;  // small enough, or no longer finite
  }
  closed(job.fields + offset, x.now, SPECIES * CELLS);
  __syncthreads();  // all have read their number of steps
  if (threadIdx.x == 0) { job.steps[b] = n; job.change[b] = change; }
}
#endif

#ifdef WITH_advance
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) advance(const Job job) {
  SHARED_MEMORY(memory);
  const int b = job.which[blockIdx.x];
  const long long offset = (long long)b * SPECIES * CELLS;
  T c[CONSTANTS];
  constants_of(c, job, b);
  Pair x = opened(job.fields + offset, job.other + offset, reinterpret_cast<T*>(memory), SPECIES * CELLS);
  T* kept = job.history ? HISTORY_OF(b) : nullptr;
  Bits m = 0;
  for (int left = job.steps[b], n = 0; left > 0; left--, n++) {
    if (kept && n % 2 == 0) { copy(kept, x.now, SPECIES * CELLS); kept += SPECIES * CELLS; }
    step_into<false>(x.then, x.now, c, m);
    swap(x);
  }
  closed(job.fields + offset, x.now, SPECIES * CELLS);
}
#endif

#ifdef WITH_adjoint
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) adjoint(const Job job) {
  SHARED_MEMORY(memory);
  __shared__ double parts[THREADS / 32];
  const int i = job.which[blockIdx.x], b = i % job.instances;
  const long long offset = (long long)i * SPECIES * CELLS;
  T c[CONSTANTS];
  constants_of(c, job, b);
  Pair a = opened(job.fields + offset, job.other + offset, reinterpret_cast<T*>(memory), SPECIES * CELLS);
  const int steps = job.steps[b];
  double totals[SUMS];
  UNROLL for (int q = 0; q < SUMS; q++) totals[q] = 0;
  for (int n = steps - 1; n >= 0; n--) {
    const T* state = HISTORY_OF(b) + (long long)(n / 2) * SPECIES * CELLS;
    T sums[SUMS];
    UNROLL for (int q = 0; q < SUMS; q++) sums[q] = 0;
    for (int p = threadIdx.x; p < CELLS; p += THREADS) {
      T here[SPECIES], around[SPECIES], y[SPECIES], beside[SPECIES], next[SPECIES], gained[SUMS];
      UNROLL for (int s = 0; s < SPECIES; s++) {
        here[s] = a.now[s * CELLS + p];
        around[s] = around_of(a.now + s * CELLS, p);
        y[s] = state[s * CELLS + p];
      }
      if (n % 2) {  // one step after the recorded state
        UNROLL for (int s = 0; s < SPECIES; s++) beside[s] = around_of(state + s * CELLS, p);
        step_of(y, beside, c, next);
        UNROLL for (int s = 0; s < SPECIES; s++) y[s] = next[s];
      }
      adjoint_of(here, around, y, c, next, gained);
      UNROLL for (int s = 0; s < SPECIES; s++) a.then[s * CELLS + p] = next[s];
      UNROLL for (int q = 0; q < SUMS; q++) sums[q] += gained[q];
    }
    __syncthreads();
    swap(a);
    UNROLL for (int q = 0; q < SUMS; q++) totals[q] += sums[q];
  }
  closed(job.fields + offset, a.now, SPECIES * CELLS);
  UNROLL for (int q = 0; q < SUMS; q++) add_to(job.sums + (long long)i * SUMS + q, totals[q], parts);
}
#endif

// As many steps as job.steps says, with the derivatives in every parameter.
#ifdef WITH_tangents
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) tangents(const Job job) {
  SHARED_MEMORY(memory);
  constexpr int MANY = PARAMETERS * SPECIES;
  const int b = job.which[blockIdx.x];
  const long long offset = (long long)b * SPECIES * CELLS;
  T c[CONSTANTS];
  constants_of(c, job, b);
  T* inside = reinterpret_cast<T*>(memory);
  Pair x = opened(job.fields + offset, job.other + offset, inside, SPECIES * CELLS);
  Pair d = opened(job.tangents + offset * PARAMETERS, job.other_tangents + offset * PARAMETERS,
                  inside + 2 * SPECIES * CELLS, (long long)MANY * CELLS);
  for (int left = job.steps[b]; left > 0; left--) {
    for (int p = threadIdx.x; p < CELLS; p += THREADS) {
      T here[SPECIES], around[SPECIES], next[SPECIES], along[MANY], beside[MANY], moved[MANY];
      UNROLL for (int s = 0; s < SPECIES; s++) {
        here[s] = x.now[s * CELLS + p];
        around[s] = around_of(x.now + s * CELLS, p);
      }
      UNROLL for (int q = 0; q < MANY; q++) {
        along[q] = d.now[q * CELLS + p];
        beside[q] = around_of(d.now + q * CELLS, p);
      }
      step_of(here, around, c, next);
      tangents_of(here, around, along, beside, c, moved);
      UNROLL for (int s = 0; s < SPECIES; s++) x.then[s * CELLS + p] = next[s];
      UNROLL for (int q = 0; q < MANY; q++) d.then[q * CELLS + p] = moved[q];
    }
    __syncthreads();
    swap(x);
    swap(d);
  }
  closed(job.fields + offset, x.now, SPECIES * CELLS);
  closed(job.tangents + offset * PARAMETERS, d.now, (long long)MANY * CELLS);
}
#endif

#endif
