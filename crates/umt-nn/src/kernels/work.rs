//! Scratch buffers kept by each thread, and how work is spread over threads.
use super::team;
use rayon::prelude::*;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;

struct Block {
    ptr: NonNull<f32>,
    len: usize,
}

fn layout(len: usize) -> Layout {
    assert!(len <= isize::MAX as usize / 8, "a scratch buffer of {len} floats is larger than the address space");
    // SAFETY: 64 is a power of two, and the size stays below `isize::MAX` when rounded up to it.
    unsafe { Layout::from_size_align_unchecked(len * 4, 64) }
}

impl Block {
    fn new(len: usize) -> Block {
        let layout = layout(len);
        // SAFETY: `len` is never 0.
        let ptr = unsafe { alloc_zeroed(layout) }.cast::<f32>();
        match NonNull::new(ptr) {
            Some(ptr) => Block { ptr, len },
            None => handle_alloc_error(layout),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { dealloc(self.ptr.as_ptr().cast(), layout(self.len)) }
    }
}

thread_local! {
    static FREE: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// A scratch buffer aligned to 64 bytes that goes back to its thread when dropped. Its content is arbitrary.
///
/// Buffers are taken out of the thread's store and not borrowed from it, because a thread that waits for others may run another task meanwhile.
pub struct Scratch {
    block: Option<Block>,
    len: usize,
}

impl Scratch {
    /// A buffer of `len` floats with arbitrary content.
    pub fn new(len: usize) -> Scratch {
        let block = FREE.with_borrow_mut(|free| {
            // The smallest that fits, so that a small wish does not take a large buffer away.
            let best = (0..free.len()).filter(|&i| free[i].len >= len).min_by_key(|&i| free[i].len);
            best.map(|i| free.swap_remove(i))
        });
        let block = block.unwrap_or_else(|| Block::new(len.max(1).next_power_of_two().max(1024)));
        Scratch { block: Some(block), len }
    }

    /// A buffer of `len` zeros.
    pub fn zeros(len: usize) -> Scratch {
        let mut s = Scratch::new(len);
        s.fill(0.0);
        s
    }
}

impl std::ops::Deref for Scratch {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // Without a block only while it is dropped.
        let Some(block) = &self.block else { return &[] };
        // SAFETY: the block holds at least `len` floats, initialised with zeros.
        unsafe { std::slice::from_raw_parts(block.ptr.as_ptr(), self.len) }
    }
}

impl std::ops::DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        let Some(block) = &self.block else { return &mut [] };
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(block.ptr.as_ptr(), self.len) }
    }
}

/// How many buffers a thread keeps.
const KEPT: usize = 12;

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            FREE.with_borrow_mut(|free| {
                free.push(block);
                if free.len() > KEPT {
                    let smallest = (0..free.len()).min_by_key(|&i| free[i].len).unwrap_or(0);
                    free.swap_remove(smallest);
                }
            });
        }
    }
}

// SAFETY: the block is owned, nothing else points to it.
unsafe impl Send for Scratch {}
// SAFETY: shared access only reads.
unsafe impl Sync for Scratch {}

/// A pointer that tasks share; each task writes only its own part.
#[derive(Clone, Copy)]
pub struct Shared(*mut f32);

impl Shared {
    /// Shares the slice's memory.
    pub fn new(x: &mut [f32]) -> Shared {
        Shared(x.as_mut_ptr())
    }
    /// The pointer.
    #[inline(always)]
    pub fn ptr(self) -> *mut f32 {
        self.0
    }
    /// Part of the shared slice.
    ///
    /// # Safety
    /// In bounds, and no other task touches this part.
    #[inline(always)]
    pub unsafe fn part<'a>(self, start: usize, len: usize) -> &'a mut [f32] {
        std::slice::from_raw_parts_mut(self.0.add(start), len)
    }
}

// SAFETY: users write disjoint parts only, see `part`.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Runs `tasks` tasks, each exactly once, on as many threads as the current pool of rayon has. `heavy` false keeps them on this thread.
pub fn parallel(tasks: usize, heavy: bool, f: impl Fn(usize) + Sync + Send) {
    let threads = if tasks <= 1 || !heavy { 1 } else { rayon::current_num_threads() };
    if threads == 1 {
        (0..tasks).for_each(f);
    } else if !team::run(tasks, threads, &f) {
        // Somebody else's kernel has the helpers, or this is a task of one.
        (0..tasks).into_par_iter().with_max_len(1).for_each(f);
    }
}

/// Cuts `len` into `parts` ranges whose borders are multiples of `unit`; depends on its arguments only.
pub fn cut(len: usize, parts: usize, unit: usize, i: usize) -> std::ops::Range<usize> {
    let units = len.div_ceil(unit.max(1));
    let at = |i: usize| (units * i / parts.max(1) * unit).min(len);
    at(i)..at(i + 1)
}
