// What is known of a component that comes with the product: its settings, its ports, what it can promise.

import type { Delivery } from '../document.ts'
import type { AnySchema } from '../shapes.ts'

export type ComponentKind = 'source' | 'operator' | 'emitter'

export interface ComponentType {
  kind: ComponentKind
  name: string
  /** One sentence, for people. */
  description: string
  /** Its output has every default in place. */
  settings: AnySchema
  /** Output ports; the index is the port number in records. */
  ports(settings: Record<string, unknown>): string[]
  /** The deliveries it can hold. Of an operator all: its state belongs to the checkpoint. */
  deliveries(settings: Record<string, unknown>): readonly Delivery[]
  /** Of an operator: what it answers depends on what it was given before, by key. */
  keepsState?: boolean
  /** Why not the others, as the end of a sentence. */
  deliveryNote?: string
}

export const EVERY_DELIVERY: readonly Delivery[] = ['at-most-once', 'at-least-once', 'exactly-once']
export const ONLY_AT_LEAST_ONCE: readonly Delivery[] = ['at-least-once']
export const NOT_EXACTLY_ONCE: readonly Delivery[] = ['at-most-once', 'at-least-once']

type Facts = Omit<ComponentType, 'kind' | 'ports' | 'deliveries'> & Partial<Pick<ComponentType, 'ports' | 'deliveries'>>

const out = (): string[] => ['out']
const every = (): readonly Delivery[] => EVERY_DELIVERY

export const source = (facts: Facts): ComponentType => ({ kind: 'source', ports: out, deliveries: every, ...facts })
export const operator = (facts: Facts): ComponentType => ({ kind: 'operator', ports: out, deliveries: every, ...facts })
export const emitter = (facts: Facts): ComponentType => ({
  kind: 'emitter',
  ports: () => [],
  deliveries: every,
  ...facts,
})
