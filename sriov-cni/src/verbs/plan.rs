//! From a configuration and what is seen of a VF: what is wished of the card, and which steps are not the card's.

use std::collections::BTreeMap;

use switchdev::Sysfs;
use switchdev::binding::{ExternalError, ExternalStep, Observed, VlanWish, Wish};
use switchdev::eswitch::EswitchMode;
use switchdev::link::{VfLinkState, VfVlan};
use tc_filter::{Mac, Pcp, VlanId};

use crate::attach::{
    BridgePort, Delegate, DeviceInfo, IpamError, OWNER, OvsError, OvsPort, PodSide, PortRules,
    Step, Tagging, is_bridge, with_ips,
};
use crate::conf::{BridgeConf, BridgeKind, NetConf, Vlan};
use crate::protocol::{Attachment, Call};

/// A configuration that the VF or the node cannot fulfil.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    /// A bridge, and no representor.
    #[error(
        "bridge {bridge:?}: PF {pf} is in legacy mode, where a VF has no representor for a bridge; change it to switchdev mode, or leave bridge out"
    )]
    LegacyMode {
        /// The bridge.
        bridge: String,
        /// The PF.
        pf: String,
    },
    /// Whom to hold the pod to is not known.
    #[error(
        "mac is missing: VF {vf} has a driver for user space and so no address yet that the bridge could hold it to; give mac, or say spoofchk off"
    )]
    NoMac {
        /// The VF.
        vf: String,
    },
    /// The bridge's database.
    #[error(transparent)]
    Ovs(#[from] OvsError),
    /// The representor is gone.
    #[error("VF {vf} has no representor; see whether the driver has made it (devlink port show)")]
    NoRepresentor {
        /// The VF.
        vf: String,
    },
}

/// What is wished of the card. In switchdev mode the bridge does what the PF does in legacy mode.
pub(super) fn wish(conf: &NetConf, mode: EswitchMode) -> Wish {
    let vf = &conf.vf;
    let common = Wish {
        mac: vf.mac,
        mtu: vf.mtu,
        min_tx_rate: vf.min_tx_rate,
        max_tx_rate: vf.max_tx_rate,
        ..Wish::default()
    };
    let vlan = conf.vlan.and_then(vf_vlan).map(VlanWish::Tagged);
    match (mode, &conf.bridge) {
        (EswitchMode::Switchdev, Some(_)) => common,
        // What is wished all the same is refused by the card's planner, in its words.
        (EswitchMode::Switchdev, None) => Wish {
            vlan,
            spoof_check: vf.spoof_check.filter(|on| *on),
            trust: vf.trust.filter(|on| *on),
            link_state: vf.link_state.filter(|state| *state != VfLinkState::Auto),
            ..common
        },
        (EswitchMode::Legacy, _) => Wish {
            vlan: vlan.or_else(|| untagged(conf)),
            spoof_check: vf.spoof_check,
            trust: vf.trust,
            link_state: vf.link_state,
            ..common
        },
    }
}

/// `"vlan": 0` takes away what was there.
fn untagged(conf: &NetConf) -> Option<VlanWish> {
    conf.raw.get("vlan").filter(|vlan| vlan.as_u64() == Some(0)).map(|_| VlanWish::Untagged)
}

fn vf_vlan(vlan: Vlan) -> Option<VfVlan> {
    let (id, qos) = (VlanId::new(vlan.id).ok()?, Pcp::new(vlan.qos).ok()?);
    Some(VfVlan { id, qos, protocol: vlan.protocol })
}

/// The steps that are not the card's, in the order in which they are taken.
pub(super) fn steps(
    conf: &NetConf,
    call: &Call,
    attachment: &Attachment,
    observed: &Observed,
    sysfs: &Sysfs,
) -> Result<Vec<ExternalStep>, ExternalError> {
    let mut steps = Vec::new();
    steps.extend(device_info(conf, observed)?.map(Step::DeviceInfo));
    steps.extend(ipam(conf, call, attachment).map_err(ExternalError::new)?.map(Step::Ipam));
    if let Some(bridge) = &conf.bridge {
        steps.extend(
            on_bridge(conf, bridge, call, attachment, observed, sysfs)
                .map_err(ExternalError::new)?,
        );
    }
    if observed.state.netdev.is_some() && conf.ipam.is_some() {
        steps.push(Step::Pod(pod_side(conf)));
    }
    steps.iter().map(Step::recorded).collect()
}

fn device_info(conf: &NetConf, observed: &Observed) -> Result<Option<DeviceInfo>, ExternalError> {
    let Some(path) = &conf.device_info_file else { return Ok(None) };
    let representor =
        observed.state.representor.as_ref().map(|representor| representor.name.as_str());
    let info = DeviceInfo::plan(path, observed.vf, observed.place.pf, representor);
    info.map(Some).map_err(ExternalError::new)
}

/// A plugin that is missing is found before anything is recorded, for without it nothing could be given back either.
fn ipam(
    conf: &NetConf,
    call: &Call,
    attachment: &Attachment,
) -> Result<Option<Delegate>, IpamError> {
    let delegate = delegate(conf, call, attachment);
    delegate.map(|delegate| delegate.is_there().map(|()| delegate)).transpose()
}

/// The IPAM plugin's call; it is the same for all verbs.
pub(super) fn delegate(conf: &NetConf, call: &Call, attachment: &Attachment) -> Option<Delegate> {
    let ipam = conf.ipam.as_ref()?;
    let plain = conf.raw.clone();
    let conf = if ipam.addresses.is_empty() { plain } else { with_ips(&plain, &ipam.addresses) };
    let args: Vec<String> =
        call.args.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let netns = attachment.netns.as_ref().map(|path| path.display().to_string());
    let env = [
        ("CNI_CONTAINERID", attachment.container.clone()),
        ("CNI_IFNAME", attachment.ifname.clone()),
        ("CNI_NETNS", netns.unwrap_or_default()),
        ("CNI_ARGS", args.join(";")),
    ];
    Some(Delegate {
        plugin: ipam.plugin.clone(),
        path: call.path.clone(),
        conf,
        env: env.map(|(name, value)| (name.to_owned(), value)).into(),
        pool: ipam.pool.clone(),
    })
}

/// The IPAM plugin's call for verbs that are of no attachment.
pub(super) fn delegate_of_all(conf: &NetConf, call: &Call) -> Option<Delegate> {
    let nobody = Attachment { container: String::new(), ifname: String::new(), netns: None };
    let delegate = delegate(conf, call, &nobody)?;
    Some(Delegate { env: BTreeMap::new(), conf: conf.raw.clone(), ..delegate })
}

fn on_bridge(
    conf: &NetConf,
    bridge: &BridgeConf,
    call: &Call,
    attachment: &Attachment,
    observed: &Observed,
    sysfs: &Sysfs,
) -> Result<Vec<Step>, PlanError> {
    if observed.place.mode == EswitchMode::Legacy {
        return Err(PlanError::LegacyMode {
            bridge: bridge.name.clone(),
            pf: observed.place.pf.to_string(),
        });
    }
    let representor = observed.state.representor.as_ref();
    let representor =
        representor.ok_or_else(|| PlanError::NoRepresentor { vf: observed.vf.to_string() })?;
    let held = held_to(conf, bridge, observed)?;
    Ok(match kind(bridge, sysfs) {
        BridgeKind::Linux => vec![Step::BridgePort(BridgePort {
            bridge: bridge.name.clone(),
            netdev: representor.name.clone(),
            tagging: tagging(conf, bridge),
            only: held.map(|mac| mac.to_string()),
        })],
        BridgeKind::Ovs => {
            let mut port = OvsPort::new(bridge, &representor.name, tagging(conf, bridge));
            port.is_reachable()?;
            name_ids(&mut port, call, attachment, pod_mac(conf, observed));
            port.interface_ids.push(("vf-pci".to_owned(), observed.vf.to_string()));
            let rules = held.map(|mac| {
                PortRules::new(
                    port.database_path(),
                    &bridge.name,
                    observed.vf,
                    mac,
                    conf.port_security,
                )
            });
            let rules = rules.map(Step::PortRules);
            std::iter::once(Step::OvsPort(Box::new(port))).chain(rules).collect()
        }
    })
}

/// Whose bridge it is: as said; else Linux's where there is one of that name.
pub(super) fn kind(bridge: &BridgeConf, sysfs: &Sysfs) -> BridgeKind {
    let found = if is_bridge(sysfs, &bridge.name) { BridgeKind::Linux } else { BridgeKind::Ovs };
    bridge.kind.unwrap_or(found)
}

fn tagging(conf: &NetConf, bridge: &BridgeConf) -> Tagging {
    match conf.vlan {
        Some(vlan) if vlan.protocol == switchdev::link::VlanProtocol::Dot1ad => {
            Tagging::Tunnel(vlan.id)
        }
        Some(vlan) => Tagging::Access(vlan.id),
        None if bridge.trunk.is_empty() => Tagging::All,
        None => Tagging::Trunk(bridge.trunk.iter().copied().collect()),
    }
}

/// The only MAC address the pod may use; `None` where anything goes, or OVN sees to it.
fn held_to(
    conf: &NetConf,
    bridge: &BridgeConf,
    observed: &Observed,
) -> Result<Option<Mac>, PlanError> {
    if conf.vf.spoof_check == Some(false) || bridge.iface_id.is_some() {
        return Ok(None);
    }
    let mac = pod_mac(conf, observed);
    mac.map(Some).ok_or_else(|| PlanError::NoMac { vf: observed.vf.to_string() })
}

/// The address that the pod will have.
pub(super) fn pod_mac(conf: &NetConf, observed: &Observed) -> Option<Mac> {
    let netdev = observed.state.netdev.as_ref().map(|netdev| netdev.mac);
    let function = observed.state.function.as_ref().and_then(|function| function.mac);
    conf.vf.mac.or(netdev).or_else(|| function.filter(|mac| mac.0 != [0; 6]))
}

/// Who the port belongs to, in the words of ovs-cni, OVN and Kube-OVN.
fn name_ids(port: &mut OvsPort, call: &Call, attachment: &Attachment, mac: Option<Mac>) {
    let pod = call.pod().unwrap_or_default();
    let netns =
        attachment.netns.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let mac = mac.map(|mac| mac.to_string()).unwrap_or_default();
    port.port_ids = said(&[
        ("owner", OWNER),
        ("contId", &attachment.container),
        ("contIface", &attachment.ifname),
        ("contNetns", &netns),
        ("contPodUid", &pod.uid),
    ]);
    port.interface_ids.extend(said(&[
        ("attached-mac", &mac),
        ("sandbox", &attachment.container),
        ("pod-if-name", &attachment.ifname),
        ("pod-namespace", &pod.namespace),
        ("pod-name", &pod.name),
    ]));
}

fn said(ids: &[(&str, &str)]) -> Vec<(String, String)> {
    let said = ids.iter().filter(|(_, value)| !value.is_empty());
    said.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn pod_side(conf: &NetConf) -> PodSide {
    PodSide {
        routes: conf.routes.iter().map(crate::protocol::Route::recorded).collect(),
        default_route: conf.default_route,
    }
}
