//! Kernel configuration fragments: what they ask for, and whether a configuration grants it. `merge_config.sh` only warns when a
//! dependency takes a setting away again, and a kernel without it would fail in ways that are hard to understand.

/// What we need on top of `make tinyconfig`.
pub(super) const OWN: &str = include_str!("../../../kernel/own.fragment");
/// The checks on top of that.
pub(super) const DEBUG: &str = include_str!("../../../kernel/debug.fragment");

/// The settings of a fragment that a configuration does not have.
pub(super) fn missing<'a>(fragment: &'a str, config: &str) -> Vec<&'a str> {
    settings(fragment).filter(|setting| !grants(config, setting)).collect()
}

fn settings(fragment: &str) -> impl Iterator<Item = &str> {
    fragment.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// An option that is switched off stands in a configuration as a comment, or not at all.
fn grants(config: &str, setting: &str) -> bool {
    match setting.strip_suffix("=n") {
        Some(name) => !config
            .lines()
            .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))),
        None => config.lines().any(|line| line == setting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str =
        "CONFIG_NET=y\n# CONFIG_WLAN is not set\nCONFIG_IGB=m\nCONFIG_POOL=64000\n";

    fn check(fragment: &str, expected: &[&str]) {
        assert_eq!(missing(fragment, CONFIG), expected);
    }

    #[test]
    fn a_fragment_that_took_effect_misses_nothing() {
        check(
            "# a comment\n\nCONFIG_NET=y\nCONFIG_IGB=m\nCONFIG_WLAN=n\nCONFIG_UNKNOWN=n\nCONFIG_POOL=64000\n",
            &[],
        );
    }

    #[test]
    fn what_a_dependency_took_away_is_missing() {
        check("CONFIG_NET=y\nCONFIG_KASAN=y\n", &["CONFIG_KASAN=y"]);
    }

    #[test]
    fn a_module_is_not_built_in_and_off_is_not_on() {
        check("CONFIG_IGB=y\nCONFIG_NET=n\n", &["CONFIG_IGB=y", "CONFIG_NET=n"]);
    }

    #[test]
    fn ours_ask_for_nothing_twice() {
        let mut settings: Vec<&str> = settings(OWN).chain(settings(DEBUG)).collect();
        settings.sort_unstable();
        assert!(settings.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
