//! On-the-fly gradient modulation with generalisation enhancement, OGM-GE (Peng et al., CVPR 2022).

use crate::ogm::{Ogm, convolutions};
use crate::{Objective, Pass, Shape};
use serde::{Deserialize, Serialize};
use umt_fusion::Loss;
use umt_nn::{NnError, Params};
use umt_random::Rng;

/// [`Ogm`], and Gaussian noise on the gradient of every convolution: `k_m g + n`, each value of `n` drawn with mean 0
/// and the standard deviation that the values of `g` have (before modulation, with Bessel's correction, plus 1e-8), so
/// that a slowed-down encoder does not lose the noise that lets it generalise. The noise is for every encoder, also
/// where `k_m = 1`, as in the authors' code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OgmGe(pub Ogm);

impl Objective for OgmGe {
    fn apply(&self, pass: &mut Pass<'_>, loss: &mut Loss) -> Result<(), NnError> {
        let coefficients = self.0.coefficients(pass, loss)?;
        if self.0.active(&pass.context) {
            let (seed, step) = (pass.context.seed, pass.context.step);
            loss.finish.push(Box::new(move |result, _| {
                for (name, grad, factor) in convolutions(result, &coefficients) {
                    let deviation = standard_deviation(grad.as_slice()) + 1e-8;
                    let mut rng = umt_random::stream(seed, "objective.ogm-ge", step, umt_random::id_hash(name));
                    for g in grad.make_mut() {
                        *g = *g * factor as f32 + deviation as f32 * rng.normal();
                    }
                }
                Ok(())
            }));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), NnError> {
        self.0.check_settings()
    }

    fn init(&self, _params: &mut Params, shape: &Shape, _rng: &mut Rng) -> Result<(), NnError> {
        shape.several("ogm-ge")
    }
}

/// With Bessel's correction; 0 for fewer than two values.
fn standard_deviation(values: &[f32]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}
