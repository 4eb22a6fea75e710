//! The class lists of the field's indoor sets.

/// The 40 classes of NYU Depth V2 (Gupta et al., CVPR 2013), in the order of their ids 1 to 40.
/// The spelling is that of the published list.
pub const NYU40: [&str; 40] = [
    "wall",
    "floor",
    "cabinet",
    "bed",
    "chair",
    "sofa",
    "table",
    "door",
    "window",
    "bookshelf",
    "picture",
    "counter",
    "blinds",
    "desk",
    "shelves",
    "curtain",
    "dresser",
    "pillow",
    "mirror",
    "floor mat",
    "clothes",
    "ceiling",
    "books",
    "refridgerator",
    "television",
    "paper",
    "towel",
    "shower curtain",
    "box",
    "whiteboard",
    "person",
    "night stand",
    "toilet",
    "sink",
    "lamp",
    "bathtub",
    "bag",
    "otherstructure",
    "otherfurniture",
    "otherprop",
];

/// The 13 classes of Couprie et al. (ICLR 2013), in the order of their ids 1 to 13.
pub const NYU13: [&str; 13] = [
    "bed",
    "books",
    "ceiling",
    "chair",
    "floor",
    "furniture",
    "objects",
    "picture",
    "sofa",
    "table",
    "tv",
    "wall",
    "window",
];

/// For each class of [`NYU40`], the class of [`NYU13`] that it belongs to.
pub const NYU40_TO_13: [u8; 40] = [
    11, 4, 5, 0, 3, 8, 9, 11, 12, 5, 7, 5, 12, 9, 5, 12, 5, 6, 6, 4, 6, 2, 1, 5, 10, 6, 6, 6, 6, 6, 6, 5, 6, 6, 6, 6,
    6, 6, 5, 6,
];

/// SUN RGB-D's 37 classes (Song et al., CVPR 2015): the first 37 of [`NYU40`], ids 1 to 37.
pub fn sun37() -> &'static [&'static str] {
    &NYU40[..37]
}
