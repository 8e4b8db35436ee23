// What control.db knows of hosts: where each pipeline has its place, and what all of them share.
// Runs on: control.

import type Database from 'libsql'

/** `manager`: the id of this control.db; `transport`: where the topics and checkpoints of its pipelines are. */
export type Fact = 'manager' | 'transport'

export interface Placement {
  tenant: string
  id: string
  host: string
}

export class HostsTable {
  readonly #place: Database.Statement
  readonly #forget: Database.Statement
  readonly #all: Database.Statement
  readonly #fact: Database.Statement
  readonly #setFact: Database.Statement

  constructor(db: Database.Database) {
    this.#place = db.prepare(
      'INSERT INTO placements (tenant, id, host) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET host = excluded.host',
    )
    this.#forget = db.prepare('DELETE FROM placements WHERE tenant = ? AND id = ?')
    this.#all = db.prepare('SELECT tenant, id, host FROM placements')
    this.#fact = db.prepare('SELECT value FROM facts WHERE name = ?')
    this.#setFact = db.prepare('INSERT INTO facts (name, value) VALUES (?, ?)')
  }

  place({ tenant, id, host }: Placement): void {
    this.#place.run([tenant, id, host])
  }

  forget(tenant: string, id: string): void {
    this.#forget.run([tenant, id])
  }

  all(): Placement[] {
    return this.#all.all() as Placement[]
  }

  fact(name: Fact): string | undefined {
    return (this.#fact.get([name]) as { value: string } | undefined)?.value
  }

  /** Said once. */
  setFact(name: Fact, value: string): void {
    this.#setFact.run([name, value])
  }
}
