// What everything that works on pipelines shares.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { ID_PATTERN, normalId } from '../../schemas/names.ts'
import type { Hosts } from '../hosts/hosts.ts'
import type { Catalogs } from '../operators/catalogs.ts'
import type { Serial } from '../serial.ts'
import type { ControlStore } from '../store/control-store.ts'
import type { PipelineRow } from '../store/pipelines-table.ts'
import type { QuotaKeeper } from '../tenants/quotas.ts'
import type { Tenants } from '../tenants/tenants.ts'
import type { KnownDocuments } from './known-documents.ts'
import type { PipelineEntry, PipelineIndex } from './pipeline-index.ts'

export interface PipelineContext {
  readonly store: ControlStore
  readonly hosts: Hosts
  readonly catalogs: Catalogs
  readonly index: PipelineIndex
  readonly documents: KnownDocuments
  readonly tenants: Tenants
  readonly quotas: QuotaKeeper
  /** Changes of one pipeline, one after the other; keys are of `keyOf`. */
  readonly serial: Serial
}

/** @throws SpqrError NOT_FOUND */
export function entryOf(context: PipelineContext, tenant: string, id: string): PipelineEntry {
  const entry = context.index.get(tenant, id)
  if (!entry) throw new SpqrError('NOT_FOUND', `There is no pipeline "${id.slice(0, 80)}".`)
  return entry
}

/** @throws SpqrError NOT_FOUND */
export function rowOf(context: PipelineContext, tenant: string, id: string): PipelineRow {
  const row = context.store.pipelines.get(tenant, id)
  if (!row) throw new SpqrError('NOT_FOUND', `There is no pipeline "${id.slice(0, 80)}".`)
  return row
}

/** An id from a path, in its normal form. @throws SpqrError NOT_FOUND: no pipeline can have it */
export function pathId(text: string): string {
  const id = normalId(text)
  if (!ID_PATTERN.test(id)) throw new SpqrError('NOT_FOUND', `There is no pipeline "${text.slice(0, 80)}".`)
  return id
}
