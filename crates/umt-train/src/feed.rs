//! Batches on their way to where a task computes.

use crate::{BatchSource, TrainError};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::mpsc::sync_channel;
use umt_data::Batch;
use umt_media::Modality;
use umt_nn::{Array, Device, NnError};

/// A batch whose inputs are arrays where the task computes.
#[derive(Clone, Debug)]
pub struct Feed {
    batch: Batch,
    inputs: BTreeMap<Modality, Array>,
}

impl Feed {
    /// Brings a batch's inputs to `device`. A device copies them beside whatever it computes, see [`Device::send`].
    ///
    /// # Errors
    /// An input whose values do not fit its shape; a device that fails.
    pub fn new(mut batch: Batch, device: &Device) -> Result<Self, NnError> {
        // What was sent is freed here: by the thread that feeds, not by the one that trains.
        let loaded = std::mem::take(&mut batch.inputs).into_iter();
        let sent = loaded.map(|(modality, x)| Ok((modality, device.send(&x.shape, &x.data)?)));
        let inputs = sent.collect::<Result<_, NnError>>()?;
        Ok(Self { batch, inputs })
    }

    /// The inputs as arrays.
    pub fn inputs(&self) -> &BTreeMap<Modality, Array> {
        &self.inputs
    }

    pub(crate) fn into_batch(self) -> Batch {
        self.batch
    }
}

/// The batch as it was loaded, without its inputs.
impl Deref for Feed {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.batch
    }
}

/// Batches as they arrive.
pub(crate) type Feeds<'a> = dyn Iterator<Item = Result<Feed, TrainError>> + 'a;

/// Calls `work` with the batches `start..` of an epoch at `device`.
///
/// For the host each batch is made when it is asked for. For a device a thread is one batch ahead, so that copies run while the device computes
/// and the caller waits for it; when `work` returns early the thread ends too.
pub(crate) fn feed<T>(
    source: &dyn BatchSource,
    device: &Device,
    [epoch, start]: [u64; 2],
    work: impl FnOnce(&mut Feeds<'_>) -> T,
) -> T {
    let arrive = |batch: Result<Batch, _>| Ok(Feed::new(batch?, device)?);
    if device.is_cpu() {
        return work(&mut source.epoch(epoch, start).map(arrive));
    }
    std::thread::scope(|scope| {
        let (give, take) = sync_channel(1);
        scope.spawn(move || {
            for batch in source.epoch(epoch, start) {
                if give.send(arrive(batch)).is_err() {
                    return;
                }
            }
        });
        // By value, so that a thread that waits to give is told when nobody takes any more.
        let mut arriving = take.into_iter();
        let result = work(&mut arriving);
        drop(arriving);
        result
    })
}

/// Calls `take` with every batch of `source` at `device`, and says whether all were taken: `stopped` is asked between two.
///
/// # Errors
/// What the source, the device or `take` refuse.
pub fn each_batch(
    source: &dyn BatchSource,
    device: &Device,
    stopped: &dyn Fn() -> bool,
    mut take: impl FnMut(Feed) -> Result<(), TrainError>,
) -> Result<bool, TrainError> {
    feed(source, device, [0, 0], |batches| {
        for batch in batches {
            if stopped() {
                return Ok(false);
            }
            take(batch?)?;
        }
        Ok(true)
    })
}
