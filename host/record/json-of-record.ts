// How bytes of a record are shown in JSON: text as a string, a value that is JSON as itself, anything else as base64.

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A key or a header's value. */
export function jsonOfBytes(bytes: Uint8Array | null): string {
  if (bytes === null) return 'null'
  try {
    return JSON.stringify(strict.decode(bytes))
  } catch {
    return `{"base64":"${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')}"}`
  }
}

/** A record's value: spliced in unparsed where its bytes are one JSON text. */
export function jsonOfValue(bytes: Uint8Array | null): string {
  if (bytes === null) return 'null'
  let text: string
  try {
    text = strict.decode(bytes)
  } catch {
    return jsonOfBytes(bytes)
  }
  try {
    JSON.parse(text)
    // A value of several lines would end an event of SSE: raw line breaks may stand between tokens only.
    return /[\r\n]/.test(text) ? text.replace(/[\r\n]+/g, ' ') : text
  } catch {
    return JSON.stringify(text)
  }
}
