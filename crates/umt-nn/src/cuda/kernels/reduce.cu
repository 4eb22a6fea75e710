// Sums of whole arrays and of rows. A first kernel gives each thread its share in a fixed order; `fold` adds the shares.

// Thread t takes elements t, t + threads, ...: neighbours read neighbours.
KERNEL squares(const T* x, double* out, i64 n, i64 threads) {
    INDEX(t, threads);
    double sum = 0.0;
    for (i64 i = t; i < n; i += threads) {
        double v = get(x, i);
        sum += v * v;
    }
    out[t] = sum;
}

// How many values are not finite.
KERNEL not_finite(const T* x, double* out, i64 n, i64 threads) {
    INDEX(t, threads);
    double sum = 0.0;
    for (i64 i = t; i < n; i += threads) {
        // v - v is 0 for a finite v and NaN otherwise.
        float v = get(x, i);
        if (!(v - v == 0.0f)) sum += 1.0;
    }
    out[t] = sum;
}

// (a - b)² summed, and scale (a - b) in grad.
KERNEL squared_distance(const T* a, const T* b, float scale, T* grad, double* out, i64 n, i64 threads) {
    INDEX(t, threads);
    double sum = 0.0;
    for (i64 i = t; i < n; i += threads) {
        float d = get(a, i) - get(b, i);
        put(grad, i, scale * d);
        sum += (double)d * (double)d;
    }
    out[t] = sum;
}

// [rows][width] to [ceil(rows / chunk)][width]: sums of `chunk` rows in order; `n` counts outputs.
KERNEL fold(const double* in, double* out, i64 rows, i64 width, i64 chunk, i64 n) {
    INDEX(i, n);
    i64 from = (i / width) * chunk, to = from + chunk < rows ? from + chunk : rows;
    double sum = 0.0;
    for (i64 r = from; r < to; r++) sum += in[r * width + i % width];
    out[i] = sum;
}

// The last step: [rows][width] to [width], times `scale`.
KERNEL finish(const double* in, float* out, float scale, i64 rows, i64 width) {
    INDEX(i, width);
    double sum = 0.0;
    for (i64 r = 0; r < rows; r++) sum += in[r * width + i];
    out[i] = (float)(sum * scale);
}

// [groups][chunks][c] to [groups][c], times `scale`; `n` counts outputs.
KERNEL finish_groups(const double* in, T* out, float scale, i64 chunks, i64 c, i64 n) {
    INDEX(i, n);
    double sum = 0.0;
    for (i64 b = 0; b < chunks; b++) sum += in[((i / c) * chunks + b) * c + i % c];
    put(out, i, (float)(sum * scale));
}

// Sums over rows by channel: thread (block, channel) takes `chunk` rows; `n` = blocks * c.
KERNEL column_sums(const T* x, double* out, i64 rows, i64 c, i64 chunk, i64 n) {
    INDEX(i, n);
    i64 k = i % c, from = (i / c) * chunk, to = from + chunk < rows ? from + chunk : rows;
    float sum = 0.0f;
    for (i64 r = from; r < to; r++) sum += get(x, r * c + k);
    out[i] = sum;
}

// As `column_sums` of d, which becomes 0 where the output y is not above 0.
KERNEL masked_column_sums(const T* y, T* d, double* out, i64 rows, i64 c, i64 chunk, i64 n) {
    INDEX(i, n);
    i64 k = i % c, from = (i / c) * chunk, to = from + chunk < rows ? from + chunk : rows;
    float sum = 0.0f;
    for (i64 r = from; r < to; r++) {
        i64 at = r * c + k;
        float v = get(y, at) > 0.0f ? get(d, at) : 0.0f;
        put(d, at, v);
        sum += v;
    }
    out[i] = sum;
}

// Sums of [groups][rows][c] over rows, in `chunks` parts of `chunk` rows: [groups][chunks][c]; `n` counts outputs.
KERNEL group_sums(const T* x, double* out, i64 rows, i64 c, i64 chunks, i64 chunk, i64 n) {
    INDEX(i, n);
    i64 k = i % c, b = (i / c) % chunks, g = i / (c * chunks);
    i64 from = b * chunk, to = from + chunk < rows ? from + chunk : rows;
    float sum = 0.0f;
    for (i64 r = from; r < to; r++) sum += get(x, (g * rows + r) * c + k);
    out[i] = sum;
}

// As `group_sums`, of products.
KERNEL group_products(const T* x, const T* y, double* out, i64 rows, i64 c, i64 chunks, i64 chunk, i64 n) {
    INDEX(i, n);
    i64 k = i % c, b = (i / c) % chunks, g = i / (c * chunks);
    i64 from = b * chunk, to = from + chunk < rows ? from + chunk : rows;
    float sum = 0.0f;
    for (i64 r = from; r < to; r++) {
        i64 at = (g * rows + r) * c + k;
        sum = fmaf(get(x, at), get(y, at), sum);
    }
    out[i] = sum;
}

// y (+)= row scale, one row of c values for each group of `rows` rows.
KERNEL spread_rows(const T* row, float scale, T* y, i64 add, i64 rows, i64 c, i64 n) {
    INDEX(i, n);
    float v = get(row, i / (rows * c) * c + i % c) * scale;
    put(y, i, add ? get(y, i) + v : v);
}

// y (+)= x gate, one gate for each group of `rows` rows and channel.
KERNEL gate(const T* x, const T* g, T* y, i64 add, i64 rows, i64 c, i64 n) {
    INDEX(i, n);
    float v = get(x, i), factor = get(g, i / (rows * c) * c + i % c);
    put(y, i, add ? fmaf(v, factor, get(y, i)) : v * factor);
}
