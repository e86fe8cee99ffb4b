//! Groups and meters on the wire (`OFPMP_GROUP_DESC`, `OFPMP_METER_CONFIG`).

use std::collections::BTreeMap;

use super::action::decode_list;
use super::error::DecodeError;
use super::flow::each;
use super::oxm::Oxm;
use super::reader::Reader;
use crate::openflow::text::default_weight;
use crate::openflow::{
    Band, BandKind, Bucket, Group, GroupId, GroupType, Meter, MeterId, MeterUnit, OfPort, Selection,
};

const GROUP_ANY: u32 = 0xffff_ffff;
const PROPERTY_HEADER_LEN: usize = 4;
const EXPERIMENTER: u16 = 0xffff;
const EXPERIMENTER_NETRONOME: u32 = 0x0000_154d;
const NETRONOME_SELECTION_METHOD: u32 = 1;
const METHOD_LEN: usize = 16;

/// Reads the groups of one message.
pub(super) fn decode_groups(body: &[u8]) -> Result<Vec<Group>, DecodeError> {
    each(body, "a group", decode_group)
}

/// Reads the meters of one message.
pub(super) fn decode_meters(body: &[u8]) -> Result<Vec<Meter>, DecodeError> {
    each(body, "a meter", decode_meter)
}

/// `struct ofp15_group_desc_stats` after its length.
fn decode_group(reader: &mut Reader<'_>) -> Result<Group, DecodeError> {
    let kind = match reader.u8()? {
        0 => GroupType::All,
        1 => GroupType::Select,
        2 => GroupType::Indirect,
        3 => GroupType::FastFailover,
        other => return Err(reader.bad_value(other)),
    };
    reader.skip(1)?;
    let id = GroupId(reader.u32()?);
    let buckets_len = usize::from(reader.u16()?);
    reader.skip(6)?;
    let mut buckets = each(reader.take(buckets_len)?, "a bucket", decode_bucket)?;
    if kind != GroupType::Select {
        // Weight means nothing there, and text does not tell it.
        buckets.iter_mut().for_each(|bucket| bucket.weight = default_weight(kind));
    }
    Ok(Group { id, kind, selection: decode_selection(reader)?, buckets })
}

/// `struct ofp15_bucket` after its length.
fn decode_bucket(reader: &mut Reader<'_>) -> Result<Bucket, DecodeError> {
    let actions_len = usize::from(reader.u16()?);
    let id = Some(reader.u32()?);
    let actions = decode_list(reader.take(actions_len)?, 0)?;
    let weight = default_weight(GroupType::Select);
    let mut bucket = Bucket { id, weight, watch_port: None, watch_group: None, actions };
    while !reader.is_empty() {
        let (kind, body) = property(reader)?;
        bucket_property(&mut bucket, kind, &mut Reader::new("a property of a bucket", body))?;
    }
    Ok(bucket)
}

fn bucket_property(
    bucket: &mut Bucket,
    kind: u16,
    reader: &mut Reader<'_>,
) -> Result<(), DecodeError> {
    match kind {
        0 => bucket.weight = reader.u16()?,
        1 => {
            bucket.watch_port =
                OfPort::from_wide(reader.u32()?).filter(|port| *port != OfPort::NONE)
        }
        2 => {
            bucket.watch_group =
                Some(reader.u32()?).filter(|group| *group != GROUP_ANY).map(GroupId)
        }
        _ => {}
    }
    Ok(())
}

fn property<'a>(reader: &mut Reader<'a>) -> Result<(u16, &'a [u8]), DecodeError> {
    let (kind, length) = (reader.u16()?, usize::from(reader.u16()?));
    let body = reader.body(length, PROPERTY_HEADER_LEN)?;
    reader.skip_padding_of(length);
    Ok((kind, body))
}

/// How a select group hashes, in the property that Netronome defined for it.
fn decode_selection(reader: &mut Reader<'_>) -> Result<Option<Selection>, DecodeError> {
    let mut selection = None;
    while !reader.is_empty() {
        let (kind, body) = property(reader)?;
        let mut body = Reader::new("a property of a group", body);
        let is_selection = kind == EXPERIMENTER
            && body.u32()? == EXPERIMENTER_NETRONOME
            && body.u32()? == NETRONOME_SELECTION_METHOD;
        if is_selection {
            body.skip(4)?;
            selection = Some(decode_method(&mut body)?);
        }
    }
    Ok(selection)
}

fn decode_method(body: &mut Reader<'_>) -> Result<Selection, DecodeError> {
    let name = body.take(METHOD_LEN)?;
    let method = name.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
    let param = body.u64()?;
    let mut fields = BTreeMap::new();
    while !body.is_empty() {
        // A field's value here is the mask of what is hashed.
        if let Some((field, masked)) = Oxm::decode(body)?.known {
            fields.insert(field, masked.value);
        }
    }
    Ok(Selection { method, param, fields })
}

/// `struct ofp13_meter_config` after its length.
fn decode_meter(reader: &mut Reader<'_>) -> Result<Meter, DecodeError> {
    let flags = reader.u16()?;
    let id = MeterId(reader.u32()?);
    let unit = if flags & 2 != 0 { MeterUnit::Pktps } else { MeterUnit::Kbps };
    let mut bands = Vec::new();
    while !reader.is_empty() {
        bands.push(decode_band(reader)?);
    }
    Ok(Meter { id, unit, burst: flags & 4 != 0, stats: flags & 8 != 0, bands })
}

fn decode_band(reader: &mut Reader<'_>) -> Result<Band, DecodeError> {
    let (kind, length) = (reader.u16()?, usize::from(reader.u16()?));
    let mut body = Reader::new("a band of a meter", reader.body(length, 4)?);
    let (rate, burst_size) = (body.u32()?, body.u32()?);
    let kind = match kind {
        1 => BandKind::Drop,
        2 => BandKind::DscpRemark { precedence: body.u8()? },
        other => BandKind::Unsupported(other),
    };
    Ok(Band { kind, rate, burst_size })
}
