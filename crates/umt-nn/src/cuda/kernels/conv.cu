// Convolution without cuDNN: depth-wise ones always, all others where the build or the device has no cuDNN for them. Weights lie
// as [kh][kw][c / groups][k].

struct Conv {
    i64 n, h, w, c, k, kh, kw, sh, sw, ph, pw, dh, dw, groups, oh, ow;
};
struct Sizes {
    I n, h, w, c, k, kh, kw, sh, sw, ph, pw, dh, dw, groups, oh, ow;
    __device__ __forceinline__ Sizes(const Conv& o)
        : n((I)o.n), h((I)o.h), w((I)o.w), c((I)o.c), k((I)o.k), kh((I)o.kh), kw((I)o.kw), sh((I)o.sh), sw((I)o.sw), ph((I)o.ph), pw((I)o.pw),
          dh((I)o.dh), dw((I)o.dw), groups((I)o.groups), oh((I)o.oh), ow((I)o.ow) {}
};

KERNEL conv_forward(const T* x, const float* weight, T* y, Conv sizes, I n) {
    INDEX(i, n);
    const Sizes s(sizes);
    I o = i % s.k, column = i / s.k % s.ow, row = i / (s.k * s.ow) % s.oh, image = i / (s.k * s.ow * s.oh);
    I inner = s.c / s.groups, first = o / (s.k / s.groups) * inner;
    float sum = 0.0f;
    for (I a = 0; a < s.kh; a++) {
        I r = row * s.sh - s.ph + a * s.dh;
        if (r < 0 || r >= s.h) continue;
        for (I b = 0; b < s.kw; b++) {
            I q = column * s.sw - s.pw + b * s.dw;
            if (q < 0 || q >= s.w) continue;
            I from = ((image * s.h + r) * s.w + q) * s.c + first, to = (a * s.kw + b) * inner * s.k + o;
            for (I k = 0; k < inner; k++) sum = fmaf(get(x, from + k), weight[to + k * s.k], sum);
        }
    }
    put(y, i, sum);
}

// `n` counts inputs.
KERNEL conv_grad_input(const T* dy, const float* weight, T* dx, Conv sizes, I n) {
    INDEX(i, n);
    const Sizes s(sizes);
    I k = i % s.c, column = i / s.c % s.w, row = i / (s.c * s.w) % s.h, image = i / (s.c * s.w * s.h);
    I inner = s.c / s.groups, outer = s.k / s.groups, group = k / inner;
    float sum = 0.0f;
    for (I a = 0; a < s.kh; a++) {
        I r = row + s.ph - a * s.dh;
        if (r < 0 || r % s.sh || r / s.sh >= s.oh) continue;
        for (I b = 0; b < s.kw; b++) {
            I q = column + s.pw - b * s.dw;
            if (q < 0 || q % s.sw || q / s.sw >= s.ow) continue;
            I from = ((image * s.oh + r / s.sh) * s.ow + q / s.sw) * s.k + group * outer;
            I to = ((a * s.kw + b) * inner + k % inner) * s.k + group * outer;
            for (I o = 0; o < outer; o++) sum = fmaf(get(dy, from + o), weight[to + o], sum);
        }
    }
    put(dx, i, sum);
}

// [blocks][kh][kw][c / groups][k] over blocks of `chunk` of the `rows` output pixels; `n` counts outputs.
KERNEL conv_grad_weight(const T* x, const T* dy, double* out, Conv sizes, I rows, I chunk, I n) {
    INDEX(i, n);
    const Sizes s(sizes);
    I inner = s.c / s.groups;
    I o = i % s.k, k = i / s.k % inner, b = i / (s.k * inner) % s.kw, a = i / (s.k * inner * s.kw) % s.kh;
    I from = i / (s.k * inner * s.kw * s.kh) * chunk, to = from + chunk < rows ? from + chunk : rows;
    I channel = o / (s.k / s.groups) * inner + k;
    float sum = 0.0f;
    for (I p = from; p < to; p++) {
        I q = p % s.ow * s.sw - s.pw + b * s.dw, r = p / s.ow % s.oh * s.sh - s.ph + a * s.dh;
        if (r < 0 || r >= s.h || q < 0 || q >= s.w) continue;
        I image = p / (s.ow * s.oh);
        sum = fmaf(get(x, ((image * s.h + r) * s.w + q) * s.c + channel), get(dy, p * s.k + o), sum);
    }
    out[i] = sum;
}

// The matrix [rows][columns] as [columns][rows]: cuDNN takes weights as [k][kh][kw][c / groups]; `n` = rows * columns.
KERNEL weight_to_cudnn(const float* w, T* out, I rows, I columns, I n) {
    INDEX(i, n);
    put(out, i, w[i % rows * columns + i / rows]);
}

// Back again, for the gradient.
KERNEL weight_from_cudnn(const T* w, float* out, I rows, I columns, I n) {
    INDEX(i, n);
    out[i] = get(w, i % columns * rows + i / columns);
}
