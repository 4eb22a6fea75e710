//! Ten words: a sequence of vowels, a rhythm and a pitch contour each.
//!
//! Words come in pairs that share vowels and differ in rhythm or contour, so that the sound of a
//! class is confused with other classes than its picture is.

/// First and second formant, Hz (after Peterson and Barney, "Control methods used in a study of the
/// vowels", 1952, rounded).
type Vowel = [f32; 2];
const A: Vowel = [730.0, 1090.0];
const E: Vowel = [530.0, 1840.0];
const I: Vowel = [300.0, 2200.0];
const O: Vowel = [570.0, 840.0];
const U: Vowel = [320.0, 900.0];

/// What makes a word.
pub(super) struct Word {
    /// Vowels at equal distances.
    pub vowels: [Vowel; 3],
    /// Syllables: loud parts with short pauses between.
    pub syllables: usize,
    /// Pitch at start, middle and end, as a factor.
    pub contour: [f32; 3],
}

const FALL: [f32; 3] = [1.2, 1.05, 0.8];
const RISE: [f32; 3] = [0.85, 1.0, 1.3];
const PEAK: [f32; 3] = [0.85, 1.3, 0.85];

const fn word(vowels: [Vowel; 3], syllables: usize, contour: [f32; 3]) -> Word {
    Word { vowels, syllables, contour }
}

/// One word for each class.
pub(super) const WORDS: [Word; super::CLASSES] = [
    word([A, E, I], 1, FALL),
    word([I, E, A], 1, RISE),
    word([O, U, O], 1, FALL),
    word([A, E, I], 2, RISE),
    word([E, O, E], 2, PEAK),
    word([U, E, I], 1, PEAK),
    word([O, U, O], 2, RISE),
    word([I, E, A], 2, FALL),
    word([U, E, I], 3, FALL),
    word([E, A, O], 1, PEAK),
];
