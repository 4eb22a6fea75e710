//! The quantile of the standard normal distribution.

/// `x` with `P(Z <= x) = p`; minus and plus infinity at 0 and 1, NaN outside [0, 1].
///
/// Newton's method on the tail probability, started at 0 where it approaches the root from one
/// side. Accurate to about 1e-13 where `1 - p` itself is.
pub(crate) fn probit(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return if p == 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let (sign, tail) = if p < 0.5 { (-1.0, p) } else { (1.0, 1.0 - p) };
    let mut x = 0.0_f64;
    // The step is at least about 1/x in the far tail, so that 39 (p = 1e-308) takes < 800 steps.
    for _ in 0..1000 {
        let step = (upper_tail(x) - tail) / density(x);
        x += step;
        if step.abs() <= 1e-14 * x {
            break;
        }
    }
    sign * x
}

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// `P(Z > x)` for `x >= 0`.
///
/// Below 2.5 the series `1/2 + density(x) (x + x^3/3 + x^5/(3 5) + ...)` (Marsaglia, "Evaluating
/// the Normal Distribution", J. Stat. Software 11(4), 2004); above, the continued fraction of
/// Mills' ratio `1/(x + 1/(x + 2/(x + 3/(x + ...))))` (Abramowitz & Stegun 26.2.14).
fn upper_tail(x: f64) -> f64 {
    if x < 2.5 {
        let (mut term, mut sum, mut k) = (x, x, 3.0);
        while term > 1e-18 * sum {
            term *= x * x / k;
            sum += term;
            k += 2.0;
        }
        0.5 - density(x) * sum
    } else {
        let mut fraction = x;
        for k in (1..=200).rev() {
            fraction = x + f64::from(k) / fraction;
        }
        density(x) / fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of scipy.stats.norm.ppf, scipy 1.17.
    #[test]
    fn agrees_with_scipy() {
        for (p, x) in [
            (0.5, 0.0),
            (0.6, 0.2533471031357997),
            (0.975, 1.959963984540054),
            (0.9937, 2.4948792482923823),
            (0.9999, 3.719016485455709),
            (1e-10, -6.361340902404056),
            (1e-300, -37.0470962993612),
        ] {
            assert!((probit(p) - x).abs() < 1e-12 * x.abs().max(1.0), "probit({p}) = {}, not {x}", probit(p));
        }
        assert_eq!(probit(1.0), f64::INFINITY);
        assert!(probit(1.1).is_nan());
    }
}
