// Records that come and go by the HTTP API instead of a connector: posted to a source, put into a topic or read from one. The
// bridge worker does it; what passes here are bodies and answers as bytes.
// Runs on: control.

import type { ReaderForm } from '../../schemas/reader-form.ts'
import type { TopicPage } from '../bridges/runtime/messages.ts'
import type { FetchQuery } from '../bridges/runtime/topic-api.ts'
import type { PipelineControl } from './pipeline-control.ts'
import type { BridgeThread, Workers } from './workers.ts'

export class ApiRecords {
  private readonly workers: Workers

  constructor(workers: Workers) {
    this.workers = workers
  }

  /** Gives a source these records; the body's memory with them. @throws SpqrError as `ingest` of the bridge says */
  async ingest(pipeline: PipelineControl, component: string, contentType: string, body: Uint8Array): Promise<unknown> {
    const transfer =
      body.byteOffset === 0 && body.byteLength === body.buffer.byteLength ? [body.buffer as ArrayBuffer] : []
    return this.ask({ type: 'ingest', pipeline: pipeline.key, component, contentType, body }, transfer)
  }

  /** @returns the answer as JSON bytes */
  async produce(topic: string, contentType: string, body: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    return (await this.ask({ type: 'produce', topic, contentType, body })) as Uint8Array<ArrayBuffer>
  }

  /** @returns the answer as JSON bytes */
  async fetch(query: FetchQuery): Promise<Uint8Array<ArrayBuffer>> {
    return (await this.ask({ type: 'fetch', ...query })) as Uint8Array<ArrayBuffer>
  }

  /** A topic's records for one who follows it. */
  async fetchPage(query: FetchQuery, form: ReaderForm): Promise<TopicPage> {
    return (await this.ask({ type: 'fetch', ...query, form })) as TopicPage
  }

  private async ask(question: Parameters<BridgeThread['ask']>[0], transfer: ArrayBuffer[] = []): Promise<unknown> {
    // The present one: the bridge worker may have been replaced.
    const answer = await this.workers.bridge.ask(question, transfer)
    return answer.type === 'done' ? answer.result : undefined
  }
}
