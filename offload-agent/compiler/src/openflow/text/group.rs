//! Groups as `ovs-ofctl dump-groups` prints them.

use std::collections::BTreeMap;
use std::fmt;

use super::action::{self, ActionList};
use super::error::{ParseError, Problem};
use super::names::Names;
use super::token::Token;
use super::value::{self, Value};
use crate::openflow::{Bucket, Field, Group, GroupId, GroupType, Masked, Selection};

const GROUP_EXAMPLE: &str = "group_id=1,type=select,bucket=weight:10,actions=output:1";
const BUCKET: &str = ",bucket=";
const TYPES: [(GroupType, &str); 5] = [
    (GroupType::All, "all"),
    (GroupType::Select, "select"),
    (GroupType::Indirect, "indirect"),
    (GroupType::FastFailover, "ff"),
    (GroupType::FastFailover, "fast_failover"),
];

/// Reads one group.
pub(super) fn parse(line: &str, names: &Names) -> Result<Group, ParseError> {
    let line = Token::line(line).trim();
    let mut pieces = split_buckets(line).into_iter();
    let head = pieces.next().unwrap_or(line);
    let mut group = parse_head(head, names)?;
    let default_weight = default_weight(group.kind);
    group.buckets =
        pieces.map(|piece| parse_bucket(piece, default_weight, names)).collect::<Result<_, _>>()?;
    Ok(group)
}

/// A bucket of a select group counts once unless it says otherwise; elsewhere weight means nothing.
pub(crate) fn default_weight(kind: GroupType) -> u16 {
    u16::from(kind == GroupType::Select)
}

fn split_buckets(line: Token<'_>) -> Vec<Token<'_>> {
    let (mut pieces, mut rest) = (Vec::new(), line);
    while let Some((piece, after)) = rest.split_once(BUCKET) {
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fn parse_head(head: Token<'_>, names: &Names) -> Result<Group, ParseError> {
    let malformed = || head.error(Problem::Malformed { example: GROUP_EXAMPLE });
    let (mut id, mut kind) = (None, None);
    let mut selection = Selection { method: String::new(), param: 0, fields: BTreeMap::new() };
    for item in head.items()? {
        if let Some(fields) = item.bracketed("fields(") {
            selection.fields = parse_fields(fields, names)?;
            continue;
        }
        let (key, value) = item.split_once("=").ok_or_else(malformed)?;
        match key.text() {
            "group_id" => id = Some(GroupId(value.uint()?)),
            "type" => {
                kind = TYPES.iter().find(|(_, name)| *name == value.text()).map(|(kind, _)| *kind)
            }
            "selection_method" => selection.method = value.text().to_owned(),
            "selection_method_param" => selection.param = value.uint()?,
            "fields" => selection.fields = parse_fields(value, names)?,
            _ => return Err(item.error(Problem::Malformed { example: GROUP_EXAMPLE })),
        }
    }
    let selection = Some(selection).filter(|selection| !selection.method.is_empty());
    let (id, kind) = id.zip(kind).ok_or_else(malformed)?;
    Ok(Group { id, kind, selection, buckets: Vec::new() })
}

/// Fields, each whole or with the mask of the bits that are hashed.
fn parse_fields(fields: Token<'_>, names: &Names) -> Result<BTreeMap<Field, u128>, ParseError> {
    let one = |item: Token<'_>| {
        let (name, mask) =
            item.split_once("=").map_or((item, None), |(name, mask)| (name, Some(mask)));
        let field =
            Field::from_name(name.text()).ok_or_else(|| name.error(Problem::UnknownField))?;
        let mask = mask.map(|mask| value::parse(field, mask, names)).transpose()?;
        Ok((field, mask.map_or_else(|| field.full_mask(), |mask| mask.value)))
    };
    fields.items()?.into_iter().map(one).collect()
}

fn parse_bucket(piece: Token<'_>, weight: u16, names: &Names) -> Result<Bucket, ParseError> {
    let malformed = || piece.error(Problem::Malformed { example: GROUP_EXAMPLE });
    let (head, actions) = piece.split_once("actions=").ok_or_else(malformed)?;
    let actions = action::parse_list(actions, names)?;
    let mut bucket = Bucket { id: None, weight, watch_port: None, watch_group: None, actions };
    for item in head.words()? {
        let (key, value) = item.split_once(":").ok_or_else(malformed)?;
        match key.text() {
            "bucket_id" => bucket.id = Some(value.uint()?),
            "weight" => bucket.weight = value.uint()?,
            "watch_port" => bucket.watch_port = Some(names.port(value)?),
            "watch_group" => bucket.watch_group = Some(GroupId(value.uint()?)),
            _ => return Err(item.error(Problem::Malformed { example: GROUP_EXAMPLE })),
        }
    }
    Ok(bucket)
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = TYPES.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, name)| name);
        write!(f, "group_id={},type={kind}", self.id)?;
        if let Some(selection) = &self.selection {
            write!(f, ",selection_method={}", selection.method)?;
            if selection.param != 0 {
                write!(f, ",selection_method_param={}", selection.param)?;
            }
            write_fields(f, &selection.fields)?;
        }
        let weight = default_weight(self.kind);
        self.buckets.iter().try_for_each(|bucket| write_bucket(f, bucket, weight))
    }
}

fn write_fields(f: &mut fmt::Formatter<'_>, fields: &BTreeMap<Field, u128>) -> fmt::Result {
    let whole = |field: Field, mask: u128| mask == field.full_mask();
    let texts: Vec<String> = fields
        .iter()
        .map(|(field, mask)| match whole(*field, *mask) {
            true => field.to_string(),
            false => {
                let masked = Masked { value: *mask, mask: field.full_mask() };
                format!("{field}={}", Value { field: *field, masked })
            }
        })
        .collect();
    match (texts.as_slice(), fields.iter().all(|(field, mask)| whole(*field, *mask))) {
        ([], _) => Ok(()),
        ([only], true) => write!(f, ",fields={only}"),
        _ => write!(f, ",fields({})", texts.join(",")),
    }
}

fn write_bucket(f: &mut fmt::Formatter<'_>, bucket: &Bucket, default_weight: u16) -> fmt::Result {
    f.write_str(BUCKET)?;
    if let Some(id) = bucket.id {
        write!(f, "bucket_id:{id},")?;
    }
    if bucket.weight != default_weight {
        write!(f, "weight:{},", bucket.weight)?;
    }
    if let Some(port) = bucket.watch_port {
        write!(f, "watch_port:{port},")?;
    }
    if let Some(group) = bucket.watch_group {
        write!(f, "watch_group:{group},")?;
    }
    write!(f, "actions={}", ActionList(&bucket.actions))
}
