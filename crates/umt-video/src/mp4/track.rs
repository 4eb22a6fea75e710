//! What a video track is: its samples, and how they are shown.

/// A coded picture of the track, in decoding order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// First byte in the file.
    pub offset: u64,
    /// Length in bytes.
    pub size: u32,
    /// Time of presentation, in ticks of the track, before the edit list.
    pub pts: i64,
    /// How long it is shown, in ticks.
    pub duration: u32,
    /// Whether decoding may begin here.
    pub sync: bool,
}

/// The track header's matrix, as far as it turns or mirrors: `x' = a x + c y`, `y' = b x + d y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub a: i32,
    pub b: i32,
    pub c: i32,
    pub d: i32,
}

/// The first video track of a file.
pub(crate) struct Track<'a> {
    pub id: u32,
    pub timescale: u32,
    pub matrix: Matrix,
    pub samples: Vec<Sample>,
    pub(super) edits: Vec<Edit>,
    pub(super) movie_timescale: u32,
    /// How the pictures are coded: `avc1`, `mp4v`, ...
    pub codec: [u8; 4],
    /// Body of the `avcC` box.
    pub avc_config: Option<&'a [u8]>,
    /// Matrix coefficients and full-range flag of the `colr` box.
    pub colour: Option<(u8, bool)>,
}

/// One entry of the edit list.
#[derive(Clone, Copy)]
pub(super) struct Edit {
    /// Length in ticks of the movie; 0: to the end of the track.
    pub duration: u64,
    /// First time of the track that is shown; -1: nothing is shown for `duration`.
    pub media_time: i64,
}
