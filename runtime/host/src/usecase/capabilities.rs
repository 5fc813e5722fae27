//! What a registered release can do, and what it can do beyond another one, read from the stored bytes.
//! What follows from it is said in `reviews`.

use bulkhead_model::{Actor, PluginId, Role, Version};
use bulkhead_trust::{Capabilities, CapabilityDiff, StructuralLimits};

use crate::auth::require;
use crate::error::Error;
use crate::host::Host;

impl Host {
    /// The capabilities of a version, and where another one is named, the difference from that one to it.
    pub async fn capabilities(
        &self,
        actor: &Actor,
        plugin: &PluginId,
        version: &Version,
        against: Option<&Version>,
    ) -> Result<(Capabilities, Option<CapabilityDiff>), Error> {
        require(actor, &[Role::SuperAdmin, Role::Security], "super_admin or security")?;
        let capabilities = self.read_capabilities(plugin, version).await?;
        let diff = match against {
            Some(against) => Some(self.read_capabilities(plugin, against).await?.diff(&capabilities)),
            None => None,
        };
        Ok((capabilities, diff))
    }

    /// Reads them from the artifact. It was admitted once: what the policy in force makes of it is not the question.
    pub(crate) async fn read_capabilities(&self, plugin: &PluginId, version: &Version) -> Result<Capabilities, Error> {
        let digest = self.inner.db.get_plugin_version(plugin, version).await?.digest;
        let bytes = self.artifact_bytes(&digest).await?;
        let read = move || Capabilities::of(&bytes, &StructuralLimits::MAX).map_err(Error::Refused);
        // Megabytes are validated: calls on this thread do not wait for it.
        tokio::task::spawn_blocking(read).await.map_err(|_| Error::Busy("the artifact could not be read"))?
    }
}
