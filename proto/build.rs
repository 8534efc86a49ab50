//! Compiles the protobuf packages with a compiler written in Rust, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "rookery/frame/v1/frame.proto",
        "rookery/mailstore/v1/mailstore.proto",
        "rookery/directory/v1/directory.proto",
        "rookery/admin/v1/admin.proto",
        "rookery/replication/v1/replication.proto",
        "rookery/admin/v1/backup.proto",
        "rookery/admin/v1/rebalance.proto",
        "rookery/admin/v1/join.proto",
    ];
    println!("cargo:rerun-if-changed=rookery");
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
