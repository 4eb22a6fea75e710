//! Where pretrained weights come from, as the environment says: the variables of Hugging Face's own libraries.

use std::path::PathBuf;
use umt_recipe::RecipeError;
use umt_store::hub::HubSettings;

/// Reads `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE` and the proxy's.
pub fn settings() -> Result<HubSettings, RecipeError> {
    let home = match (variable("HF_HOME"), variable("XDG_CACHE_HOME"), variable("HOME")) {
        (Some(home), _, _) => PathBuf::from(home),
        (None, Some(cache), _) => PathBuf::from(cache).join("huggingface"),
        (None, None, Some(user)) => PathBuf::from(user).join(".cache/huggingface"),
        (None, None, None) => PathBuf::from("huggingface"),
    };
    let cache = variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
    let mut settings = HubSettings::new(&cache);
    if let Some(endpoint) = variable("HF_ENDPOINT") {
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            let message = format!("HF_ENDPOINT={endpoint}: expected an address such as https://huggingface.co");
            return Err(RecipeError::Usage(message));
        }
        settings.endpoint = endpoint.trim_end_matches('/').to_owned();
    }
    // The file that `hf auth login` writes.
    let stored = variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
    let stored = || std::fs::read_to_string(stored).ok().map(|token| token.trim().to_owned());
    settings.token = variable("HF_TOKEN").or_else(stored).filter(|token| !token.is_empty());
    let yes = |value: String| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str());
    settings.offline = variable("HF_HUB_OFFLINE").is_some_and(yes);
    settings.proxy = proxy(&settings.endpoint);
    Ok(settings)
}

/// The proxy for an address, if one is set and the address's host is not exempt from it.
fn proxy(endpoint: &str) -> Option<String> {
    let (scheme, rest) = endpoint.split_once("://")?;
    let host = rest.split(['/', ':']).next()?;
    let exempt = either("NO_PROXY").is_some_and(|list| {
        let fits = |entry: &str| {
            entry == "*" || host == entry || host.ends_with(&format!(".{}", entry.trim_start_matches('.')))
        };
        list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(fits)
    });
    if exempt {
        return None;
    }
    let own = if scheme == "https" { "HTTPS_PROXY" } else { "HTTP_PROXY" };
    either(own).or_else(|| either("ALL_PROXY"))
}

fn either(name: &str) -> Option<String> {
    variable(name).or_else(|| variable(&name.to_lowercase()))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}
