//! Addresses and routes from Debian's host-local and static, on a bridge of Open vSwitch.

use serde_json::json;

use super::pod::host_local;
use super::site::{FRESH, Site};
use super::table::{At, Row, row};
use crate::cases::Ctx;

pub(super) fn from_ipam(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::new(ctx)?;
    site.bench(FRESH)?.run(&site.on_ovs(), &rows())
}

/// Addresses and routes, from Debian's host-local and static.
pub(super) fn rows() -> Vec<Row> {
    use At::{Pod, Result, Routes};
    let fixed = json!({"type": "static", "addresses": [{"address": "10.77.0.9/24", "gateway": "10.77.0.1"}],
        "routes": [{"dst": "10.99.0.0/16", "gw": "10.77.0.1"}]});
    vec![
        row(json!({"ipam": {}}), &[(Result, "!\"ips\"")]),
        row(
            json!({"ipam": host_local()}),
            &[
                (Pod, "10.77.0."),
                (Pod, "fd77::"),
                (Routes, "10.88.0.0/16 via 10.77.0.1"),
                (Routes, "default via fd77::1"),
            ],
        ),
        row(json!({"ipam": host_local(), "cniVersion": "0.4.0"}), &[(Result, "\"version\":\"4\"")]),
        row(
            json!({"ipam": fixed}),
            &[(Pod, "10.77.0.9/24"), (Routes, "10.99.0.0/16 via 10.77.0.1")],
        ),
        row(
            json!({"ipam": {"type": "static"}, "capabilities": {"ips": true}, "runtimeConfig": {"ips": ["10.77.0.33/24"]}}),
            &[(Pod, "10.77.0.33/24")],
        ),
        row(
            json!({"ipam": host_local(), "args": {"cni": {"ovn.kubernetes.io/ip_address": "10.77.0.44,fd77::44"}}}),
            &[(Pod, "10.77.0.44"), (Pod, "fd77::44")],
        ),
        row(
            json!({"ipam": host_local(), "args": {"cni": {"ip_pool": "10.77.0.51,10.77.0.52"}}}),
            &[(Pod, "10.77.0.51")],
        ),
        row(
            json!({"ipam": host_local(), "args": {"cni": {"default_route": "true", "routes": "[{\"dst\":\"10.66.0.0/16\",\"gw\":\"10.77.0.1\"}]"}}}),
            &[(Routes, "default via 10.77.0.1"), (Routes, "10.66.0.0/16 via 10.77.0.1")],
        ),
        row(json!({"ipam": host_local(), "portSecurity": true}), &[(Pod, "10.77.0.")]),
        row(
            json!({"ipam": {"type": "static"}, "args": {"cni": {"ips": ["10.77.0.34/24"], "port_security": "true"}}}),
            &[(Pod, "10.77.0.34/24")],
        ),
    ]
}
