/* A hand-written Gray-Scott step, the yardstick of `nox -s bench`: periodic N x N, unit time step and spacing.
 *
 * Lane layout, as in gsimplicit/marching/lanes.py: a row is R = N / L vectors of L lanes, vector r holding cell r of
 * each of the L pieces of the row; the wrap is one rotation of lanes. A row block is u, then v. The compiler may
 * contract and reorder (-ffast-math). `tile` rows advance `depth` steps at once in trapezoids; depth 0 goes step by
 * step. Compiled with -DBYTES=32 or 64, the bytes of a vector.
 */
#include <stdlib.h>
#include <string.h>
#ifndef BYTES
#define BYTES 32
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

static inline __attribute__((always_inline)) void
row(const vec *n, const vec *c, const vec *s, vec *restrict o, vec Du, vec Dv, vec F, vec cu, vec cv) {
  vec uw = turned(c[R - 1], -1), vw = turned(c[2 * R - 1], -1), u = c[0], v = c[R];
#pragma GCC unroll 32
  for (int r = 0; r < R; r++) {
    vec ue = r < R - 1 ? c[r + 1] : turned(c[0], 1), ve = r < R - 1 ? c[R + r + 1] : turned(c[R], 1);
    vec su = (uw + n[r]) + (ue + s[r]), sv = (vw + n[R + r]) + (ve + s[R + r]);
    o[r] = Du * su + (u * (cu - v * v) + F);
    o[R + r] = Dv * sv + v * (u * v + cv);
    uw = u, u = ue, vw = v, v = ve;
  }
}

static void rows(const vec *x, vec *y, int from, int to, const float *p) {
  vec Du = all(p[0]), Dv = all(p[1]), F = all(p[2]), cu = all(p[3]), cv = all(p[4]);
  for (int i = from; i < to; i++)
    row(x + ((i - 1) & (N - 1)) * ROW, x + (i & (N - 1)) * ROW, x + ((i + 1) & (N - 1)) * ROW,
        y + (i & (N - 1)) * ROW, Du, Dv, F, cu, cv);
}

/* p: Du, Dv, F, 1 - 4 Du - F, 1 - 4 Dv - F - k; fields: u then v, N x N each, replaced by the result */
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
