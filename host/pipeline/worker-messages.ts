// What workers say by themselves: to whom in the host it goes. Answers to what they were asked go to whoever asked.
// Runs on: control. Messages name a pipeline by the number of its start; of one that is over, nobody hears them.

import { SpqrError } from '../../schemas/errors.ts'
import type { FromBridge } from '../bridges/runtime/messages.ts'
import type { FromCompute } from '../compute/messages.ts'
import type { Events } from './events.ts'
import type { PipelineControl } from './pipeline-control.ts'
import type { Pipelines } from './pipelines.ts'
import type { Readers } from './readers.ts'
import type { Supervision } from './supervision.ts'

export interface Hearers {
  readonly pipelines: Pipelines
  readonly readers: Readers
  readonly events: Events
  readonly supervision: Supervision
}

export class WorkerMessages {
  private readonly host: Hearers

  constructor(host: Hearers) {
    this.host = host
  }

  fromCompute(message: FromCompute): void {
    switch (message.type) {
      case 'failed':
        this.hear(message.pipeline, (pipeline) => pipeline.failed(message.component, message.error, true))
        return
      case 'event':
        this.showEvent(message)
        return
      case 'tapped':
        this.host.readers.tapped(message.tap, message.frames, message.skipped)
        return
      default:
        return
    }
  }

  fromBridge(message: FromBridge): void {
    switch (message.type) {
      case 'failed':
        this.hear(message.pipeline, (pipeline) => pipeline.failed(message.component, message.error))
        return
      case 'fell-back':
        this.hear(message.pipeline, ({ key }) =>
          this.host.supervision.fellBack(key, SpqrError.fromMessage(message.error)),
        )
        return
      case 'completed':
        this.hear(message.pipeline, (pipeline) => pipeline.completed())
        return
      case 'left':
        this.host.pipelines.control(message.pipeline)?.wiring.left(message.channel)
        return
      case 'checkpointed':
        this.host.pipelines.control(message.pipeline)?.checkpointed(message.summary)
        return
      case 'event':
        this.showEvent(message)
        return
      case 'out':
        this.host.readers.out(message.subscriptions, message.piece)
        return
      case 'out-end':
        this.host.readers.outEnd(message.subscription)
        return
      default:
        return
    }
  }

  private hear(key: number, act: (pipeline: PipelineControl) => void): void {
    const pipeline = this.host.pipelines.control(key)
    pipeline?.hear(() => act(pipeline))
  }

  private showEvent(message: Extract<FromCompute, { type: 'event' }>): void {
    const pipeline = this.host.pipelines.control(message.pipeline)
    if (!pipeline) return
    const { tenant, id } = pipeline.plan
    this.host.events.show(tenant, id, {
      kind: message.kind,
      component: message.component,
      level: message.level,
      text: message.text,
    })
  }
}
