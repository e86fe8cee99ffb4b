//! The configuration as its file spells it, and the step from there to values that are known to be right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use switchdev::PciAddress;
use switchdev::eswitch::EswitchMode;

use super::{
    ALL_DEVICES, Config, ConfigError, DeviceType, FunctionRange, LinkType, PoolConfig, Preference,
    ResourceName, Selector, VdpaType,
};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    resource_list: Vec<Pool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pool {
    resource_name: String,
    resource_prefix: Option<String>,
    #[serde(default)]
    device_type: DeviceType,
    #[serde(default)]
    exclude_topology: bool,
    selectors: Option<OneOrMany>,
    #[serde(default)]
    additional_info: Option<BTreeMap<String, BTreeMap<String, String>>>,
    #[serde(default)]
    require_carrier: bool,
    #[serde(default)]
    preferred_allocation: Preference,
    #[serde(default)]
    pre_start_check: bool,
    /// `sriov-network-operator` writes out this field of its own by accident, always as null.
    #[serde(rename = "SelectorObjs", alias = "SelectorObj", default)]
    _of_the_operator: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Keys {
    #[serde(skip_serializing_if = "Option::is_none")]
    vendors: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drivers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pci_addresses: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acpi_indexes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pf_names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_devices: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ddp_profiles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p_keys: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aux_types: Option<Vec<String>>,
    /// The operator spells it with a capital.
    #[serde(alias = "IsRdma", skip_serializing_if = "Option::is_none")]
    is_rdma: Option<bool>,
    #[serde(alias = "NeedVhostNet", skip_serializing_if = "Option::is_none")]
    need_vhost_net: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vdpa_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eswitch_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    representor: Option<bool>,
}

/// `selectors` is an object, or a list of them.
#[derive(Debug)]
struct OneOrMany(Vec<Keys>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of selectors, or a list of such objects")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMany, A::Error> {
                Ok(OneOrMany(vec![Keys::deserialize(MapAccessDeserializer::new(map))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany, A::Error> {
                Ok(OneOrMany(Vec::deserialize(SeqAccessDeserializer::new(list))?))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl File {
    /// JSON where the text begins as an object does, YAML otherwise.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.trim_start().starts_with('{') { json(text) } else { yaml(text) }
    }

    pub(super) fn check(self, prefix: &str) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        let mut names = BTreeSet::new();
        for pool in self.resource_list {
            let checked = pool.check(prefix, &mut config.warnings)?;
            if !names.insert(checked.name.clone()) {
                return Err(ConfigError::Twice(checked.name));
            }
            config.pools.push(checked);
        }
        if config.pools.is_empty() { Err(ConfigError::Empty) } else { Ok(config) }
    }
}

fn json(text: &str) -> Result<File, ConfigError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let file = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| syntax(text, &error.path().to_string(), &error.into_inner()))?;
    // What follows the object is not to be passed over.
    json.end().map_err(|error| syntax(text, "after the closing brace", &error))?;
    Ok(file)
}

fn yaml(text: &str) -> Result<File, ConfigError> {
    let mut place = String::new();
    let file = serde_saphyr::with_deserializer_from_str(text, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            place = error.path().to_string();
            error.into_inner()
        })
    });
    file.map_err(|error| syntax(text, &place, error.without_snippet()))
}

/// An error of a parser, with the keys that lead to it and the name of the pool.
fn syntax(text: &str, path: &str, error: &dyn fmt::Display) -> ConfigError {
    // What is cut off before its key is known is called "?".
    let path = path.trim_end_matches(['?', '.']);
    let pool = pool_index(path).and_then(|index| name_of_pool(text, index));
    let place = match (path, pool) {
        ("", _) => "the file".to_owned(),
        (path, None) => path.to_owned(),
        (path, Some(name)) => format!("{path} (pool {name:?})"),
    };
    ConfigError::Syntax { place, problem: error.to_string() }
}

/// The number in `resourceList[1].selectors`.
fn pool_index(path: &str) -> Option<usize> {
    path.strip_prefix("resourceList[")?.split_once(']')?.0.parse().ok()
}

/// A second look at a file that does not parse, for nothing but the names of its pools.
fn name_of_pool(text: &str, index: usize) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Names {
        resource_list: Vec<Name>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Name {
        resource_name: Option<String>,
    }
    let names: Names =
        serde_json::from_str(text).ok().or_else(|| serde_saphyr::from_str(text).ok())?;
    names.resource_list.into_iter().nth(index)?.resource_name
}

impl Pool {
    fn check(
        self,
        default_prefix: &str,
        warnings: &mut Vec<String>,
    ) -> Result<PoolConfig, ConfigError> {
        let name = self.name(default_prefix)?;
        let keys = self.selectors.map(|selectors| selectors.0).unwrap_or_default();
        let mut selectors = Vec::new();
        for (index, keys) in keys.into_iter().enumerate() {
            let mut checker =
                Checker { pool: &name, device_type: self.device_type, index, warnings };
            selectors.push(checker.selector(keys)?);
        }
        if selectors.is_empty() {
            // As in sriov-network-device-plugin: what asks nothing takes everything of its type.
            selectors.push(Selector::default());
            warnings.push(format!(
                "pool {name}: it has no selectors, so it takes every device of its type"
            ));
        }
        Ok(PoolConfig {
            device_type: self.device_type,
            exclude_topology: self.exclude_topology,
            selectors,
            additional_info: additional_info(&name, self.additional_info.unwrap_or_default())?,
            require_carrier: self.require_carrier,
            preference: self.preferred_allocation,
            pre_start_check: self.pre_start_check,
            name,
        })
    }

    fn name(&self, default_prefix: &str) -> Result<ResourceName, ConfigError> {
        let prefix = self.resource_prefix.as_deref().filter(|prefix| !prefix.is_empty());
        let prefix = prefix.unwrap_or(default_prefix);
        ResourceName::new(prefix, &self.resource_name).map_err(|error| {
            let (key, value) = match error {
                super::InvalidName::Prefix => ("resourcePrefix", prefix),
                _ => ("resourceName", self.resource_name.as_str()),
            };
            invalid(&format!("{prefix}/{}", self.resource_name), key, value, error)
        })
    }
}

/// The keys of `additionalInfo` are devices: an address that is none would say nothing for ever.
fn additional_info(
    pool: &ResourceName,
    info: BTreeMap<String, BTreeMap<String, String>>,
) -> Result<BTreeMap<String, BTreeMap<String, String>>, ConfigError> {
    for key in info.keys().filter(|key| *key != ALL_DEVICES) {
        if let Err(error) = key.parse::<PciAddress>() {
            return Err(invalid(
                &pool.to_string(),
                "additionalInfo",
                key,
                format!("{error}, or \"*\""),
            ));
        }
    }
    Ok(info)
}

/// Checks one entry of `selectors`.
struct Checker<'a> {
    pool: &'a ResourceName,
    device_type: DeviceType,
    index: usize,
    warnings: &'a mut Vec<String>,
}

impl Checker<'_> {
    fn selector(&mut self, keys: Keys) -> Result<Selector, ConfigError> {
        self.applicable(&keys)?;
        self.exclusive(&keys)?;
        let selector = Selector {
            vendors: self.each("vendors", keys.vendors, pci_number)?,
            devices: self.each("devices", keys.devices, pci_number)?,
            drivers: self.each("drivers", keys.drivers, not_empty)?,
            pci_addresses: self.each("pciAddresses", keys.pci_addresses, parse)?,
            acpi_indexes: self.each("acpiIndexes", keys.acpi_indexes, acpi_index)?,
            pf_names: self.each("pfNames", keys.pf_names, parse::<FunctionRange<String>>)?,
            root_devices: self.each(
                "rootDevices",
                keys.root_devices,
                parse::<FunctionRange<PciAddress>>,
            )?,
            link_types: self.each("linkTypes", keys.link_types, link_type)?,
            ddp_profiles: self.each("ddpProfiles", keys.ddp_profiles, not_empty)?,
            p_keys: self.each("pKeys", keys.p_keys, p_key)?,
            is_rdma: keys.is_rdma.unwrap_or_default(),
            need_vhost_net: keys.need_vhost_net.unwrap_or_default(),
            vdpa_type: self.one("vdpaType", keys.vdpa_type, vdpa_type)?,
            aux_types: self.each("auxTypes", keys.aux_types, aux_type)?,
            eswitch_mode: self.one("eswitchMode", keys.eswitch_mode, parse::<EswitchMode>)?,
            representor: keys.representor,
        };
        self.auxiliary(&selector)?;
        self.repeated(&selector);
        Ok(selector)
    }

    /// A key that another type of device has says nothing of this one.
    fn applicable(&self, keys: &Keys) -> Result<(), ConfigError> {
        let given = serde_json::to_value(keys).unwrap_or_default();
        let known = keys_of(self.device_type);
        let given = given.as_object().into_iter().flatten();
        // Written out as empty or false, a key asks nothing, as the operator writes them.
        let mut asked = given.filter(|(_, value)| {
            **value != serde_json::json!([]) && **value != false && **value != ""
        });
        match asked.find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, value)) => {
                let remedy = format!("pools of this deviceType have {}", known.join(", "));
                Err(self.invalid(key, &value.to_string(), remedy))
            }
        }
    }

    fn exclusive(&self, keys: &Keys) -> Result<(), ConfigError> {
        match keys.vdpa_type.as_deref().filter(|vdpa| !vdpa.is_empty()) {
            Some(vdpa) if keys.is_rdma == Some(true) => {
                Err(self.invalid("vdpaType", vdpa, "it excludes isRdma: make two pools"))
            }
            _ => Ok(()),
        }
    }

    fn auxiliary(&self, selector: &Selector) -> Result<(), ConfigError> {
        if self.device_type == DeviceType::AuxNetDevice && selector.aux_types.is_empty() {
            return Err(self.invalid("auxTypes", "", "give [\"sf\"]"));
        }
        Ok(())
    }

    /// Of two entries for one PF the second has no effect, in `sriov-network-device-plugin` neither.
    fn repeated(&mut self, selector: &Selector) {
        let names = selector.pf_names.iter().map(|range| range.pf.to_lowercase());
        self.warn_repeated("pfNames", names.collect());
        let roots = selector.root_devices.iter().map(|range| range.pf.to_string());
        self.warn_repeated("rootDevices", roots.collect());
    }

    fn warn_repeated(&mut self, key: &str, pfs: Vec<String>) {
        let mut seen = BTreeSet::new();
        for pf in pfs {
            if !seen.insert(pf.clone()) {
                let place = self.place(key);
                self.warnings.push(format!(
                    "pool {}: {place} names {pf} twice and the first counts: write one entry, as {pf}#0-3,5",
                    self.pool
                ));
            }
        }
    }

    fn each<T>(
        &self,
        key: &str,
        values: Option<Vec<String>>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let values = values.unwrap_or_default();
        values
            .iter()
            .map(|value| parse(value).map_err(|remedy| self.invalid(key, value, remedy)))
            .collect()
    }

    fn one<T>(
        &self,
        key: &str,
        value: Option<String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let value = value.filter(|value| !value.is_empty());
        Ok(self.each(key, value.map(|value| vec![value]), parse)?.pop())
    }

    fn invalid(&self, key: &str, value: &str, remedy: impl fmt::Display) -> ConfigError {
        invalid(&self.pool.to_string(), &self.place(key), value, remedy)
    }

    fn place(&self, key: &str) -> String {
        format!("selectors[{}].{key}", self.index)
    }
}

/// The keys that each type of device has.
fn keys_of(device_type: DeviceType) -> &'static [&'static str] {
    match device_type {
        DeviceType::NetDevice => &[
            "vendors",
            "devices",
            "drivers",
            "pciAddresses",
            "acpiIndexes",
            "pfNames",
            "rootDevices",
            "linkTypes",
            "ddpProfiles",
            "pKeys",
            "isRdma",
            "needVhostNet",
            "vdpaType",
            "eswitchMode",
            "representor",
        ],
        DeviceType::AuxNetDevice => &[
            "vendors",
            "devices",
            "drivers",
            "auxTypes",
            "pfNames",
            "rootDevices",
            "linkTypes",
            "isRdma",
            "needVhostNet",
            "eswitchMode",
        ],
        DeviceType::Accelerator => {
            &["vendors", "devices", "drivers", "pciAddresses", "acpiIndexes"]
        }
    }
}

fn invalid(pool: &str, key: &str, value: &str, remedy: impl fmt::Display) -> ConfigError {
    ConfigError::Value {
        pool: pool.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
        remedy: remedy.to_string(),
    }
}

fn parse<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn pci_number(text: &str) -> Result<u16, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let plain = (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let number = plain.then(|| u16::from_str_radix(digits, 16).ok()).flatten();
    number.ok_or_else(|| "give four hexadecimal digits, such as 15b3".to_owned())
}

/// In the kernel's spelling, as texts are compared.
fn acpi_index(text: &str) -> Result<String, String> {
    let same = |number: u32| number.to_string() == text;
    let remedy = "give a number as the device's acpi_index in sysfs shows it, such as 101";
    text.parse().is_ok_and(same).then(|| text.to_owned()).ok_or_else(|| remedy.to_owned())
}

/// In the kernel's spelling from here on, as texts are compared.
fn p_key(text: &str) -> Result<String, String> {
    let plain = |digits: &&str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    let number = text.strip_prefix("0x").filter(plain);
    let number = number.and_then(|digits| u16::from_str_radix(digits, 16).ok());
    let remedy = "give up to four hexadecimal digits behind 0x, such as 0x8001";
    number.map(|number| format!("{number:#06x}")).ok_or_else(|| remedy.to_owned())
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("leave the entry out, or name something".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn link_type(text: &str) -> Result<LinkType, String> {
    match text {
        "ether" => Ok(LinkType::Ether),
        "infiniband" => Ok(LinkType::Infiniband),
        _ => Err("give ether or infiniband".to_owned()),
    }
}

fn vdpa_type(text: &str) -> Result<VdpaType, String> {
    match text {
        "vhost" => Ok(VdpaType::Vhost),
        "virtio" => Ok(VdpaType::Virtio),
        _ => Err("give vhost or virtio".to_owned()),
    }
}

fn aux_type(text: &str) -> Result<String, String> {
    if text == "sf" {
        Ok(text.to_owned())
    } else {
        Err("sf is the only kind that a pod can be given".to_owned())
    }
}
