//! Shapes of convolutions and poolings, and the ways they can be wrong.

/// What is wrong with a shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A size that must be positive is 0.
    #[error("{what} is 0 in {shape}")]
    Zero {
        /// The size.
        what: &'static str,
        /// The whole shape.
        shape: String,
    },
    /// Channels do not divide into groups.
    #[error("{channels} channels do not divide into {groups} groups")]
    Groups {
        /// Channels of input or output.
        channels: usize,
        /// Groups asked for.
        groups: usize,
    },
    /// The window is larger than the padded input.
    #[error("a window of {window} does not fit an input of {input} with padding {pad}")]
    Window {
        /// Extent of the window, dilation included.
        window: usize,
        /// Height or width.
        input: usize,
        /// Padding on each side.
        pad: usize,
    },
}

fn positive(sizes: &[(&'static str, usize)], shape: &dyn std::fmt::Debug) -> Result<(), ShapeError> {
    match sizes.iter().find(|(_, v)| *v == 0) {
        Some((what, _)) => Err(ShapeError::Zero { what, shape: format!("{shape:?}") }),
        None => Ok(()),
    }
}

fn fits(window: usize, input: usize, pad: usize) -> Result<(), ShapeError> {
    if input + 2 * pad < window { Err(ShapeError::Window { window, input, pad }) } else { Ok(()) }
}

/// A two-dimensional convolution: `x` is `[n, h, w, c]`, weights `[kh, kw, c / groups, k]`, `y` is `[n, out_h, out_w, k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Images.
    pub n: usize,
    /// Height of the input.
    pub h: usize,
    /// Width of the input.
    pub w: usize,
    /// Channels of the input.
    pub c: usize,
    /// Channels of the output.
    pub k: usize,
    /// Height of the kernel.
    pub kh: usize,
    /// Width of the kernel.
    pub kw: usize,
    /// Stride, by height and width.
    pub stride: [usize; 2],
    /// Zeros on each side, by height and width.
    pub pad: [usize; 2],
    /// Distance of kernel elements, by height and width.
    pub dilation: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
}

impl std::fmt::Display for ConvShape {
    /// `8x56x56x64 to 128, 3x3 / 2`, and what is unusual.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}x{} to {}, {}x{}", self.n, self.h, self.w, self.c, self.k, self.kh, self.kw)?;
        match self.stride {
            [1, 1] => {}
            [a, b] if a == b => write!(f, " / {a}")?,
            [a, b] => write!(f, " / {a}x{b}")?,
        }
        if self.dilation != [1, 1] {
            write!(f, ", dilation {}x{}", self.dilation[0], self.dilation[1])?;
        }
        if self.groups > 1 { write!(f, ", {} groups", self.groups) } else { Ok(()) }
    }
}

impl ConvShape {
    /// Height of the output.
    pub fn out_h(&self) -> usize {
        (self.h + 2 * self.pad[0]).saturating_sub(self.dilation[0] * (self.kh - 1) + 1) / self.stride[0] + 1
    }
    /// Width of the output.
    pub fn out_w(&self) -> usize {
        (self.w + 2 * self.pad[1]).saturating_sub(self.dilation[1] * (self.kw - 1) + 1) / self.stride[1] + 1
    }
    /// Length of the input.
    pub fn x_len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }
    /// Length of the weights.
    pub fn w_len(&self) -> usize {
        self.kh * self.kw * (self.c / self.groups) * self.k
    }
    /// Length of the output.
    pub fn y_len(&self) -> usize {
        self.n * self.out_h() * self.out_w() * self.k
    }
    /// Floating-point operations of the direct convolution, two for each multiply-add.
    pub fn flops(&self) -> usize {
        2 * self.y_len() * self.kh * self.kw * (self.c / self.groups)
    }
    /// # Errors
    /// Says what is wrong; `n` may be 0.
    pub fn check(&self) -> Result<(), ShapeError> {
        let sizes = [
            ("height", self.h),
            ("width", self.w),
            ("input channels", self.c),
            ("output channels", self.k),
            ("kernel height", self.kh),
            ("kernel width", self.kw),
            ("stride", self.stride[0].min(self.stride[1])),
            ("dilation", self.dilation[0].min(self.dilation[1])),
            ("groups", self.groups),
        ];
        positive(&sizes, self)?;
        for channels in [self.c, self.k] {
            if channels % self.groups != 0 {
                return Err(ShapeError::Groups { channels, groups: self.groups });
            }
        }
        fits(self.dilation[0] * (self.kh - 1) + 1, self.h, self.pad[0])?;
        fits(self.dilation[1] * (self.kw - 1) + 1, self.w, self.pad[1])
    }
}

/// A max-pooling: `x` is `[n, h, w, c]`, `y` is `[n, out_h, out_w, c]`; padding never wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolShape {
    /// Images.
    pub n: usize,
    /// Height of the input.
    pub h: usize,
    /// Width of the input.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Window, by height and width.
    pub window: [usize; 2],
    /// Stride, by height and width.
    pub stride: [usize; 2],
    /// Padding on each side, at most half of the window.
    pub pad: [usize; 2],
}

impl PoolShape {
    /// Height of the output.
    pub fn out_h(&self) -> usize {
        (self.h + 2 * self.pad[0]).saturating_sub(self.window[0]) / self.stride[0] + 1
    }
    /// Width of the output.
    pub fn out_w(&self) -> usize {
        (self.w + 2 * self.pad[1]).saturating_sub(self.window[1]) / self.stride[1] + 1
    }
    /// Length of the input.
    pub fn x_len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }
    /// Length of the output.
    pub fn y_len(&self) -> usize {
        self.n * self.out_h() * self.out_w() * self.c
    }
    /// # Errors
    /// Says what is wrong; `n` may be 0. A padding above half of the window is refused, because a window could then see no pixel.
    pub fn check(&self) -> Result<(), ShapeError> {
        let sizes = [
            ("height", self.h),
            ("width", self.w),
            ("channels", self.c),
            ("window", self.window[0].min(self.window[1])),
            ("stride", self.stride[0].min(self.stride[1])),
        ];
        positive(&sizes, self)?;
        for i in 0..2 {
            let input = [self.h, self.w][i];
            if self.pad[i] * 2 > self.window[i] {
                return Err(ShapeError::Window { window: self.window[i], input, pad: self.pad[i] });
            }
            fits(self.window[i], input, self.pad[i])?;
        }
        Ok(())
    }
}
