//! Generic netlink: families that are found by name, with a command number in each message.

use super::attr::{AttrError, Attributes, Writer};
use super::error::NetlinkError;
use super::request::Connection;
use rustix::io::Errno;

const NETLINK_GENERIC: isize = 16;

const CONTROL: u16 = 16;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_VERSION: u8 = 1;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;
const CONTROL_MULTICAST_GROUPS: u16 = 7;
const GROUP_NAME: u16 = 1;
const GROUP_ID: u16 = 2;

/// A family of generic netlink, and what an error says when the kernel lacks it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) version: u8,
    pub(crate) option: &'static str,
}

/// A connection to one family.
#[derive(Debug)]
pub(crate) struct Generic {
    connection: Connection,
    family: Family,
    id: u16,
}

impl Generic {
    pub(crate) fn open(family: Family) -> Result<Self, NetlinkError> {
        let mut connection = Connection::open(NETLINK_GENERIC)?;
        let id = resolve(&mut connection, family)?;
        Ok(Self { connection, family, id })
    }

    /// Carries out one command; the attributes of its answers.
    pub(crate) fn request(
        &mut self,
        command: u8,
        attributes: Writer,
        what: &str,
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        let payload = encode(command, self.family.version, attributes);
        let answers = self.connection.request(self.id, 0, &payload, what)?;
        Ok(answers.iter().map(|answer| attributes_of(answer)).collect())
    }

    /// All of a list; the attributes of each entry.
    pub(crate) fn dump(
        &mut self,
        command: u8,
        attributes: Writer,
        what: &str,
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        let payload = encode(command, self.family.version, attributes);
        let answers = self.connection.dump(self.id, &payload, what)?;
        Ok(answers.iter().map(|answer| attributes_of(answer)).collect())
    }

    /// The one answer to a question, read by `parse`.
    pub(crate) fn ask<T>(
        &mut self,
        command: u8,
        attributes: Writer,
        what: &str,
        parse: impl Fn(&Attributes<'_>) -> Result<T, AttrError>,
    ) -> Result<T, NetlinkError> {
        let answers = self.request(command, attributes, what)?;
        let answer = answers.first().ok_or_else(|| NetlinkError::Malformed {
            request: what.to_owned(),
            reason: "it is empty".to_owned(),
        })?;
        read(answer, what, &parse)
    }

    /// All of a list, each entry read by `parse`.
    pub(crate) fn list<T>(
        &mut self,
        command: u8,
        attributes: Writer,
        what: &str,
        parse: impl Fn(&Attributes<'_>) -> Result<T, AttrError>,
    ) -> Result<Vec<T>, NetlinkError> {
        let answers = self.dump(command, attributes, what)?;
        answers.iter().map(|answer| read(answer, what, &parse)).collect()
    }
}

fn read<T>(
    answer: &[u8],
    what: &str,
    parse: &impl Fn(&Attributes<'_>) -> Result<T, AttrError>,
) -> Result<T, NetlinkError> {
    let parsed = Attributes::parse(answer).and_then(|attributes| parse(&attributes));
    parsed.map_err(|reason| NetlinkError::malformed(what, &reason))
}

/// `struct genlmsghdr` (command, version, two bytes of nothing) and the attributes.
pub(crate) fn encode(command: u8, version: u8, attributes: Writer) -> Vec<u8> {
    let mut payload = vec![command, version, 0, 0];
    payload.extend(attributes.into_bytes());
    payload
}

/// What follows `struct genlmsghdr`.
fn attributes_of(payload: &[u8]) -> Vec<u8> {
    payload.get(4..).unwrap_or_default().to_vec()
}

/// The number of a family's multicast group; `None` where the family has none of that name.
pub(crate) fn multicast_group(family: Family, group: &str) -> Result<Option<u32>, NetlinkError> {
    let mut connection = Connection::open(NETLINK_GENERIC)?;
    let answer = describe(&mut connection, family)?;
    let what = format!("finding the group {group} of the netlink family {}", family.name);
    read(&answer, &what, &|attributes| find_group(attributes, group))
}

fn find_group(attributes: &Attributes<'_>, wanted: &str) -> Result<Option<u32>, AttrError> {
    let Some(groups) = attributes.nested(CONTROL_MULTICAST_GROUPS)? else { return Ok(None) };
    // The entries of the list are numbered from 1.
    for entry in (1..).map_while(|place| groups.get(place)) {
        let group = Attributes::parse(entry)?;
        if group.string(GROUP_NAME)?.as_deref() == Some(wanted) {
            return group.u32(GROUP_ID);
        }
    }
    Ok(None)
}

fn resolve(connection: &mut Connection, family: Family) -> Result<u16, NetlinkError> {
    let answer = describe(connection, family)?;
    let what = format!("finding the netlink family {}", family.name);
    read(&answer, &what, &|attributes| attributes.require_u16(CONTROL_FAMILY_ID, "a family number"))
}

/// What the kernel says of a family.
fn describe(connection: &mut Connection, family: Family) -> Result<Vec<u8>, NetlinkError> {
    let what = format!("finding the netlink family {}", family.name);
    let by_name = Writer::default().string(CONTROL_FAMILY_NAME, family.name);
    let payload = encode(CONTROL_GET_FAMILY, CONTROL_VERSION, by_name);
    let answers = match connection.request(CONTROL, 0, &payload, &what) {
        Err(error) if error.is(Errno::NOENT) => {
            return Err(NetlinkError::NoFamily { family: family.name, option: family.option });
        }
        answers => answers?,
    };
    Ok(answers.first().map(|answer| attributes_of(answer)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_found_by_name() {
        let control = Family { name: "nlctrl", version: 2, option: "" };
        assert_eq!(Generic::open(control).unwrap().id, CONTROL);
    }

    #[test]
    fn a_group_is_found_by_name() {
        let control = Family { name: "nlctrl", version: 2, option: "" };
        assert!(multicast_group(control, "notify").unwrap().is_some());
        assert_eq!(multicast_group(control, "no-such-group").unwrap(), None);
    }

    #[test]
    fn a_kernel_without_the_family_is_told_so() {
        let absent = Family { name: "no-such-family", version: 1, option: "CONFIG_NO_SUCH" };
        assert_eq!(
            Generic::open(absent).unwrap_err().to_string(),
            "this kernel has no generic netlink family \"no-such-family\": it needs CONFIG_NO_SUCH"
        );
    }
}
