// cuDNN's convolutions, plainly, on the streams of driver.cpp. Refuses what xtask should never ask for.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" void soft_push(void* stream, void (*work)(void*), void* data);
extern "C" void soft_count(const char* what);

enum { SUCCESS = 0, BAD = 2000, NOT_SUPPORTED = 3000, NO_MEMORY = 4004, DEFAULT = 0, TENSOR = 1, FMA = 3, FLOAT = 0, BFLOAT16 = 9, NHWC = 1 };
struct Sizes { int kind = -1, n = 0, c = 0, h = 0, w = 0; };
struct Conv { int ph, pw, sh, sw, dh, dw, groups = 1, math = 0; };
struct Handle { void* stream; };
struct Way { int algo, status; float time; size_t memory; int determinism, math; int reserved[3]; };
struct Work { int what; Sizes x, w, y; Conv conv; const void *a, *b; void* out; };

static float get(const void* p, int kind, long i) {
    if (kind == FLOAT) return ((const float*)p)[i];
    unsigned bits = (unsigned)((const unsigned short*)p)[i] << 16;
    float v;
    memcpy(&v, &bits, 4);
    return v;
}
static void put(void* p, int kind, long i, float v) {
    if (kind == FLOAT) { ((float*)p)[i] = v; return; }
    unsigned bits;
    memcpy(&bits, &v, 4);
    ((unsigned short*)p)[i] = v != v ? 0x7fc0 : (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// What 0: y from x (a) and w (b); 1: dx from w (a) and dy (b); 2: dw from x (a) and dy (b). Everything NHWC and KHWC.
static void run(void* data) {
    Work& t = *(Work*)data;
    const Sizes &x = t.x, &w = t.w, &y = t.y;
    long outs = t.what == 0 ? (long)y.n * y.h * y.w * y.c : t.what == 1 ? (long)x.n * x.h * x.w * x.c : (long)w.n * w.h * w.w * w.c;
    double* sums = (double*)calloc(outs + 1, sizeof(double));
    int per = y.c / t.conv.groups;
    for (int n = 0; n < y.n; n++)
        for (int oh = 0; oh < y.h; oh++)
            for (int ow = 0; ow < y.w; ow++)
                for (int kh = 0; kh < w.h; kh++)
                    for (int kw = 0; kw < w.w; kw++) {
                        int ih = oh * t.conv.sh - t.conv.ph + kh * t.conv.dh, iw = ow * t.conv.sw - t.conv.pw + kw * t.conv.dw;
                        if (ih < 0 || iw < 0 || ih >= x.h || iw >= x.w) continue;
                        for (int k = 0; k < y.c; k++)
                            for (int c = 0; c < w.c; c++) {
                                long yi = (((long)n * y.h + oh) * y.w + ow) * y.c + k;
                                long xi = (((long)n * x.h + ih) * x.w + iw) * x.c + (k / per) * w.c + c;
                                long wi = (((long)k * w.h + kh) * w.w + kw) * w.c + c;
                                if (t.what == 0) sums[yi] += (double)get(t.a, x.kind, xi) * get(t.b, w.kind, wi);
                                if (t.what == 1) sums[xi] += (double)get(t.a, w.kind, wi) * get(t.b, y.kind, yi);
                                if (t.what == 2) sums[wi] += (double)get(t.a, x.kind, xi) * get(t.b, y.kind, yi);
                            }
                    }
    int kind = t.what == 0 ? y.kind : t.what == 1 ? x.kind : w.kind;
    for (long i = 0; i < outs; i++) put(t.out, kind, i, sums[i]);
    free(sums);
    delete &t;
}

// Algorithms 5 and 1 are deterministic, 5 with tensor cores where they may be used. A workspace is that of an algorithm and its math type together.
enum { NONDETERMINISTIC = 7, NEVER = 6, FIRST = 5, SECOND = 1 };
static size_t workspace(int algo, int math) { return 64 + 32 * (size_t)algo + 8 * (size_t)math; }

static int queue(void* h, int what, int algo, const float* one, const float* zero, void* x, void* w, void* conv, void* y, const void* a, const void* b,
                 void* space, size_t bytes, void* out) {
    Sizes &xs = *(Sizes*)x, &ws = *(Sizes*)w, &ys = *(Sizes*)y;
    Conv& c = *(Conv*)conv;
    bool fits = *one == 1.0f && *zero == 0.0f && bytes == workspace(algo, c.math) && space && xs.kind == ws.kind && ws.kind == ys.kind &&
                xs.c == ws.c * c.groups && ys.c == ws.n && xs.n == ys.n && ys.h == (xs.h + 2 * c.ph - c.dh * (ws.h - 1) - 1) / c.sh + 1 &&
                ys.w == (xs.w + 2 * c.pw - c.dw * (ws.w - 1) - 1) / c.sw + 1;
    if (!fits || (algo != FIRST && algo != SECOND)) return BAD;
    // As cuDNN does for some shapes in spite of its ranking.
    if (algo == FIRST && ws.h == 1) return NOT_SUPPORTED;
    if (algo == FIRST && ws.n % 3 == 0) return NO_MEMORY;
    soft_count("convolutions");
    soft_push(((Handle*)h)->stream, run, new Work{what, xs, ws, ys, c, a, b, out});
    return SUCCESS;
}
static int ways(void* conv, int room, int* count, Way* found) {
    if (room < 4) return BAD;
    soft_count("look-ups");
    // What may be used of the ranking depends on the precision that is asked for; its first two may never be.
    int asked = ((Conv*)conv)->math, tensor = asked == FMA ? FMA : TENSOR, plain = asked == FMA ? FMA : DEFAULT;
    found[0] = {NONDETERMINISTIC, SUCCESS, 0, workspace(NONDETERMINISTIC, tensor), 0, tensor, {}};
    found[1] = {NEVER, NOT_SUPPORTED, 0, 0, 1, tensor, {}};
    found[2] = {FIRST, SUCCESS, 0, workspace(FIRST, tensor), 1, tensor, {}};
    found[3] = {SECOND, SUCCESS, 0, workspace(SECOND, plain), 1, plain, {}};
    *count = 4;
    return SUCCESS;
}

extern "C" {
int cudnnCreate(void** h) { *h = new Handle{}; return SUCCESS; }
int cudnnDestroy(void*) { return SUCCESS; }
int cudnnSetStream(void* h, void* s) { ((Handle*)h)->stream = s; return SUCCESS; }
int cudnnCreateTensorDescriptor(void** d) { *d = new Sizes; return SUCCESS; }
int cudnnDestroyTensorDescriptor(void* d) { delete (Sizes*)d; return SUCCESS; }
int cudnnCreateFilterDescriptor(void** d) { *d = new Sizes; return SUCCESS; }
int cudnnDestroyFilterDescriptor(void* d) { delete (Sizes*)d; return SUCCESS; }
int cudnnCreateConvolutionDescriptor(void** d) { *d = new Conv; return SUCCESS; }
int cudnnDestroyConvolutionDescriptor(void* d) { delete (Conv*)d; return SUCCESS; }
int cudnnSetTensor4dDescriptor(void* d, int format, int kind, int n, int c, int h, int w) {
    if (format != NHWC || (kind != FLOAT && kind != BFLOAT16)) return BAD;
    *(Sizes*)d = {kind, n, c, h, w};
    return SUCCESS;
}
int cudnnSetFilter4dDescriptor(void* d, int kind, int format, int k, int c, int h, int w) {
    return cudnnSetTensor4dDescriptor(d, format, kind, k, c, h, w);
}
int cudnnSetConvolution2dDescriptor(void* d, int ph, int pw, int sh, int sw, int dh, int dw, int mode, int kind) {
    if (mode != 1 || kind != FLOAT) return BAD;
    *(Conv*)d = {ph, pw, sh, sw, dh, dw};
    return SUCCESS;
}
int cudnnSetConvolutionGroupCount(void* d, int groups) { ((Conv*)d)->groups = groups; return SUCCESS; }
int cudnnSetConvolutionMathType(void* d, int math) { ((Conv*)d)->math = math; return SUCCESS; }
int cudnnGetConvolutionForwardAlgorithm_v7(void*, void*, void*, void* c, void*, int n, int* k, Way* f) { return ways(c, n, k, f); }
int cudnnGetConvolutionBackwardDataAlgorithm_v7(void*, void*, void*, void* c, void*, int n, int* k, Way* f) { return ways(c, n, k, f); }
int cudnnGetConvolutionBackwardFilterAlgorithm_v7(void*, void*, void*, void* c, void*, int n, int* k, Way* f) { return ways(c, n, k, f); }
int cudnnConvolutionForward(void* h, const void* one, void* x, const void* xp, void* w, const void* wp, void* c, int algo, void* space, size_t bytes,
                            const void* zero, void* y, void* yp) {
    return queue(h, 0, algo, (const float*)one, (const float*)zero, x, w, c, y, xp, wp, space, bytes, yp);
}
int cudnnConvolutionBackwardData(void* h, const void* one, void* w, const void* wp, void* y, const void* dyp, void* c, int algo, void* space,
                                 size_t bytes, const void* zero, void* x, void* dxp) {
    return queue(h, 1, algo, (const float*)one, (const float*)zero, x, w, c, y, wp, dyp, space, bytes, dxp);
}
int cudnnConvolutionBackwardFilter(void* h, const void* one, void* x, const void* xp, void* y, const void* dyp, void* c, int algo, void* space,
                                   size_t bytes, const void* zero, void* w, void* dwp) {
    return queue(h, 2, algo, (const float*)one, (const float*)zero, x, w, c, y, xp, dyp, space, bytes, dwp);
}
}
