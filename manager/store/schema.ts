// The tables of control.db and how an older file becomes a present one: `user_version` counts the steps that were taken.
// Runs on: control.

export const MIGRATIONS: readonly string[] = [
  `
  -- One row per pipeline: the document as it was given, and the plan that was made of it, which names the exact version
  -- and digest that each operator reference stood for.
  CREATE TABLE pipelines (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    wanted TEXT NOT NULL,
    document TEXT NOT NULL,
    plan TEXT NOT NULL,
    modules TEXT NOT NULL,
    replayed_to TEXT NOT NULL DEFAULT '0',
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
  ) STRICT, WITHOUT ROWID;

  -- Modules as they were pushed, by the SHA-256 of their bytes.
  CREATE TABLE modules (
    digest TEXT NOT NULL PRIMARY KEY,
    wasm BLOB NOT NULL,
    source_map TEXT,
    report TEXT NOT NULL,
    created_at INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE operators (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    digest TEXT NOT NULL,
    source TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, name, version)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- Tenants besides "default", which has a row once something of it was set. Permissions are null where the hosts alone
  -- decide; a tenant whose removal has begun stays "removing" until everything of it is gone.
  CREATE TABLE tenants (
    id TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    quotas TEXT NOT NULL,
    permissions TEXT,
    compile_day TEXT NOT NULL DEFAULT '',
    compile_ms INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  -- Only the SHA-256 of a token: it cannot be had back from here.
  CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
  ) STRICT, WITHOUT ROWID;

  -- Sealed with a key that is not in this file.
  CREATE TABLE secrets (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    by TEXT NOT NULL,
    address TEXT NOT NULL,
    what TEXT NOT NULL,
    made TEXT,
    status INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX audit_tenant ON audit(tenant, number);
  `,
  `
  -- Which host a pipeline has its place on, also while that host is away. None: it goes to the next that has room.
  CREATE TABLE placements (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    host TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
  ) STRICT, WITHOUT ROWID;

  -- What is said once and holds for good.
  CREATE TABLE facts (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- While a host is being asked for a revision: the one before, as JSON. It holds again where the host refuses.
  ALTER TABLE pipelines ADD COLUMN before TEXT;
  `,
]
