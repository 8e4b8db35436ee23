// The template of a source `generator`: JSON with `{$seq: start}`, `{$int: [a, b]}`, `{$float: [a, b, digits]}`,
// `{$pick: […]}` and `{$now: true}` anywhere inside.

import * as v from 'valibot'
import { didYouMean } from '../nearest-name.ts'
import { FORBIDDEN_FIELD, isObject } from '../shapes.ts'

export const TEMPLATE_FORMS = ['$seq', '$int', '$float', '$pick', '$now'] as const
const DEPTH_MAX = 32
const PICK_MAX = 10_000

const isInteger = (value: unknown): value is number => Number.isSafeInteger(value)

const inOrder = (bounds: number[]): boolean => bounds[0]! <= bounds[1]!

const CHECK: Record<string, (value: unknown) => string | undefined> = {
  $seq: (value) => (isInteger(value) ? undefined : '{$seq: start}: the start must be a whole number'),
  $int: (value) =>
    Array.isArray(value) && value.length === 2 && value.every(isInteger) && inOrder(value)
      ? undefined
      : '{$int: [a, b]}: two whole numbers in order',
  $float: (value) =>
    Array.isArray(value) &&
    (value.length === 2 || (value.length === 3 && isInteger(value[2]) && value[2] >= 0 && value[2] <= 15)) &&
    value.every((part) => typeof part === 'number' && Number.isFinite(part)) &&
    inOrder(value) &&
    Number.isFinite(value[1] - value[0])
      ? undefined
      : '{$float: [a, b, digits]}: two numbers in order, not too far apart, and 0 to 15 digits',
  $pick: (value) =>
    Array.isArray(value) && value.length > 0 && value.length <= PICK_MAX
      ? undefined
      : `{$pick: […]}: a list of 1 to ${PICK_MAX} values`,
  $now: (value) => (value === true ? undefined : '{$now: true}'),
}

interface Found {
  path: (string | number)[]
  message: string
}

/** Every problem of a template, at its place. */
export function templateProblems(template: unknown): Found[] {
  const found: Found[] = []
  walk(template, [], found)
  return found
}

function walk(value: unknown, path: (string | number)[], found: Found[]): void {
  if (path.length > DEPTH_MAX) {
    found.push({ path, message: `a template may be nested at most ${DEPTH_MAX} deep` })
    return
  }
  if (Array.isArray(value)) {
    value.forEach((inner, index) => {
      walk(inner, [...path, index], found)
    })
    return
  }
  if (!isObject(value)) return
  const keys = Object.keys(value)
  const form = keys.find((key) => key.startsWith('$'))
  if (form === undefined) {
    for (const key of keys) {
      if (key === FORBIDDEN_FIELD)
        found.push({ path: [...path, key], message: `the field name "${key}" is not permitted` })
      else walk(value[key], [...path, key], found)
    }
    return
  }
  const check = Object.hasOwn(CHECK, form) ? CHECK[form]! : undefined
  if (!check)
    found.push({ path: [...path, form], message: `unknown form "${form}"${didYouMean(form, TEMPLATE_FORMS)}` })
  else if (keys.length > 1) found.push({ path, message: `"${form}" stands alone in its object` })
  else {
    const message = check(value[form])
    if (message) found.push({ path: [...path, form], message })
  }
}

/** Whether some part of it is drawn by chance, so that only a seed makes two runs the same. */
export function drawsByChance(template: unknown): boolean {
  if (Array.isArray(template)) return template.some(drawsByChance)
  if (!isObject(template)) return false
  return Object.entries(template).some(
    ([key, value]) => key === '$int' || key === '$float' || key === '$pick' || drawsByChance(value),
  )
}

export const templateSchema = v.pipe(
  v.unknown(),
  v.rawCheck(({ dataset, addIssue }) => {
    for (const { path, message } of templateProblems(dataset.value)) {
      const items = path.map(
        (key) => ({ type: 'unknown', origin: 'value', input: undefined, key, value: undefined }) as const,
      )
      addIssue({
        message,
        path: items.length > 0 ? (items as unknown as [v.IssuePathItem, ...v.IssuePathItem[]]) : undefined,
      })
    }
  }),
)
