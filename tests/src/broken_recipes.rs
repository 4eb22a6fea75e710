//! R31: a broken recipe is refused at once, with the place of the mistake and the valid names.

use std::error::Error;
use std::time::{Duration, Instant};

use umt_recipe::{Location, Overrides, Recipe, RecipeError};

use crate::tiny::RECIPE;

/// What is replaced, by what, and what the refusal must say (words divided by `|`).
const BROKEN: [(&str, &str, &str); 60] = [
    // Not TOML.
    ("as it gets\"", "as it gets", "string"),
    ("seeds = [1]", "seeds = [1", "array"),
    ("[data.audio]", "[data.audio", "]"),
    ("steps = 7", "steps 7", "="),
    ("lr = 0.02", "lr = ", "literal"),
    ("lr = 0.02", "lr = 0,02", ""),
    ("batch = 16", "batch = 16\nbatch = 9", "duplicate"),
    // Keys that do not exist: the message names those that do.
    ("about = ", "abuot = ", "abuot|about|seeds|stage"),
    ("seeds = [1]", "seed = [1]", "seed|seeds"),
    ("set = \"synthetic-av\"", "name = \"synthetic-av\"", "name|set"),
    ("on-error", "on_error", "on_error|on-error"),
    ("limit = 1000", "limits = 1000", "limits|limit"),
    ("seconds = 0.5", "second = 0.5", "second|seconds"),
    ("bands = 16", "mels = 16", "mels|bands"),
    ("size = [20, 20]", "sizes = [20, 20]", "sizes|size"),
    ("crop = true", "crops = true", "crops|crop"),
    ("width = 4, stem = \"3x3\" }\nvideo", "depth = 4, stem = \"3x3\" }\nvideo", "depth|width"),
    ("steps = 7", "step = 7", "step|steps"),
    ("batch = 16", "batch-size = 16", "batch-size|batch"),
    ("momentum = 0.9", "momentun = 0.9", "momentun|momentum"),
    ("id = \"umt\"", "name = \"umt\"", "name|id"),
    ("claims = ", "claim = ", "claim|claims"),
    ("weight = 10.0", "lambda = 10.0", "lambda|weight"),
    ("[quick.train]\nepochs = 1", "[quick.train]\nepoch = 1", "epoch|epochs"),
    ("[quick.train]", "[quick.trian]", "trian|train"),
    ("[expect]", "[expected]", "expected|expect"),
    // Names that do not exist.
    ("kind = \"log-mel\"", "kind = \"logmel\"", "logmel|log-mel|fbank"),
    ("kind = \"count\"", "kind = \"number\"", "number|count|rate"),
    ("audio = { kind = \"resnet18\"", "audio = { kind = \"resnet19\"", "resnet19|resnet20|resnet18"),
    ("stem = \"3x3\" }\nvideo", "stem = \"5x5\" }\nvideo", "5x5|3x3|7x7"),
    ("kind = \"sgd\"", "kind = \"adam\"", "adam|sgd|adamw"),
    ("kind = \"cosine\"", "kind = \"cosinus\"", "cosinus|cosine|one-cycle"),
    ("kind = \"single\", modality = \"audio\"", "kind = \"singel\", modality = \"audio\"", "singel|single|fusion"),
    ("modality = \"audio\" }", "modality = \"sound\" }", "sound|audio|video"),
    ("kind = \"concat\"", "kind = \"conkat\"", "conkat|concat|film"),
    ("kind = \"feature\"", "kind = \"features\"", "features|feature"),
    ("on-error = \"stop\"", "on-error = \"ignore\"", "ignore|stop|skip"),
    ("video = { kind = \"resnet18\"", "vidoe = { kind = \"resnet18\"", "vidoe|video|audio"),
    ("from = [\"teacher.audio\"", "from = [\"teacher.adio\"", "teacher.adio|teacher.audio"),
    ("of = [\"teacher.*\"]", "of = [\"teachers.*\"]", "teachers.*|teacher.audio|umt"),
    ("claims = [\"umt.top1", "claims = [\"utm.top1", "utm|umt"),
    ("claims = [\"umt.top1", "claims = [\"umt.top2", "top2|top1"),
    // Values of the wrong type or outside their range.
    ("seeds = [1]", "seeds = 1", "sequence"),
    ("seeds = [1]", "seeds = []", "seeds"),
    ("seeds = [1]", "seeds = [1, 1]", "1"),
    ("seeds = [1]", "seeds = [1, -2]", "-2"),
    ("steps = 7", "steps = \"two\"", "two"),
    ("steps = 7", "steps = 0", "steps|0"),
    ("batch = 16", "batch = 0", "batch|0"),
    ("lr = 0.02", "lr = -0.02", "lr|-0.02"),
    ("seconds = 0.5", "seconds = 0.0", "seconds"),
    ("crop = [16, 16]", "crop = [40, 40]", "crop"),
    ("size = [20, 20]", "size = [20]", "2"),
    // Settings that contradict one another.
    ("steps = 7", "steps = 7\nepochs = 10", "epochs|steps"),
    ("steps = 7\nbatch", "batch", "epochs|steps"),
    ("id = \"teacher.video\"", "id = \"teacher.audio\"", "teacher.audio"),
    ("id = \"umt\"", "id = \"../umt\"", "../umt"),
    ("from = [\"teacher.audio\", \"teacher.video\"]", "from = [\"teacher.audio\"]", "umt|video"),
    ("from = [\"teacher.audio\", \"teacher.video\"]", "from = [\"umt\"]", "umt"),
    ("[quick]\nseeds = [1]", "[quick]\nseeds = [1]\n[[quick.stage]]\nid = \"mut\"", "mut"),
];

fn parse(text: &str, over: &Overrides) -> Result<(), RecipeError> {
    Recipe::parse("recipe", "recipe.toml", text, over).map(|_| ())
}

/// Line of the first difference, from 1.
fn first_difference(text: &str) -> usize {
    let differs = text.lines().zip(RECIPE.lines()).position(|(new, old)| new != old);
    differs.map_or(0, |line| line + 1)
}

#[test]
fn sixty_broken_recipes_are_refused_with_place_and_valid_names() -> Result<(), Box<dyn Error>> {
    parse(RECIPE, &Overrides::default())?;
    let mut findings = Vec::new();
    for (from, to, words) in BROKEN {
        assert!(RECIPE.contains(from), "{from} is not in the recipe");
        let text = RECIPE.replacen(from, to, 1);
        let started = Instant::now();
        let result = parse(&text, &Overrides::default());
        let elapsed = started.elapsed();
        if elapsed > Duration::from_millis(100) {
            findings.push(format!("{to}: {elapsed:?}"));
        }
        let Err(error) = result else {
            findings.push(format!("{to}: accepted"));
            continue;
        };
        let message = error.to_string();
        if error.exit_code() != 2 {
            findings.push(format!("{to}: exit code {}: {message}", error.exit_code()));
        }
        let RecipeError::Invalid { location: Location::File { line, column, .. }, .. } = error else {
            findings.push(format!("{to}: no location: {message}"));
            continue;
        };
        // What is missing is reported where its table begins, what TOML cannot read where it stops.
        let expected = first_difference(&text);
        let near = line >= expected.saturating_sub(8) && line <= expected + 4;
        if !near || column == 0 {
            findings.push(format!("{to}: line {line}:{column} instead of {expected}: {message}"));
        }
        for word in words.split('|').filter(|word| !message.contains(*word)) {
            findings.push(format!("{to}: does not say {word}: {message}"));
        }
    }
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
    Ok(())
}

/// Before anything is decoded or trained, not when the stage's turn comes.
#[test]
fn networks_that_cannot_be_are_refused_with_their_stage() {
    let own = "fusion = { kind = \"concat\" }";
    for (fusion, words) in [
        ("kind = \"concat\", width = 3", "width"),
        ("kind = \"tensor\", width = 1000", "joint|1000|65536"),
        ("kind = \"mmtm\", stages = [2, 7]", "joint|stage 7|audio|0 to 4"),
        ("kind = \"se-add\", stages = []", "joint|stage"),
        ("kind = \"cross-attention\", heads = 3", "joint|128|3 heads"),
        ("kind = \"bottleneck\", layers = 1", "joint|2 layers"),
        ("kind = \"lmf\", ranks = 1", "ranks|rank"),
    ] {
        let text = RECIPE.replacen(own, &format!("fusion = {{ {fusion} }}"), 1);
        let Err(error) = parse(&text, &Overrides::default()) else { panic!("{fusion}: accepted") };
        let message = error.to_string();
        assert_eq!(error.exit_code(), 2, "{message}");
        let RecipeError::Invalid { location: Location::File { line, .. }, .. } = error else {
            panic!("no location: {message}")
        };
        assert_eq!(line, first_difference(&text), "{message}");
        let missing: Vec<&str> = words.split('|').filter(|word| !message.contains(*word)).collect();
        assert!(missing.is_empty(), "{message}: does not say {missing:?}");
    }
    let text = RECIPE.replacen("width = 4, stem", "width = 0, stem", 1);
    let message = parse(&text, &Overrides::default()).map_err(|error| error.to_string());
    assert!(message.as_ref().is_err_and(|m| m.contains("teacher.audio") && m.contains("width")), "{message:?}");
}

/// Every whole number of every shipped recipe, made far too large: an error or a setting that takes no memory, at once.
#[test]
fn sizes_that_nothing_can_hold_are_refused_at_once() -> Result<(), Box<dyn Error>> {
    let mut tried = 0;
    for path in crate::tidy::files(&crate::tidy::root().join("xtask/recipes")) {
        let text = std::fs::read_to_string(&path)?;
        let recipe: toml::Value = toml::from_str(&text)?;
        let mut places = Vec::new();
        whole_numbers(&recipe, &mut Vec::new(), &mut places);
        for place in places {
            for huge in [1_000_000_000, 1_000_000_000_000, 1 << 62, i64::MAX] {
                let mut changed = recipe.clone();
                *at(&mut changed, &place).ok_or("a place")? = toml::Value::Integer(huge);
                let text = toml::to_string(&changed)?;
                // The least of three: others may use the machine meanwhile.
                let tries = (0..3).map(|_| {
                    let begun = Instant::now();
                    let result = parse(&text, &Overrides::default());
                    (begun.elapsed(), result)
                });
                let (time, result) = tries.min_by_key(|(time, _)| *time).ok_or("no try")?;
                assert!(time < Duration::from_millis(100), "{place:?} = {huge}: {time:?}");
                let key = place.iter().rev().find(|key| key.parse::<usize>().is_err()).ok_or("a key")?;
                let sizes =
                    ["width", "widths", "rank", "heads", "grid", "batch", "size", "crop", "count", "bands", "bins"];
                if sizes.contains(&key.as_str()) {
                    let error = result.map(drop).expect_err(&format!("{} {place:?} = {huge}", path.display()));
                    assert!(error.exit_code() == 2 && error.to_string().contains(".toml:"), "{error}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
    for set in
        ["encoder.audio.width=18446744073709551615", "encoder.audio.width=1000000000", "train.batch=999999999999"]
    {
        let over = Overrides { sets: vec![set.to_string()], ..Overrides::default() };
        let error = parse(RECIPE, &over).map(drop).expect_err(set);
        assert!(error.exit_code() == 2 && error.to_string().contains("--set"), "{error}");
    }
    Ok(())
}

fn whole_numbers(value: &toml::Value, path: &mut Vec<String>, places: &mut Vec<Vec<String>>) {
    let inner: Vec<(String, &toml::Value)> = match value {
        toml::Value::Integer(_) => return places.push(path.clone()),
        toml::Value::Array(all) => all.iter().enumerate().map(|(i, value)| (i.to_string(), value)).collect(),
        toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), value)).collect(),
        _ => return,
    };
    for (key, value) in inner {
        path.push(key);
        whole_numbers(value, path, places);
        path.pop();
    }
}

fn at<'v>(value: &'v mut toml::Value, path: &[String]) -> Option<&'v mut toml::Value> {
    path.iter().try_fold(value, |value, key| match value {
        toml::Value::Array(all) => all.get_mut(key.parse::<usize>().ok()?),
        toml::Value::Table(table) => table.get_mut(key),
        _ => None,
    })
}

#[test]
fn an_argument_is_named_as_such() {
    for (set, words) in [
        ("train.epoch=3", "epoch|epochs"),
        ("train.epochs=three", "three"),
        ("train.epochs", "="),
        ("encoder.audio.kind=resnet19", "resnet19|resnet18"),
        ("nothing.at.all=1", "nothing"),
    ] {
        let over = Overrides { sets: vec![set.to_string()], ..Overrides::default() };
        let error = parse(RECIPE, &over).expect_err(set);
        let message = error.to_string();
        assert_eq!(error.exit_code(), 2, "{message}");
        assert!(message.contains("--set"), "{message}");
        assert!(words.split('|').all(|word| message.contains(word)), "{set}: {message}");
    }
}

#[test]
fn the_documented_recipe_is_sound() -> Result<(), Box<dyn Error>> {
    let text = std::fs::read_to_string(crate::tidy::root().join("docs/RECIPES.md"))?;
    let block = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).ok_or("no recipe")?;
    parse(block, &Overrides::default())?;
    parse(block, &Overrides { quick: true, ..Overrides::default() })?;
    Ok(())
}
