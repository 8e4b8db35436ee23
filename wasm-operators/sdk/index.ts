// The operator SDK: what `import … from 'spqr'` gives.

export { Bytes } from './bytes.ts'
export { Emitter } from './emitter.ts'
export { clock, random } from './host.ts'
export { JsonValue } from './json-value.ts'
export { log } from './log.ts'
export { Change, Operator, register } from './operator.ts'
export { Headers, Record } from './record.ts'
export { Settings } from './settings.ts'
