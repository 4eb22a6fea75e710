//! The loop, readable from top to bottom.

use std::time::Instant;

use umt_nn::NnError;
use umt_nn::optim::{Squares, scale_to_norm};

use crate::evaluate::validate;
use crate::feed::{Feeds, feed};
use crate::pace::Pace;
use crate::session::Session;
use crate::{
    BatchSource, Env, EpochContext, EpochReport, Outcome, StepContext, StepReport, Task, TrainConfig, TrainError,
};

/// Trains `task` to the end, going on from the last checkpoint in `env.dir` if there is one.
///
/// With `refit` the last weights are kept and `validation`, if any, is only reported; without it
/// the best by validation are kept: highest top-1 (mean IoU, where each pixel has a class), of equal ones the lowest loss, of equal ones the
/// earliest. When this returns without an error the task holds the kept weights, and another call
/// does 0 steps.
///
/// # Errors
/// See [`TrainError`]. After [`TrainError::Interrupted`] the last checkpoint holds all work done;
/// after any other error it is the one saved before.
pub fn train(
    task: &mut dyn Task,
    source: &dyn BatchSource,
    validation: Option<&dyn BatchSource>,
    config: &TrainConfig,
    env: &mut Env<'_>,
) -> Result<Outcome, TrainError> {
    config.check()?;
    if validation.is_none() && !config.refit {
        let reason = "false keeps the best weights by validation, but there is no validation split";
        return Err(TrainError::Config { key: "refit".into(), reason: reason.into() });
    }
    let mut run = Session::open(task, source.batches_per_epoch(), config, env)?;
    while !run.finished() {
        let pace = steps_of_an_epoch(&mut run, source)?;
        end_of_an_epoch(&mut run, validation, pace)?;
        if run.finished() || run.stop_asked() || run.saved_long_ago() {
            run.save()?;
        }
        run.stop_if_asked()?;
    }
    run.outcome()
}

/// The steps that the epoch under way has left.
fn steps_of_an_epoch(run: &mut Session<'_, '_>, source: &dyn BatchSource) -> Result<Pace, TrainError> {
    let mut pace = Pace::default();
    let left = run.steps_left_in_epoch();
    if left == 0 {
        return Ok(pace);
    }
    let (device, from) = (run.task.params().device(), [run.at.epoch, run.at.batch]);
    feed(source, &device, from, |batches| {
        for _ in 0..left {
            one_step(run, batches, &mut pace)?;
        }
        Ok(pace)
    })
}

/// The next batch forward and back, and the update.
fn one_step(run: &mut Session<'_, '_>, batches: &mut Feeds<'_>, pace: &mut Pace) -> Result<(), TrainError> {
    let (config, begun) = (run.config, Instant::now());
    let batch = batches.next().ok_or_else(|| run.too_few())??;
    let fetched = Instant::now();

    let (step, epoch, seed) = (run.at.step, run.at.epoch, run.env.seed);
    run.guard.batch(&batch, step)?;
    let context = StepContext { step, total: run.total, epoch, seed };
    let mut output = match run.task.step(&batch, &context) {
        // Given up inside the step, which has changed nothing: the checkpoint is of the steps before.
        Err(TrainError::Nn(NnError::Stopped)) => {
            run.save()?;
            run.stop_if_asked()?;
            return Err(NnError::Stopped.into());
        }
        output => output?,
    };
    // One pass over all gradients tells whether they are finite, their norm and the encoders' shares.
    let squares = match output.squares.take() {
        Some(squares) => squares,
        None => Squares::of(&output.grads, batch.inputs().values())?,
    };
    let squares = squares.read()?;
    run.guard.output(&output, &squares, run.task.params(), &batch, step)?;
    output.log.extend(run.task.figures(&squares.grads));
    if let Some(max) = config.clip {
        scale_to_norm(&mut output.grads, squares.grads.values().sum::<f64>().sqrt(), max)?;
    }
    let lr = config.schedule.lr(config.lr, step, run.total);
    if let Some(momentum) = config.schedule.momentum(step, run.total) {
        run.optimizer.set_momentum(momentum);
    }
    run.optimizer.step(run.task.params_mut(), &output.grads, lr)?;
    run.at.advance(&output);

    let this = Pace::of_step(begun, fetched, batch.ids.len());
    pace.add(&this);
    run.timing.pace.add(&this);
    run.env.observer.on_step(&StepReport {
        step: step + 1,
        total: run.total,
        samples: batch.ids.len(),
        samples_per_second: pace.samples_per_second(),
        loss: output.loss,
        lr,
        log: &output.log,
    });
    let every = config.checkpoint_every;
    if run.stop_asked() || (every > 0 && (step + 1).is_multiple_of(every)) {
        run.save()?;
        run.stop_if_asked()?;
    }
    Ok(())
}

/// A stop inside an evaluation is as one between two of its batches: nothing came of it.
fn unless_stopped<T>(result: Result<Option<T>, TrainError>) -> Result<Option<T>, TrainError> {
    match result {
        Err(TrainError::Nn(NnError::Stopped)) => Ok(None),
        other => other,
    }
}

/// Validation, the best weights, and the epoch's lines in the logs.
fn end_of_an_epoch(
    run: &mut Session<'_, '_>,
    validation: Option<&dyn BatchSource>,
    pace: Pace,
) -> Result<(), TrainError> {
    let (config, epoch, step) = (run.config, run.at.epoch + 1, run.at.step);
    run.guard.weights(run.task.params(), &[], step)?;
    let due = step == run.total || epoch.is_multiple_of(config.eval_every);
    let stopped = || run.stop_asked();
    let context =
        EpochContext { epoch: run.at.epoch, step, total: run.total, seed: run.env.seed, validation, stopped: &stopped };
    let buffers = unless_stopped(run.task.end_of_epoch(&context)).map_err(|error| run.guard.placed(error, step))?;
    let Some(buffers) = buffers else {
        run.save()?;
        return run.stop_if_asked();
    };
    let mut scores = None;
    if let Some(source) = validation.filter(|_| due) {
        let found = unless_stopped(validate(run.task, source, &|| run.stop_asked()));
        let Some(found) = found.map_err(|error| run.guard.placed(error, step))? else {
            // The epoch stays open: the checkpoint leads back to this validation.
            run.save()?;
            return run.stop_if_asked();
        };
        scores = Some(found);
    }
    let best = scores.is_some_and(|scores| run.at.is_best(&scores));
    if let Some(scores) = scores.filter(|_| best) {
        run.keep_as_best(epoch, scores)?;
    }

    run.task.params_mut().update(buffers)?;

    let (loss, log) = run.at.means();
    let report = EpochReport {
        epoch,
        step,
        loss,
        lr: config.schedule.lr(config.lr, step - 1, run.total),
        log: &log,
        validation: scores,
        best,
        seconds: pace.seconds,
        wait_seconds: pace.wait_seconds,
        samples_per_second: pace.samples_per_second(),
    };
    run.log(&report)?;
    run.env.observer.on_epoch(&report);
    run.at.next_epoch(scores);
    Ok(())
}
