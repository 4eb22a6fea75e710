// One pass of an optimiser over a parameter. Parameters and state are float whatever activations are.

KERNEL sgd_plain(float* p, const float* g, float lr, float decay, i64 n) {
    INDEX(i, n);
    p[i] -= lr * (g[i] + decay * p[i]);
}

KERNEL sgd(float* p, const float* g, float* m, float lr, float momentum, i64 nesterov, float decay, i64 n) {
    INDEX(i, n);
    float d = g[i] + decay * p[i];
    float v = momentum * m[i] + d;
    m[i] = v;
    p[i] -= lr * (nesterov ? d + momentum * v : v);
}

// `rate` = lr / (1 - beta1^step), `root` = 1 / sqrt(1 - beta2^step), `keep` = 1 - lr decay.
KERNEL adamw(float* p, const float* g, float* m, float* v, float beta1, float beta2, float eps, float keep, float rate,
             float root, i64 n) {
    INDEX(i, n);
    float first = beta1 * m[i] + (1.0f - beta1) * g[i];
    float second = beta2 * v[i] + (1.0f - beta2) * g[i] * g[i];
    m[i] = first;
    v[i] = second;
    p[i] = p[i] * keep - rate * first / (sqrtf(second) * root + eps);
}
