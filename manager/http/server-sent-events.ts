// Reads a stream of server-sent events (HTML standard, 9.2).
// Runs on: control, and the command line.

export interface ServerSentEvent {
  /** `message` unless said otherwise. */
  event: string
  data: string
  id?: string
}

/** The events of a body; the body is cancelled when the reader stops early. */
export async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent, void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    const blocks = (rest + decoder.decode(chunk, { stream: true })).split(/\r?\n\r?\n/)
    rest = blocks.pop()!
    for (const block of blocks) {
      const event = eventOf(block)
      if (event) yield event
    }
  }
}

/** @returns undefined for a comment */
function eventOf(block: string): ServerSentEvent | undefined {
  const data: string[] = []
  const found: ServerSentEvent = { event: 'message', data: '' }
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (field === 'data') data.push(value)
    else if (field === 'event') found.event = value
    else if (field === 'id') found.id = value
  }
  if (data.length === 0 && found.event === 'message') return undefined
  found.data = data.join('\n')
  return found
}
