//! `sample(...)`, which sends some packets to collectors.

use std::fmt;

use super::{Call, Context, ParseError, Token, subfield};
use crate::openflow::{Action, Sample, SampleDirection, SampleId};

const SAMPLE_EXAMPLE: &str =
    "sample(probability=100,collector_set_id=1,obs_domain_id=2,obs_point_id=3)";

pub(super) fn parse_sample(call: Call<'_>, context: Context<'_>) -> Result<Action, ParseError> {
    let mut sample = Sample {
        probability: 0,
        collector_set: 0,
        domain: SampleId::Immediate(0),
        point: SampleId::Immediate(0),
        sampling_port: None,
        direction: None,
    };
    for item in call.items(SAMPLE_EXAMPLE)? {
        parse_item(&mut sample, item, call, context)?;
    }
    if sample.probability == 0 {
        Err(call.malformed(SAMPLE_EXAMPLE))
    } else {
        Ok(Action::Sample(sample))
    }
}

fn parse_item(
    sample: &mut Sample,
    item: Token<'_>,
    call: Call<'_>,
    context: Context<'_>,
) -> Result<(), ParseError> {
    let (key, value) = item.split_once("=").unwrap_or((item, item));
    match key.text() {
        "probability" => sample.probability = value.uint()?,
        "collector_set_id" => sample.collector_set = value.uint()?,
        "obs_domain_id" => sample.domain = parse_id(value)?,
        "obs_point_id" => sample.point = parse_id(value)?,
        "sampling_port" => sample.sampling_port = Some(context.names.port(value)?),
        "ingress" => sample.direction = Some(SampleDirection::Ingress),
        "egress" => sample.direction = Some(SampleDirection::Egress),
        _ => return Err(call.malformed(SAMPLE_EXAMPLE)),
    }
    Ok(())
}

fn parse_id(value: Token<'_>) -> Result<SampleId, ParseError> {
    match subfield::parse(value) {
        Ok(source) => Ok(SampleId::From(source)),
        Err(_) => Ok(SampleId::Immediate(value.uint()?)),
    }
}

pub(super) fn write_sample(f: &mut fmt::Formatter<'_>, sample: &Sample) -> fmt::Result {
    write!(
        f,
        "sample(probability={},collector_set_id={}",
        sample.probability, sample.collector_set
    )?;
    write!(f, ",obs_domain_id={},obs_point_id={}", sample.domain, sample.point)?;
    if let Some(port) = sample.sampling_port {
        write!(f, ",sampling_port={port}")?;
    }
    f.write_str(match sample.direction {
        None => ")",
        Some(SampleDirection::Ingress) => ",ingress)",
        Some(SampleDirection::Egress) => ",egress)",
    })
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SampleId::Immediate(number) => number.fmt(f),
            SampleId::From(source) => source.fmt(f),
        }
    }
}
