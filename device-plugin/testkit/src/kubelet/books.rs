//! Who has which device, in kubelet's books, and the checkpoint it keeps of them.

use std::collections::BTreeMap;

use kubelet_api::podresources::{
    ContainerDevices, ContainerResources, ListPodResourcesResponse, PodResources,
};
use serde_json::json;

/// Devices by pod and resource.
#[derive(Debug, Default)]
pub(super) struct Books(BTreeMap<String, BTreeMap<String, Vec<String>>>);

impl Books {
    pub(super) fn add(&mut self, pod: &str, resource: &str, devices: &[String]) {
        let of_pod = self.0.entry(pod.to_owned()).or_default();
        of_pod.entry(resource.to_owned()).or_default().extend(devices.iter().cloned());
    }

    pub(super) fn remove(&mut self, pod: &str) {
        self.0.remove(pod);
    }

    pub(super) fn of(&self, resource: &str) -> BTreeMap<String, Vec<String>> {
        let with = |(pod, resources): (&String, &BTreeMap<String, Vec<String>>)| {
            Some((pod.clone(), resources.get(resource)?.clone()))
        };
        self.0.iter().filter_map(with).collect()
    }

    /// As kubelet writes it, with the healthy devices of each resource; the checksum is not checked by
    /// anybody but kubelet.
    pub(super) fn checkpoint(&self, registered: &BTreeMap<String, Vec<String>>) -> String {
        let entries = self.0.iter().flat_map(|(pod, resources)| {
            resources.iter().map(move |(resource, devices)| {
                json!({"PodUID": pod, "ContainerName": "main", "ResourceName": resource,
                    "DeviceIDs": {"-1": devices}, "AllocResp": ""})
            })
        });
        let entries: Vec<_> = entries.collect();
        json!({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": registered}, "Checksum": 0})
            .to_string()
    }

    /// As the pod-resources socket tells it.
    pub(super) fn pod_resources(&self) -> ListPodResourcesResponse {
        let devices = |(resource, ids): (&String, &Vec<String>)| ContainerDevices {
            resource_name: resource.clone(),
            device_ids: ids.clone(),
        };
        let pods = self.0.iter().map(|(pod, resources)| PodResources {
            name: pod.clone(),
            namespace: "default".to_owned(),
            containers: vec![ContainerResources {
                name: "main".to_owned(),
                devices: resources.iter().map(devices).collect(),
            }],
        });
        ListPodResourcesResponse { pod_resources: pods.collect() }
    }
}
