// Keeps operators: admits what is pushed, compiles what comes as source, says what there is, removes what nobody uses.
// Runs on: control.

import { createHash } from 'node:crypto'
import { SpqrError } from '../../schemas/errors.ts'
import type { AdmissionReport, HostClient } from '../hosts/host-client.ts'
import type { Hosts } from '../hosts/hosts.ts'
import { Serial } from '../serial.ts'
import type { ModuleFiles, OperatorsTable } from '../store/operators-table.ts'
import type { CompileRequest, Compiler } from './compiler.ts'
import type { OperatorEntry, OperatorRegistry } from './registry.ts'
import { requireSimpleSchema } from './settings-schema.ts'
import type { ShippedOperator } from './shipped.ts'

/** Says who needs a module still, in words that go after "it is used by"; undefined: nobody. */
export type UsedBy = (tenant: string, digest: string) => Promise<string | undefined>

/** What stands between a tenant and its next operator. */
export interface OperatorLimits {
  /** @throws SpqrError QUOTA_EXCEEDED */
  addOperator<T>(tenant: string, work: () => Promise<T>): Promise<T>
  /** @throws SpqrError QUOTA_EXCEEDED, BACK_PRESSURE */
  compile<T>(tenant: string, work: (took: (ms: number) => void) => Promise<T>): Promise<T>
}

export class Operators {
  readonly registry: OperatorRegistry
  readonly #table: OperatorsTable
  readonly #hosts: Hosts
  readonly #compiler: Compiler
  readonly #usedBy: UsedBy
  readonly #limits: OperatorLimits
  readonly #serial = new Serial()
  /** Shipped, and admitted by no host yet. */
  readonly #waiting: ShippedOperator[] = []

  constructor(
    registry: OperatorRegistry,
    table: OperatorsTable,
    hosts: Hosts,
    compiler: Compiler,
    usedBy: UsedBy,
    limits: OperatorLimits,
  ) {
    this.registry = registry
    this.#table = table
    this.#hosts = hosts
    this.#compiler = compiler
    this.#usedBy = usedBy
    this.#limits = limits
  }

  /** Registers what the store holds, and what comes with the product; a shipped module that is new here waits for a host. */
  start(shipped: readonly ShippedOperator[]): void {
    const known = new Map(this.#table.modules().map((module) => [module.digest, module]))
    for (const { tenant, name, version, digest, source, createdAt } of this.#table.all()) {
      const module = known.get(digest)
      if (!module) throw new SpqrError('INTERNAL', `control.db has no module of ${name}@${version}: restore the file.`)
      const report = JSON.parse(module.report) as AdmissionReport
      this.registry.addPushed(tenant, {
        name,
        version,
        digest,
        report,
        origin: 'pushed',
        source: source ?? undefined,
        createdAt,
      })
    }
    for (const operator of shipped) {
      const module = known.get(operator.digest)
      if (module) this.#addShipped(operator, JSON.parse(module.report) as AdmissionReport, module.createdAt)
      else this.#waiting.push(operator)
    }
    this.registry.isIncomplete = this.#waiting.length > 0
  }

  /** Has a host admit what is new of the shipped modules. */
  async admitShipped(host: HostClient): Promise<void> {
    await Promise.all(
      [...this.#waiting].map(async (operator) => {
        this.#addShipped(operator, await this.#admit(host, operator.digest, operator.read()), Date.now())
        this.#waiting.splice(this.#waiting.indexOf(operator), 1)
      }),
    )
    this.registry.isIncomplete = false
  }

  /** Sends the shipped modules to a host, so that no first pipeline waits for their admission. */
  async warm(host: HostClient, shipped: readonly ShippedOperator[], goesOn: () => boolean): Promise<void> {
    for (const operator of shipped) {
      if (goesOn() && !host.isAway) await host.ensure([operator])
    }
  }

  /**
   * Admits a module under a name.
   * @throws SpqrError ALREADY_EXISTS where other bytes have that version, MODULE_REFUSED
   */
  put(
    tenant: string,
    name: string,
    version: string,
    wasm: Uint8Array,
  ): Promise<{ entry: OperatorEntry; created: boolean }> {
    return this.#serial.run(`${tenant}/${name}@${version}`, async () => {
      this.#checkName(name)
      const digest = createHash('sha256').update(wasm).digest('hex')
      const existing = this.registry.get(tenant, name, version)
      if (existing) {
        if (existing.digest === digest) return { entry: existing, created: false }
        throw taken(name, version, 'other bytes')
      }
      const entry = await this.#limits.addOperator(tenant, () =>
        this.#keep(tenant, { name, version }, digest, { wasm, sourceMap: null }),
      )
      return { entry, created: true }
    })
  }

  /**
   * Compiles a source and admits the module.
   * @throws SpqrError COMPILE_FAILED with line and column, ALREADY_EXISTS where another source has that version
   */
  push(tenant: string, input: CompileRequest): Promise<{ entry: OperatorEntry; created: boolean }> {
    const { name, version, source, manifest } = input
    return this.#serial.run(`${tenant}/${name}@${version}`, async () => {
      this.#checkName(name)
      const existing = this.registry.get(tenant, name, version)
      if (existing) {
        if (existing.source === source && sameManifest(existing, manifest)) return { entry: existing, created: false }
        throw taken(name, version, 'another source')
      }
      const entry = await this.#limits.addOperator(tenant, async () => {
        const compiled = await this.#limits.compile(tenant, (took) => this.#compiler.compile(tenant, input, took))
        const digest = createHash('sha256').update(compiled.wasm).digest('hex')
        return this.#keep(tenant, { name, version, source }, digest, compiled)
      })
      return { entry, created: true }
    })
  }

  /** @throws SpqrError NOT_FOUND, IN_USE */
  remove(tenant: string, name: string, version: string): Promise<void> {
    return this.#serial.run(`${tenant}/${name}@${version}`, async () => {
      const entry = this.find(tenant, name, version)
      if (entry.origin === 'shipped') {
        throw new SpqrError('IN_USE', `Cannot remove "${name}@${version}": it comes with the product.`)
      }
      const user = await this.#usedBy(tenant, entry.digest)
      if (user) throw new SpqrError('IN_USE', `Cannot remove "${name}@${version}": it is used by ${user}.`)
      this.#table.delete({ tenant, name, version, digest: entry.digest })
      this.registry.remove(tenant, entry)
    })
  }

  /** Removes everything that a tenant pushed, when no pipeline of it is left. */
  removeAll(tenant: string): void {
    for (const entry of this.registry.pushed(tenant)) {
      const { name, version, digest } = entry
      this.#table.delete({ tenant, name, version, digest })
      this.registry.remove(tenant, entry)
    }
  }

  /** @throws SpqrError NOT_FOUND, saying which versions there are */
  find(tenant: string, name: string, version: string): OperatorEntry {
    const entry = this.registry.get(tenant, name, version)
    if (entry) return entry
    const versions = this.registry.versions(tenant, name).map((e) => e.version)
    const there = versions.length ? `; there is ${versions.slice(0, 10).join(', ')}` : ''
    throw new SpqrError('NOT_FOUND', `There is no operator "${name.slice(0, 80)}@${version.slice(0, 40)}"${there}.`)
  }

  #checkName(name: string): void {
    if (!this.registry.isShipped(name)) return
    throw new SpqrError('ALREADY_EXISTS', `"${name}" comes with the product; push yours under another name.`)
  }

  async #keep(
    tenant: string,
    operator: { name: string; version: string; source?: string },
    digest: string,
    files: ModuleFiles,
  ): Promise<OperatorEntry> {
    const { name, version, source } = operator
    // One at a time of each tenant: nobody's module waits behind all of another's.
    const report = await this.#serial.run(tenant, () => this.#hosts.any().admit(digest, files.wasm, files.sourceMap))
    requireSimpleSchema(report.manifest?.settingsSchema)
    const createdAt = Date.now()
    this.#table.put({ digest, report: JSON.stringify(report), createdAt }, files, {
      tenant,
      name,
      version,
      digest,
      source: source ?? null,
      createdAt,
    })
    const entry: OperatorEntry = { name, version, digest, report, origin: 'pushed', source, createdAt }
    this.registry.addPushed(tenant, entry)
    return entry
  }

  #addShipped({ name, version, digest }: ShippedOperator, report: AdmissionReport, createdAt: number): void {
    this.registry.addShipped({ name, version, digest, report, origin: 'shipped', createdAt })
  }

  /** A shipped module stays in the store, so that a pipeline still finds it after the product was updated. */
  async #admit(host: HostClient, digest: string, files: ModuleFiles): Promise<AdmissionReport> {
    const report = await host.admit(digest, files.wasm, files.sourceMap)
    this.#table.put({ digest, report: JSON.stringify(report), createdAt: Date.now() }, files)
    return report
  }
}

/** Whether a source comes with the manifest that it was pushed with. */
function sameManifest({ report }: OperatorEntry, manifest: CompileRequest['manifest'] = {}): boolean {
  const kept = report.manifest ?? {}
  const facts = (m: typeof kept): string =>
    JSON.stringify([m.description ?? '', m.ports ?? ['out'], m.settingsSchema ?? null, m.permissions ?? []])
  return facts(kept) === facts(manifest)
}

function taken(name: string, version: string, by: string): SpqrError {
  return new SpqrError('ALREADY_EXISTS', `"${name}@${version}" exists with ${by}; push this as a new version.`)
}
