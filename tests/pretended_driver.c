/* A driver that pretends: device memory is the host's, kernels are noted down and not run.
   What `tracejit.runtime.cuda_driver` calls, so that its calls can be checked without a GPU. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef uint64_t Address;

static struct { const void *function; unsigned numbers[7]; void *stream; uint64_t words[64]; size_t bytes; } last;
static long launches, allocations, captured, graphs;
static int capturing, failing;
static char module_text[1 << 20], names[16][256];
static int named;

Result pretend_fail(int code) { failing = code; return 0; }
long pretend_launches(void) { return launches; }
long pretend_graphs(void) { return graphs; }
size_t pretend_bytes(void) { return last.bytes; }
uint64_t pretend_word(int n) { return last.words[n]; }
unsigned pretend_number(int n) { return last.numbers[n]; }
void *pretend_stream(void) { return last.stream; }
const char *pretend_module(void) { return module_text; }
const char *pretend_function(void) { return last.function; }

Result cuInit(unsigned flags) { return flags ? 1 : failing; }
Result cuGetErrorString(Result code, const char **text) { *text = code == 700 ? "an illegal memory access" : "pretended"; return 0; }
Result cuDeviceGetCount(int *count) { *count = 2; return 0; }
Result cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
Result cuDeviceGetName(char *name, int length, int device) { strncpy(name, device ? "second" : "first", length); return 0; }
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 16 ? 132 : attribute == 97 ? 232448 : -1;
    return 0;
}
Result cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)(uintptr_t)(100 + device); return 0; }
Result cuCtxSetCurrent(void *context) { return context ? 0 : 201; }
Result cuCtxSynchronize(void) { return 0; }
Result cuMemGetInfo_v2(size_t *free_bytes, size_t *total) { *free_bytes = 1000; *total = 2000; return 0; }
Result cuMemAlloc_v2(Address *address, size_t size) {
    if (size > (size_t)1 << 40) return 2;
    allocations++;
    return posix_memalign((void **)address, 512, size) ? 2 : 0;
}
Result cuMemFree_v2(Address address) { free((void *)address); return 0; }
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t size, void *stream) { memcpy((void *)to, from, size); return failing; }
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t size, void *stream) { memcpy(to, (void *)from, size); return failing; }
Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t size, void *stream) { memcpy((void *)to, (void *)from, size); return 0; }
Result cuMemsetD8Async(Address to, unsigned char value, size_t size, void *stream) { memset((void *)to, value, size); return 0; }
static uintptr_t handles = 1000;
Result cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)++handles; return flags == 1 ? 0 : 1; }
Result cuStreamDestroy_v2(void *stream) { return 0; }
Result cuStreamSynchronize(void *stream) { return 0; }
Result cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return flags; }
Result cuEventCreate(void **event, unsigned flags) { *event = (void *)++handles; return 0; }
Result cuEventDestroy_v2(void *event) { return 0; }
Result cuEventRecord(void *event, void *stream) { return 0; }
Result cuEventSynchronize(void *event) { return 0; }
Result cuEventElapsedTime(float *milliseconds, void *start, void *end) { *milliseconds = 2.5f; return 0; }
Result cuModuleLoadData(void **module, const void *image) {
    strncpy(module_text, image, sizeof module_text - 1);
    *module = module_text;
    return 0;
}
Result cuModuleGetFunction(void **function, void *module, const char *name) {
    if (module != module_text) return 400;
    strncpy(names[named % 16], name, 255);
    *function = names[named++ % 16];
    return 0;
}
Result cuFuncSetAttribute(void *function, int attribute, int value) { return attribute == 8 && value > 49152 ? 0 : 1; }
Result cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *stream, void **parameters, void **extra) {
    if (parameters || extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4]) return 1;
    unsigned numbers[7] = {gx, gy, gz, bx, by, bz, shared};
    last.function = function;
    last.stream = stream;
    last.bytes = *(size_t *)extra[3];
    memcpy(last.numbers, numbers, sizeof numbers);
    memcpy(last.words, extra[1], last.bytes < sizeof last.words ? last.bytes : sizeof last.words);
    if (capturing) captured++; else launches++;
    return failing;
}
Result cuStreamBeginCapture_v2(void *stream, int mode) { capturing = 1; captured = 0; return mode == 1 ? 0 : 1; }
Result cuStreamEndCapture(void *stream, void **graph) { capturing = 0; *graph = (void *)++handles; return 0; }
Result cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) { *executable = (void *)++handles; return 0; }
Result cuGraphLaunch(void *executable, void *stream) { graphs++; launches += captured; return 0; }
Result cuGraphExecDestroy(void *executable) { return 0; }
Result cuGraphDestroy(void *graph) { return 0; }
