// How a stream of records goes out: as server-sent events, or as frames of WebSocket for the manager to write as they are.
// What a host and its manager agree on.

export type ReaderForm = 'events' | 'frames'

/** What a manager accepts that wants frames. */
export const FRAMES_TYPE = 'application/vnd.spqr.frames'

export function formOf(accept: string | undefined): ReaderForm {
  return accept === FRAMES_TYPE ? 'frames' : 'events'
}
