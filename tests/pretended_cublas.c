/* The one product of cuBLAS that `tracejit.runtime.cublas` calls, on the host's memory, column by column as cuBLAS has it. */
#include <stddef.h>
#include <stdint.h>

static void *stream_of_the_call;
static long calls;

long pretend_calls(void) { return calls; }
void *pretend_cublas_stream(void) { return stream_of_the_call; }
int cublasCreate_v2(void **handle) { *handle = &calls; return 0; }
int cublasSetStream_v2(void *handle, void *stream) { stream_of_the_call = stream; return handle == &calls ? 0 : 1; }

static double at(const void *matrix, int type, long place) {
    return type == 1 ? ((const double *)matrix)[place] : ((const float *)matrix)[place];
}

int cublasGemmStridedBatchedEx(void *handle, int turn_a, int turn_b, int m, int n, int k, const void *alpha, const void *a,
                               int type_a, int lda, long long step_a, const void *b, int type_b, int ldb, long long step_b,
                               const void *beta, void *c, int type_c, int ldc, long long step_c, int batch, int compute,
                               int algorithm) {
    if (handle != &calls || algorithm != -1 || type_a != type_b || type_a != type_c) return 7;
    if (compute != (type_a == 1 ? 70 : 68) || at(alpha, type_a, 0) != 1 || at(beta, type_a, 0) != 0) return 15;
    if (lda < (turn_a ? k : m) || ldb < (turn_b ? n : k) || ldc < m) return 7;
    calls++;
    for (long item = 0; item < batch; item++)
        for (long column = 0; column < n; column++)
            for (long row = 0; row < m; row++) {
                double sum = 0;
                for (long inner = 0; inner < k; inner++)
                    sum += at(a, type_a, item * step_a + (turn_a ? row * (long)lda + inner : inner * (long)lda + row)) *
                           at(b, type_b, item * step_b + (turn_b ? inner * (long)ldb + column : column * (long)ldb + inner));
                long place = item * step_c + column * (long)ldc + row;
                if (type_c == 1) ((double *)c)[place] = sum; else ((float *)c)[place] = (float)sum;
            }
    return 0;
}
