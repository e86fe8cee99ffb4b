//! What was taken off a bridge under a pod that is still there, and must be there again: the rules that hold it to its
//! addresses. `ovs-vswitchd` forgets all rules when it crashes, and so does a bridge with `ovs-ofctl del-flows`.

use switchdev::binding::ExternalError;
use switchdev::ledger::Record;

use super::openflow::OpenFlowError;
use super::rules::PortRules;
use super::steps::{Step, pod_addresses};

/// How many rules a bridge has of those that there must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortfall {
    /// Found.
    pub(crate) found: u32,
    /// Put there by ADD.
    pub(crate) wanted: u32,
}

/// Asks the bridge; `None` where all rules are there.
///
/// # Errors
/// The bridge cannot be asked.
pub(crate) fn shortfall(
    rules: &PortRules,
    record: &Record,
) -> Result<Option<Shortfall>, OpenFlowError> {
    let step = record.external.iter().find(|step| step.kind == "port-rules");
    let count = step.and_then(|step| step.outcome.get("rules")?.as_u64());
    let wanted = count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
    let found = rules.count()?;
    Ok((found != wanted).then_some(Shortfall { found, wanted }))
}

/// Puts them back, and says so. While the switch is down there is nothing to put them on; what it forwards until then, it
/// decided with the rules.
pub(super) fn mend(steps: &[Step], record: &Record) -> Result<Option<String>, ExternalError> {
    let Some(rules) = steps.iter().find_map(Step::as_port_rules) else { return Ok(None) };
    let short = match shortfall(rules, record) {
        Err(OpenFlowError::Io { .. }) => None,
        short => short.map_err(ExternalError::new)?,
    };
    let Some(Shortfall { found, wanted }) = short else { return Ok(None) };
    let Some(port) = steps.iter().find_map(Step::as_ovs_port) else { return Ok(None) };
    // The number may be another since the switch started anew.
    let number = port.number_now().map_err(ExternalError::new)?;
    rules.remove().map_err(ExternalError::new)?;
    rules.install(number, &pod_addresses(record)).map_err(ExternalError::new)?;
    Ok(Some(format!(
        "bridge {} had {found} of the {wanted} rules that hold the pod to {}; they are there again",
        port.bridge, rules.mac
    )))
}
