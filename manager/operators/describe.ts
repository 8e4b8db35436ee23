// An operator as the API shows it.
// Runs on: control.

import type { OperatorEntry } from './registry.ts'

export interface OperatorDescription {
  name: string
  version: string
  digest: string
  bytes: number
  abi: number
  description?: string
  ports: string[] | '*'
  settingsSchema: Record<string, unknown>
  permissions: string[]
  origin: 'shipped' | 'pushed'
  createdAt: number
}

export function describeOperator(entry: OperatorEntry): OperatorDescription {
  const { name, version, digest, report, origin, createdAt } = entry
  const { manifest } = report
  return {
    name,
    version,
    digest,
    bytes: report.bytes,
    abi: report.abi,
    ...(manifest?.description ? { description: manifest.description } : {}),
    ports: manifest?.ports ?? ['out'],
    settingsSchema: manifest?.settingsSchema ?? {},
    permissions: manifest?.permissions ?? [],
    origin,
    createdAt,
  }
}
