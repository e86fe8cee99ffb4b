//! `bundle(...)`, `bundle_load(...)` and `multipath(...)`, which choose by a hash of the packet.

use std::fmt;

use super::{Call, Context, ParseError, Problem, Token, subfield};
use crate::openflow::{
    Action, Bundle, BundleAlgorithm, HashFields, Multipath, MultipathAlgorithm, OfPort,
};

const BUNDLE_EXAMPLE: &str = "bundle(eth_src,50,active_backup,ofport,members:4,8)";
const BUNDLE_LOAD_EXAMPLE: &str = "bundle_load(symmetric_l4,60,hrw,ofport,reg0[0..15],members:4,8)";
const MULTIPATH_EXAMPLE: &str = "multipath(eth_src,50,modulo_n,4,0,reg0[0..15])";

const HASHES: [(HashFields, &str); 7] = [
    (HashFields::EthSrc, "eth_src"),
    (HashFields::SymmetricL4, "symmetric_l4"),
    (HashFields::SymmetricL3L4, "symmetric_l3l4"),
    (HashFields::SymmetricL3L4Udp, "symmetric_l3l4+udp"),
    (HashFields::NwSrc, "nw_src"),
    (HashFields::NwDst, "nw_dst"),
    (HashFields::SymmetricL3, "symmetric_l3"),
];

const BUNDLE_ALGORITHMS: [(BundleAlgorithm, &str); 2] =
    [(BundleAlgorithm::ActiveBackup, "active_backup"), (BundleAlgorithm::Hrw, "hrw")];

const MULTIPATH_ALGORITHMS: [(MultipathAlgorithm, &str); 4] = [
    (MultipathAlgorithm::ModuloN, "modulo_n"),
    (MultipathAlgorithm::HashThreshold, "hash_threshold"),
    (MultipathAlgorithm::Hrw, "hrw"),
    (MultipathAlgorithm::IterHash, "iter_hash"),
];

fn by_name<T: Copy>(
    table: &[(T, &'static str)],
    token: Token<'_>,
    example: &'static str,
) -> Result<T, ParseError> {
    let known = table.iter().find(|(_, name)| *name == token.text());
    known.map(|(value, _)| *value).ok_or_else(|| token.error(Problem::Malformed { example }))
}

fn name_of<T: PartialEq>(table: &[(T, &'static str)], value: T) -> &'static str {
    table.iter().find(|(known, _)| *known == value).map_or("", |(_, name)| name)
}

pub(super) fn parse_bundle(call: Call<'_>, context: Context<'_>) -> Result<Action, ParseError> {
    let items = call.items(BUNDLE_EXAMPLE)?;
    let [fields, basis, algorithm, _ofport, members @ ..] = items.as_slice() else {
        return Err(call.malformed(BUNDLE_EXAMPLE));
    };
    Ok(Action::Bundle(Bundle {
        fields: by_name(&HASHES, *fields, BUNDLE_EXAMPLE)?,
        basis: basis.uint()?,
        algorithm: by_name(&BUNDLE_ALGORITHMS, *algorithm, BUNDLE_EXAMPLE)?,
        dst: None,
        members: parse_members(members, call, context)?,
    }))
}

pub(super) fn parse_bundle_load(
    call: Call<'_>,
    context: Context<'_>,
) -> Result<Action, ParseError> {
    let items = call.items(BUNDLE_LOAD_EXAMPLE)?;
    let [fields, basis, algorithm, _ofport, dst, members @ ..] = items.as_slice() else {
        return Err(call.malformed(BUNDLE_LOAD_EXAMPLE));
    };
    Ok(Action::Bundle(Bundle {
        fields: by_name(&HASHES, *fields, BUNDLE_LOAD_EXAMPLE)?,
        basis: basis.uint()?,
        algorithm: by_name(&BUNDLE_ALGORITHMS, *algorithm, BUNDLE_LOAD_EXAMPLE)?,
        dst: Some(subfield::parse(*dst)?),
        members: parse_members(members, call, context)?,
    }))
}

/// `members:4,8`, or `slaves:4,8` as it was called before OVS 2.16.
fn parse_members(
    items: &[Token<'_>],
    call: Call<'_>,
    context: Context<'_>,
) -> Result<Vec<OfPort>, ParseError> {
    let malformed = || call.malformed(BUNDLE_EXAMPLE);
    let (first, rest) = items.split_first().ok_or_else(malformed)?;
    let first = first
        .strip_prefix("members:")
        .or_else(|| first.strip_prefix("slaves:"))
        .ok_or_else(malformed)?;
    let given = std::iter::once(&first).chain(rest).filter(|item| !item.text().is_empty());
    given.map(|item| context.names.port(*item)).collect()
}

pub(super) fn parse_multipath(call: Call<'_>) -> Result<Action, ParseError> {
    let items = call.items(MULTIPATH_EXAMPLE)?;
    let [fields, basis, algorithm, n_links, arg, dst] = items.as_slice() else {
        return Err(call.malformed(MULTIPATH_EXAMPLE));
    };
    Ok(Action::Multipath(Multipath {
        fields: by_name(&HASHES, *fields, MULTIPATH_EXAMPLE)?,
        basis: basis.uint()?,
        algorithm: by_name(&MULTIPATH_ALGORITHMS, *algorithm, MULTIPATH_EXAMPLE)?,
        n_links: n_links.uint()?,
        arg: arg.uint()?,
        dst: subfield::parse(*dst)?,
    }))
}

pub(super) fn write_bundle(f: &mut fmt::Formatter<'_>, bundle: &Bundle) -> fmt::Result {
    let name = if bundle.dst.is_some() { "bundle_load" } else { "bundle" };
    let (fields, algorithm) =
        (name_of(&HASHES, bundle.fields), name_of(&BUNDLE_ALGORITHMS, bundle.algorithm));
    write!(f, "{name}({fields},{},{algorithm},ofport,", bundle.basis)?;
    if let Some(dst) = bundle.dst {
        write!(f, "{dst},")?;
    }
    f.write_str("members:")?;
    super::write_joined(f, &bundle.members)?;
    f.write_str(")")
}

pub(super) fn write_multipath(f: &mut fmt::Formatter<'_>, multipath: &Multipath) -> fmt::Result {
    let fields = name_of(&HASHES, multipath.fields);
    let algorithm = name_of(&MULTIPATH_ALGORITHMS, multipath.algorithm);
    let Multipath { basis, n_links, arg, dst, .. } = multipath;
    write!(f, "multipath({fields},{basis},{algorithm},{n_links},{arg},{dst})")
}
