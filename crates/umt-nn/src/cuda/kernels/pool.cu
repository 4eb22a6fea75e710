// Max-pooling; the way back gathers, so that no two threads write one value.

struct Pool {
    i64 n, h, w, c, oh, ow, kh, kw, sh, sw, ph, pw;
};

// `place` receives row * w + column of the first largest element; a NaN wins, so that it is seen.
KERNEL max_pool(const T* x, T* y, u32* place, Pool s, i64 n) {
    INDEX(i, n);
    i64 k = i % s.c, column = i / s.c % s.ow, row = i / (s.c * s.ow) % s.oh, image = i / (s.c * s.ow * s.oh);
    i64 r0 = row * s.sh - s.ph, c0 = column * s.sw - s.pw;
    i64 r1 = r0 + s.kh < s.h ? r0 + s.kh : s.h, c1 = c0 + s.kw < s.w ? c0 + s.kw : s.w;
    float best = 0.0f;
    i64 at = -1;
    for (i64 r = r0 < 0 ? 0 : r0; r < r1; r++) {
        for (i64 q = c0 < 0 ? 0 : c0; q < c1; q++) {
            float v = get(x, ((image * s.h + r) * s.w + q) * s.c + k);
            if (at < 0 || v > best || (v != v && best == best)) {
                best = v;
                at = r * s.w + q;
            }
        }
    }
    put(y, i, best);
    place[i] = (u32)at;
}

// `n` counts inputs. Windows in order, as on the host.
KERNEL max_pool_backward(const u32* place, const T* dy, T* dx, Pool s, i64 n) {
    INDEX(i, n);
    i64 k = i % s.c, column = i / s.c % s.w, row = i / (s.c * s.w) % s.h, image = i / (s.c * s.w * s.h);
    i64 r = row + s.ph, q = column + s.pw;
    i64 r0 = r < s.kh ? 0 : (r - s.kh) / s.sh + 1, c0 = q < s.kw ? 0 : (q - s.kw) / s.sw + 1;
    i64 r1 = r / s.sh + 1 < s.oh ? r / s.sh + 1 : s.oh, c1 = q / s.sw + 1 < s.ow ? q / s.sw + 1 : s.ow;
    u32 own = (u32)(row * s.w + column);
    float sum = 0.0f;
    for (i64 a = r0; a < r1; a++) {
        for (i64 b = c0; b < c1; b++) {
            i64 at = ((image * s.oh + a) * s.ow + b) * s.c + k;
            if (place[at] == own) sum += get(dy, at);
        }
    }
    put(dx, i, sum);
}
