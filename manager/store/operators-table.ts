// Operators and their modules in control.db. A module is stored once however many names it has, and goes with the last.
// Runs on: control.

import type Database from 'libsql'

export interface OperatorRow {
  tenant: string
  name: string
  version: string
  digest: string
  /** AssemblyScript, where it was pushed as source. */
  source: string | null
  createdAt: number
}

export interface ModuleRow {
  digest: string
  /** JSON of the host's admission report. */
  report: string
  createdAt: number
}

/** What a host is given of a module. */
export interface ModuleFiles {
  /** The bytes as they were pushed. */
  wasm: Uint8Array
  sourceMap: string | null
}

export class OperatorsTable {
  readonly #putOperator: Database.Statement
  readonly #all: Database.Statement
  readonly #deleteOperator: Database.Statement
  readonly #putModule: Database.Statement
  readonly #modules: Database.Statement
  readonly #files: Database.Statement
  readonly #deleteModule: Database.Statement
  readonly #inTransaction: (work: () => void) => void

  constructor(db: Database.Database) {
    this.#putOperator = db.prepare(
      'INSERT INTO operators (tenant, name, version, digest, source, created_at) VALUES (?, ?, ?, ?, ?, ?)',
    )
    this.#all = db.prepare(
      'SELECT tenant, name, version, digest, source, created_at AS createdAt FROM operators ORDER BY tenant, name, version',
    )
    this.#deleteOperator = db.prepare('DELETE FROM operators WHERE tenant = ? AND name = ? AND version = ?')
    this.#putModule = db.prepare(
      'INSERT INTO modules (digest, wasm, source_map, report, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
    )
    this.#modules = db.prepare('SELECT digest, report, created_at AS createdAt FROM modules')
    this.#files = db.prepare('SELECT wasm, source_map AS sourceMap FROM modules WHERE digest = ?')
    this.#deleteModule = db.prepare(
      'DELETE FROM modules WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM operators o WHERE o.digest = modules.digest)',
    )
    this.#inTransaction = db.transaction((work: () => void) => work())
  }

  /** Stores a module, and the name it was pushed under where there is one, at once. */
  put(module: ModuleRow, files: ModuleFiles, operator?: OperatorRow): void {
    this.#inTransaction(() => {
      this.#putModule.run([module.digest, Buffer.from(files.wasm), files.sourceMap, module.report, module.createdAt])
      if (!operator) return
      const { tenant, name, version, digest, source, createdAt } = operator
      this.#putOperator.run([tenant, name, version, digest, source, createdAt])
    })
  }

  all(): OperatorRow[] {
    return this.#all.all() as OperatorRow[]
  }

  /** Every module without its files. */
  modules(): ModuleRow[] {
    return this.#modules.all() as ModuleRow[]
  }

  files(digest: string): ModuleFiles | undefined {
    return this.#files.get([digest]) as ModuleFiles | undefined
  }

  /** Forgets the name; the module goes too unless another name has it. */
  delete(operator: Pick<OperatorRow, 'tenant' | 'name' | 'version' | 'digest'>): void {
    this.#inTransaction(() => {
      this.#deleteOperator.run([operator.tenant, operator.name, operator.version])
      this.#deleteModule.run([operator.digest])
    })
  }
}
