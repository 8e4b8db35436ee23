// Entry of the thread that admits and compiles pushed modules: what takes long there holds up no request.
// Runs on: admission.

import { type MessagePort, workerData } from 'node:worker_threads'
import { type ErrorMessage, SpqrError } from '../../schemas/errors.ts'
import { type Admitted, admit, type Refused } from './admit.ts'

export interface AdmissionMessage {
  type: 'admit'
  request: number
  bytes: Uint8Array
  memoryMiB: number
}

/** `compiled` is what `module` became. */
export type CompiledAdmission = (Admitted & { compiled: WebAssembly.Module }) | Refused

export type AdmissionReply =
  | { type: 'done'; request: number; admission: CompiledAdmission; error?: undefined }
  | { type: 'refused'; request: number; error: ErrorMessage }

const { control } = workerData as { control: MessagePort }

control.on('message', ({ request, bytes, memoryMiB }: AdmissionMessage) => {
  let reply: AdmissionReply
  try {
    const admission = admit(bytes, { memoryMiB })
    const compiled = admission.ok ? { ...admission, compiled: new WebAssembly.Module(admission.module) } : admission
    reply = { type: 'done', request, admission: compiled }
  } catch (thrown) {
    reply = { type: 'refused', request, error: SpqrError.from(thrown).toMessage() }
  }
  control.postMessage(reply)
})
