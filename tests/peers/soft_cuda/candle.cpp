// The kernels of candle that heads, fusions and objectives need, by name, for driver.cpp.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

struct Built { void (*run)(void**, long, long); std::vector<long> sizes; };
static std::map<std::string, Built>& table() { static std::map<std::string, Built> all; return all; }
template <class T> static T at(void** v, int i) { return *(T*)v[i]; }

// Where element `i` lies; `info` holds dims and strides, or is null for what is contiguous.
static size_t place(size_t i, size_t rank, const size_t* info, size_t which = 1) {
    if (!info) return i;
    const size_t *dims = info, *strides = info + which * rank;
    size_t p = 0;
    for (size_t d = rank; d-- > 0;) { p += i % dims[d] * strides[d]; i /= dims[d]; }
    return p;
}

#define UNARY(NAME, IN, OUT, EXPRESSION)                                                                       \
    table()[NAME] = {[](void** v, long, long) {                                                                \
        size_t n = at<size_t>(v, 0), rank = at<size_t>(v, 1);                                                  \
        auto info = at<const size_t*>(v, 2);                                                                   \
        auto in = at<const IN*>(v, 3);                                                                         \
        auto out = at<OUT*>(v, 4);                                                                             \
        for (size_t i = 0; i < n; i++) { IN x = in ? in[place(i, rank, info)] : (IN)out[i]; out[i] = EXPRESSION; } \
    }, {8, 8, 8, 8, 8}}
#define BINARY(NAME, OUT, EXPRESSION)                                                                          \
    table()[NAME] = {[](void** v, long, long) {                                                                \
        size_t n = at<size_t>(v, 0), rank = at<size_t>(v, 1);                                                  \
        auto info = at<const size_t*>(v, 2);                                                                   \
        auto a = at<const float*>(v, 3), b = at<const float*>(v, 4);                                           \
        auto out = at<OUT*>(v, 5);                                                                             \
        for (size_t i = 0; i < n; i++) {                                                                       \
            float x = a[place(i, rank, info, 1)], y = b[place(i, rank, info, 2)];                              \
            out[i] = EXPRESSION;                                                                               \
        }                                                                                                      \
    }, {8, 8, 8, 8, 8, 8}}

template <class Start, class Add, class Out>
static void reduce(void** v, bool small, Start start, Add add, Out* out) {
    size_t n = at<size_t>(v, 0), each = at<size_t>(v, 1), rank = at<size_t>(v, 2);
    auto info = at<const size_t*>(v, 3);
    auto in = at<const float*>(v, 4);
    size_t outs = small ? n : each ? n / each : 0;
    for (size_t o = 0; o < outs; o++) {
        auto value = start();
        for (size_t i = 0; i < each; i++) add(value, in[place(o * each + i, rank, info)], i);
        out[o] = value.result();
    }
}
struct Sum { double s = 0; float result() { return (float)s; } };
struct Most { float s = -INFINITY; uint32_t where = 0; float result() { return s; } };
struct Where : Most { uint32_t result() { return where; } };
static void most(Most& m, float x, size_t i) { if (x > m.s) { m.s = x; m.where = (uint32_t)i; } }

static bool filled = [] {
    UNARY("ucopy_f32", float, float, x);
    UNARY("ucopy_u32", uint32_t, uint32_t, x);
    UNARY("ucopy_u8", uint8_t, uint8_t, x);
    UNARY("uneg_f32", float, float, -x);
    UNARY("uexp_f32", float, float, expf(x));
    UNARY("ulog_f32", float, float, logf(x));
    UNARY("usqr_f32", float, float, x * x);
    UNARY("usqrt_f32", float, float, sqrtf(x));
    UNARY("uabs_f32", float, float, fabsf(x));
    UNARY("urecip_f32", float, float, 1.0f / x);
    UNARY("utanh_f32", float, float, tanhf(x));
    UNARY("urelu_f32", float, float, x > 0 ? x : 0.0f);
    UNARY("usigmoid_f32", float, float, 1.0f / (1.0f + expf(-x)));
    UNARY("cast_u8_f32", uint8_t, float, (float)x);
    UNARY("cast_u32_f32", uint32_t, float, (float)x);
    UNARY("cast_f32_f32", float, float, x);
    UNARY("cast_f32_f64", float, double, (double)x);
    BINARY("badd_f32", float, x + y);
    BINARY("bsub_f32", float, x - y);
    BINARY("bmul_f32", float, x * y);
    BINARY("bdiv_f32", float, x / y);
    BINARY("bmaximum_f32", float, x > y ? x : y);
    BINARY("bminimum_f32", float, x < y ? x : y);
    BINARY("eq_f32", uint8_t, x == y);
    BINARY("ne_f32", uint8_t, x != y);
    BINARY("lt_f32", uint8_t, x < y);
    BINARY("le_f32", uint8_t, x <= y);
    BINARY("gt_f32", uint8_t, x > y);
    BINARY("ge_f32", uint8_t, x >= y);
    table()["affine_f32"] = {[](void** v, long, long) {
        size_t n = at<size_t>(v, 0), rank = at<size_t>(v, 1);
        auto info = at<const size_t*>(v, 2);
        auto in = at<const float*>(v, 3);
        auto out = at<float*>(v, 4);
        for (size_t i = 0; i < n; i++) out[i] = (in ? in[place(i, rank, info)] : out[i]) * at<float>(v, 5) + at<float>(v, 6);
    }, {8, 8, 8, 8, 8, 4, 4}};
    table()["const_set_f32"] = {[](void** v, long, long) {
        for (size_t i = 0; i < at<size_t>(v, 0); i++)
            at<float*>(v, 4)[place(i, at<size_t>(v, 1), at<const size_t*>(v, 2))] = at<float>(v, 3);
    }, {8, 8, 8, 4, 8}};
    table()["fill_f32"] = {[](void** v, long, long) {
        for (size_t i = 0; i < at<size_t>(v, 2); i++) at<float*>(v, 0)[i] = at<float>(v, 1);
    }, {8, 4, 8}};
    table()["copy2d_f32"] = {[](void** v, long, long) {
        uint32_t rows = at<uint32_t>(v, 2), n = at<uint32_t>(v, 3);
        for (uint32_t r = 0; r < rows; r++)
            memcpy(at<float*>(v, 1) + (size_t)r * at<uint32_t>(v, 5), at<const float*>(v, 0) + (size_t)r * at<uint32_t>(v, 4), 4 * n);
    }, {8, 8, 4, 4, 4, 4}};
    table()["fast_sum_f32"] = {[](void** v, long, long) {
        reduce(v, false, [] { return Sum(); }, [](Sum& s, float x, size_t) { s.s += x; }, at<float*>(v, 5));
    }, {8, 8, 8, 8, 8, 8}};
    table()["fast_sum_small_f32"] = {[](void** v, long, long) {
        reduce(v, true, [] { return Sum(); }, [](Sum& s, float x, size_t) { s.s += x; }, at<float*>(v, 5));
    }, {8, 8, 8, 8, 8, 8}};
    table()["fast_max_f32"] = {[](void** v, long, long) {
        reduce(v, false, [] { return Most(); }, most, at<float*>(v, 5));
    }, {8, 8, 8, 8, 8, 8}};
    table()["fast_argmax_f32"] = {[](void** v, long, long) {
        reduce(v, false, [] { return Where(); }, most, at<uint32_t*>(v, 5));
    }, {8, 8, 8, 8, 8, 8}};
    table()["gather_u32_f32"] = {[](void** v, long, long) {
        size_t n = at<size_t>(v, 0), from = at<size_t>(v, 5), ids = at<size_t>(v, 6), right = at<size_t>(v, 7);
        for (size_t i = 0; i < n; i++) {
            size_t source = (i / (right * ids) * from + at<const uint32_t*>(v, 1)[i]) * right + i % right;
            at<float*>(v, 3)[i] = at<const float*>(v, 2)[source];
        }
    }, {8, 8, 8, 8, 8, 8, 8, 8}};
    table()["sa_u32_f32"] = {[](void** v, long, long) {
        size_t left = at<size_t>(v, 3), from = at<size_t>(v, 4), to = at<size_t>(v, 5), right = at<size_t>(v, 6);
        for (size_t i = 0; i < left * right; i++)
            for (size_t j = 0; j < from; j++) {
                size_t source = (i / right * from + j) * right + i % right;
                at<float*>(v, 2)[(i / right * to + at<const uint32_t*>(v, 0)[source]) * right + i % right] += at<const float*>(v, 1)[source];
            }
    }, {8, 8, 8, 8, 8, 8, 8}};
    table()["where_u8_f32"] = {[](void** v, long, long) {
        size_t rank = at<size_t>(v, 1);
        auto info = at<const size_t*>(v, 2);
        for (size_t i = 0; i < at<size_t>(v, 0); i++)
            at<float*>(v, 6)[i] = at<const uint8_t*>(v, 3)[place(i, rank, info, 1)] ? at<const float*>(v, 4)[place(i, rank, info, 2)]
                                                                                    : at<const float*>(v, 5)[place(i, rank, info, 3)];
    }, {8, 8, 8, 8, 8, 8, 8}};
    return true;
}();

extern "C" const void* soft_candle(const char* name, void (**run)(void**, long, long), int* count, const long** sizes) {
    auto found = table().find(name);
    if (found == table().end()) return nullptr;
    *run = found->second.run;
    *count = (int)found->second.sizes.size();
    *sizes = found->second.sizes.data();
    return *sizes;
}
