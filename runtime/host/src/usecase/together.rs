//! Installing several plugins as one: in the order of their dependencies, all of them or none. What fails is taken back with
//! those that this act has installed; a crash in the middle is taken up where it was, also in the middle of taking back.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bulkhead_database::{Act, NewOperation, OperationRow};
use bulkhead_model::{Actor, Code, Coded as _, Manifest, PluginId, PluginStatus, Transition, Version};
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::auth::require_super_admin;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::release;
use crate::usecase::operation::{Progress, view_operation};
use crate::usecase::register::RELEASES_MAX;
use crate::view;

/// Kind of the operation.
pub(crate) const TOGETHER: &str = "install-together";
/// The step that says that the act is being taken back, for whoever takes the operation up.
const UNDO: &str = "undo";
/// Longest that it may take before what is left is recorded as failed.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// A plugin to install with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Together {
    /// The plugin.
    pub plugin: PluginId,
    /// Its version; the one registered last where none is named.
    pub version: Option<Version>,
}

/// What the operation's row keeps: the plugins in the order in which they are installed.
#[derive(Serialize, Deserialize)]
struct Request {
    plugins: Vec<Member>,
}

#[derive(Serialize, Deserialize)]
struct Member {
    id: PluginId,
    version: Version,
    /// No tenant had data of it: what there is when it is taken back, this act made.
    is_fresh: bool,
}

impl Host {
    /// Begins to install several registered plugins; those that are installed in this very version stay as they are. The answer is an operation to follow.
    pub async fn install_together(&self, actor: &Actor, wanted: &[Together]) -> Result<view::Operation, Error> {
        require_super_admin(actor)?;
        let act = Act::new(actor, clock::now_micros());
        self.look_at_log().await?;
        let plugins = self.in_order(wanted).await?;
        for member in &plugins {
            self.check_no_step_back(&member.id, &member.version).await?;
        }
        let Some((id, version)) = plugins.last().map(|last| (last.id.clone(), last.version.clone())) else {
            return Err(Error::Conflict("every one of these plugins is installed, or none was named".to_owned()));
        };
        let mut tx = self.inner.db.begin().await?;
        for member in &plugins {
            tx.advance_plugin(&member.id, Transition::BeginInstall, &act).await?;
            tx.set_plugin_version(&member.id, &member.version, &act).await?;
        }
        let request = serde_json::to_string(&Request { plugins })
            .unwrap_or_else(|error| unreachable!("a request holds names and flags: {error}"));
        let new = NewOperation {
            kind: TOGETHER,
            plugin_id: &id,
            version: &version,
            request: &request,
            actor: &actor.subject,
        };
        let operation = tx.insert_operation(&new, act.at).await?;
        tx.commit().await?;
        self.run_operation(operation.clone());
        view_operation(operation)
    }

    /// The plugins by dependency, then load order, then id.
    async fn in_order(&self, wanted: &[Together]) -> Result<Vec<Member>, Error> {
        if wanted.len() > RELEASES_MAX {
            return Err(Error::InvalidName(format!("at most {RELEASES_MAX} plugins are installed together")));
        }
        let (mut members, mut manifests) = (BTreeMap::new(), BTreeMap::new());
        for Together { plugin, version } in wanted {
            let row = self.inner.db.get_plugin(plugin).await?;
            let stored = self.inner.db.get_plugin_version(plugin, version.as_ref().unwrap_or(&row.version)).await?;
            let is_there =
                matches!(row.status, PluginStatus::Installed | PluginStatus::Active | PluginStatus::Disabled);
            if is_there && row.version == stored.version {
                continue;
            }
            let is_fresh = self.inner.db.list_tenants_with_record(plugin).await?.is_empty();
            manifests.insert(plugin.clone(), release::facts(&stored.facts)?.manifest().map_err(Error::Refused)?);
            members.insert(plugin.clone(), Member { id: plugin.clone(), version: stored.version, is_fresh });
        }
        let order = order(&manifests)?;
        Ok(order.iter().filter_map(|id| members.remove(id)).collect())
    }

    /// Runs it to its end; also one that a crash interrupted.
    pub(crate) async fn run_together(&self, operation: &OperationRow) -> Result<(), Error> {
        let Ok(request) = serde_json::from_str::<Request>(&operation.request) else {
            return Err(Error::NotServing("the operation's row cannot be read".to_owned()));
        };
        let mut progress = Progress::new(self, operation);
        let was_undoing = view_operation(operation.clone())?.steps.iter().any(|step| step.name == UNDO);
        let failed = if was_undoing {
            Some(interrupted(&request))
        } else {
            let work = AssertUnwindSafe(self.install_members(operation, &request, &mut progress)).catch_unwind();
            tokio::select! {
                ended = tokio::time::timeout(DEADLINE, work) => match ended {
                    Ok(Ok(Ok(()))) => None,
                    Ok(Ok(Err(failed))) => Some(failed),
                    Ok(Err(_panic)) => Some(interrupted(&request)),
                    Err(_late) => Some(interrupted(&request)),
                },
                // The operation stays `running` in the database: the next start takes it up again.
                () = self.inner.stopping.cancelled() => return Ok(()),
            }
        };
        if let Some(failed) = &failed {
            self.take_back(&request, failed, &mut progress).await?;
        }
        let mut tx = self.inner.db.begin().await?;
        progress.finish(&mut tx, failed.as_ref()).await?;
        Ok(tx.commit().await?)
    }

    /// Installs one after the other; those that are installed already were so before a crash.
    async fn install_members(
        &self,
        operation: &OperationRow,
        request: &Request,
        progress: &mut Progress<'_>,
    ) -> Result<(), Error> {
        for member in &request.plugins {
            let failed = |error: &Error| Error::TakenBack {
                plugin: member.id.clone(),
                code: error.code(),
                reason: error.recorded(),
            };
            let row = self.inner.db.get_plugin(&member.id).await.map_err(|error| failed(&error.into()))?;
            if row.status != PluginStatus::Installing {
                continue;
            }
            let one =
                OperationRow { plugin_id: member.id.clone(), version: member.version.clone(), ..operation.clone() };
            let installed = self.install_member(&one, progress).await;
            installed.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    async fn install_member(&self, one: &OperationRow, progress: &mut Progress<'_>) -> Result<(), Error> {
        let act = Act::system(clock::now_micros());
        progress.step(&format!("install {}", one.plugin_id), 0, 1).await?;
        if let Err(error) = self.install_steps(one, progress).await.and_then(|wider| match wider {
            None => Ok(()),
            Some(_) => Err(Error::ReviewNeeded(format!("`{}` {}", one.plugin_id, one.version))),
        }) {
            self.record_denial(&act, Some(&one.plugin_id), None, &error).await?;
            return Err(error);
        }
        let mut tx = self.inner.db.begin().await?;
        tx.advance_plugin(&one.plugin_id, Transition::FinishInstall, &act).await?;
        tx.set_version_installed(&one.plugin_id, &one.version, act.at).await?;
        tx.set_plugin_error(&one.plugin_id, None, act.at).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes back what this act has done, the last first. Each step can be repeated.
    async fn take_back(&self, request: &Request, failed: &Error, progress: &mut Progress<'_>) -> Result<(), Error> {
        let total = u64::try_from(request.plugins.len()).unwrap_or(u64::MAX);
        progress.step(UNDO, 0, total).await?;
        for (done, member) in (1..).zip(request.plugins.iter().rev()) {
            let _turn = self.inner.acts.plugin(&member.id).await?;
            let row = self.inner.db.get_plugin(&member.id).await?;
            if row.version == member.version {
                self.take_back_one(member, row.status, failed, progress).await?;
            }
            progress.step(UNDO, done, total).await?;
        }
        Ok(())
    }

    async fn take_back_one(
        &self,
        member: &Member,
        status: PluginStatus,
        failed: &Error,
        progress: &mut Progress<'_>,
    ) -> Result<(), Error> {
        let act = Act::system(clock::now_micros());
        let steps: &[Transition] = match status {
            PluginStatus::Installing => &[Transition::FailInstall],
            PluginStatus::Active => {
                &[Transition::Disable, Transition::BeginUninstall, Transition::FinishUninstall, Transition::Register]
            }
            PluginStatus::Installed | PluginStatus::Disabled => {
                &[Transition::BeginUninstall, Transition::FinishUninstall, Transition::Register]
            }
            // Taken back before, or by somebody.
            PluginStatus::Registered | PluginStatus::Uninstalling | PluginStatus::Uninstalled => return Ok(()),
        };
        self.end_calls_everywhere(&member.id).await;
        self.unmount_everywhere(&member.id).await;
        if member.is_fresh {
            self.drop_data(&member.id, progress).await?;
        }
        let mut tx = self.inner.db.begin().await?;
        if member.is_fresh {
            tx.delete_plugin_tenants(&member.id, &act).await?;
        }
        for step in steps {
            tx.advance_plugin(&member.id, *step, &act).await?;
        }
        tx.set_plugin_error(&member.id, Some(&failed.recorded()), act.at).await?;
        Ok(tx.commit().await?)
    }
}

fn interrupted(request: &Request) -> Error {
    let last = request.plugins.last().map(|member| member.id.clone());
    match last {
        Some(plugin) => Error::TakenBack {
            plugin,
            code: Code::PluginUnavailable,
            reason: "the install was interrupted; see the last error of each plugin".to_owned(),
        },
        None => Error::NotServing("the install was interrupted".to_owned()),
    }
}

/// Dependencies first, then by load order, then by id. A circle is named.
fn order(manifests: &BTreeMap<PluginId, Manifest>) -> Result<Vec<PluginId>, Error> {
    let mut left: BTreeSet<&PluginId> = manifests.keys().collect();
    let mut order = Vec::with_capacity(manifests.len());
    while !left.is_empty() {
        let is_ready = |id: &&&PluginId| {
            manifests
                .get(**id)
                .is_some_and(|manifest| !manifest.dependencies.keys().any(|needed| left.contains(needed)))
        };
        let place = |id: &PluginId| (manifests.get(id).map(|manifest| manifest.plugin.load_order), id.clone());
        let Some(next) = left.iter().filter(is_ready).min_by_key(|id| place(id)).copied() else {
            return Err(Error::DependencyUnmet(format!("what needs itself: {}", circle(manifests, &left))));
        };
        left.remove(next);
        order.push(next.clone());
    }
    Ok(order)
}

/// `a needs b needs a`, among plugins of which each needs another.
fn circle(manifests: &BTreeMap<PluginId, Manifest>, left: &BTreeSet<&PluginId>) -> String {
    let mut way: Vec<&PluginId> = left.first().copied().into_iter().collect();
    while let Some(at) = way.last().and_then(|last| manifests.get(*last)) {
        let Some(next) = at.dependencies.keys().find(|needed| left.contains(needed)) else { break };
        let begin = way.iter().position(|seen| *seen == next);
        way.push(next);
        if let Some(begin) = begin {
            let names: Vec<&str> = way.iter().skip(begin).map(|id| id.as_str()).collect();
            return names.join(" needs ");
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifests(plugins: &[(&str, u32, &[&str])]) -> BTreeMap<PluginId, Manifest> {
        let one = |(id, load_order, needs): &(&str, u32, &[&str])| {
            let needs: String = needs.iter().map(|needed| format!("\"{needed}\" = \"*\"\n")).collect();
            let text = format!(
                "[plugin]\nid = \"{id}\"\nversion = \"1.0.0\"\nname = \"n\"\nload_order = {load_order}\n[dependencies]\n{needs}"
            );
            (id.parse().unwrap(), Manifest::parse_toml(&text).unwrap())
        };
        plugins.iter().map(one).collect()
    }

    #[test]
    fn plugins_are_installed_after_what_they_need_then_by_load_order_then_by_id() {
        let check = |plugins: &[(&str, u32, &[&str])], wanted: &[&str]| {
            let found: Vec<String> = order(&manifests(plugins)).unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(found, wanted);
        };

        check(&[("aa.one", 1, &["aa.two"]), ("aa.two", 9, &[])], &["aa.two", "aa.one"]);
        check(&[("aa.one", 5, &[]), ("aa.two", 1, &[]), ("aa.three", 5, &[])], &["aa.two", "aa.one", "aa.three"]);
        check(&[("aa.one", 1, &["zz.elsewhere"])], &["aa.one"]);
        check(
            &[("aa.one", 1, &["aa.two", "aa.three"]), ("aa.two", 1, &["aa.three"]), ("aa.three", 9, &[])],
            &["aa.three", "aa.two", "aa.one"],
        );
    }

    #[test]
    fn a_circle_is_named() {
        let plugins = manifests(&[
            ("aa.one", 1, &["aa.two"]),
            ("aa.two", 1, &["aa.three"]),
            ("aa.three", 1, &["aa.two"]),
            ("aa.four", 1, &[]),
        ]);

        let error = order(&plugins).unwrap_err();

        assert_eq!(error.code(), Code::DependencyUnmet);
        let told = error.to_string();
        assert!(
            told.contains("aa.two needs aa.three needs aa.two")
                || told.contains("aa.three needs aa.two needs aa.three"),
            "{told}"
        );
    }
}
