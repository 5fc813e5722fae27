//! The reach report: which signer's code can reach what in which tenant, at a time, or what changed between two.
//! It reads the record; `worker/reach` writes it and says what counts.

use std::collections::HashMap;
use std::sync::Arc;

use bulkhead_database::{ReachFilter, ReachRow};
use bulkhead_model::{Actor, Digest, PluginId, Role, TenantId};

use crate::auth::require;
use crate::clock;
use crate::error::Error;
use crate::host::Host;
use crate::reach::{ReachSet, Reached, Signed};
use crate::view::{PageRequest, ReachEntry, ReachReport};
use crate::worker::reach::pair;

/// Plugins in tenants of one read.
const PAIRS: u32 = 50;
/// Plugins in tenants that one request looks at: a page may be short, or empty, and still name a next one.
const LOOKED_AT_MAX: u32 = 500;
/// Rows of one read: all the history of its pairs, or of fewer of them.
const ROWS: u32 = 10_000;
/// Longest name of a signer in bytes.
const SIGNER_BYTES_MAX: usize = 256;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct ReachRequest {
    /// Within one tenant.
    pub tenant: Option<TenantId>,
    /// Of one plugin.
    pub plugin: Option<PluginId>,
    /// By one signer: a principal's name, or a key id.
    pub signer: Option<String>,
    /// At this time, in microseconds since 1970; `None` is now. What is later than now is now.
    pub at: Option<i64>,
    /// Compared with this earlier time.
    pub from: Option<i64>,
}

/// Where a report goes on: its two times, the pair, and how many entries of that pair were told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    from: i64,
    at: i64,
    pair: Option<(TenantId, PluginId)>,
    told: usize,
}

impl Host {
    /// A page of the report.
    pub async fn reach(&self, actor: &Actor, request: &ReachRequest, page: &PageRequest) -> Result<ReachReport, Error> {
        require(actor, &[Role::Security], "security")?;
        let mut place = match page.cursor.as_deref() {
            Some(cursor) => parse(cursor)?,
            None => self.first_place(request).await?,
        };
        let filter = ReachFilter { tenant: request.tenant.as_ref(), plugin: request.plugin.as_ref() };
        let mut sets = HashMap::new();
        let mut report = ReachReport {
            items: Vec::new(),
            removed: Vec::new(),
            from: request.from.map(|_| place.from),
            at: place.at,
            next_cursor: None,
        };
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let mut looked_at = 0_u32;
        while looked_at < LOOKED_AT_MAX {
            let histories = self.next_histories(filter, &place).await?;
            if histories.is_empty() {
                return Ok(report);
            }
            for (of, rows) in histories {
                looked_at = looked_at.saturating_add(1);
                self.read_sets(&rows, &mut sets).await?;
                let told = if place.pair.as_ref() == Some(&of) { place.told } else { 0 };
                let compared =
                    Compared { rows: &rows, sets: &sets, from: request.from.map(|_| place.from), at: place.at };
                let entries = compared.entries(request.signer.as_deref());
                let room = limit.saturating_sub(report.items.len().saturating_add(report.removed.len()));
                let is_cut = entries.len().saturating_sub(told) > room;
                for (is_removed, entry) in entries.into_iter().skip(told).take(room) {
                    if is_removed { report.removed.push(entry) } else { report.items.push(entry) }
                }
                // A pair that was told to its end counts as told for good.
                let told = if is_cut { told.saturating_add(room) } else { usize::MAX };
                place = Place { pair: Some(of), told, ..place };
                if is_cut {
                    report.next_cursor = Some(text(&place));
                    return Ok(report);
                }
            }
        }
        report.next_cursor = Some(text(&place));
        Ok(report)
    }

    async fn first_place(&self, request: &ReachRequest) -> Result<Place, Error> {
        let at = match request.at.filter(|at| *at < clock::now_micros()) {
            Some(at) => at,
            None => {
                // What was done a moment ago is on record before it is asked for, and what is on record lies before now, also
                // where a clock went back.
                Box::pin(self.record_reach()).await?;
                clock::now_micros().max(self.inner.db.reach_written_at().await?)
            }
        };
        let from = request.from.unwrap_or(at);
        if from > at {
            return Err(Error::InvalidName("`from` is later than `to`".to_owned()));
        }
        if request.signer.as_ref().is_some_and(|signer| signer.len() > SIGNER_BYTES_MAX) {
            return Err(Error::InvalidName(format!("a signer's name has at most {SIGNER_BYTES_MAX} bytes")));
        }
        Ok(Place { from, at, pair: None, told: 0 })
    }

    /// The next pairs with all that is on record about each.
    async fn next_histories(
        &self,
        filter: ReachFilter<'_>,
        place: &Place,
    ) -> Result<Vec<((TenantId, PluginId), Vec<ReachRow>)>, Error> {
        let times = (place.from, place.at);
        let mut pairs = Vec::new();
        if let Some(unfinished) = place.pair.as_ref().filter(|_| place.told != usize::MAX) {
            pairs.push(unfinished.clone());
        }
        pairs.extend(self.inner.db.list_reach_pairs(filter, times, place.pair.as_ref().map(pair), PAIRS).await?);
        let (Some(first), Some(last)) = (pairs.first(), pairs.last()) else { return Ok(Vec::new()) };
        let rows = self.inner.db.list_reach_history(filter.plugin, pair(first), pair(last), ROWS).await?;
        let is_cut = u32::try_from(rows.len()).unwrap_or(u32::MAX) >= ROWS;
        let mut of_pair: HashMap<(TenantId, PluginId), Vec<ReachRow>> = HashMap::new();
        let end = rows.last().map(|row| (row.tenant_id.clone(), row.plugin_id.clone()));
        for row in rows {
            of_pair.entry((row.tenant_id.clone(), row.plugin_id.clone())).or_default().push(row);
        }
        // Where the read ended in the middle, the pairs from there on are for the next one. A pair with more rows than a read
        // holds is told by its oldest ones.
        let is_whole = |one: &(TenantId, PluginId)| !is_cut || end.as_ref().is_none_or(|end| one < end) || one == first;
        let pairs: Vec<_> = pairs.iter().filter(|one| is_whole(one)).cloned().collect();
        Ok(pairs.into_iter().filter_map(|one| of_pair.remove(&one).map(|rows| (one, rows))).collect())
    }

    async fn read_sets(&self, rows: &[ReachRow], sets: &mut HashMap<Digest, Arc<ReachSet>>) -> Result<(), Error> {
        for row in rows {
            if sets.contains_key(&row.set_id) {
                continue;
            }
            let text = self.inner.db.get_reach_set(&row.set_id).await?;
            let set = serde_json::from_str(&text);
            let set = set.map_err(|_| bulkhead_database::Error::Corrupt { column: "body" })?;
            sets.insert(row.set_id, Arc::new(set));
        }
        Ok(())
    }
}

/// The history of one pair, and the times that it is looked at.
struct Compared<'a> {
    /// By time.
    rows: &'a [ReachRow],
    sets: &'a HashMap<Digest, Arc<ReachSet>>,
    from: Option<i64>,
    at: i64,
}

/// Who reaches what: the same over releases, rules and policies.
type Identity<'a> = (Option<&'a Signed>, &'a Reached);

impl Compared<'_> {
    /// The entries in order, each with whether it was reached at the earlier time alone.
    fn entries(&self, signer: Option<&str>) -> Vec<(bool, ReachEntry)> {
        let wanted = |identity: &Identity<'_>| {
            signer.is_none_or(|name| identity.0.is_some_and(|by| by.principal == name || by.key_id == name))
        };
        let now = self.reached(self.place(self.at));
        let Some(from) = self.from else {
            return now.into_iter().filter(wanted).filter_map(|one| Some((false, self.entry(one, self.at)?))).collect();
        };
        let then = self.reached(self.place(from));
        let added = now.iter().filter(|one| !then.contains(one) && wanted(one)).map(|one| (false, *one, self.at));
        let removed = then.iter().filter(|one| !now.contains(one) && wanted(one)).map(|one| (true, *one, from));
        added.chain(removed).filter_map(|(is_removed, one, at)| Some((is_removed, self.entry(one, at)?))).collect()
    }

    /// The row that holds at a time.
    fn place(&self, at: i64) -> Option<usize> {
        self.rows.iter().position(|row| row.since <= at && row.until.is_none_or(|until| until > at))
    }

    fn set(&self, place: usize) -> Option<&ReachSet> {
        self.sets.get(&self.rows.get(place)?.set_id).map(Arc::as_ref)
    }

    fn reached(&self, place: Option<usize>) -> Vec<Identity<'_>> {
        let Some(set) = place.and_then(|place| self.set(place)) else { return Vec::new() };
        let signers: Vec<_> = if set.signers.is_empty() { vec![None] } else { set.signers.iter().map(Some).collect() };
        signers.into_iter().flat_map(|by| set.reached.iter().map(move |what| (by, what))).collect()
    }

    fn holds(&self, place: usize, (by, what): Identity<'_>) -> bool {
        self.set(place).is_some_and(|set| {
            let is_by = by.map_or(set.signers.is_empty(), |by| set.signers.contains(by));
            is_by && set.reached.contains(what)
        })
    }

    fn entry(&self, identity: Identity<'_>, at: i64) -> Option<ReachEntry> {
        let place = self.place(at)?;
        let (set, row) = (self.set(place)?, self.rows.get(place)?);
        let (mut first, mut last) = (row, row);
        for before in (0..place).rev() {
            match self.rows.get(before) {
                Some(row) if row.until == Some(first.since) && self.holds(before, identity) => first = row,
                Some(_) | None => break,
            }
        }
        for after in place.saturating_add(1)..self.rows.len() {
            match self.rows.get(after) {
                Some(row) if last.until == Some(row.since) && self.holds(after, identity) => last = row,
                Some(_) | None => break,
            }
        }
        let (by, what) = identity;
        Some(ReachEntry {
            signer: by.map(|by| by.principal.clone()),
            key_id: by.map(|by| by.key_id.clone()),
            role: by.map(|by| by.role.clone()),
            plugin: row.plugin_id.clone(),
            version: set.version.clone(),
            digest: set.digest.clone(),
            rule: set.rule.clone(),
            trust: set.trust,
            policy_version: row.policy_version,
            tenant: row.tenant_id.clone(),
            kind: what.kind.as_str(),
            name: what.name.clone(),
            access: what.access.clone(),
            methods: what.methods.clone(),
            ports: what.ports.clone(),
            since: first.since,
            until: last.until,
        })
    }
}

fn text(place: &Place) -> String {
    let Place { from, at, pair, told } = place;
    let told = if *told == usize::MAX { "-".to_owned() } else { told.to_string() };
    match pair {
        Some((tenant, plugin)) => format!("{from}/{at}/{tenant}/{plugin}/{told}"),
        None => format!("{from}/{at}"),
    }
}

fn parse(cursor: &str) -> Result<Place, Error> {
    let malformed = || Error::InvalidName("the cursor is not one that a page named".to_owned());
    let parts: Vec<&str> = cursor.splitn(6, '/').collect();
    let number = |text: &str| text.parse::<i64>().map_err(|_| malformed());
    match parts.as_slice() {
        [from, at, tenant, plugin, told] => {
            let told = if *told == "-" { usize::MAX } else { told.parse().map_err(|_| malformed())? };
            let pair = (tenant.parse().map_err(|_| malformed())?, plugin.parse().map_err(|_| malformed())?);
            Ok(Place { from: number(from)?, at: number(at)?, pair: Some(pair), told })
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_model::TrustLevel;

    use super::*;
    use crate::reach::Kind;

    fn reached(name: &str) -> Reached {
        Reached { kind: Kind::Data, name: name.to_owned(), access: None, methods: Vec::new(), ports: Vec::new() }
    }

    fn set(version: &str, signers: &[&str], names: &[&str]) -> ReachSet {
        let signed = |name: &&str| Signed {
            principal: (*name).to_owned(),
            key_id: format!("sha256:{name}"),
            role: "author".to_owned(),
        };
        ReachSet {
            version: version.parse().unwrap(),
            digest: format!("sha256:{version}"),
            rule: "r".to_owned(),
            trust: TrustLevel::Verified,
            signers: signers.iter().map(signed).collect(),
            reached: names.iter().map(|name| reached(name)).collect(),
        }
    }

    /// A history of sets, each from its time until the given one.
    fn history(rows: &[(i64, Option<i64>, ReachSet)]) -> (Vec<ReachRow>, HashMap<Digest, Arc<ReachSet>>) {
        let mut sets = HashMap::new();
        let rows = rows.iter().map(|(since, until, set)| {
            let (set_id, _) = set.to_text();
            sets.insert(set_id, Arc::new(set.clone()));
            ReachRow {
                tenant_id: "bank".parse().unwrap(),
                plugin_id: "acme.crm".parse().unwrap(),
                since: *since,
                until: *until,
                set_id,
                policy_version: 1,
            }
        });
        (rows.collect(), sets)
    }

    fn told(rows: &[(i64, Option<i64>, ReachSet)], from: Option<i64>, at: i64, signer: Option<&str>) -> Vec<String> {
        let (rows, sets) = history(rows);
        let compared = Compared { rows: &rows, sets: &sets, from, at };
        let said = |(is_removed, entry): (bool, ReachEntry)| {
            let sign = if is_removed { '-' } else { '+' };
            let by = entry.signer.unwrap_or_default();
            let until = entry.until.map_or("now".to_owned(), |until| until.to_string());
            format!("{sign}{by} {}@{} {}..{until}", entry.name, entry.version, entry.since)
        };
        compared.entries(signer).into_iter().map(said).collect()
    }

    #[test]
    fn what_goes_on_over_releases_keeps_its_beginning_and_a_gap_ends_it() {
        let rows = [
            (5, Some(8), set("0.9.0", &["alice"], &["kv"])),
            (10, Some(20), set("1.0.0", &["alice"], &["kv"])),
            (20, Some(30), set("1.1.0", &["alice"], &["kv", "sql"])),
            (30, None, set("1.2.0", &["alice"], &["sql"])),
        ];

        assert_eq!(told(&rows, None, 25, None), ["+alice kv@1.1.0 10..30", "+alice sql@1.1.0 20..now"]);
        assert_eq!(told(&rows, None, 30, None), ["+alice sql@1.2.0 20..now"]);
        assert_eq!(told(&rows, None, 7, None), ["+alice kv@0.9.0 5..8"]);
        assert_eq!(told(&rows, None, 9, None), [""; 0]);
        assert_eq!(told(&rows, None, 4, None), [""; 0]);
    }

    #[test]
    fn a_difference_tells_what_came_and_what_went_and_not_a_new_version() {
        let rows = [
            (10, Some(20), set("1.0.0", &["alice"], &["kv", "blob"])),
            (20, None, set("1.1.0", &["alice"], &["blob", "sql"])),
        ];

        assert_eq!(told(&rows, Some(15), 25, None), ["+alice sql@1.1.0 20..now", "-alice kv@1.0.0 10..20"]);
        assert_eq!(told(&rows, Some(5), 15, None).len(), 2);
        assert_eq!(told(&rows, Some(12), 18, None), [""; 0]);
        assert_eq!(told(&rows[..1], Some(15), 25, None).len(), 2);
    }

    #[test]
    fn another_signer_or_none_is_another_reach() {
        let rows = [
            (10, Some(20), set("1.0.0", &["alice"], &["kv"])),
            (20, Some(30), set("1.0.0", &["alice", "bob"], &["kv"])),
            (30, None, set("1.0.0", &[], &["kv"])),
        ];

        assert_eq!(told(&rows, None, 25, None), ["+alice kv@1.0.0 10..30", "+bob kv@1.0.0 20..30"]);
        assert_eq!(told(&rows, None, 25, Some("bob")), ["+bob kv@1.0.0 20..30"]);
        assert_eq!(told(&rows, None, 25, Some("sha256:alice")), ["+alice kv@1.0.0 10..30"]);
        assert_eq!(told(&rows, Some(25), 35, None).len(), 3);
        assert_eq!(told(&rows, None, 35, Some("alice")), [""; 0]);
    }

    #[test]
    fn a_place_is_read_back_from_its_cursor_and_others_are_refused() {
        let check = |cursor: &str| assert_eq!(text(&parse(cursor).unwrap()), cursor);
        check("1/2/bank/acme.crm/3");
        check("-5/2/bank/acme.crm/-");
        for cursor in ["", "1/2", "1/2/bank/acme.crm", "1/2/Bank/acme.crm/0", "1/2/bank/x/0", "a/2/bank/acme.crm/0"] {
            assert!(parse(cursor).is_err(), "{cursor}");
        }
        assert!(parse("1/2/bank/acme.crm/0/0").is_err());
    }
}
