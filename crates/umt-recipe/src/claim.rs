//! `umt.top1 > joint.top1`: what a recipe expects, in one line.

use serde::{Deserialize, Serialize};
use std::fmt;
use umt_eval::metrics;

/// A comparison of the mean over seeds of a stage's metric on test with a number or another stage's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Claim {
    /// Left-hand side.
    pub left: Figure,
    /// The relation.
    pub relation: Relation,
    /// Right-hand side.
    pub right: Side,
}

/// A stage's metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The stage's id.
    pub stage: String,
    /// One of [`metrics::reported`].
    pub metric: String,
}

/// A figure or a number.
#[derive(Debug, Clone, PartialEq)]
pub enum Side {
    /// Another stage's metric.
    Figure(Figure),
    /// A constant; fractions are 0..1.
    Number(f64),
}

/// How the sides compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

impl Relation {
    const ALL: [(&'static str, Relation); 4] =
        [(">=", Self::AtLeast), ("<=", Self::AtMost), (">", Self::Above), ("<", Self::Below)];

    /// Whether it holds between two numbers.
    pub fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Above => a > b,
            Self::AtLeast => a >= b,
            Self::Below => a < b,
            Self::AtMost => a <= b,
        }
    }

    fn sign(self) -> &'static str {
        Self::ALL.iter().find(|(_, r)| *r == self).map_or("", |(s, _)| s)
    }
}

impl Claim {
    /// Whether it holds, if `look` knows every figure in it.
    pub fn holds(&self, look: impl Fn(&Figure) -> Option<f64>) -> Option<bool> {
        let right = match &self.right {
            Side::Figure(figure) => look(figure)?,
            Side::Number(number) => *number,
        };
        Some(self.relation.holds(look(&self.left)?, right))
    }

    /// The figures in it.
    pub fn figures(&self) -> Vec<&Figure> {
        match &self.right {
            Side::Figure(figure) => vec![&self.left, figure],
            Side::Number(_) => vec![&self.left],
        }
    }
}

impl TryFrom<String> for Claim {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (sign, relation) = Relation::ALL.into_iter().find(|(sign, _)| text.contains(sign)).ok_or_else(|| {
            format!("`{text}`: expected STAGE.METRIC, one of > >= < <=, then a number or STAGE.METRIC")
        })?;
        let (left, right) = text.split_once(sign).unwrap_or_default();
        let right = right.trim();
        let right = match right.parse::<f64>() {
            Ok(number) if number.is_finite() => Side::Number(number),
            Ok(_) => return Err(format!("`{text}`: {right} is not finite")),
            Err(_) => Side::Figure(figure(right)?),
        };
        Ok(Claim { left: figure(left.trim())?, relation, right })
    }
}

fn figure(text: &str) -> Result<Figure, String> {
    match text.rsplit_once('.') {
        Some((stage, metric)) if metrics::reported().any(|known| known == metric) && !stage.is_empty() => {
            Ok(Figure { stage: stage.into(), metric: metric.into() })
        }
        _ => Err(format!(
            "`{text}` is not STAGE.METRIC; metrics: {}",
            metrics::reported().collect::<Vec<_>>().join(", ")
        )),
    }
}

impl From<Claim> for String {
    fn from(claim: Claim) -> String {
        claim.to_string()
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.left, self.relation.sign())?;
        match &self.right {
            Side::Figure(figure) => write!(f, "{figure}"),
            Side::Number(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stage, self.metric)
    }
}
