// Softmax cross-entropy of rows of logits, as on the host (`kernels::cross_entropy`): a thread takes a row.

KERNEL cross_entropy(const T* logits, const u8* labels, const float* weights, I with_weights, float smoothing, float scale,
                     T* grad, I with_grad, double* losses, I classes, I rows) {
    INDEX(row, rows);
    const I at = row * classes;
    const I label = labels[row];
    if (label >= classes) {
        if (with_grad) {
            for (I k = 0; k < classes; k++) put(grad, at + k, 0.0f);
        }
        losses[row] = 0.0;
        return;
    }
    float peak = get(logits, at);
    for (I k = 1; k < classes; k++) {
        float v = get(logits, at + k);
        if (v > peak) peak = v;
    }
    float sum = 0.0f, spread_sum = 0.0f;
    const float share = smoothing / classes;
    for (I k = 0; k < classes; k++) {
        sum += expf(get(logits, at + k) - peak);
        spread_sum += share * (with_weights ? weights[k] : 1.0f);
    }
    const float log_sum = logf(sum);
    const float weight = (with_weights ? weights[label] : 1.0f) * (1.0f - smoothing);
    double loss = weight * (log_sum + (peak - get(logits, at + label)));
    const float factor = (weight + spread_sum) * scale / sum;
    for (I k = 0; k < classes; k++) {
        float v = get(logits, at + k);
        float spread = smoothing > 0.0f ? share * (with_weights ? weights[k] : 1.0f) : 0.0f;
        loss += (double)(spread * (log_sum + (peak - v)));
        if (with_grad) {
            put(grad, at + k, factor * expf(v - peak) - (k == label ? weight * scale : 0.0f) - spread * scale);
        }
    }
    losses[row] = loss;
}
