//! A recipe to begin with, chosen by the data: sizes, front-end, epochs and a rule of validation that exists.

use std::fmt::Write as _;
use umt_data::{AudioFacts, Facts};

/// Updates that a network of this size takes to learn a small set (`av-digits`: 55 batches, 14 epochs).
const UPDATES: usize = 800;
/// Weights of UMT that are tried: on images and speech 10 was best, on audio that explains little 0.5 was.
const LAMBDAS: [&str; 3] = ["0.5", "2", "10"];

/// The text of a recipe for a set that is like this; `root` is its manifest as seen from the recipe's file, `skip` leaves
/// out samples that cannot be used.
///
/// # Errors
/// In words, why the set cannot be trained on.
pub fn starter(name: &str, root: &str, facts: &Facts, skip: bool) -> Result<String, String> {
    if facts.train == 0 || facts.test == 0 {
        return Err(format!("{} training and {} test samples: both are needed", facts.train, facts.test));
    }
    let modalities: Vec<&str> = match (facts.scenes, facts.audio, facts.video) {
        (Some(_), ..) => vec!["rgb", "depth"],
        (None, audio, video) => {
            [("audio", audio.is_some()), ("video", video.is_some())].into_iter().filter(|m| m.1).map(|m| m.0).collect()
        }
    };
    if modalities.is_empty() {
        return Err("no file could be read, so nothing is known of lengths and sizes".into());
    }
    let what = match (facts.scenes, modalities.len()) {
        (Some(_), _) => "uni-modal teachers, joint training, UMT on the maps of every stage, linear probes",
        (None, 1) => "one modality alone, and the linear probe of its encoder",
        _ => "uni-modal teachers, joint training, UMT with a weight chosen on validation, linear probes",
    };
    let mut out = format!(
        "# Chosen by the data: {} training, {} test samples, {} classes. Every value is a first guess;\n\
         # docs/RECIPES.md says what each key means, `search` tries others on validation.\n\
         about = {}\nseeds = [1, 2, 3]\n\n[data]\nset = \"manifest\"\nroot = {}\n",
        facts.train,
        facts.test,
        facts.classes,
        quoted(&format!("{name}: {what}")),
        quoted(root),
    );
    if skip {
        out += "# Some samples cannot be read: they are left out and counted.\non-error = \"skip\"\n";
    }
    let channels = match facts.scenes {
        Some(size) => scenes(&mut out, size),
        None => clips(&mut out, facts),
    };
    validation(&mut out, facts);
    train(&mut out, facts, channels);
    stages(&mut out, &modalities, facts.scenes.is_some());
    let _ = write!(out, "\n[quick]\nseeds = [1]\n[quick.data]\nlimit = 200\n[quick.train]\nepochs = 2\n");
    Ok(out)
}

/// Audio and video; the encoders' table.
fn clips(out: &mut String, facts: &Facts) -> String {
    let width = if facts.train > 10_000 { 32 } else { 16 };
    let mut encoders = String::from("\n[encoder]\n");
    let mut augment = String::new();
    if let Some(audio) = facts.audio {
        let frames = sound(out, &audio);
        let _ = writeln!(augment, "time-shift = {}", frames / 15);
        let _ =
            writeln!(augment, "time-masks = 1\ntime-mask-width = {}\nband-masks = 1\nband-mask-width = 8", frames / 8);
        let _ = writeln!(encoders, "audio = {{ kind = \"resnet18\", channels = 1, width = {width}, stem = \"3x3\" }}");
    }
    if let Some(([w, h], still)) = facts.video {
        // Stored an eighth larger than the network's input, so that there is room to move the crop.
        let crop = (w.min(h) * 8 / 9 / 8 * 8).clamp(16, if facts.train > 10_000 { 112 } else { 64 });
        let stored = crop * 9 / 8;
        let count = if still { 1 } else { 3 };
        let _ = write!(
            out,
            "\n# Files are {w}x{h}.\n[data.video]\nselect = {{ kind = \"count\", count = {count} }}\n\
             size = [{stored}, {stored}]\ncrop = [{crop}, {crop}]\n"
        );
        augment = format!(
            "crop = true\nflip = 0.0                        # 0.5 where left and right mean the same\n{augment}"
        );
        let stem = if crop > 64 { "7x7" } else { "3x3" };
        let _ =
            writeln!(encoders, "video = {{ kind = \"resnet18\", channels = 3, width = {width}, stem = \"{stem}\" }}");
    }
    let _ = write!(out, "\n[data.augment]\n{augment}");
    encoders
}

/// Audio as log-mel frames; how many there are.
fn sound(out: &mut String, audio: &AudioFacts) -> usize {
    let [shortest, median, longest] = audio.seconds;
    // All of it where clips are of about one length, at most ten seconds.
    let whole = if longest <= 1.5 * median { longest } else { median };
    let seconds = ((10.0 * whole).ceil() / 10.0).clamp(0.3, 10.0);
    let rate: usize = if audio.rate >= 16_000 { 16_000 } else { 8_000 };
    let n_fft = rate * 32 / 1000;
    // A hop of 10 ms, coarser for long clips: some hundred frames in all.
    let hop = rate / 100 * (1 + (seconds / 3.0) as usize);
    let bands = if rate == 16_000 { 64 } else { 40 };
    let window = if longest > 1.5 * seconds { "\"random\"" } else { "\"start\"" };
    let _ = write!(
        out,
        "\n# Clips hold {shortest:.1} to {longest:.1} s at {} Hz; shorter ones are repeated.\n\
         [data.audio]\nseconds = {seconds}\nwindow = {window}\nfill = \"tile\"\nmin-seconds = 0.0\n\
         front-end = {{ kind = \"log-mel\", rate = {rate}, n_fft = {n_fft}, hop = {hop}, bands = {bands}, floor = 1e-5 }}\n",
        audio.rate
    );
    (seconds * rate as f64 / hop as f64) as usize
}

/// Colour, depth and label maps; the encoders' and the decoder's tables.
fn scenes(out: &mut String, [w, h]: [usize; 2]) -> String {
    // A multiple of 32, which five halvings leave whole, at most 160 wide.
    let scale = (160.0 / w.max(1) as f64).min(1.0);
    let side = |v: usize| ((v as f64 * scale / 32.0).round() as usize).max(1) * 32;
    let (width, height) = (side(w), side(h));
    let _ = write!(
        out,
        "dense = {{ size = [{width}, {height}] }}   # files are {w}x{h}\nrgb = {{}}\n\
         depth = {{ normalise = {{ kind = \"train\" }} }}\naugment = {{ scale = [1.0, 1.4], flip = 0.5, hsv = 0.1 }}\n"
    );
    let encoder = |name: &str, channels| {
        format!("{name} = {{ kind = \"resnet18\", channels = {channels}, width = 16, stem = \"7x7\" }}\n")
    };
    format!(
        "\n[encoder]\n{}{}\n[decoder]\nfused = \"decoder\"\nwidths = [64, 48, 32]\nblocks = 1\n",
        encoder("rgb", 3),
        encoder("depth", 1)
    )
}

fn validation(out: &mut String, facts: &Facts) {
    if facts.validation > 0 {
        let _ = write!(out, "\n# The data name {} validation samples.\n", facts.validation);
        return;
    }
    // Enough of each class to choose by, and never a quarter of what there is to learn from.
    let share = (10.0 * facts.classes as f64 / facts.train as f64).clamp(0.1, 0.25);
    let _ = write!(out, "\n[data.validation]\nshare = {share:.2}\n");
    let _ = match &facts.group {
        Some(group) if facts.groups > 3 => writeln!(out, "group-by = {}", quoted(group)),
        _ => writeln!(
            out,
            "group-by = \"none\"                 # single samples; a column group:NAME keeps together what belongs together"
        ),
    };
}

fn train(out: &mut String, facts: &Facts, encoders: String) {
    let scenes = facts.scenes.is_some();
    let batch = match (scenes, facts.train) {
        (true, _) => 8,
        (false, 0..200) => 16,
        (false, 200..1000) => 32,
        _ => 64,
    };
    let steps = (facts.train * 9 / 10 / batch).max(1);
    let epochs = UPDATES.div_ceil(steps).clamp(10, 60);
    let _ = write!(
        out,
        "{encoders}\n[train]\nepochs = {epochs}                       # {} updates\nbatch = {batch}\nlr = 0.02\n\
         optimizer = {{ kind = \"sgd\", momentum = 0.9, nesterov = true, weight-decay = 1e-4 }}\n\
         schedule = {{ kind = \"one-cycle\", pct-start = 0.15 }}\n",
        epochs * steps
    );
}

fn stages(out: &mut String, modalities: &[&str], scenes: bool) {
    let mut stage = |id: &str, rest: &str| {
        let _ = write!(out, "\n[[stage]]\nid = \"{id}\"\n{rest}\n");
    };
    for modality in modalities {
        let task = format!("task = {{ kind = \"single\", modality = \"{modality}\" }}");
        stage(&format!("teacher.{modality}"), &task);
    }
    let probe = |of: &str, probe: &str| format!("task = {{ kind = \"linear-probe\", of = [{of}]{probe} }}");
    if scenes {
        // On the maps of every stage; `auto` chooses by top-1, which pixels do not have.
        let distill =
            "distill = { kind = \"feature\", weight = 1.0, stages = [0, 1, 2, 3, 4], from = [\"teacher.*\"] }";
        stage("joint", "task = { kind = \"fusion\" }");
        stage("umt", &format!("task = {{ kind = \"fusion\" }}\n{distill}"));
        stage("probe", &probe("\"teacher.*\", \"joint\", \"umt\"", ", probe = { l2 = [1e-2, 1e-4] }"));
    } else if modalities.len() > 1 {
        let fusion = "task = { kind = \"fusion\", fusion = { kind = \"concat\" } }";
        stage("joint", fusion);
        for lambda in LAMBDAS {
            let distill = format!("distill = {{ kind = \"feature\", weight = {lambda}, from = [\"teacher.*\"] }}");
            stage(&format!("umt-{lambda}"), &format!("{fusion}\n{distill}"));
        }
        // The weight decides whether UMT helps or harms, and the best one differs between sets.
        stage("umt", "task = { kind = \"auto\", of = [\"umt-*\"] }   # the weight that is best on validation");
        stage("ume", "task = { kind = \"ensemble\", of = [\"teacher.*\"] }");
        stage("probe", &probe("\"teacher.*\", \"joint\", \"umt-*\"", ""));
    } else {
        stage("probe", &probe("\"teacher.*\"", ""));
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Recipe};

    fn facts() -> Facts {
        Facts {
            classes: 3,
            train: 60,
            test: 15,
            rarest: 20,
            audio: Some(AudioFacts { rate: 44_100, seconds: [0.9, 1.4, 1.9] }),
            video: Some(([96, 64], false)),
            ..Facts::default()
        }
    }

    #[test]
    fn every_starter_is_a_recipe_and_fits_its_data() -> Result<(), Box<dyn std::error::Error>> {
        let short = Facts { audio: Some(AudioFacts { rate: 8_000, seconds: [0.1, 0.2, 30.0] }), ..facts() };
        let sets = [
            ("both", facts(), 9),
            ("audio", Facts { video: None, ..facts() }, 2),
            ("stills", Facts { video: Some(([20, 30], true)), group: Some("person".into()), groups: 9, ..short }, 9),
            (
                "large",
                Facts { train: 200_000, classes: 300, validation: 1000, video: Some(([1920, 1080], false)), ..facts() },
                9,
            ),
            ("rooms", Facts { scenes: Some([640, 480]), audio: None, video: None, ..facts() }, 5),
        ];
        for (name, facts, stages) in sets {
            let text = starter(name, "manifest.csv", &facts, true)?;
            let recipe =
                Recipe::parse(name, name, &text, &Overrides::default()).map_err(|e| format!("{e}\n{text}"))?.recipe;
            assert_eq!(recipe.stage.len(), stages, "{text}");
            let epochs = recipe.stage[0].train.epochs.ok_or("no epochs")?;
            assert!((10..=60).contains(&epochs), "{text}");
            if let Some(audio) = &recipe.data.config.audio {
                assert!(audio.seconds <= 10.0 && audio.seconds >= 0.3, "{text}");
            }
            assert_eq!(recipe.data.config.validation.share == 0.1, name == "large", "{text}");
        }
        assert!(starter("x", "x.csv", &Facts { test: 0, ..facts() }, false).is_err());
        Ok(())
    }
}
