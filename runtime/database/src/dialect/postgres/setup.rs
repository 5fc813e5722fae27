//! The database's own walls around plugins' logins: what everybody may do by default is taken back, as far as the owner
//! may, and what is missing is named.
//! It knows no plugin.

use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::answer::Failure;
use super::connections::Lease;
use super::names::{Login, quoted};
use super::storage::Server;
use crate::error::Error;
use crate::tenant::Finding;

/// Time of the set-up of one database, others' set-ups before it included.
const SETUP: Duration = Duration::from_secs(30);
/// The advisory lock of the set-up.
const SETUP_LOCK: i64 = 0x6275_6c6b_6865_6165;

/// Functions of the server that no plugin may call whatever text it sends: they run SQL inside a string, change settings,
/// signal, lock, sleep, read files or large objects, or tell of others. Names, and patterns with `%`.
const FUNCTIONS: &[&str] = &[
    "set_config",
    "pg_notify",
    "pg_sleep%",
    "query_to_xml%",
    "table_to_xml%",
    "schema_to_xml%",
    "database_to_xml%",
    "cursor_to_xml%",
    "ts_stat",
    "ts_rewrite",
    "pg_export_snapshot",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_logical_emit_message",
    "pg_get_viewdef",
    "pg_get_functiondef",
    "pg_get_constraintdef",
    "pg_get_indexdef",
    "pg_relation_size",
    "pg_total_relation_size",
    "pg_table_size",
    "pg_indexes_size",
    "pg_database_size",
    "pg_tablespace_size",
    "pg_stat_get_activity",
    "pg_show_all_settings",
    "pg_listening_channels",
    "pg_notification_queue_usage",
    "pg_lock_status",
    "pg_prepared_statement",
    "pg_cursor",
    "pg_advisory%",
    "pg_try_advisory%",
    "lo\\_%",
    "loread",
    "lowrite",
];
/// Those among them that a login of a shard needs to be put back as new, or to migrate.
const FUNCTIONS_FOR_RUN: &[&str] = &["pg_catalog.pg_advisory_unlock_all()"];
const FUNCTIONS_FOR_MIGRATE: &[&str] = &[
    "pg_catalog.pg_advisory_unlock_all()",
    "pg_catalog.pg_advisory_lock(bigint)",
    "pg_catalog.pg_advisory_xact_lock(bigint)",
    "pg_catalog.pg_total_relation_size(regclass)",
];
/// Views of the server that tell of others.
const VIEWS: &[&str] = &[
    "pg_largeobject_metadata",
    "pg_stat_activity",
    "pg_roles",
    "pg_user",
    "pg_group",
    "pg_locks",
    "pg_settings",
    "pg_auth_members",
    "pg_namespace",
    "pg_stats",
];

const OPEN_FUNCTIONS: &str = "SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc AS p \
     WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname LIKE ANY ($1) \
     AND EXISTS (SELECT 1 FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a \
     WHERE a.grantee = 0) ORDER BY 1";
const OPEN_VIEWS: &str = "SELECT c.relname::text FROM pg_catalog.pg_class AS c \
     WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relname = ANY ($1) \
     AND EXISTS (SELECT 1 FROM pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) AS a \
     WHERE a.grantee = 0) ORDER BY 1";
const OPEN_LANGUAGES: &str = "SELECT l.lanname::text FROM pg_catalog.pg_language AS l WHERE l.lanpltrusted \
     AND EXISTS (SELECT 1 FROM pg_catalog.aclexplode(coalesce(l.lanacl, pg_catalog.acldefault('l', l.lanowner))) AS a \
     WHERE a.grantee = 0) ORDER BY 1";
const OPEN_DATABASE: &str = "SELECT a.privilege_type FROM pg_catalog.pg_database AS d, \
     pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) AS a \
     WHERE d.datname = current_database() AND a.grantee = 0 ORDER BY 1";
const OPEN_SCHEMAS: &str = "SELECT n.nspname::text FROM pg_catalog.pg_namespace AS n, \
     pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a \
     WHERE a.grantee = 0 AND n.nspname NOT IN ('pg_catalog', 'information_schema') GROUP BY 1 ORDER BY 1";
/// Logins of shards that could do more than take the roles of their pairs.
const STRONG_LOGINS: &str = "SELECT r.rolname::text FROM pg_catalog.pg_roles AS r \
     WHERE r.rolname = ANY ($1) AND (r.rolsuper OR r.rolinherit OR r.rolcreaterole OR r.rolcreatedb \
     OR r.rolreplication OR r.rolbypassrls) ORDER BY 1";
/// Roles of pairs that could log in or do more than their schema allows.
const STRONG_ROLES: &str = "SELECT r.rolname::text FROM pg_catalog.pg_roles AS r JOIN storage_schemas AS s ON s.name = r.rolname \
     WHERE r.rolsuper OR r.rolcanlogin OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls \
     OR EXISTS (SELECT 1 FROM pg_catalog.pg_auth_members AS m WHERE m.member = r.oid) ORDER BY 1 LIMIT 20";
/// Logins whose sorts may fill the server's disk, for as long as a statement lasts.
const UNBOUND_LOGINS: &str = "SELECT l.login FROM storage_logins AS l WHERE NOT EXISTS \
     (SELECT 1 FROM pg_catalog.pg_roles AS r, unnest(r.rolconfig) AS c WHERE r.rolname = l.login AND c LIKE 'temp\\_file\\_limit=%') \
     ORDER BY 1 LIMIT 20";
const LOST_SCHEMAS: &str = "SELECT s.name FROM storage_schemas AS s WHERE NOT EXISTS \
     (SELECT 1 FROM pg_catalog.pg_namespace AS n WHERE n.nspname = s.name) OR NOT EXISTS \
     (SELECT 1 FROM pg_catalog.pg_roles AS r WHERE r.rolname = s.name) ORDER BY 1 LIMIT 20";

/// Where the host's tables are.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) installation: String,
    pub(super) login_secret: Vec<u8>,
    pub(super) schema: String,
    pub(super) database: String,
}

/// Reads where the host's tables are.
pub(super) async fn place(pool: &PgPool) -> Result<Place, Error> {
    const PLACE: &str =
        "SELECT random_name, current_schema()::text, current_database()::text, login_secret FROM storage_installation";
    let row = sqlx::query(PLACE).fetch_one(pool).await.map_err(Error::query("storage_place"))?;
    let text = |place: usize| row.try_get::<String, _>(place).map_err(Error::query("storage_place"));
    let login_secret = row.try_get(3).map_err(Error::query("storage_place"))?;
    Ok(Place { installation: text(0)?, login_secret, schema: text(1)?, database: text(2)? })
}

/// Takes back what is open, as far as the owner may.
pub(super) async fn harden(pool: &PgPool, database: &str, schema: &str) -> Result<(), Error> {
    let failed = Error::query("storage_setup");
    let mut connection = pool.acquire().await.map_err(&failed)?;
    // One host at a time: the rights are rows that the server does not let two change at once.
    let begin = format!(
        "BEGIN; SET LOCAL lock_timeout = {0}; SET LOCAL statement_timeout = {0}; \
         SELECT pg_catalog.pg_advisory_xact_lock({SETUP_LOCK})",
        SETUP.as_millis()
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(begin))).await.map_err(&failed)?;
    for statement in statements(&mut connection, database, schema).await.map_err(&failed)? {
        // A right that the owner may not take back is no reason not to start: `check` names what stays open.
        let alone = format!("SAVEPOINT one; {statement}; RELEASE one");
        if let Err(error) = connection.execute(sqlx::raw_sql(AssertSqlSafe(alone))).await {
            tracing::debug!(
                statement,
                error = &error as &dyn std::error::Error,
                "the owner may not harden the database"
            );
            connection.execute("ROLLBACK TO one").await.map_err(&failed)?;
        }
    }
    connection.execute("COMMIT").await.map_err(&failed)?;
    Ok(())
}

async fn statements(
    connection: &mut sqlx::PgConnection,
    database: &str,
    schema: &str,
) -> Result<Vec<String>, sqlx::Error> {
    let mut statements = Vec::new();
    if !names(&mut *connection, OPEN_DATABASE, None).await?.is_empty() {
        statements.push(format!("REVOKE ALL ON DATABASE {} FROM PUBLIC", quoted(database)));
    }
    let open_schemas = names(&mut *connection, OPEN_SCHEMAS, None).await?;
    if open_schemas.iter().any(|open| open == schema || open == "public") {
        statements.push(format!("REVOKE ALL ON SCHEMA {} FROM PUBLIC", quoted(schema)));
        statements.push("REVOKE ALL ON SCHEMA public FROM PUBLIC".to_owned());
    }
    for language in names(&mut *connection, OPEN_LANGUAGES, None).await? {
        statements.push(format!("REVOKE USAGE ON LANGUAGE {} FROM PUBLIC", quoted(&language)));
    }
    // The owner keeps what it loses with everybody: it need not be a superuser.
    for view in names(&mut *connection, OPEN_VIEWS, Some(VIEWS)).await? {
        let view = quoted(&view);
        statements.push(format!(
            "GRANT SELECT ON pg_catalog.{view} TO CURRENT_USER; REVOKE ALL ON pg_catalog.{view} FROM PUBLIC"
        ));
    }
    for function in names(connection, OPEN_FUNCTIONS, Some(FUNCTIONS)).await? {
        statements.push(format!(
            "GRANT EXECUTE ON FUNCTION {function} TO CURRENT_USER; REVOKE ALL ON FUNCTION {function} FROM PUBLIC"
        ));
    }
    Ok(statements)
}

async fn names(
    connection: &mut sqlx::PgConnection,
    query: &'static str,
    list: Option<&[&str]>,
) -> Result<Vec<String>, sqlx::Error> {
    let query = sqlx::query_scalar(query);
    match list {
        Some(list) => query.bind(list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()),
        None => query,
    }
    .fetch_all(connection)
    .await
}

/// Gives a login back what it needs of what everybody lost.
pub(super) fn grants(login: Login, name: &str) -> String {
    let functions = match login {
        Login::Owner => &[][..],
        Login::Run(_) => FUNCTIONS_FOR_RUN,
        Login::Migrate(_) => FUNCTIONS_FOR_MIGRATE,
    };
    functions.iter().map(|function| format!("; GRANT EXECUTE ON FUNCTION {function} TO {}", quoted(name))).collect()
}

/// The layers that are missing.
pub(super) async fn check(lease: &mut Lease, server: &Server) -> Result<Vec<Finding>, Failure> {
    let connection = lease.connection().map_err(Failure::Broken)?;
    let mut findings = Vec::new();
    let mut find = |layer, open: Vec<String>, what: &str, remedy: &str| {
        if !open.is_empty() {
            findings.push(Finding { layer, detail: format!("{what}: {}", open.join(", ")), remedy: remedy.to_owned() });
        }
    };
    let superuser = "run `REVOKE ... FROM PUBLIC` as a superuser in this database";
    let open = names(&mut *connection, OPEN_FUNCTIONS, Some(FUNCTIONS)).await?;
    find("server-functions", open, "everybody may call", superuser);
    let open = names(&mut *connection, OPEN_VIEWS, Some(VIEWS)).await?;
    find("server-views", open, "everybody may read", superuser);
    let open = names(&mut *connection, OPEN_LANGUAGES, None).await?;
    find("languages", open, "everybody may write functions in", superuser);
    let open = names(&mut *connection, OPEN_DATABASE, None).await?;
    let owner = "run `REVOKE ALL ON DATABASE ... FROM PUBLIC` as the owner of the database";
    find("database", open, "everybody may", owner);
    let open = names(&mut *connection, OPEN_SCHEMAS, None).await?;
    find("schemas", open, "everybody may use", "run `REVOKE ALL ON SCHEMA ... FROM PUBLIC` as its owner");
    let logins: Vec<String> =
        sqlx::query_scalar("SELECT login FROM storage_logins").fetch_all(&mut *connection).await?;
    let strong = sqlx::query_scalar(STRONG_LOGINS).bind(logins).fetch_all(&mut *connection).await?;
    find(
        "logins",
        strong,
        "logins of plugins may do more than take roles",
        "run `ALTER ROLE ... NOSUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB`",
    );
    let strong = names(&mut *connection, STRONG_ROLES, None).await?;
    find(
        "roles",
        strong,
        "roles of plugins may do more than own tables",
        "run `ALTER ROLE ... NOLOGIN NOSUPERUSER`, and revoke its memberships",
    );
    let unbound = names(&mut *connection, UNBOUND_LOGINS, None).await?;
    let remedy = "run `ALTER ROLE ... SET temp_file_limit = '256MB'` as a superuser";
    find("temporary-files", unbound, "no bound for temporary files of", remedy);
    let lost = names(&mut *connection, LOST_SCHEMAS, None).await?;
    find("lost-schemas", lost, "schema or role is not there", "restore it from a backup, or delete the plugin's data");
    let is_superuser: bool =
        sqlx::query_scalar("SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user")
            .fetch_one(connection)
            .await?;
    let weak = if is_superuser { Vec::new() } else { vec![server.database.clone()] };
    find(
        "owner",
        weak,
        "the owner may not make roles in",
        "run `ALTER ROLE ... CREATEROLE` for the login of `database.url`",
    );
    Ok(findings)
}
