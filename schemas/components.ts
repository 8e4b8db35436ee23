// Every component that comes with the product, by kind and name.

import type { ComponentKind, ComponentType } from './components/component.ts'
import {
  consoleEmitter,
  discard,
  fileEmitter,
  httpEmitter,
  kafkaEmitter,
  sse,
  topicEmitter,
  websocket,
} from './components/emitters.ts'
import { jsonAggregate } from './components/json-aggregate.ts'
import { jsonMap } from './components/json-map.ts'
import { dedupe, jsonFilter, route, sample, throttle } from './components/operators.ts'
import { fileSource, generator, httpSource, kafkaSource, timer, topicSource } from './components/sources.ts'

export type { ComponentKind, ComponentType } from './components/component.ts'

export const KINDS = ['source', 'operator', 'emitter'] as const

const byName = (...types: ComponentType[]): ReadonlyMap<string, ComponentType> =>
  new Map(types.map((type) => [type.name, type]))

export const COMPONENTS: Readonly<Record<ComponentKind, ReadonlyMap<string, ComponentType>>> = {
  source: byName(httpSource, fileSource, generator, timer, topicSource, kafkaSource),
  operator: byName(jsonFilter, jsonMap, jsonAggregate, route, throttle, sample, dedupe),
  emitter: byName(topicEmitter, kafkaEmitter, fileEmitter, httpEmitter, sse, websocket, consoleEmitter, discard),
}

/** @returns undefined where the product has none of this name */
export const componentType = (kind: ComponentKind, name: string): ComponentType | undefined =>
  COMPONENTS[kind].get(name)
