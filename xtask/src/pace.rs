//! How long the rest of a plan will take: by the share of its work that is done.

use std::time::{Duration, Instant};
use umt_recipe::plan::Node;
use umt_recipe::{Plan, Recipe};

/// Work of a plan, in units of an epoch of one encoder.
#[derive(Default)]
pub struct Pace {
    /// Work of each stage, by its place in the plan.
    work: Vec<f64>,
    /// Stages that were finished before, or in this call.
    over: Vec<bool>,
    /// Work done in this call by finished stages.
    done: f64,
    /// Place of the stage under way and the share of it that is done in this call.
    current: Option<(usize, f64)>,
    /// Share of the stage under way that was done before this call.
    before: f64,
    begun: Option<Instant>,
}

impl Pace {
    pub fn new(recipe: &Recipe, plan: &Plan) -> Pace {
        let work: Vec<f64> = plan.nodes.iter().map(|node| work(recipe, node)).collect();
        Pace { over: vec![false; work.len()], work, ..Pace::default() }
    }

    /// A stage, by its place from 1, begins.
    pub fn begin(&mut self, position: usize) {
        self.begun.get_or_insert_with(Instant::now);
        // What failed before it will not be tried again.
        self.over.iter_mut().take(position - 1).for_each(|over| *over = true);
        (self.current, self.before) = (Some((position - 1, 0.0)), 0.0);
    }

    /// After a step: the first of a resumed stage says how much was done before.
    pub fn step(&mut self, step: u64, total: u64) {
        let share = step as f64 / total.max(1) as f64;
        if let Some((_, done)) = &mut self.current {
            if *done == 0.0 {
                self.before = (step - 1) as f64 / total.max(1) as f64;
            }
            *done = share - self.before;
        }
    }

    /// A stage is finished; `reused` when it had been before.
    pub fn finish(&mut self, position: usize, reused: bool) {
        self.done += if reused { 0.0 } else { self.work_of(position - 1) * (1.0 - self.before) };
        if let Some(over) = self.over.get_mut(position - 1) {
            *over = true;
        }
        (self.current, self.before) = (None, 0.0);
    }

    /// What all that is left will take, once there is something to judge by.
    pub fn left(&self) -> Option<Duration> {
        let elapsed = self.begun?.elapsed().as_secs_f64();
        let under_way = self.current.map_or(0.0, |(at, share)| self.work_of(at) * share);
        let earlier = self.current.map_or(0.0, |(at, _)| self.work_of(at) * self.before);
        let done = self.done + under_way;
        let open: f64 = (0..self.work.len()).filter(|&at| !self.over[at]).map(|at| self.work[at]).sum();
        (done > 0.0 && elapsed > 0.05)
            .then(|| Duration::from_secs_f64(elapsed / done * (open - under_way - earlier).max(0.0)))
    }

    fn work_of(&self, at: usize) -> f64 {
        self.work.get(at).copied().unwrap_or(0.0)
    }
}

/// A training step costs an encoder's forward and backward pass, of a teacher its forward pass alone.
fn work(recipe: &Recipe, node: &Node) -> f64 {
    let stage = &recipe.stage[node.unit.stage];
    let encoders = node.unit.modalities.len() as f64;
    if !stage.task.is_network() {
        return if node.unit.probed.is_some() { 0.3 } else { 0.05 };
    }
    if stage.weights.is_some() {
        return 0.3 * encoders;
    }
    let epochs =
        stage.train.epochs.map_or_else(|| stage.train.steps.unwrap_or(1) as f64 / 50.0, |epochs| epochs as f64);
    // The passes over all splits at the end.
    (epochs + 0.5) * (encoders + node.parents.len() as f64 / 3.0)
}

/// A time as people say it.
pub fn spoken(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds @ 100..6000 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_before_is_no_speed_of_now() {
        let mut pace = Pace { work: vec![10.0, 10.0, 10.0], over: vec![false; 3], ..Pace::default() };
        assert_eq!(pace.left(), None);
        pace.finish(1, true);
        pace.begin(2);
        pace.begun = Some(Instant::now() - Duration::from_secs(10));
        // Resumed at half: a quarter of the stage took ten seconds, a quarter and a stage are left.
        pace.step(51, 100);
        pace.step(75, 100);
        let left = pace.left().map_or(0.0, |left| left.as_secs_f64());
        assert!((left - 50.0).abs() < 0.1, "{left}");
        pace.finish(2, false);
        let left = pace.left().map_or(0.0, |left| left.as_secs_f64());
        assert!((left - 20.0).abs() < 0.1, "{left}");
        assert_eq!([59, 125, 7200].map(|s| spoken(Duration::from_secs(s))), ["59 s", "2 min", "2.0 h"]);
    }
}
