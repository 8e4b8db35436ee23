// The modules of a host: admitted once, compiled once, sent to every compute worker once.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { ToCompute, TraceInfo } from '../compute/messages.ts'
import type { ModuleBytes } from '../isolation/messages.ts'
import type { AdmissionReport } from '../sandbox/admit.ts'
import { Admissions } from './admissions.ts'

/** No instance has more; a document may ask for less. */
const MEMORY_MIB_MAX = 64

export interface KnownModule {
  report: AdmissionReport
  message: Extract<ToCompute, { type: 'module' }>
  /** As admitted: what a process of its own compiles for itself. */
  bytes: Uint8Array
}

export class Modules {
  private readonly known = new Map<string, KnownModule>()
  private readonly toAll: (message: ToCompute) => void
  private readonly admissions = new Admissions()

  /** @param toAll sends to every compute worker */
  constructor(toAll: (message: ToCompute) => void) {
    this.toAll = toAll
  }

  get(digest: string): KnownModule | undefined {
    return this.known.get(digest)
  }

  /** The module for a process, which compiles it. @throws SpqrError NOT_FOUND */
  bytesOf(digest: string): ModuleBytes {
    const known = this.known.get(digest)
    if (!known) throw new SpqrError('NOT_FOUND', `There is no module ${digest}`)
    const { type: _type, module: _module, ...rest } = known.message
    return { ...rest, type: 'module-bytes', bytes: known.bytes }
  }

  /** What a new worker is to be told. */
  messages(): ToCompute[] {
    return [...this.known.values()].map((module) => module.message)
  }

  /**
   * Admits and compiles a module.
   * @throws SpqrError MODULE_REFUSED with every broken rule, BACK_PRESSURE
   */
  async put(bytes: Uint8Array): Promise<{ report: AdmissionReport; isNew: boolean }> {
    const admission = await this.admissions.admit(bytes, MEMORY_MIB_MAX)
    if (!admission.ok) {
      const count = admission.issues.length
      throw new SpqrError('MODULE_REFUSED', `The module breaks ${count} rule${count === 1 ? '' : 's'} of the sandbox`, {
        issues: admission.issues,
      })
    }
    const { report, module } = admission
    const present = this.known.get(report.digest)
    if (present) return { report: present.report, isNew: false }
    const { offsetMap, functionNames, functionStarts } = admission
    const trace: TraceInfo = { offsetMap, functionNames, functionStarts, sourceMap: null }
    const message: KnownModule['message'] = {
      type: 'module',
      digest: report.digest,
      module: admission.compiled,
      globals: report.globals.map((global) => global.export),
      memoryBytesMax: report.memory.maximumPages << 16,
      depthLimit: report.depthLimit,
      trace,
    }
    this.known.set(report.digest, { report, message, bytes: module })
    this.toAll(message)
    return { report, isNew: true }
  }

  /** Ends what is admitted right now. */
  stop(): Promise<void> {
    return this.admissions.stop()
  }

  /** Keeps asc's source map of a module. @throws SpqrError NOT_FOUND */
  putSourceMap(digest: string, sourceMap: string): void {
    const module = this.known.get(digest)
    if (!module) throw new SpqrError('NOT_FOUND', `There is no module ${digest}`)
    module.message.trace.sourceMap = sourceMap
    this.toAll({ type: 'source-map', digest, sourceMap })
  }
}
