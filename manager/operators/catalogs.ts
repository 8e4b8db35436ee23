// The operators of a tenant as a check of documents sees them; made when something was pushed or removed, not per check.
// Runs on: control.

import type { Catalog, CatalogOperator } from '../../schemas/catalog.ts'
import { SpqrError } from '../../schemas/errors.ts'
import type { OperatorEntry, OperatorRegistry } from './registry.ts'
import { SettingsSchemas } from './settings-schema.ts'

export class Catalogs {
  readonly #registry: OperatorRegistry
  readonly #schemas = new SettingsSchemas()
  readonly #made = new Map<string, { generation: number; catalog: Catalog }>()

  constructor(registry: OperatorRegistry) {
    this.#registry = registry
  }

  /** @throws SpqrError TRANSPORT_UNAVAILABLE before the first host of all was there */
  of(tenant: string): Catalog {
    if (this.#registry.isIncomplete) {
      const message = 'No host was there yet to admit the operators: start one with spqr host --manager URL.'
      throw new SpqrError('TRANSPORT_UNAVAILABLE', message, { retriable: true })
    }
    const { generation } = this.#registry
    const made = this.#made.get(tenant)
    if (made?.generation === generation) return made.catalog
    const catalog = this.#make(tenant)
    this.#made.set(tenant, { generation, catalog })
    return catalog
  }

  #make(tenant: string): Catalog {
    const operators = new Map<string, Map<string, CatalogOperator>>()
    for (const name of this.#registry.names(tenant)) {
      const versions = this.#registry.versions(tenant, name)
      operators.set(name, new Map(versions.map((entry) => [entry.version, catalogOperator(entry)])))
    }
    return {
      operators,
      checkSettings: ({ digest, settingsSchema }, settings) =>
        settingsSchema === undefined ? [] : this.#schemas.check(digest, settingsSchema, settings),
    }
  }
}

function catalogOperator({ digest, report: { manifest } }: OperatorEntry): CatalogOperator {
  const { ports, settingsSchema, permissions } = manifest ?? {}
  return { digest, ports: ports === '*' ? ['*'] : ports, settingsSchema, permissions }
}
