// Whether settings have a reference, `${env:NAME}` or `${secret:NAME}`, that something else will stand for. Most have none.

const found = new WeakMap<object, boolean>()

/** Looked for once per object: settings of a document or plan are not changed, a change makes others. */
export function mayRefer(settings: object): boolean {
  let has = found.get(settings)
  if (has === undefined) {
    has = refers(settings)
    found.set(settings, has)
  }
  return has
}

function refers(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('${')
  if (typeof value !== 'object' || value === null) return false
  return Object.values(value).some(refers)
}
