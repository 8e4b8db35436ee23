// OpenAPI 3.1 of the product's HTTP API, made of the schemas that check it.

import { problemAnswer } from './api-answers.ts'
import { API_OPERATIONS, type ApiOperation } from './api-operations.ts'
import { STATUS_OF } from './errors.ts'
import { type Definitions, documentJsonSchemaIn, type JsonSchema, jsonSchemaOf } from './json-schema.ts'

export type OpenApi = JsonSchema & { paths: Record<string, Record<string, JsonSchema>> }

/** Describes the API. @param version of the product */
export function openApi(version: string): OpenApi {
  const definitions: Definitions = { prefix: '#/components/schemas/', schemas: {} }
  definitions.schemas.PipelineDocument = documentJsonSchemaIn(definitions)
  definitions.schemas.Problem = jsonSchemaOf(problemAnswer, 'Problem', definitions)
  const paths: Record<string, Record<string, JsonSchema>> = {}
  for (const operation of API_OPERATIONS) {
    paths[operation.path] ??= {}
    paths[operation.path]![operation.method] = describe(operation, definitions)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'SPQR',
      version,
      description: 'Pipelines over live data, made and changed in milliseconds.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ bearer: [] }],
    paths,
    components: {
      schemas: definitions.schemas,
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'Selects the tenant; not asked for where no token is set.',
        },
      },
      responses: {
        Problem: {
          description: `What went wrong, by code: ${Object.entries(STATUS_OF)
            .map(([code, status]) => `${code} ${status}`)
            .join(', ')}.`,
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
    },
  }
}

function describe(operation: ApiOperation, definitions: Definitions): JsonSchema {
  const { method, path, summary, query, body, bodyOptional, answers, open } = operation
  const words = path.split(/[/{}.]+/).filter((word) => word !== '' && word !== 'v1')
  const name = [method, ...words].join('-')
  const responses: Record<string, JsonSchema> = {}
  for (const [status, answer] of Object.entries(answers)) {
    responses[status] = {
      description: summary,
      ...(answer ? { content: { [answer[0]]: { schema: contentOf(answer[1], name, definitions) } } } : {}),
    }
  }
  if (!open) responses.default = { $ref: '#/components/responses/Problem' }
  return {
    operationId: name,
    summary,
    tags: [words[0]!],
    ...(open ? { security: [] } : {}),
    parameters: [...pathParameters(path), ...(query ? queryParameters(query, name, definitions) : [])],
    ...(body
      ? {
          requestBody: {
            required: !bodyOptional,
            content: Object.fromEntries(
              Object.entries(body).map(([type, content]) => [type, { schema: contentOf(content, name, definitions) }]),
            ),
          },
        }
      : {}),
    responses,
  }
}

const pathParameters = (path: string): JsonSchema[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map((match) => ({
    name: match[1]!,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))

function queryParameters(
  query: NonNullable<ApiOperation['query']>,
  name: string,
  definitions: Definitions,
): JsonSchema[] {
  const { properties = {}, required = [] } = jsonSchemaOf(query, name, definitions) as {
    properties?: Record<string, JsonSchema>
    required?: string[]
  }
  return Object.entries(properties).map(([parameter, schema]) => ({
    name: parameter,
    in: 'query',
    required: required.includes(parameter),
    schema,
  }))
}

type Content = NonNullable<ApiOperation['body']>[string]

function contentOf(content: Content, name: string, definitions: Definitions): JsonSchema {
  switch (content) {
    case 'document':
      return { $ref: '#/components/schemas/PipelineDocument' }
    case 'json-schema':
      return { type: 'object' }
    case 'bytes':
      return { contentMediaType: 'application/octet-stream' }
    case 'text':
    case 'events':
      return { type: 'string' }
    case 'ndjson':
      return { type: 'string', description: 'One record per line.' }
    default:
      return jsonSchemaOf(content, name, definitions)
  }
}
