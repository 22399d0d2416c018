/* What one core can do at best: vector additions a second.
 * Twelve chains hide the latency. Compiled with -DBYTES=32 or 64, the bytes of a vector. */
#ifndef BYTES
#define BYTES 32
#endif
typedef float vec __attribute__((vector_size(BYTES)));

#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define DECLARE(i) vec a##i = {i};
#define KEEP(i) __asm__ volatile("" : "+x"(a##i));
#define ADD(i) a##i = a##i + one; KEEP(i)
#define SUM(i) total += a##i[0];

/* additions in twelve chains, `turns` times */
float additions(long turns) {
  vec one = (vec){} + 1.0f;
  float total = 0;
  TWELVE(DECLARE)
  for (long t = 0; t < turns; t++) { TWELVE(ADD) }
  TWELVE(SUM)
  return total;
}
