// The events that every bench moves: 235 bytes of JSON, a shop's clicks; the same seed gives the same events.

export interface ShopEvent {
  id: number
  user: { id: string; country: string; session: string }
  action: string
  product: { id: string; name: string; price: number }
  tags: string[]
  referrer: string
}

const ACTIONS = ['view', 'click', 'cart', 'purchase']
const COUNTRIES = ['de', 'fr', 'us', 'jp']

/** @returns a whole number below n at each call, from the seed */
export function seeded(seed: number): (n: number) => number {
  let state = seed >>> 0
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 4294967296) * n)
  }
}

export function shopEvents(count: number, seed = 1): ShopEvent[] {
  const random = seeded(seed)
  return Array.from({ length: count }, (_, i) => ({
    id: i,
    user: { id: `u-${random(5000)}`, country: COUNTRIES[random(4)]!, session: `s-${1e6 + random(1e6)}-${random(1e6)}` },
    action: ACTIONS[random(4)]!,
    product: { id: `p-${random(400)}`, name: `Product "${random(900)}"`, price: random(50_000) / 100 },
    tags: ['web', `a${random(10)}`, 'spring'],
    referrer: `https://shop.example/catalogue/${random(100)}`,
  }))
}
