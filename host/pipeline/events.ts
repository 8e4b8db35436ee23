// What happens to pipelines, for those who watch: life cycle, logs of operators, faults.
// Runs on: control.

import type { PipelineState, Reason } from './pipeline-control.ts'

export interface PipelineEvent {
  /** ms since 1970 */
  at: number
  kind: 'state' | 'log' | 'fault'
  [field: string]: unknown
}

export interface StateEvent {
  tenant: string
  id: string
  state: PipelineState
  reason?: Reason
}

type Listener = (event: PipelineEvent) => void

/** Events of a pipeline kept for those who come late. */
const KEPT = 50

export class Events {
  private readonly listeners = new Map<string, Set<{ on: Listener; end: () => void }>>()
  private readonly recent = new Map<string, PipelineEvent[]>()
  private readonly stateListeners = new Set<(event: StateEvent) => void>()

  /** Calls `on` with recent events, then with each as it happens. @returns ends it */
  watch(tenant: string, id: string, on: Listener, end: () => void): () => void {
    const key = `${tenant}/${id}`
    for (const event of this.recent.get(key) ?? []) on(event)
    const listeners = this.listeners.get(key) ?? new Set()
    const listener = { on, end }
    listeners.add(listener)
    this.listeners.set(key, listeners)
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.listeners.get(key) === listeners) this.listeners.delete(key)
    }
  }

  /** Calls `on` whenever the state of any pipeline changes. @returns ends it */
  watchStates(on: (event: StateEvent) => void): () => void {
    this.stateListeners.add(on)
    return () => this.stateListeners.delete(on)
  }

  state(tenant: string, id: string, state: PipelineState, reason: Reason | undefined): void {
    for (const on of this.stateListeners) on({ tenant, id, state, reason })
    this.show(tenant, id, { kind: 'state', state, ...(reason ? { reason } : {}) })
  }

  show(tenant: string, id: string, event: { kind: PipelineEvent['kind']; [field: string]: unknown }): void {
    const key = `${tenant}/${id}`
    const listeners = this.listeners.get(key)
    const whole = { at: Date.now(), ...event }
    // Most pipelines only ever start: that is not worth memory.
    if (event.kind !== 'state' || event.state === 'failed' || listeners) {
      const recent = this.recent.get(key) ?? []
      recent.push(whole)
      if (recent.length > KEPT) recent.shift()
      this.recent.set(key, recent)
    }
    for (const { on } of listeners ?? []) on(whole)
  }

  /** The pipeline is gone. */
  close(tenant: string, id: string): void {
    const key = `${tenant}/${id}`
    this.recent.delete(key)
    for (const { end } of this.listeners.get(key) ?? []) end()
    this.listeners.delete(key)
  }

  closeAll(): void {
    for (const listeners of this.listeners.values()) for (const { end } of listeners) end()
    this.listeners.clear()
    this.stateListeners.clear()
  }
}
