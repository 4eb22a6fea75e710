// A CUDA driver whose device is the host: what `xtask` asks of libcuda.so.1, as late as CUDA allows.
//
// Work queued on a stream runs only when something waits for it, so a missing wait shows as wrong values. Memory is filled with
// NaN when it is given out, ends at a page that may not be touched, and is unmapped when its free is due, so that reading too
// early, too far or too late shows. Kernels are those of crates/umt-nn/src/cuda/kernels, compiled for the host (compile.py).
//
// With SOFT_CUDA_IDLE nothing is computed and memory is zeros that nobody touches: networks of any size then run as fast as the host asks for
// them, and what they ask for can be counted (SOFT_CUDA_LOG).
#include <sys/mman.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

typedef int R;
typedef unsigned long long Ptr;
enum { OK = 0, INVALID = 1, NOT_READY = 600, NOT_SUPPORTED = 801 };

static std::recursive_mutex all;
#define LOCK std::lock_guard<std::recursive_mutex> guard(all)

struct Stream {
    std::deque<std::function<void()>> queue;
    uint64_t done = 0, pushed = 0;
    void push(std::function<void()> work) { queue.push_back(std::move(work)); pushed++; }
    void run(uint64_t upto) {
        while (done < upto && !queue.empty()) {
            auto work = std::move(queue.front());
            queue.pop_front();
            work();
            done++;
        }
    }
};
struct Mark { Stream* stream = nullptr; uint64_t upto = 0; };
struct Event { Mark mark; };
struct Module { void* library; };
struct Function { void (*run)(void**, long, long); int count; const long* sizes; std::string name; };

extern "C" const void* soft_candle(const char* name, void (**run)(void**, long, long), int* count, const long** sizes);

static Stream null_stream;
static std::map<Ptr, size_t> mapped;  // Start of the mapping and its length, by the address given out.
static std::map<Ptr, size_t> lengths;
static std::map<uintptr_t, size_t> pinned;
static size_t in_use = 0;
static std::map<std::string, long> launched;
static std::map<std::string, long> asked;  // Calls by what they ask for.
static const bool idle = getenv("SOFT_CUDA_IDLE") != nullptr;
extern "C" void soft_count(const char* what) { LOCK; asked[what]++; }
// The host waits for a stream's work up to a mark; nothing is waited for where that is done.
static void wait(Stream* stream, uint64_t upto) {
    if (stream->done >= upto || stream->queue.empty()) return;
    asked["waits"]++;
    stream->run(upto);
}
static Stream* of(void* stream) { return stream ? (Stream*)stream : &null_stream; }

static R give(Ptr* out, size_t bytes) {
    const size_t page = 4096;
    size_t room = (bytes + 15) / 16 * 16, whole = (room + page - 1) / page * page;
    char* base = (char*)mmap(nullptr, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return 2;
    mprotect(base + whole, page, PROT_NONE);
    if (!idle) memset(base, 0xff, whole);
    Ptr at = (Ptr)(base + whole - room);
    mapped[at] = whole + page;
    lengths[at] = bytes;
    in_use += bytes;
    *out = at;
    return OK;
}
static void take_back(Ptr at) {
    size_t whole = mapped[at], room = (lengths[at] + 15) / 16 * 16;
    munmap((char*)at - (whole - 4096 - room), whole);
    in_use -= lengths[at];
    mapped.erase(at);
    lengths.erase(at);
}

extern "C" {
R cuInit(unsigned) { return OK; }
R cuDriverGetVersion(int* v) { *v = 13000; return OK; }
R cuDeviceGet(int* d, int i) { *d = i; return OK; }
R cuDeviceGetCount(int* n) { *n = 1; return OK; }
R cuDeviceGetName(char* name, int n, int) { snprintf(name, n, "host in place of a device"); return OK; }
R cuDeviceGetUuid_v2(void* id, int) { memset(id, 7, 16); return OK; }
R cuDeviceGetAttribute(int* v, int what, int) {
    // Compute capability 9.0, memory pools, 256 threads; nothing else is asked for.
    *v = what == 75 ? 9 : what == 76 ? 0 : what == 115 ? 1 : 256;
    return OK;
}
R cuDeviceTotalMem_v2(size_t* b, int) { *b = (size_t)16 << 30; return OK; }
R cuDeviceGetDefaultMemPool(void** pool, int) { *pool = (void*)1; return OK; }
R cuMemPoolSetAttribute(void*, int, void*) { return OK; }
R cuDevicePrimaryCtxRetain(void** c, int) { *c = (void*)1; return OK; }
R cuDevicePrimaryCtxRelease_v2(int) { return OK; }
static thread_local void* current = nullptr;
R cuCtxGetCurrent(void** c) { *c = current; return OK; }
R cuCtxSetCurrent(void* c) { current = c; return OK; }
R cuCtxSynchronize() { return OK; }
R cuMemGetInfo_v2(size_t* free, size_t* total) { LOCK; *total = (size_t)16 << 30; *free = *total - in_use; return OK; }
R cuGetErrorName(R, const char** s) { *s = "error of the driver that stands in"; return OK; }
R cuGetErrorString(R, const char** s) { *s = "error of the driver that stands in"; return OK; }

R cuStreamCreate(void** s, unsigned) { *s = new Stream; return OK; }
R cuStreamCreateWithPriority(void** s, unsigned, int) { *s = new Stream; return OK; }
R cuStreamDestroy_v2(void* s) { LOCK; of(s)->run(UINT64_MAX); return OK; }
R cuStreamSynchronize(void* s) { LOCK; wait(of(s), UINT64_MAX); return OK; }
R cuStreamWaitEvent(void* s, void* e, unsigned) {
    LOCK;
    Mark mark = ((Event*)e)->mark;
    if (mark.stream) of(s)->push([mark] { mark.stream->run(mark.upto); });
    return OK;
}
R cuStreamIsCapturing(void*, int* v) { *v = 0; return OK; }
R cuEventCreate(void** e, unsigned) { LOCK; asked["events"]++; *e = new Event; return OK; }
R cuEventDestroy_v2(void* e) { LOCK; delete (Event*)e; return OK; }
R cuEventRecord(void* e, void* s) { LOCK; ((Event*)e)->mark = {of(s), of(s)->pushed}; return OK; }
R cuEventSynchronize(void* e) {
    LOCK;
    Mark mark = ((Event*)e)->mark;
    if (mark.stream) wait(mark.stream, mark.upto);
    return OK;
}
R cuEventElapsedTime(float* ms, void*, void*) { *ms = 1.0f; return OK; }
R cuEventElapsedTime_v2(float* ms, void*, void*) { *ms = 1.0f; return OK; }
R cuEventQuery(void* e) { LOCK; Mark m = ((Event*)e)->mark; return !m.stream || m.stream->done >= m.upto ? OK : NOT_READY; }

R cuMemAllocAsync(Ptr* p, size_t n, void*) { LOCK; asked["allocations"]++; return give(p, n); }
R cuMemAlloc_v2(Ptr* p, size_t n) { LOCK; asked["allocations"]++; return give(p, n); }
R cuMemFreeAsync(Ptr p, void* s) { LOCK; of(s)->push([p] { take_back(p); }); return OK; }
R cuMemFree_v2(Ptr p) { LOCK; take_back(p); return OK; }
R cuMemHostAlloc(void** p, size_t n, unsigned) {
    LOCK;
    asked["page-locked allocations"]++;
    *p = aligned_alloc(4096, (n + 4095) / 4096 * 4096);
    memset(*p, 0xff, n);
    pinned[(uintptr_t)*p] = n;
    return OK;
}
R cuMemFreeHost(void* p) { LOCK; pinned.erase((uintptr_t)p); memset(p, 0xff, 64); free(p); return OK; }
static bool is_pinned(const void* p) {
    auto after = pinned.upper_bound((uintptr_t)p);
    if (after == pinned.begin()) return false;
    --after;
    return (uintptr_t)p < after->first + after->second;
}
R cuMemcpyHtoDAsync_v2(Ptr to, const void* from, size_t n, void* s) {
    LOCK;
    asked["copies to the device"]++;
    if (idle) return OK;
    if (is_pinned(from)) {
        of(s)->push([=] { memcpy((void*)to, from, n); });
    } else {  // Pageable memory is read before the call returns.
        auto copy = std::make_shared<std::vector<char>>((const char*)from, (const char*)from + n);
        of(s)->push([=] { memcpy((void*)to, copy->data(), n); });
    }
    return OK;
}
R cuMemcpyDtoHAsync_v2(void* to, Ptr from, size_t n, void* s) {
    LOCK;
    asked["copies from the device"]++;
    of(s)->push([=] { idle ? memset(to, 0, n) : memcpy(to, (void*)from, n); });
    if (!is_pinned(to)) wait(of(s), UINT64_MAX);  // Pageable memory is written before the call returns.
    return OK;
}
R cuMemcpyDtoDAsync_v2(Ptr to, Ptr from, size_t n, void* s) {
    LOCK;
    asked["copies on the device"]++;
    of(s)->push([=] { if (!idle) memmove((void*)to, (void*)from, n); });
    return OK;
}
R cuMemsetD8Async(Ptr to, unsigned char v, size_t n, void* s) { LOCK; of(s)->push([=] { if (!idle) memset((void*)to, v, n); }); return OK; }

R cuModuleLoadData(void** m, const void* image) {
    LOCK;
    const char* text = (const char*)image;
    if (strncmp(text, "// soft", 7) != 0) {  // candle's own, compiled for a device: candle.cpp has some of them by name.
        *m = new Module{nullptr};
        return OK;
    }
    std::string folder = getenv("SOFT_CUDA"), source = folder + "/module.cu";
    FILE* file = fopen(source.c_str(), "w");
    fputs(text, file);
    fclose(file);
    std::string command = "python3 " + std::string(getenv("SOFT_CUDA_COMPILE")) + " " + source + " " + folder;
    FILE* pipe = popen(command.c_str(), "r");
    char path[4096] = {0};
    if (!fgets(path, sizeof path, pipe) || pclose(pipe) != 0) return INVALID;
    path[strcspn(path, "\n")] = 0;
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) { fprintf(stderr, "%s\n", dlerror()); return INVALID; }
    *m = new Module{library};
    return OK;
}
R cuModuleUnload(void*) { return OK; }
R cuModuleGetFunction(void** f, void* m, const char* name) {
    if (!((Module*)m)->library) {
        Function own;
        own.name = name;
        if (!soft_candle(name, &own.run, &own.count, &own.sizes)) {
            fprintf(stderr, "candle.cpp has no kernel %s\n", name);
            return NOT_SUPPORTED;
        }
        *f = new Function(own);
        return OK;
    }
    auto find = [&](const char* prefix) { return dlsym(((Module*)m)->library, (std::string(prefix) + name).c_str()); };
    void* run = find("run_");
    if (!run) return 500;
    *f = new Function{(void (*)(void**, long, long))run, *(int*)find("count_"), (const long*)find("sizes_"), name};
    return OK;
}
R cuFuncSetAttribute(void*, int, int) { return OK; }
R cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned, void* s, void** values, void**) {
    LOCK;
    if (gy * gz * by * bz != 1) return INVALID;  // None is launched so.
    Function* function = (Function*)f;
    auto copies = std::make_shared<std::vector<std::vector<char>>>();
    for (int i = 0; i < function->count; i++) copies->emplace_back((char*)values[i], (char*)values[i] + function->sizes[i]);
    asked["launches"]++;
    launched[function->name]++;
    of(s)->push([=] {
        if (idle) return;
        std::vector<void*> arguments;
        for (auto& copy : *copies) arguments.push_back(copy.data());
        function->run(arguments.data(), gx, bx);
    });
    return OK;
}
// For whoever asks which kernels ran.
__attribute__((destructor)) static void told() {
    const char* path = getenv("SOFT_CUDA_LOG");
    FILE* file = path ? fopen(path, "w") : nullptr;
    if (!file) return;
    for (auto& [name, count] : launched) fprintf(file, "kernel %s %ld\n", name.c_str(), count);
    for (auto& [name, count] : asked) fprintf(file, "count %s %ld\n", name.c_str(), count);
    fclose(file);
}
// What the other libraries that stand in need: work in order on a stream.
void soft_push(void* stream, void (*work)(void*), void* data) { LOCK; of(stream)->push([=] { if (!idle) work(data); }); }
}
