// Opens log.db: schema, durability, the lock that keeps a second process out; and says in one sentence what went wrong.
// Runs on: log thread, which is the only one that has the file open.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import Libsql from 'libsql'
import { SpqrError } from '../../../schemas/errors.ts'

export type Database = Libsql.Database
export type Statement = Libsql.Statement

const SCHEMA_VERSION = 1

// batch: records [base … next) of a partition; `sourceOffset` of each record is relative to base. codec: see batch.ts.
// chunk: up to 256 changed pieces of guest memory of one slot. checkpoint.state names chunks: see checkpoint-state.ts.
const SCHEMA = `
create table topic(id integer primary key autoincrement, name text not null unique, partitions integer not null,
  retention_ms integer, retention_bytes integer, compact integer not null, created_at integer not null);
create table partition(id integer primary key autoincrement, topic integer not null, number integer not null,
  latest integer not null);
create index partition_topic on partition(topic);
create table batch(id integer primary key, partition integer not null, base integer not null, next integer not null,
  records integer not null, bytes integer not null, max_timestamp integer not null, appended_at integer not null,
  codec integer not null, crc integer not null, data blob not null);
create index batch_place on batch(partition, base, next, records, bytes, max_timestamp, appended_at);
create table staged(id integer primary key, data blob not null);
create table trash(partition integer primary key);
create table group_offset(name text not null, topic text not null, partition integer not null, position integer not null,
  primary key(name, topic, partition)) without rowid;
create table slot(id integer primary key autoincrement, tenant text not null, pipeline text not null,
  number integer not null, unique(tenant, pipeline, number));
create table checkpoint(id integer primary key autoincrement, slot integer not null, epoch integer not null,
  created_at integer not null, revision integer not null, bytes integer not null, savepoint text,
  codec integer not null, digest blob not null, state blob not null);
create index checkpoint_slot on checkpoint(slot, id);
create table chunk(id integer primary key autoincrement, slot integer not null, codec integer not null, data blob not null);
create index chunk_slot on chunk(slot);
`

/**
 * Opens the log of a data folder and holds it alone until `close()` or the end of the process, however it ends.
 * @throws SpqrError IN_USE (another process has it), INVALID_STATE (not a log, damaged, of a newer version),
 *   TRANSPORT_UNAVAILABLE (the folder cannot be written)
 */
export function openDatabase(dataDir: string): Database {
  const path = join(dataDir, 'log.db')
  let db: Database | undefined
  try {
    mkdirSync(dataDir, { recursive: true })
    db = new Libsql(path)
    // Before the journal mode: so the index of the WAL is kept on the heap and the lock is never given back. It is a lock of
    // the operating system's, gone with the process.
    db.pragma('locking_mode=EXCLUSIVE')
    db.pragma('page_size=8192')
    db.pragma('auto_vacuum=INCREMENTAL')
    db.pragma('journal_mode=WAL')
    db.pragma('synchronous=FULL')
    db.pragma('cache_size=-16384')
    db.pragma('wal_autocheckpoint=2048')
    db.pragma('journal_size_limit=67108864')
    db.exec('begin immediate')
    const version = userVersion(db)
    if (version > SCHEMA_VERSION) {
      throw new SpqrError(
        'INVALID_STATE',
        `Cannot open the log "${path}": it was written by a newer SPQR (format ${version}, known is ${SCHEMA_VERSION}); run that one.`,
      )
    }
    if (version === 0) db.exec(`${SCHEMA} pragma user_version=${SCHEMA_VERSION};`)
    // What was staged when the last process ended was never committed.
    db.exec('delete from staged')
    db.exec('commit')
    return db
  } catch (thrown) {
    db?.close()
    if (thrown instanceof SpqrError) throw thrown
    throw openError(thrown, dataDir, path)
  }
}

function userVersion(db: Database): number {
  return (db.prepare('pragma user_version').get() as { user_version: number }).user_version
}

function openError(thrown: unknown, dataDir: string, path: string): SpqrError {
  const code = codeOf(thrown)
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) {
    const text = `Cannot open the data folder "${dataDir}": another process is using it; stop that one or choose another folder.`
    return new SpqrError('IN_USE', text, { cause: thrown })
  }
  if (isDamage(code)) {
    const text = `Cannot open the log "${path}": it is damaged or not a log; put a sound copy in its place or move it away to start empty.`
    return new SpqrError('INVALID_STATE', text, { cause: thrown })
  }
  const text = `Cannot open the log "${path}": ${messageOf(thrown)}; make the folder writable and see that it has room.`
  return new SpqrError('TRANSPORT_UNAVAILABLE', text, { cause: thrown })
}

/** A blob of a row as bytes: `get()` answers with a Buffer, `all()` with an ArrayBuffer. */
export function blob(value: Uint8Array | ArrayBuffer): Buffer {
  return value instanceof Uint8Array
    ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    : Buffer.from(value)
}

/** A thrown thing of the database's as the product's error; others stay what they are. */
export function storageError(thrown: unknown, dataDir: string): SpqrError {
  if (thrown instanceof SpqrError) return thrown
  const code = codeOf(thrown)
  if (isFull(thrown)) {
    const text = `Cannot write to the log in "${dataDir}": no room is left or the device fails (${code}); free some space and try again. Nothing acknowledged is lost.`
    return new SpqrError('TRANSPORT_UNAVAILABLE', text, { retriable: true, cause: thrown })
  }
  if (isDamage(code)) {
    const text = `Cannot use the log in "${dataDir}": it is damaged (${code}); put a sound copy in its place.`
    return new SpqrError('TRANSPORT_UNAVAILABLE', text, { cause: thrown })
  }
  if (code.startsWith('SQLITE_')) {
    const text = `Cannot use the log in "${dataDir}": ${messageOf(thrown)} (${code}).`
    return new SpqrError('TRANSPORT_UNAVAILABLE', text, { retriable: true, cause: thrown })
  }
  return SpqrError.from(thrown)
}

/** Whether writing failed for want of room, or as it does on a failing device. */
export function isFull(thrown: unknown): boolean {
  const code = codeOf(thrown)
  return code.startsWith('SQLITE_FULL') || code.startsWith('SQLITE_IOERR') || code === 'ENOSPC'
}

function isDamage(code: string): boolean {
  return code.startsWith('SQLITE_CORRUPT') || code.startsWith('SQLITE_NOTADB')
}

function codeOf(thrown: unknown): string {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
  return typeof code === 'string' ? code : ''
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
