// Every source and emitter by the name it has in documents.
// Runs on: bridge.

import type { EmitterType, SourceType } from './bridge.ts'
import { consoleEmitter } from './console-emitter.ts'
import { discardEmitter } from './discard-emitter.ts'
import { fileEmitter } from './file-emitter.ts'
import { fileSource } from './file-source.ts'
import { generatorSource } from './generator-source.ts'
import { httpEmitter } from './http-emitter.ts'
import { httpSource } from './http-source.ts'
import { kafkaEmitter, kafkaSource } from './kafka-bridges.ts'
import { sseEmitter, websocketEmitter } from './live-emitter.ts'
import { timerSource } from './timer-source.ts'
import { topicEmitter } from './topic-emitter.ts'
import { topicSource } from './topic-source.ts'

export const sourceTypes: Record<string, SourceType> = {
  file: fileSource,
  generator: generatorSource,
  http: httpSource,
  kafka: kafkaSource,
  timer: timerSource,
  topic: topicSource,
}

export const emitterTypes: Record<string, EmitterType> = {
  console: consoleEmitter,
  discard: discardEmitter,
  file: fileEmitter,
  http: httpEmitter,
  kafka: kafkaEmitter,
  sse: sseEmitter,
  topic: topicEmitter,
  websocket: websocketEmitter,
}
