// Takes a posted body for an `http` source: durable in the pipeline's ingest topic before it is answered, except under
// at-most-once, where the source is handed the records.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import { ingestTopic, topicName } from '../../../schemas/names.ts'
import { RECORD_BYTES_MAX, RECORD_HEADER_BYTES } from '../../record/record.ts'
import type { Transport } from '../../transport/transport.ts'
import { DirectHttpSource } from '../http-source.ts'
import { framesOfBody } from '../ingest.ts'
import type { Slot } from './slot.ts'

const RETRY_SECONDS = 1

/** @throws SpqrError NOT_FOUND, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, BACK_PRESSURE (with `accepted`), TRANSPORT_UNAVAILABLE */
export async function ingest(
  slot: Slot,
  transport: Transport,
  { component, contentType, body }: { component: string; contentType: string; body: Uint8Array },
): Promise<{ accepted: number }> {
  const pump = slot.sources.get(component)
  const { tenant, id } = slot.spec
  if (pump?.spec.type !== 'http') {
    throw new SpqrError('NOT_FOUND', `Pipeline "${id}" has no http source "${component}".`)
  }
  if (slot.spec.forkOf !== undefined) {
    throw new SpqrError('INVALID_STATE', `Pipeline "${id}" is a fork: it follows what "${slot.spec.forkOf}" is sent.`)
  }
  const { maxRecordBytes } = pump.spec.settings
  const recordBytesMax = typeof maxRecordBytes === 'number' ? maxRecordBytes + RECORD_HEADER_BYTES : RECORD_BYTES_MAX
  const records = framesOfBody(body, contentType, { recordBytesMax })
  if (records.records === 0) return { accepted: 0 }
  const frames = records.bytes.subarray(0, records.length)
  if (pump.source instanceof DirectHttpSource) {
    if (pump.source.ingest(frames, records.records)) return { accepted: records.records }
    throw new SpqrError('BACK_PRESSURE', `Pipeline "${id}" is full: send the records again in ${RETRY_SECONDS} s.`, {
      retriable: true,
      extra: { accepted: 0, retryAfterSeconds: RETRY_SECONDS },
    })
  }
  const topic = topicName(tenant, ingestTopic(id, component))
  await transport.append(topic, 0, frames, records.records, { create: true })
  return { accepted: records.records }
}
