//! The files of a cluster's certificate authority: made once, used to issue the nodes' certificates.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use rand::Rng;
use rookery_process::certificates::Authority;
use rookery_proto::Role;
use rookery_proto::remote::names::NodeName;

/// A cluster's id and authority, in a folder.
pub(crate) struct ClusterFiles {
    folder: PathBuf,
    cluster: String,
    authority: Authority,
}

/// Where a node's certificate and key lie.
pub(crate) struct NodeFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl ClusterFiles {
    /// Makes a cluster: an id, a CA, an admin token. The folder must not hold one.
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        if folder.join("cluster-id").exists() {
            bail!("{} holds a cluster already", folder.display());
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let cluster = format!("{:012x}", rand::rng().random::<u64>() & 0xffff_ffff_ffff);
        let authority = Authority::create(&cluster)?;
        authority.save(&folder.join("ca.pem"), &folder.join("ca.key"))?;
        write_private(&folder.join("admin-token"), &token())?;
        // Last: a folder with an id is complete.
        rookery_process::data_folder::write_whole(&folder.join("cluster-id"), &format!("{cluster}\n"))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            cluster,
            authority,
        })
    }

    /// Opens the cluster of a folder.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("cluster-id");
        let cluster = fs::read_to_string(&path).with_context(|| {
            format!(
                "there is no cluster in {}: make one with `rookery init`",
                folder.display()
            )
        })?;
        let authority = Authority::load(&folder.join("ca.pem"), &folder.join("ca.key"))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            cluster: cluster.trim().to_owned(),
            authority,
        })
    }

    /// Opens the cluster of a folder, or makes one.
    pub(crate) fn open_or_create(folder: &Path) -> anyhow::Result<Self> {
        if folder.join("cluster-id").exists() {
            Self::open(folder)
        } else {
            Self::create(folder)
        }
    }

    /// The cluster's id.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The CA's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The CA's key.
    pub(crate) fn authority_key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    /// The operator's token.
    pub(crate) fn admin_token(&self) -> PathBuf {
        self.folder.join("admin-token")
    }

    /// Issues a node's certificate into a folder, in place of what is there. `hosts` are the names and addresses under which
    /// operators reach it.
    pub(crate) fn issue_node(
        &self,
        folder: &Path,
        node: &str,
        role: Role,
        hosts: &[String],
    ) -> anyhow::Result<NodeFiles> {
        let name = NodeName::new(node, role, &self.cluster).ok_or_else(|| {
            anyhow!("{node} cannot be a node id: lower-case letters, digits and hyphens, at most 63")
        })?;
        let mut names = name.dns_names().to_vec();
        names.extend_from_slice(hosts);
        let files = NodeFiles::new(folder, "node");
        self.issue(folder, &files, &names)?;
        Ok(files)
    }

    /// Issues a certificate for a listener that mail clients see, unless there is one: it may be another authority's.
    pub(crate) fn issue_server(&self, folder: &Path, hosts: &[String]) -> anyhow::Result<NodeFiles> {
        let files = NodeFiles::new(folder, "tls");
        if !(files.certificate.exists() && files.key.exists()) {
            self.issue(folder, &files, hosts)?;
        }
        Ok(files)
    }

    fn issue(&self, folder: &Path, files: &NodeFiles, names: &[String]) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        self.authority
            .issue(names)?
            .save(&files.certificate, &files.key)?;
        Ok(())
    }
}

impl NodeFiles {
    fn new(folder: &Path, stem: &str) -> Self {
        Self {
            certificate: folder.join(format!("{stem}.pem")),
            key: folder.join(format!("{stem}.key")),
        }
    }
}

fn token() -> String {
    let bytes: [u8; 32] = rand::rng().random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    Ok(())
}
