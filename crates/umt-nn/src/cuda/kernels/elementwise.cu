// Element by element.

KERNEL add_assign(T* a, const T* b, i64 n) {
    INDEX(i, n);
    put(a, i, get(a, i) + get(b, i));
}

// d = 0 where the output y is not above 0.
KERNEL relu_backward(const T* y, T* d, i64 n) {
    INDEX(i, n);
    if (!(get(y, i) > 0.0f)) put(d, i, 0.0f);
}

KERNEL sigmoid(const T* x, T* y, i64 n) {
    INDEX(i, n);
    put(y, i, 1.0f / (1.0f + expf(-get(x, i))));
}

KERNEL sigmoid_backward(const T* y, const T* dy, T* dx, i64 n) {
    INDEX(i, n);
    float v = get(y, i);
    put(dx, i, get(dy, i) * v * (1.0f - v));
}

KERNEL scale(T* x, float factor, i64 n) {
    INDEX(i, n);
    put(x, i, get(x, i) * factor);
}

// relu?(a z + b (+ skip)), a and b by channel; y may be z.
KERNEL scale_shift(const T* z, const float* a, const float* b, const T* skip, i64 with_skip, T* y, i64 relu, i64 c, i64 n) {
    INDEX(i, n);
    float v = fmaf(a[i % c], get(z, i), b[i % c]);
    if (with_skip) v += get(skip, i);
    put(y, i, relu && v < 0.0f ? 0.0f : v);
}

// relu?(y + bias), bias by channel.
KERNEL bias_relu(T* y, const float* bias, i64 with_bias, i64 relu, i64 c, i64 n) {
    INDEX(i, n);
    float v = get(y, i);
    if (with_bias) v += bias[i % c];
    put(y, i, relu && v < 0.0f ? 0.0f : v);
}

// `width` columns of rows, from column `from_at` of rows of `from_width` to column `to_at` of rows of `to_width`.
KERNEL copy_columns(const T* from, i64 from_width, i64 from_at, T* to, i64 to_width, i64 to_at, i64 width, i64 n) {
    INDEX(i, n);
    i64 row = i / width, column = i % width;
    to[row * to_width + to_at + column] = from[row * from_width + from_at + column];
}

// Slice `i` of the output is slice (i / kept) * all + (i % kept) * stride of the input.
KERNEL take_slices(const T* x, T* y, i64 all, i64 kept, i64 stride, i64 slice, i64 n) {
    INDEX(i, n);
    i64 at = i / slice;
    y[i] = x[((at / kept) * all + (at % kept) * stride) * slice + i % slice];
}

// The way back of `take_slices`: 0 where no output came from; `n` counts inputs.
KERNEL put_slices(const T* dy, T* dx, i64 all, i64 kept, i64 stride, i64 slice, i64 n) {
    INDEX(i, n);
    i64 at = i / slice, place = at % all;
    if (place % stride) {
        put(dx, i, 0.0f);
    } else {
        dx[i] = dy[((at / all) * kept + place / stride) * slice + i % slice];
    }
}

KERNEL to_float(const T* x, float* y, i64 n) {
    INDEX(i, n);
    y[i] = get(x, i);
}

KERNEL from_float(const float* x, T* y, i64 n) {
    INDEX(i, n);
    put(y, i, x[i]);
}
