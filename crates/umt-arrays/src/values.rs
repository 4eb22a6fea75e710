//! Arrays as they were read.

/// Values of one type, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Floating-point numbers of any width, as `f32`.
    Float(Vec<f32>),
    /// Integers and booleans.
    Int(Vec<i64>),
    /// Short texts, such as names of groups.
    Text(Vec<String>),
}

impl Values {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(v) => v.len(),
            Self::Int(v) => v.len(),
            Self::Text(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is at `[row, column]` of `rows x columns` column-major values, row-major.
    pub(crate) fn transposed(self, rows: usize, columns: usize) -> Self {
        fn turn<T: Clone>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
            (0..rows * columns).map(|i| values[(i % columns) * rows + i / columns].clone()).collect()
        }
        match self {
            Self::Float(v) => Self::Float(turn(&v, rows, columns)),
            Self::Int(v) => Self::Int(turn(&v, rows, columns)),
            Self::Text(v) => Self::Text(turn(&v, rows, columns)),
        }
    }
}
