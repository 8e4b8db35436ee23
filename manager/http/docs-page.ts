// The API's description as one page for people: made from the OpenAPI document, no script, nothing from elsewhere.
// Runs on: control, once.

interface Operation {
  summary?: string
  description?: string
  tags?: string[]
  parameters?: { name: string; in: string; required?: boolean; description?: string; schema?: unknown }[]
  requestBody?: { content?: Record<string, { schema?: unknown }> }
  responses?: Record<string, { description?: string; content?: Record<string, { schema?: unknown }> }>
}

interface Description {
  info: { title: string; version: string; description?: string }
  paths: Record<string, unknown>
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --soft: #8881 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer } summary b { display: inline-block; width: 4.5rem }
code, pre { font: 13px/1.45 ui-monospace, monospace } pre { background: var(--soft); padding: .6rem; overflow: auto }
table { border-collapse: collapse; width: 100% } td { border-top: 1px solid var(--line); padding: .25rem .5rem .25rem 0; vertical-align: top }
`

export function docsPage(description: object): string {
  const { info, paths } = description as Description
  const groups = new Map<string, string[]>()
  for (const [path, item] of Object.entries(paths)) {
    for (const method of METHODS) {
      const operation = (item as Record<string, Operation | undefined>)[method]
      if (!operation) continue
      const group = operation.tags?.[0] ?? path.split('/')[2] ?? 'manager'
      const list = groups.get(group) ?? []
      list.push(operationHtml(method, path, operation))
      groups.set(group, list)
    }
  }
  const body = [...groups].map(([name, list]) => `<h2>${html(name)}</h2>\n${list.join('\n')}`).join('\n')
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${html(info.title)}</title><style>${STYLE}</style></head>
<body><h1>${html(info.title)}</h1><p>Version ${html(info.version)} · <a href="/openapi.json">OpenAPI</a></p>
${info.description ? `<p>${html(info.description)}</p>` : ''}
${body}
</body></html>
`
}

function operationHtml(method: string, path: string, operation: Operation): string {
  const { summary, description, parameters, requestBody, responses } = operation
  const parts: string[] = []
  if (description) parts.push(`<p>${html(description)}</p>`)
  if (parameters?.length) {
    const rows = parameters.map(
      (p) =>
        `<tr><td><code>${html(p.name)}</code></td><td>${html(p.in)}${p.required ? ', required' : ''}</td><td>${html(p.description ?? '')}</td></tr>`,
    )
    parts.push(`<table>${rows.join('')}</table>`)
  }
  for (const [type, { schema }] of Object.entries(requestBody?.content ?? {})) {
    parts.push(`<p>Body <code>${html(type)}</code></p>${schemaHtml(schema)}`)
  }
  for (const [status, response] of Object.entries(responses ?? {})) {
    const [first] = Object.entries(response.content ?? {})
    parts.push(`<p><b>${html(status)}</b> ${html(response.description ?? '')}</p>`)
    if (first && status.startsWith('2')) parts.push(schemaHtml(first[1].schema))
  }
  return `<details><summary><b>${method.toUpperCase()}</b> <code>${html(path)}</code> ${html(summary ?? '')}</summary>
${parts.join('\n')}
</details>`
}

function schemaHtml(schema: unknown): string {
  return schema === undefined ? '' : `<pre>${html(JSON.stringify(schema, null, 2))}</pre>`
}

function html(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)
}
