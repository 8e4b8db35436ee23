// The operators that exist, as a check of documents sees them, and how a reference finds its version.

import { COMPONENTS } from './components.ts'
import type { Issue } from './errors.ts'
import { compareVersions, type OperatorReference } from './names.ts'

export type OperatorPermission = 'clock' | 'random' | 'log'

export interface CatalogOperator {
  /** SHA-256 of the module as it was pushed. */
  digest: string
  /** Names of its output ports; `out` alone where absent; `*` where they depend on the settings: any name is one. */
  ports?: string[] | '*'
  /** JSON Schema of its settings. */
  settingsSchema?: unknown
  permissions?: OperatorPermission[]
}

export interface OperatorVersion extends CatalogOperator {
  name: string
  /** x.y.z */
  version: string
}

export interface Catalog {
  /** name → version x.y.z → what it is */
  operators: ReadonlyMap<string, ReadonlyMap<string, CatalogOperator>>
  /**
   * Checks settings of an operator that does not come with the product.
   * @returns problems with pointers into the settings ('' is the whole)
   */
  checkSettings?: (operator: OperatorVersion, settings: Record<string, unknown>) => Issue[]
}

/** The version that a reference means now: the newest that fits. @returns undefined where none does */
export function resolveOperator(catalog: Catalog, reference: OperatorReference): OperatorVersion | undefined {
  const versions = catalog.operators.get(reference.name)
  if (!versions) return undefined
  const wanted = reference.version
  let newest: string | undefined
  for (const version of versions.keys()) {
    if (wanted !== undefined && version !== wanted && !version.startsWith(`${wanted}.`)) continue
    if (newest === undefined || compareVersions(version, newest) > 0) newest = version
  }
  return newest === undefined ? undefined : { name: reference.name, version: newest, ...versions.get(newest)! }
}

/** The versions of an operator, oldest first. */
export const versionsOf = (catalog: Catalog, name: string): string[] =>
  [...(catalog.operators.get(name)?.keys() ?? [])].sort(compareVersions)

/**
 * Just the operators that come with the product, for checking a document where no manager is at hand. It has no digests,
 * so no plan can be made with it.
 */
export const shippedCatalog = (version: string): Catalog => ({
  operators: new Map([...COMPONENTS.operator.keys()].map((name) => [name, new Map([[version, { digest: '' }]])])),
})
