//! Compiles `proto/` without `protoc`: protox reads the files, tonic writes the code.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["deviceplugin.proto", "pluginregistration.proto", "podresources.proto"];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
