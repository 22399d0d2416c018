/* Hand-written steps of two species, the yardstick of `nox -s bench`: periodic N x N, unit spacing.
 *
 * Lane layout, as in gsimplicit/marching/lanes.py: a row is R = N / L vectors of L lanes, vector r holding cell r of
 * each of the L pieces of the row; the wrap is one rotation of lanes. A row block is u, then v. `tile` rows advance
 * `depth` steps at once in trapezoids; depth 0 goes step by step. Compiled with -DBYTES=32 or 64, the bytes of a vector,
 * and -DMODEL=0 (Gray-Scott), 1 (Schnakenberg), 2 (Brusselator), 3 (FitzHugh-Nagumo) or 4 (Gierer-Meinhardt). Whether
 * the compiler may contract and reorder (-ffast-math) or not (-ffp-contract=off) is up to the case.
 */
#include <stdlib.h>
#ifndef BYTES
#define BYTES 32
#endif
#ifndef MODEL
#define MODEL 0
#endif
#define N 128
#define L (BYTES / 4)
#define R (N / L)
#define ROW (2 * R)
typedef float vec __attribute__((vector_size(BYTES)));
typedef int order __attribute__((vector_size(BYTES)));

static vec turned(vec a, int by) {
  order o;
  for (int i = 0; i < L; i++) o[i] = (i + by + L) % L;
  return __builtin_shuffle(a, o);
}
static vec all(float x) { return x - (vec){}; }

/* Gray-Scott is gathered by hand and steps by 1: p is Du, Dv, 1 - 4 Du - F, 1 - 4 Dv - F - k, F. The others are gathered
 * as any model of the package is: p is dt Du, dt Dv, 1 - 4 dt Du, 1 - 4 dt Dv, dt, and what is named at the model. */
#define CONSTANTS 8
static inline __attribute__((always_inline)) void cell(vec u, vec v, vec su, vec sv, const vec *p, vec *nu, vec *nv) {
#if MODEL == 0
  *nu = p[0] * su + (u * (p[2] - v * v) + p[4]);
  *nv = p[1] * sv + v * (u * v + p[3]);
#else
#if MODEL == 1 /* a, b */
  vec gain = u * u * v, f = p[5] - u + gain, g = p[6] - gain;
#elif MODEL == 2 /* a, b, b + 1 */
  vec gain = u * u * v, f = p[5] - p[7] * u + gain, g = p[6] * u - gain;
#elif MODEL == 3 /* epsilon, a1, a0 */
  vec f = u - u * u * u - v, g = p[5] * (u - p[6] * v - p[7]);
#else /* s, b, c */
  vec square = u * u, f = p[5] - p[6] * u + square / v, g = square - p[7] * v;
#endif
  *nu = p[0] * su + (p[2] * u + p[4] * f);
  *nv = p[1] * sv + (p[3] * v + p[4] * g);
#endif
}

static inline __attribute__((always_inline)) void
row(const vec *n, const vec *c, const vec *s, vec *restrict o, const vec *p) {
  vec uw = turned(c[R - 1], -1), vw = turned(c[2 * R - 1], -1), u = c[0], v = c[R];
#pragma GCC unroll 32
  for (int r = 0; r < R; r++) {
    vec ue = r < R - 1 ? c[r + 1] : turned(c[0], 1), ve = r < R - 1 ? c[R + r + 1] : turned(c[R], 1);
    cell(u, v, (uw + ue) + (n[r] + s[r]), (vw + ve) + (n[R + r] + s[R + r]), p, o + r, o + R + r);
    uw = u, u = ue, vw = v, v = ve;
  }
}

static void rows(const vec *x, vec *y, int from, int to, const float *given) {
  vec p[CONSTANTS];
  for (int i = 0; i < CONSTANTS; i++) p[i] = all(given[i]);
  for (int i = from; i < to; i++)
    row(x + ((i - 1) & (N - 1)) * ROW, x + (i & (N - 1)) * ROW, x + ((i + 1) & (N - 1)) * ROW,
        y + (i & (N - 1)) * ROW, p);
}

/* fields: u then v, N x N each, replaced by the result */
void march(float *fields, int steps, int tile, int depth, const float *p) {
  size_t size = (size_t)N * ROW * sizeof(vec);
  char *raw = aligned_alloc(4096, 2 * size + 8192);
  vec *b[2] = {(vec *)raw, (vec *)(raw + size + 3072)}; /* staggered: stores must not alias later loads */
  float *q = (float *)b[0];
  for (int i = 0; i < N; i++)
    for (int f = 0; f < 2; f++)
      for (int j = 0; j < N; j++) q[(i * 2 + f) * N + (j % R) * L + j / R] = fields[(f * N + i) * N + j];
  int now = 0, t = 0;
  if (depth)
    for (; t + depth <= steps; t += depth) {
      for (int a = 0; a < N; a += tile)
        for (int s = 1; s <= depth; s++) rows(b[(now + s - 1) & 1], b[(now + s) & 1], a + s, a + tile - s, p);
      for (int a = tile; a <= N; a += tile)
        for (int s = 1; s <= depth; s++) rows(b[(now + s - 1) & 1], b[(now + s) & 1], a - s, a + s, p);
      now = (now + depth) & 1;
    }
  for (; t < steps; t++, now ^= 1) rows(b[now], b[now ^ 1], 0, N, p);
  q = (float *)b[now];
  for (int i = 0; i < N; i++)
    for (int f = 0; f < 2; f++)
      for (int j = 0; j < N; j++) fields[(f * N + i) * N + j] = q[(i * 2 + f) * N + (j % R) * L + j / R];
  free(raw);
}
