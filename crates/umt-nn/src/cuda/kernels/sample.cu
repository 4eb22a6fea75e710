// Sums over neighbours by tables, as on the host (`kernels::sample`): resizing, average pooling and their ways back; and learned
// upsampling.

// Along an axis, output i sums sources[first[i] .. first[i + 1]] with as many factors.
KERNEL sample(const T* x, T* y, const int* row_first, const int* row_source, const float* row_factor, const int* column_first,
              const int* column_source, const float* column_factor, i64 h, i64 w, i64 oh, i64 ow, i64 c, i64 n) {
    INDEX(i, n);
    i64 k = i % c, column = i / c % ow, row = i / (c * ow) % oh, image = i / (c * ow * oh);
    float sum = 0.0f;
    for (int a = row_first[row]; a < row_first[row + 1]; a++) {
        const i64 line = (image * h + row_source[a]) * w;
        for (int b = column_first[column]; b < column_first[column + 1]; b++) {
            sum = fmaf(row_factor[a] * column_factor[b], get(x, (line + column_source[b]) * c + k), sum);
        }
    }
    put(y, i, sum);
}

// Nearest doubling to [oh, ow], then a depth-wise 3x3 kernel [3][3][c] with bias and one zero on each side, + skip.
KERNEL upsample(const T* x, const float* weight, const float* bias, const T* skip, i64 with_skip, T* y, i64 h, i64 w, i64 oh,
                i64 ow, i64 c, i64 n) {
    INDEX(i, n);
    i64 k = i % c, column = i / c % ow, row = i / (c * ow) % oh, image = i / (c * ow * oh);
    float sum = bias[k];
    for (i64 a = 0; a < 3; a++) {
        i64 r = row + a - 1;
        if (r < 0 || r >= oh) continue;
        for (i64 b = 0; b < 3; b++) {
            i64 q = column + b - 1;
            if (q < 0 || q >= ow) continue;
            sum = fmaf(weight[(a * 3 + b) * c + k], get(x, ((image * h + r / 2) * w + q / 2) * c + k), sum);
        }
    }
    if (with_skip) sum += get(skip, i);
    put(y, i, sum);
}

// `n` counts inputs.
KERNEL upsample_backward(const T* dy, const float* weight, T* dx, i64 h, i64 w, i64 oh, i64 ow, i64 c, i64 n) {
    INDEX(i, n);
    i64 k = i % c, column = i / c % w, row = i / (c * w) % h, image = i / (c * w * h);
    float sum = 0.0f;
    // Doubled positions (r, q) that show this source, and outputs whose tap (a, b) meets them.
    for (i64 r = 2 * row; r < 2 * row + 2 && r < oh; r++) {
        for (i64 q = 2 * column; q < 2 * column + 2 && q < ow; q++) {
            for (i64 a = 0; a < 3; a++) {
                i64 out_row = r - a + 1;
                if (out_row < 0 || out_row >= oh) continue;
                for (i64 b = 0; b < 3; b++) {
                    i64 out_column = q - b + 1;
                    if (out_column < 0 || out_column >= ow) continue;
                    i64 at = ((image * oh + out_row) * ow + out_column) * c + k;
                    sum = fmaf(weight[(a * 3 + b) * c + k], get(dy, at), sum);
                }
            }
        }
    }
    put(dx, i, sum);
}

// Gradient to the weights: [blocks][9][c] over blocks of `chunk` of the `rows` output pixels; `n` counts outputs.
KERNEL upsample_weight(const T* x, const T* dy, double* out, i64 h, i64 w, i64 oh, i64 ow, i64 c, i64 rows, i64 chunk, i64 n) {
    INDEX(i, n);
    i64 k = i % c, tap = i / c % 9, from = i / (9 * c) * chunk, to = from + chunk < rows ? from + chunk : rows;
    float sum = 0.0f;
    for (i64 p = from; p < to; p++) {
        i64 q = p % ow + tap % 3 - 1, r = p / ow % oh + tap / 3 - 1, image = p / (ow * oh);
        if (r < 0 || r >= oh || q < 0 || q >= ow) continue;
        sum = fmaf(get(x, ((image * h + r / 2) * w + q / 2) * c + k), get(dy, p * c + k), sum);
    }
    out[i] = sum;
}
