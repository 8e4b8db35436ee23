// What is said of operators that do not start, or do not take their settings: a refusal for whoever asked for them, which
// names the settings as the place to mend.
// Runs on: compute.

import { SpqrError } from '../../schemas/errors.ts'
import type { Fault } from './fault.ts'
import { limitsOf, settingsFuel } from './limits.ts'
import type { OperatorSpec } from './messages.ts'
import { componentOf } from './units.ts'

/** The operator says no, or faults, at its settings. */
export function settingsRefused(spec: OperatorSpec, fault: Fault): SpqrError {
  const component = componentOf(spec.component)
  const message = messageOf(spec, fault)
  return new SpqrError('INVALID_DOCUMENT', `Operator "${component}" refuses its settings: ${message}`, {
    issues: [{ pointer: `/components/${component}/settings`, message }],
  })
}

/** Of a limit, what it was and what met it. */
function messageOf(spec: OperatorSpec, { code, message }: Fault): string {
  if (code !== 'FUEL_EXHAUSTED' && code !== 'MEMORY_EXHAUSTED') return message
  const bytes = Buffer.byteLength(spec.settings)
  const limits = limitsOf(spec)
  const [what, limit] =
    code === 'FUEL_EXHAUSTED'
      ? ['work', `${settingsFuel(limits, bytes)} fuel`]
      : ['memory', `${limits.memoryBytes >> 20} MiB`]
  return `starting with these ${bytes} bytes of settings takes more ${what} than the ${limit} there is for it; make them shorter`
}

/** It would take them, and begin anew, where its state is to be kept. */
export function resetRefused(unit: string): SpqrError {
  return new SpqrError(
    'INVALID_STATE',
    `Cannot change "${componentOf(unit)}" and keep its state: these settings start it anew. Ask without keepState=required (of the command line: without --keep-state) to allow that.`,
  )
}
