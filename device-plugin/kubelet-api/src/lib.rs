//! The gRPC interfaces between kubelet and a device plugin, as generated from `proto/`.
//!
//! The field numbers and names are Kubernetes' own and never change within a version; everything else
//! in these files is ours. Both ends are generated: the plugin is a server, and the kubelet that tests
//! put in front of it is the other one.

#![allow(missing_docs, clippy::all, reason = "written by the code generator")]

/// `deviceplugin/v1beta1`: `Registration` is kubelet's service, `DevicePlugin` the plugin's.
pub mod deviceplugin {
    tonic::include_proto!("v1beta1");

    /// The version that plugins register with.
    pub const VERSION: &str = "v1beta1";
    /// [`Device::health`] of a device that may be allocated.
    pub const HEALTHY: &str = "Healthy";
    /// [`Device::health`] of a device that may not.
    pub const UNHEALTHY: &str = "Unhealthy";
}

/// `pluginregistration/v1`: the service that kubelet's plugin watcher asks on a plugin's own socket.
pub mod pluginregistration {
    tonic::include_proto!("pluginregistration");

    /// [`PluginInfo::type`] of a device plugin.
    pub const DEVICE_PLUGIN: &str = "DevicePlugin";
}

/// `podresources/v1`: which pod holds which device, in kubelet's books.
pub mod podresources {
    tonic::include_proto!("v1");
}
