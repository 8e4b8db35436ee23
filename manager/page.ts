// Listings: `limit` and `after` of a request, `{items, next?}` of an answer.
// Runs on: control.

export const PAGE_ITEMS = 100

export interface PageQuery {
  limit?: number
  /** The last name of the page before. */
  after?: string
}

export interface Page<T> {
  items: T[]
  /** The `after` of the next page; absent: there is none. */
  next?: string
}

/** One page of a list that is in the order of its names. */
export function page<T>(all: readonly T[], nameOf: (item: T) => string, query: PageQuery): Page<T> {
  const { limit = PAGE_ITEMS, after } = query
  let from = 0
  if (after !== undefined) {
    const found = all.findIndex((item) => nameOf(item) > after)
    from = found < 0 ? all.length : found
  }
  const items = all.slice(from, from + limit)
  const last = items.at(-1)
  return from + limit < all.length && last !== undefined ? { items, next: nameOf(last) } : { items }
}
