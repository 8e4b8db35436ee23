// Paths of the API.

import { SpqrError } from '../../schemas/errors.ts'

export const pathOf = (id: string, rest = ''): string => `/v1/pipelines/${segment('pipeline', id)}${rest}`

export const topicPath = (name: string, rest = ''): string => `/v1/topics/${segment('topic', name)}${rest}`

/** @throws SpqrError NOT_FOUND: nothing has the name, and a URL would mean another path by it */
function segment(kind: string, name: string): string {
  if (/^\.{0,2}$/.test(name)) throw new SpqrError('NOT_FOUND', `There is no ${kind} "${name}".`)
  return encodeURIComponent(name)
}
