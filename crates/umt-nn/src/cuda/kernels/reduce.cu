// Sums of whole arrays and of rows. A first kernel gives each thread its share in a fixed order; `fold` adds the shares. Where rows have channels
// a thread takes `lanes` neighbouring ones.

// (a - b)² summed, and scale (a - b) in grad. Thread t takes elements t, t + threads, ...: neighbours read neighbours.
KERNEL squared_distance(const T* a, const T* b, float scale, T* grad, double* out, I n, I threads) {
    INDEX(t, threads);
    double sum = 0.0;
    for (I i = t; i < n; i += threads) {
        float d = get(a, i) - get(b, i);
        put(grad, i, scale * d);
        sum += (double)d * (double)d;
    }
    out[t] = sum;
}

// [rows][width] to [ceil(rows / chunk)][width]: sums of `chunk` rows in order; `n` counts outputs.
KERNEL fold(const double* in, double* out, I rows, I width, I chunk, I n) {
    INDEX(i, n);
    const I block = over(i, width), column = i - block * width, from = block * chunk, to = from + chunk < rows ? from + chunk : rows;
    double sum = 0.0;
#pragma unroll 8
    for (I r = from; r < to; r++) sum += in[r * width + column];
    out[i] = sum;
}

// The last step: [rows][width] to [width], times `scale`.
KERNEL finish(const double* in, float* out, float scale, I rows, I width) {
    INDEX(i, width);
    double sum = 0.0;
    for (I r = 0; r < rows; r++) sum += in[r * width + i];
    out[i] = (float)(sum * scale);
}

// [groups][chunks][c] to [groups][c], times `scale`; `n` counts outputs.
KERNEL finish_groups(const double* in, T* out, float scale, I chunks, I c, I n) {
    INDEX(i, n);
    const I group = over(i, c), k = i - group * c;
    double sum = 0.0;
    for (I b = 0; b < chunks; b++) sum += in[(group * chunks + b) * c + k];
    put(out, i, (float)(sum * scale));
}

// Sums of rows [from, to) of x, of x y, or of x where y is above 0, which is then written to z.
template <int N, int WHAT> static __device__ __forceinline__ void rows_of(const T* x, const T* y, T* z, double* out, I c, I from, I to) {
    float sum[N];
    for (int j = 0; j < N; j++) sum[j] = 0.0f;
#pragma unroll 2
    for (I r = from; r < to; r++) {
        float v[N], w[N];
        load(x + r * c, v);
        if (WHAT != 0) load(y + r * c, w);
        for (int j = 0; j < N; j++) {
            if (WHAT == 2) v[j] = w[j] > 0.0f ? v[j] : 0.0f;
            sum[j] = WHAT == 1 ? fmaf(v[j], w[j], sum[j]) : sum[j] + v[j];
        }
        if (WHAT == 2) store(z + r * c, v);
    }
    for (int j = 0; j < N; j++) out[j] = sum[j];
}

// The `lanes` channels from k and the rows from .. to of a thread: [groups][rows][c] in `chunks` parts of `chunk` rows.
#define PART                                                                                          \
    const I wide = over(c, lanes), part = over(i, wide), k = (i - part * wide) * lanes;               \
    const I group = over(part, chunks), block = part - group * chunks, first = group * rows;          \
    const I from = block * chunk, to = from + chunk < rows ? from + chunk : rows, at = first * c + k; \
    double* sums = out + part * c + k

// Sums of [groups][rows][c] over rows, in `chunks` parts of `chunk` rows: [groups][chunks][c]; `n` counts outputs over lanes.
KERNEL group_sums(const T* x, double* out, I rows, I c, I chunks, I chunk, I lanes, I n) {
    INDEX(i, n);
    PART;
    LANES((rows_of<N, 0>(x + at, x, nullptr, sums, c, from, to)));
}

// As `group_sums`, of products.
KERNEL group_products(const T* x, const T* y, double* out, I rows, I c, I chunks, I chunk, I lanes, I n) {
    INDEX(i, n);
    PART;
    LANES((rows_of<N, 1>(x + at, y + at, nullptr, sums, c, from, to)));
}

// As `group_sums`, of d, which becomes 0 where the output y is not above 0.
KERNEL masked_sums(const T* y, T* d, double* out, I rows, I c, I chunks, I chunk, I lanes, I n) {
    INDEX(i, n);
    PART;
    LANES((rows_of<N, 2>(d + at, y + at, d + at, sums, c, from, to)));
}

template <int N> static __device__ __forceinline__ void spread(const T* row, float scale, T* y, bool add) {
    float v[N], sum[N];
    load(row, v);
    for (int j = 0; j < N; j++) v[j] *= scale;
    if (add) {
        load(y, sum);
        for (int j = 0; j < N; j++) v[j] += sum[j];
    }
    store(y, v);
}
// y (+)= row scale, one row of c values for each group of `rows` rows; `n` counts outputs over lanes.
KERNEL spread_rows(const T* row, float scale, T* y, I add, I rows, I c, I lanes, I n) {
    INDEX(t, n);
    const I i = t * lanes, line = over(i, c), k = i - line * c;
    LANES(spread<N>(row + over(line, rows) * c + k, scale, y + i, add));
}

template <int N> static __device__ __forceinline__ void gated(const T* x, const T* g, T* y, bool add) {
    float v[N], factor[N], sum[N];
    load(x, v);
    load(g, factor);
    if (add) load(y, sum);
    for (int j = 0; j < N; j++) v[j] = add ? fmaf(v[j], factor[j], sum[j]) : v[j] * factor[j];
    store(y, v);
}
// y (+)= x gate, one gate for each group of `rows` rows and channel; `n` counts outputs over lanes.
KERNEL gate(const T* x, const T* g, T* y, I add, I rows, I c, I lanes, I n) {
    INDEX(t, n);
    const I i = t * lanes, line = over(i, c), k = i - line * c;
    LANES(gated<N>(x + i, g + over(line, rows) * c + k, y + i, add));
}
