// How a manager and a host prove to each other that both know the shared secret, which itself is never sent. Each side signs
// these texts by HMAC-SHA-256 (base64url) with it:
//
//   host → manager   hello {own}                    own: random
//   manager → host   {manager, nonce, proof}        proof over managerText; nonce: made by the manager, good for half a minute
//   host → manager   register {…, own, nonce, proof}   proof over hostText: address, transport, everything
//
// Both then have two tokens of this registration (sessionTexts): what the manager brings when it calls the host, and what the
// host brings with its heartbeats. Who takes the port of a dead host or manager learns at most a token that is over.

import type { HostBody } from './api.ts'

/** Offline guesses at a short secret would be cheap: whoever asks is given something that it signed. */
export const SECRET_LENGTH_MIN = 32
/** Between two heartbeats. */
export const HEARTBEAT_MS = 500
/** A host that was not heard for so long is away. */
export const AWAY_MS = 3000
export const NONCE_MS = 30_000

export function managerText(own: string, nonce: string, manager: string): string {
  return JSON.stringify(['spqr manager', own, nonce, manager])
}

export function hostText(body: Omit<HostBody, 'proof'>): string {
  const { id, url, labels = {}, resources = {}, folder, process, transport, version, own, nonce } = body
  const { cores, memoryMiB } = resources
  const what = [
    id,
    url,
    Object.entries(labels),
    cores,
    memoryMiB,
    folder,
    process,
    transport.kind,
    transport.id,
    version,
  ]
  return JSON.stringify(['spqr host', own, nonce, ...what])
}

/** Signed, they are the two tokens. */
export function sessionTexts(own: string, nonce: string): { call: string; heartbeat: string } {
  return {
    call: JSON.stringify(['spqr call', own, nonce]),
    heartbeat: JSON.stringify(['spqr heartbeat', own, nonce]),
  }
}

/** Signed, it tells a process that another one is the host of its id. */
export function takenText(id: string, process: string): string {
  return JSON.stringify(['spqr taken', id, process])
}
