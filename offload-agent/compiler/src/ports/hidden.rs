//! Rules of a bridge that no dump shows and that go before all others.

use super::database::{Database, Row};

const OUT_OF_BAND: &str = "out-of-band";
/// Of controllers that OVS calls at such an address, in-band control lets packets pass.
const BY_NETWORK: [&str; 2] = ["tcp:", "ssl:"];
/// The controllers that OVS calls, and does not only wait for.
const CALLED: [&str; 3] = ["tcp:", "ssl:", "unix:"];

const IN_BAND: &str = "is on a bridge with in-band control, whose rules no dump shows (connection_mode=out-of-band of its \
    controllers and of the managers ends it)";
const FAILS_OPEN: &str =
    "is on a bridge with a controller, which may fail open (fail_mode=secure ends it)";

/// What is to be said of a port of the bridge, if OVS may have such rules.
pub(super) fn rules(database: &Database, bridge: &Row) -> Option<&'static str> {
    let controllers = || database.rows("Controller", bridge.set("controller"));
    let managers = database
        .table("Open_vSwitch")
        .flat_map(|switch| database.rows("Manager", switch.set("manager_options")));
    let out_of_band = bridge.key("other_config", "disable-in-band") == Some("true");
    if !out_of_band && controllers().chain(managers).any(is_in_band) {
        return Some(IN_BAND);
    }
    let secure = bridge.text("fail_mode") == Some("secure");
    (!secure && controllers().any(|controller| has_target(controller, &CALLED)))
        .then_some(FAILS_OPEN)
}

fn is_in_band(remote: &Row) -> bool {
    remote.text("connection_mode") != Some(OUT_OF_BAND) && has_target(remote, &BY_NETWORK)
}

fn has_target(remote: &Row, kinds: &[&str]) -> bool {
    let target = remote.text("target").unwrap_or_default();
    kinds.iter().any(|kind| target.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ports::{Cell, RowUpdate};

    fn set(text: &str) -> Cell {
        Cell::Set(text.split_whitespace().map(str::to_owned).collect())
    }

    fn row<const N: usize>(cells: [(&str, Cell); N]) -> Row {
        Row { cells: cells.map(|(name, cell)| (name.to_owned(), cell)).into() }
    }

    fn remote(target: &str, mode: &str) -> Row {
        row([("target", set(target)), ("connection_mode", set(mode))])
    }

    /// Of a bridge with this controller, in this mode.
    fn with(controller: Row, fail_mode: &str) -> Option<&'static str> {
        hidden(&[("Controller", "c", controller)], "c", fail_mode, &[])
    }

    fn hidden(
        rows: &[(&str, &str, Row)],
        controllers: &str,
        fail_mode: &str,
        settings: &[(&str, &str)],
    ) -> Option<&'static str> {
        let mut database = Database::default();
        for (table, uuid, row) in rows {
            let (table, uuid, row) = (table.to_string(), uuid.to_string(), Some(row.clone()));
            database.apply(RowUpdate { table, uuid, row });
        }
        let settings = settings.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let bridge = row([
            ("controller", set(controllers)),
            ("fail_mode", set(fail_mode)),
            ("other_config", Cell::Map(settings.collect::<BTreeMap<_, _>>())),
        ]);
        rules(&database, &bridge)
    }

    #[test]
    fn a_controller_over_the_network_is_in_band_unless_it_says_otherwise() {
        assert_eq!(with(remote("tcp:192.0.2.1:6653", ""), "secure"), Some(IN_BAND));
        assert_eq!(with(remote("ssl:192.0.2.1", "in-band"), "secure"), Some(IN_BAND));
        assert_eq!(with(remote("tcp:192.0.2.1", "out-of-band"), "secure"), None);
        for waits in ["ptcp:6653", "pssl:", "punix:/run/br0.mgmt"] {
            assert_eq!(with(remote(waits, ""), "secure"), None, "{waits}");
        }
        let settings = [("disable-in-band", "true")];
        let controller = [("Controller", "c", remote("tcp:192.0.2.1", ""))];
        assert_eq!(hidden(&controller, "c", "secure", &settings), None);
        assert_eq!(hidden(&controller, "", "secure", &[]), None);
    }

    #[test]
    fn a_manager_over_the_network_is_in_band_for_every_bridge() {
        let of = |target: &str, mode: &str| {
            let switch = row([("manager_options", set("m"))]);
            let rows = [("Open_vSwitch", "o", switch), ("Manager", "m", remote(target, mode))];
            hidden(&rows, "", "", &[])
        };
        assert_eq!(of("tcp:192.0.2.1:6640", ""), Some(IN_BAND));
        assert_eq!(of("tcp:192.0.2.1:6640", "out-of-band"), None);
        assert_eq!(of("ptcp:6640", ""), None);
    }

    #[test]
    fn a_bridge_may_fail_open_where_a_controller_is_called() {
        let local = remote("unix:/run/controller", "");
        for mode in ["", "standalone"] {
            let why = Some(FAILS_OPEN);
            assert_eq!(with(local.clone(), mode), why, "{mode}");
        }
        assert_eq!(with(local, "secure"), None);
        assert_eq!(with(remote("punix:/run/br0.mgmt", ""), ""), None);
    }
}
