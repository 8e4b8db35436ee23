// Paths of the API.

export const pathOf = (id: string, rest = ''): string => `/v1/pipelines/${encodeURIComponent(id)}${rest}`

export const topicPath = (name: string, rest = ''): string => `/v1/topics/${encodeURIComponent(name)}${rest}`
