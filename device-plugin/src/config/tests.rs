use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "intel.com")
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// A configuration with one pool `a`, whose `selectors` are as given.
fn with_selectors(selectors: &str) -> String {
    format!(r#"{{"resourceList": [{{"resourceName": "a", "selectors": {selectors}}}]}}"#)
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"{"resourceList": [{
            "resourceName": "a", "resourcePrefix": "example.com", "deviceType": "netDevice", "excludeTopology": true,
            "selectors": [{
                "vendors": ["15b3"], "devices": ["101E"], "drivers": ["mlx5_core"], "pciAddresses": ["0000:03:00.2"],
                "acpiIndexes": ["101"], "pfNames": ["eth0#0-3,5"], "rootDevices": ["0000:03:00.0#1"],
                "linkTypes": ["ether"], "ddpProfiles": ["GTPv1-C/U"], "pKeys": ["0x8001"], "isRdma": true,
                "needVhostNet": true, "eswitchMode": "switchdev", "representor": true
            }],
            "additionalInfo": {"*": {"zone": "a"}, "0000:03:00.2": {"zone": "b"}},
            "requireCarrier": true, "preferredAllocation": "spread", "preStartCheck": true
        }]}"#,
    )
    .unwrap();
    let pool = &config.pools[0];
    assert_eq!(pool.name.to_string(), "example.com/a");
    assert!(pool.exclude_topology && pool.require_carrier && pool.pre_start_check);
    assert_eq!(pool.preference, Preference::Spread);
    let selector = &pool.selectors[0];
    assert_eq!((selector.vendors[0], selector.devices[0]), (0x15b3, 0x101e));
    assert_eq!(selector.pf_names[0].to_string(), "eth0#0-3,5");
    assert_eq!(selector.root_devices[0].to_string(), "0000:03:00.0#1");
    assert!(selector.is_rdma && selector.need_vhost_net && selector.representor == Some(true));
    assert_eq!(pool.info_for("0000:03:00.2")["zone"], "b");
    assert_eq!(pool.info_for("0000:03:00.3")["zone"], "a");
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn yaml_says_the_same_as_json() {
    let yaml = "resourceList:\n- resourceName: a\n  selectors:\n    vendors: ['8086', 15b3, 0042]\n    pfNames: [eth0#0-3]\n";
    let json = with_selectors(r#"{"vendors": ["8086", "15b3", "0042"], "pfNames": ["eth0#0-3"]}"#);
    assert_eq!(parse(yaml).unwrap(), parse(&json).unwrap());
}

#[test]
fn selectors_are_an_object_or_a_list() {
    let one = parse(&with_selectors(r#"{"vendors": ["8086"]}"#)).unwrap();
    let list = parse(&with_selectors(r#"[{"vendors": ["8086"]}]"#)).unwrap();
    assert_eq!(one, list);
    let two = parse(&with_selectors(r#"[{"vendors": ["8086"]}, {"vendors": ["15b3"]}]"#)).unwrap();
    assert_eq!(two.pools[0].selectors.len(), 2);
}

#[test]
fn what_the_operator_writes_is_taken() {
    let text = r#"{"resourceList": [{"resourceName": "a", "selectors":
        {"vendors": ["8086"], "IsRdma": true, "NeedVhostNet": false, "vdpaType": "", "pKeys": []}, "SelectorObjs": null}]}"#;
    assert!(parse(text).unwrap().pools[0].selectors[0].is_rdma);
}

#[test]
fn partition_keys_are_numbers_however_they_are_written() {
    let config = parse(&with_selectors(r#"{"pKeys": ["0x1", "0xABCD"]}"#)).unwrap();
    assert_eq!(config.pools[0].selectors[0].p_keys, ["0x0001", "0xabcd"]);
}

#[test]
fn a_pool_without_selectors_takes_everything_and_says_so() {
    let config = parse(r#"{"resourceList": [{"resourceName": "a"}]}"#).unwrap();
    assert_eq!(config.pools[0].selectors, [Selector::default()]);
    assert!(config.warnings[0].contains("takes every device"), "{:?}", config.warnings);
}

#[test]
fn a_pf_named_twice_is_warned_of() {
    let config = parse(&with_selectors(r#"{"pfNames": ["eth0#0-1", "eth1", "ETH0#4"]}"#)).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].contains("selectors[0].pfNames names eth0 twice"),
        "{:?}",
        config.warnings
    );
}

/// Every key with the kinds of value that it cannot have.
#[test]
fn errors_name_pool_key_and_value_and_say_what_is_right() {
    let cases = [
        (r#"{"vendors": ["80x6"]}"#, r#"vendors is "80x6": give four hexadecimal digits"#),
        (r#"{"vendors": ["Intel"]}"#, r#"vendors is "Intel": give four hexadecimal digits"#),
        (r#"{"vendors": [""]}"#, r#"vendors is "": give four hexadecimal digits"#),
        (r#"{"devices": ["12345"]}"#, r#"devices is "12345": give four hexadecimal digits"#),
        (r#"{"drivers": [""]}"#, r#"drivers is "": leave the entry out"#),
        (
            r#"{"pciAddresses": ["03:00"]}"#,
            r#"pciAddresses is "03:00": PCI address "03:00" is not of the form"#,
        ),
        (r#"{"acpiIndexes": ["eth0"]}"#, r#"acpiIndexes is "eth0": give a number"#),
        (r#"{"acpiIndexes": ["0101"]}"#, r#"acpiIndexes is "0101": give a number"#),
        (r#"{"pfNames": ["eth0#3-1"]}"#, r#"pfNames is "eth0#3-1": "3-1" ends before it begins"#),
        (r#"{"pfNames": ["eth0#0-a"]}"#, r#"pfNames is "eth0#0-a": "0-a" is no list of indexes"#),
        (r##"{"pfNames": ["#1"]}"##, r##"pfNames is "#1": there is no PF before the '#'"##),
        (r#"{"rootDevices": ["eth0#1"]}"#, r#"rootDevices is "eth0#1": PCI address "eth0""#),
        (
            r#"{"rootDevices": ["0000:03:00.0#1,"]}"#,
            r#"rootDevices is "0000:03:00.0#1,": "" is no list of indexes"#,
        ),
        (r#"{"linkTypes": ["ethernet"]}"#, r#"linkTypes is "ethernet": give ether or infiniband"#),
        (r#"{"ddpProfiles": [""]}"#, r#"ddpProfiles is "": leave the entry out"#),
        (r#"{"pKeys": ["8001"]}"#, r#"pKeys is "8001": give up to four hexadecimal digits"#),
        (r#"{"pKeys": ["0x+1"]}"#, r#"pKeys is "0x+1": give up to four hexadecimal digits"#),
        (r#"{"pKeys": ["0x18001"]}"#, r#"pKeys is "0x18001": give up to four hexadecimal digits"#),
        (r#"{"vdpaType": "net"}"#, r#"vdpaType is "net": give vhost or virtio"#),
        (r#"{"vdpaType": "vhost", "isRdma": true}"#, r#"vdpaType is "vhost": it excludes isRdma"#),
        (
            r#"{"eswitchMode": "on"}"#,
            r#"eswitchMode is "on": eswitch mode "on" is none of legacy, switchdev"#,
        ),
        (
            r#"{"auxTypes": ["sf"]}"#,
            r#"auxTypes is "[\"sf\"]": pools of this deviceType have vendors"#,
        ),
    ];
    for (selector, wanted) in cases {
        let error = error(&with_selectors(&format!("[{{}}, {selector}]")));
        let wanted = format!("configuration: pool intel.com/a: selectors[1].{wanted}");
        assert!(error.starts_with(&wanted), "{selector}: {error}");
    }
}

#[test]
fn a_device_type_has_its_own_keys() {
    let pool = |kind: &str, selectors: &str| {
        error(&format!(
            r#"{{"resourceList": [{{"resourceName": "a", "deviceType": "{kind}", "selectors": {selectors}}}]}}"#
        ))
    };
    let cases = [
        ("accelerator", r#"{"pfNames": ["eth0"]}"#, r#"pfNames is "[\"eth0\"]": pools of this"#),
        ("accelerator", r#"{"isRdma": true}"#, r#"isRdma is "true": pools of this deviceType"#),
        ("auxNetDevice", r#"{"auxTypes": ["eth"]}"#, r#"auxTypes is "eth": sf is the only kind"#),
        ("auxNetDevice", r#"{"vendors": ["15b3"]}"#, r#"auxTypes is "": give ["sf"]"#),
        (
            "auxNetDevice",
            r#"{"auxTypes": ["sf"], "pciAddresses": ["0000:03:00.0"]}"#,
            r#"pciAddresses is "[\"0000:03:00.0\"]": pools of this"#,
        ),
    ];
    for (kind, selectors, wanted) in cases {
        let error = pool(kind, selectors);
        assert!(error.contains(wanted), "{kind} {selectors}: {error}");
    }
}

#[test]
fn what_does_not_parse_is_placed_and_its_pool_named() {
    let cases = [
        (
            with_selectors(r#"{"vendors": 8086}"#),
            r#"resourceList[0].selectors.vendors (pool "a"): invalid type: integer `8086`"#,
        ),
        (
            with_selectors(r#"[{"vendor": ["8086"]}]"#),
            r#"(pool "a"): unknown field `vendor`, expected one of `vendors`"#,
        ),
        (
            with_selectors(r#"{"isRdma": "yes"}"#),
            r#"selectors.isRdma (pool "a"): invalid type: string "yes", expected a boolean"#,
        ),
        (with_selectors(r#"{"needVhostNet": 1}"#), r#"selectors.needVhostNet (pool "a")"#),
        (with_selectors(r#"{"representor": "np0r0"}"#), r#"selectors.representor (pool "a")"#),
        (with_selectors(r#""15b3""#), "expected an object of selectors, or a list of such objects"),
        (
            r#"{"resourceList": [{"resourceName": "a", "excludeTopology": "no"}]}"#.to_owned(),
            r#"resourceList[0].excludeTopology (pool "a")"#,
        ),
        (
            r#"{"resourceList": [{"resourceName": "a", "additionalInfo": {"*": "zone"}}]}"#
                .to_owned(),
            r#"resourceList[0].additionalInfo.* (pool "a")"#,
        ),
        (
            r#"{"resourceList": [{"resourceName": "a", "preferredAllocation": "all"}]}"#.to_owned(),
            r#"preferredAllocation (pool "a"): unknown variant `all`, expected `pack` or `spread`"#,
        ),
        (
            r#"{"resourceList": [{"resourceName": "a", "isRdma": true}]}"#.to_owned(),
            "unknown field `isRdma`",
        ),
        (r#"{"resourceList": [{}]}"#.to_owned(), "missing field `resourceName`"),
        (
            r#"{"resourceList": [{"resourceName": "a", "deviceType": "nic"}]}"#.to_owned(),
            "unknown variant `nic`, expected one of `netDevice`",
        ),
        (r#"{"resourceList": []} x"#.to_owned(), "after the closing brace"),
        (
            "resourceList:\n- resourceName: a\n  selectors: {vendor: ['8086']}\n".to_owned(),
            r#"(pool "a"): "#,
        ),
        (String::new(), "configuration: the file: "),
        ("{".to_owned(), "configuration: the file: EOF"),
        (r#"{"resourceList": [{"#.to_owned(), "configuration: resourceList[0]: EOF"),
    ];
    for (text, wanted) in cases {
        let error = error(&text);
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn pools_without_a_name_of_their_own_are_refused() {
    let twice = r#"{"resourceList": [{"resourceName": "a"}, {"resourceName": "a"}]}"#;
    assert!(error(twice).contains("pool intel.com/a is there twice"));
    let apart = r#"{"resourceList": [{"resourceName": "a"}, {"resourceName": "a", "resourcePrefix": "x.y"}]}"#;
    assert_eq!(parse(apart).unwrap().pools.len(), 2);
    assert!(
        error(r#"{"resourceList": [{"resourceName": "a b"}]}"#)
            .contains(r#"resourceName is "a b": give letters"#)
    );
    assert!(error(r#"{"resourceList": []}"#).contains("resourceList is empty"));
}

#[test]
fn info_for_what_is_no_device_is_refused() {
    let text =
        r#"{"resourceList": [{"resourceName": "a", "additionalInfo": {"eth0": {"k": "v"}}}]}"#;
    assert!(error(text).contains(r#"additionalInfo is "eth0": PCI address "eth0""#));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/no/such/file"), "intel.com").unwrap_err().to_string();
    assert!(error.starts_with("configuration /no/such/file: "), "{error}");
}

const SOUND: &str = r#"{"resourceList": [{"resourceName": "a", "selectors": [{"vendors": ["8086"], "pfNames": ["eth0#0-3,5"],
    "rootDevices": ["0000:03:00.0#1"], "isRdma": true}], "additionalInfo": {"*": {"k": "v"}}}]}"#;

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text: String) {
        let _ = parse(&text);
    }

    /// Bytes of a sound file changed, left out and doubled: an error or a configuration, never a panic.
    #[test]
    fn a_corrupted_file_is_read_or_refused(at in 0..SOUND.len(), length in 0..40usize, with in "[ -~]{0,3}") {
        let end = (at + length).min(SOUND.len());
        let text = format!("{}{with}{}", &SOUND[..at], &SOUND[end..]);
        if let Err(error) = parse(&text) {
            prop_assert!(error.to_string().starts_with("configuration"), "{}", error);
        }
    }
}
