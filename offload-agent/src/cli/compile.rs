//! `offload-agent compile`: rules and ports from files, filters and verdicts on standard output. Nothing is touched.

mod card;
mod classes;
mod connection;
mod error;
mod explain;
mod needs;
mod outer;
mod output;
mod packet;
mod ports;
mod source;
mod traffic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use flow_compiler::capabilities::Capabilities;
use flow_compiler::openflow::text::{
    Names, ParseError, parse_groups, parse_meters, parse_rules, parse_tunnel_options,
};
use flow_compiler::openflow::{BridgeName, BridgeRules, Ruleset};
use flow_compiler::ports::{Fdb, Port, PortKind, PortMap};
use tc_filter::{Attach, IfIndex};

use super::Exit;
pub use error::{CompileError, PacketError};
pub use source::Source;

const HELP: &str = "\
A file belongs to one bridge. Where --ports tells of several, write BRIDGE=FILE and repeat the option, or
name the file after its bridge (br-int.flows.txt). A bridge of which no flows are given is left to OVS,
and so is what goes there.

--ports is one of
  what `ovsdb-client dump Open_vSwitch` prints: all bridges, with tags, tunnels, patches, mirrors, policing;
  what `ovs-ofctl dump-ports-desc BRIDGE` or `ovs-ofctl show BRIDGE` prints: numbers and names of one bridge;
    patch-* and ovn-*-N are taken for patch and tunnel ports, LOCAL for the bridge's own, the rest for devices;
  YAML or JSON:

  bridge: br0                     # several: bridges: [{bridge: br0, ports: [...]}, ...]
  ports:
    - {number: 1, name: np0, kind: uplink, switch: c0ffee}
    - {number: 2, name: np0r0, kind: representor, switch: c0ffee, link: up, tag: 10}
    - {number: 8, name: patch-ex, kind: patch, peer: patch-int}
    - {number: 9, name: ovn-a, kind: tunnel, type: geneve, options: {remote_ip: 10.1.0.2, key: flow}}
  # kinds: uplink, representor, system, internal, patch, tunnel, bond
  # vlan_mode: trunk, access, native-tagged, native-untagged, dot1q-tunnel; trunks: [10, 20]

Which ports sit on a card the kernel knows, and nobody asks it here. Unless --card names the devices that do,
all do, and tunnels run over the card. Unless --uplink names the wires, the devices of a bridge on which no
port has external_ids:iface-id are wires.

--output classes has a line for packets of which the same is to say: where they are finished, how many filters
finish them and how many keep them for OVS, how they come in, and what they are. Below it stands where filters
send them (with how many filters do), and why OVS gets some. `hardware` is said only where OVS gets none and
every filter is the card's; `software` where the kernel's filters are needed; `split` where OVS gets a part. A
connection is established if all zones that are asked know it, new if the first one does not: no card finishes
a new one, nor the first and last segments of TCP.

Examples:
  ovs-ofctl dump-flows br0 > flows; ovs-ofctl dump-ports-desc br0 > ports
  offload-agent compile --flows flows --ports ports
  ovs-ofctl dump-flows br0 | offload-agent compile --flows - --ports ports --output tc | tc -batch -
  offload-agent compile --flows flows --ports ports --capabilities mlx5 --from-port np0r0
  offload-agent compile --flows flows --ports ports --output classes     # by input port and kind of packets

  ovsdb-client dump Open_vSwitch > db; for b in br-int br-ex; do ovs-ofctl dump-flows $b > $b.flows;
  ovs-ofctl -OOpenFlow15 dump-groups $b > $b.groups; ovs-appctl fdb/show $b > $b.fdb; done
  offload-agent compile --ports db --flows br-int.flows --flows br-ex.flows \\
    --groups br-int.groups --fdb br-ex.fdb --output summary

  offload-agent compile --flows flows --ports ports --ct-state est \\
    --explain-packet 'tcp,in_port=np0r0,dl_dst=0a:00:00:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=80'
  ... --ct-connection zone=8,state=est,mark=0x2,dst=10.16.0.4:8080    # a Service's connection, translated in zone 8

  offload-agent compile --flows flows --ports ports --traffic traffic.yaml    # which traffic will be in hardware
  # traffic.yaml: a list; ct_state is new, est or rpl, and ct_connections are written as for --ct-connection
  - {name: pod to pod, packet: 'tcp,in_port=np0r0,nw_dst=10.0.0.2,tp_dst=80', ct_state: est}

Exit codes:
  0  compiled; a rule that cannot be offloaded is an answer, not a failure
  1  the output could not be written
  2  the command line or a file is wrong; standard error names the place and what would be right
  3  --traffic: some of it is not finished by filters";

/// `offload-agent compile`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The rules, as `ovs-ofctl dump-flows BRIDGE` prints them; "-" is standard input.
    #[arg(long, value_name = "[BRIDGE=]FILE", required = true)]
    pub flows: Vec<Source>,
    /// The groups, as `ovs-ofctl dump-groups BRIDGE` prints them.
    #[arg(long, value_name = "[BRIDGE=]FILE")]
    pub groups: Vec<Source>,
    /// The meters, as `ovs-ofctl dump-meters BRIDGE` prints them.
    #[arg(long, value_name = "[BRIDGE=]FILE")]
    pub meters: Vec<Source>,
    /// Which Geneve option each tun_metadata is, as `ovs-ofctl dump-tlv-map BRIDGE` prints it.
    #[arg(long, value_name = "[BRIDGE=]FILE")]
    pub tlv_map: Vec<Source>,
    /// The addresses that NORMAL has learned, as `ovs-appctl fdb/show BRIDGE` prints them.
    #[arg(long, value_name = "[BRIDGE=]FILE")]
    pub fdb: Vec<Source>,
    /// The ports of the bridges; "-" is standard input.
    #[arg(long, value_name = "[BRIDGE=]FILE", required = true)]
    pub ports: Vec<Source>,
    /// The devices that sit on the card; all of them, unless told.
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    pub card: Vec<String>,
    /// The devices that are the card's wires.
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    pub uplink: Vec<String>,
    /// What the card can do: nicsim, software, mlx5, mlx5-basic or ice, or a YAML or JSON file.
    #[arg(long, value_name = "FILE|NAME", default_value = "nicsim")]
    pub capabilities: String,
    /// What to print.
    #[arg(long, value_enum, default_value = "verdicts")]
    pub output: Output,
    /// Only what concerns packets that come in by this port.
    #[arg(long, value_name = "PORT")]
    pub from_port: Option<String>,
    /// Instead of the output: what happens to this packet, step by step, by the rules and by the filters; written as for
    /// `ofproto/trace`.
    #[arg(long, value_name = "[BRIDGE ]FLOW", conflicts_with_all = ["output", "from_port"])]
    pub explain_packet: Option<String>,
    /// Instead of the output: which packets of this YAML file are finished by the filters, and why the others are not.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "from_port", "explain_packet"])]
    pub traffic: Option<PathBuf>,
    /// What connection tracking says of the explained packet.
    #[arg(long, value_enum, default_value = "new", requires = "explain_packet")]
    pub ct_state: connection::CtState,
    /// The connection it belongs to in a zone, and how its packets are translated there: "zone=8,state=est,mark=0x2,dst=10.0.0.2:80".
    /// Without a zone, in all.
    #[arg(long, value_name = "KEY=VALUE,...", requires = "explain_packet")]
    pub ct_connection: Vec<connection::CtConnection>,
}

/// What `compile` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line a filter, for `tc -batch`.
    Tc,
    /// Filters, verdicts on rules and on classes of packets, and the sum, for programs.
    Json,
    /// One line a rule: what becomes of it, and why; and the sum.
    Verdicts,
    /// For each input port the classes of packets its filters tell apart: where each is finished, where it goes, and why OVS
    /// gets some of it.
    Classes,
    /// The sum alone: how much is offloaded, what is not and why, what the card needs for it.
    Summary,
}

/// Compiles and prints.
///
/// # Errors
///
/// [`CompileError`] names the file and the place.
pub fn run(args: &Args) -> Result<Exit, CompileError> {
    let (ruleset, ports) = read_node(args)?;
    let capabilities = read_capabilities(&args.capabilities)?;
    let from_port = args.from_port.as_deref().map(|port| find_port(port, &ports)).transpose()?;
    let names = device_names(&ports);
    let question = question(args, &ports, &ruleset)?;
    let compiled = flow_compiler::compile(&ruleset, &ports, &capabilities);
    let out = &mut std::io::stdout().lock();
    let explanation = explain::Explanation {
        ruleset: &ruleset,
        ports: &ports,
        compiled: &compiled,
        encap_ecn: capabilities.copies_ecn(),
        devices: &names,
    };
    match question {
        Question::Packet(asked) => {
            explanation.print(&asked, out).map_err(CompileError::Write)?;
            return Ok(Exit::Success);
        }
        Question::Traffic(traffic) => {
            return traffic.print(&explanation, out).map_err(CompileError::Write);
        }
        Question::Filters => {}
    }
    let shown = output::Shown::new(&compiled, &ports, &names, from_port);
    shown.print(args.output, out).map_err(CompileError::Write)?;
    Ok(Exit::Success)
}

/// What is to be shown.
enum Question {
    Filters,
    Packet(Box<explain::Asked>),
    Traffic(traffic::Traffic),
}

fn question(args: &Args, ports: &PortMap, ruleset: &Ruleset) -> Result<Question, CompileError> {
    if let Some(file) = &args.traffic {
        return Ok(Question::Traffic(traffic::Traffic::read(file, ports, ruleset)?));
    }
    let Some(flow) = &args.explain_packet else { return Ok(Question::Filters) };
    let conntrack = connection::conntrack(args.ct_state, &args.ct_connection);
    let asked = explain::Asked::parse(flow, conntrack, ports, ruleset);
    asked.map(|asked| Question::Packet(Box::new(asked))).map_err(CompileError::Packet)
}

/// All that the files say.
fn read_node(args: &Args) -> Result<(Ruleset, PortMap), CompileError> {
    let one_a_bridge =
        [&args.flows, &args.groups, &args.meters, &args.tlv_map, &args.fdb, &args.ports];
    if one_a_bridge.into_iter().flatten().filter(|source| source.is_stdin()).count() > 1 {
        return Err(CompileError::StandardInputTwice);
    }
    let mut ports = read_ports(&args.ports)?;
    read_fdb(&args.fdb, &mut ports)?;
    let ruleset = read_rules(args, &ports)?;
    leave_to_ovs(&ruleset, &mut ports);
    let wanted = card::Wanted { ports: args.card.clone(), uplinks: args.uplink.clone() };
    card::complete(&mut ports, &wanted)?;
    Ok((ruleset, ports))
}

fn read_ports(sources: &[Source]) -> Result<PortMap, CompileError> {
    let mut all = PortMap::default();
    for source in sources {
        let problem = |problem| CompileError::Ports { file: source.file.clone(), problem };
        for (told, ports) in ports::parse(&source.read()?).map_err(problem)?.bridges {
            let bridge = source.bridge.clone().unwrap_or(told);
            if all.bridges.insert(bridge.clone(), ports).is_some() {
                return Err(CompileError::BridgeTwice(bridge));
            }
        }
    }
    Ok(all)
}

fn read_fdb(sources: &[Source], ports: &mut PortMap) -> Result<(), CompileError> {
    for source in sources {
        let names = names(ports, &source.bridge(ports)?).ports;
        let problem = |problem| CompileError::Fdb { file: source.file.clone(), problem };
        let fdb = Fdb::parse(&source.read()?, &names).map_err(problem)?;
        if let Some(bridge) = ports.bridges.get_mut(&source.bridge(ports)?) {
            bridge.fdb.entries.extend(fdb.entries);
        }
    }
    Ok(())
}

/// The rules of each bridge, and what belongs to them.
fn read_rules(args: &Args, ports: &PortMap) -> Result<Ruleset, CompileError> {
    let mut ruleset = Ruleset::default();
    for source in &args.flows {
        ruleset.bridges.entry(source.bridge(ports)?).or_default();
    }
    let mut each = |sources: &[Source], take: Take| {
        sources.iter().try_for_each(|source| {
            let bridge = source.bridge(ports)?;
            let (names, text) = (names(ports, &bridge), source.read()?);
            let problem =
                |error| CompileError::Text { file: source.file.clone(), problem: Box::new(error) };
            // Groups of a bridge without rules are of no use.
            let rules = ruleset.bridges.get_mut(&bridge);
            rules.map_or(Ok(()), |rules| take(rules, &text, &names)).map_err(problem)
        })
    };
    each(&args.flows, |rules, text, names| {
        parse_rules(text, names)?.into_iter().for_each(|rule| rules.upsert(rule));
        Ok(())
    })?;
    each(&args.groups, |rules, text, names| {
        rules.groups.extend(parse_groups(text, names)?.into_iter().map(|group| (group.id, group)));
        Ok(())
    })?;
    each(&args.meters, |rules, text, _| {
        rules.meters.extend(parse_meters(text)?.into_iter().map(|meter| (meter.id, meter)));
        Ok(())
    })?;
    each(&args.tlv_map, |rules, text, _| {
        rules.tunnel_options.extend(parse_tunnel_options(text)?);
        Ok(())
    })?;
    Ok(ruleset)
}

/// Takes one kind of text into the rules of a bridge.
type Take = fn(&mut BridgeRules, &str, &Names) -> Result<(), ParseError>;

fn names(ports: &PortMap, bridge: &BridgeName) -> Names {
    let ports = ports.bridges.get(bridge).into_iter().flat_map(|bridge| &bridge.ports);
    let numbers = ports.map(|(number, port)| (port.name.clone(), *number));
    Names { ports: numbers.collect(), ..Names::default() }
}

/// A bridge of unknown rules is as good as none: what would go there stays with OVS.
fn leave_to_ovs(ruleset: &Ruleset, ports: &mut PortMap) {
    ports.bridges.retain(|bridge, _| {
        let known = ruleset.bridges.contains_key(bridge);
        if !known {
            eprintln!("note: no --flows of bridge {bridge}; what goes there is left to OVS");
        }
        known
    });
}

/// A profile by name, or else a file.
fn read_capabilities(name: &str) -> Result<Capabilities, CompileError> {
    let file = Path::new(name);
    match Capabilities::profile(name) {
        Err(_) if file.exists() => serde_saphyr::from_str(&source::read(file)?).map_err(|error| {
            CompileError::Capabilities { file: file.to_owned(), reason: ports::first_line(&error) }
        }),
        profile => profile.map_err(CompileError::Profile),
    }
}

/// A port by its name, or by its number in the first bridge that has it.
fn find_port(wanted: &str, ports: &PortMap) -> Result<Attach, CompileError> {
    let all = || ports.bridges.values().flat_map(|bridge| &bridge.ports);
    let named = all().find(|(_, port)| port.name == wanted);
    let found = named.or_else(|| all().find(|(number, _)| number.to_string() == wanted));
    let known: Vec<&str> = all().map(|(_, port)| port.name.as_str()).collect();
    let index = found.and_then(|(_, port)| port.ifindex);
    index.map(|index| Attach::Ingress(IfIndex(index.0))).ok_or_else(|| CompileError::NoSuchPort {
        port: wanted.to_owned(),
        known: known.join(", "),
    })
}

/// The kernel's devices by name; that of a tunnel is not called as the port is.
fn device_names(ports: &PortMap) -> BTreeMap<String, IfIndex> {
    let all = ports.bridges.values().flat_map(|bridge| bridge.ports.values());
    all.filter_map(|port| Some((device_name(port), IfIndex(port.ifindex?.0)))).collect()
}

fn device_name(port: &Port) -> String {
    match &port.kind {
        PortKind::Tunnel(tunnel) => tunnel.device().unwrap_or_else(|| port.name.clone()),
        _ => port.name.clone(),
    }
}
