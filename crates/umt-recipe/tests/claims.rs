//! Expectations in one line.

use umt_recipe::Claim;

fn claim(text: &str) -> Result<Claim, String> {
    Claim::try_from(text.to_owned())
}

#[test]
fn claims_compare_figures_and_numbers() -> Result<(), String> {
    let look = |f: &umt_recipe::Figure| match f.to_string().as_str() {
        "umt.top1" => Some(0.94),
        "probe.joint.audio.top1" => Some(0.7),
        _ => None,
    };
    assert_eq!(claim("umt.top1 > probe.joint.audio.top1")?.holds(look), Some(true));
    assert_eq!(claim("umt.top1<=0.94")?.holds(look), Some(true));
    assert_eq!(claim("umt.top1 < 0.94")?.holds(look), Some(false));
    assert_eq!(claim("umt.top1 >= 95e-2")?.holds(look), Some(false));
    assert_eq!(claim("ume.top1 > 0.5")?.holds(look), None, "a row that did not run");
    for text in ["umt.top1 > joint.top1", "umt.macro-f1 <= 0.5"] {
        assert_eq!(claim(text)?.to_string(), text);
    }
    Ok(())
}

#[test]
fn broken_claims_say_what_is_expected() {
    for (text, word) in [
        ("umt.top1", "STAGE.METRIC"),
        ("umt.top2 > 0.5", "macro-f1"),
        ("umt > joint", "STAGE.METRIC"),
        ("umt.top1 > inf", "finite"),
        (".top1 > 0.5", "STAGE.METRIC"),
        ("", "STAGE.METRIC"),
    ] {
        let message = claim(text).expect_err(text);
        assert!(message.contains(word), "{text}: {message}");
    }
}
