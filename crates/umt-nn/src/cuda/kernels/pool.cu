// Max-pooling; the gradient gathers, so that no two threads write one value.

struct Pool {
    i64 n, h, w, c, oh, ow, kh, kw, sh, sw, ph, pw;
};

// Where maxima came from: `lanes` of them at once.
template <int N> struct alignas(2 * N) Spots { u16 at[N]; };

// A pixel of `width` by `height` and its first channel, of value `i`.
#define PIXEL(i, height, width)                                                                        \
    const I c = (I)s.c, pixel = over(i, c), k = i - pixel * c, line = over(pixel, width), column = pixel - line * (width), \
            image = over(line, height), row = line - image * (height)

template <int N> static __device__ __forceinline__ void pooled(const T* x, T* y, u16* place, const Pool& s, I i) {
    const I oh = (I)s.oh, ow = (I)s.ow, h = (I)s.h, w = (I)s.w, kh = (I)s.kh, kw = (I)s.kw;
    PIXEL(i, oh, ow);
    const I top = row * (I)s.sh - (I)s.ph, left = column * (I)s.sw - (I)s.pw;
    float best[N];
    Spots<N> spots;
    bool none = true;
    for (I a = top < 0 ? -top : 0; a < kh && top + a < h; a++) {
        for (I b = left < 0 ? -left : 0; b < kw && left + b < w; b++) {
            float v[N];
            load(x + ((image * h + top + a) * w + left + b) * c + k, v);
            for (int j = 0; j < N; j++) {
                if (none || v[j] > best[j] || (v[j] != v[j] && best[j] == best[j])) {
                    best[j] = v[j];
                    spots.at[j] = (u16)(a * kw + b);
                }
            }
            none = false;
        }
    }
    store(y + i, best);
    *(Spots<N>*)(place + i) = spots;
}
// `place` receives where in its window the first largest element is; a NaN wins, so that it is seen.
KERNEL max_pool(const T* x, T* y, u16* place, Pool s, I lanes, I n) {
    INDEX(t, n);
    LANES(pooled<N>(x, y, place, s, t * lanes));
}

template <int N> static __device__ __forceinline__ void gathered(const u16* place, const T* dy, T* dx, const Pool& s, I i) {
    const I oh = (I)s.oh, ow = (I)s.ow, h = (I)s.h, w = (I)s.w, kh = (I)s.kh, kw = (I)s.kw, sh = (I)s.sh, sw = (I)s.sw;
    PIXEL(i, h, w);
    const I r = row + (I)s.ph, q = column + (I)s.pw;
    const I first_row = r < kh ? 0 : over(r - kh, sh) + 1, first_column = q < kw ? 0 : over(q - kw, sw) + 1;
    float sum[N];
    for (int j = 0; j < N; j++) sum[j] = 0.0f;
    for (I a = first_row; a < oh && a * sh <= r; a++) {
        for (I b = first_column; b < ow && b * sw <= q; b++) {
            const I at = ((image * oh + a) * ow + b) * c + k;
            const u32 own = (u32)((r - a * sh) * kw + q - b * sw);
            const Spots<N> spots = *(const Spots<N>*)(place + at);
            float d[N];
            load(dy + at, d);
            for (int j = 0; j < N; j++) sum[j] += spots.at[j] == own ? d[j] : 0.0f;
        }
    }
    store(dx + i, sum);
}
// `n` counts inputs. Windows in order, as on the host.
KERNEL max_pool_backward(const u16* place, const T* dy, T* dx, Pool s, I lanes, I n) {
    INDEX(t, n);
    LANES(gathered<N>(place, dy, dx, s, t * lanes));
}
