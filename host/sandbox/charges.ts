// Decides where fuel is charged and calls are counted, over all functions of a module.
//
// Fuel: the weight of a function is charged at its entry, that of a loop's body at its head, that of a heavy arm (what follows
// an if, a conditional branch, the end of a block) where it begins; no code runs uncharged. A small function without loops that
// is only called by name costs a known sum, so its callers are charged for it instead (`folded`). Whether fuel is left is looked at
// in every loop, and at the entry of functions that recur, can be entered from outside or may do much without a loop; those
// that may do very much look at their end too.
//
// Depth: only functions that can be on the stack twice are counted. The others together take at most as much as the longest
// chain of calls, which is known.
// Runs on: admission.

import type { AdmissionLimits } from './limits.ts'
import { importedFunctions, type ModuleShape } from './module-shape.ts'
import type { FunctionScan } from './scan-function.ts'

/** A function that weighs more, callees included, is charged at its own entry. */
const FOLD_WEIGHT_MAX = 100
/**
 * An arm that weighs less is charged with what comes before it: one charge less, and an overcharge of at most this where it is
 * not taken. Measured over the shipped operators: charging every arm costs 14 to 20 % of their time, none 5 to 9 %, these 5 to
 * 9 % at a third less fuel. Where fuel is not held in a local a charge costs more.
 */
const ARM_WEIGHT_MIN = 64
const ARM_WEIGHT_MIN_UNHELD = 256

/**
 * A function whose work is bounded by this leaves the look at its fuel to others. A body of 256 KiB calls such functions
 * 131,000 times at most: all it can do between two looks, 262 M, stays far above -2^31, where fuel would become positive again.
 */
const UNSEEN_WEIGHT_MAX = 2_000
/**
 * A function that may do more than this behind its last look also looks when it ends. Of the others 4,096 at most are on the
 * stack, each with a rest to do when fuel is used up: a recursion whose work stands behind the call.
 */
const REST_WEIGHT_MAX = 20_000

export interface FunctionCharge {
  /** Its weight is charged by its callers; it has no code of ours. */
  folded: boolean
  /** Counted at entry and exit. */
  counted: boolean
  /** Its entry sees to it that fuel is left; if not, what it does between two looks is little, and others look. */
  checked: boolean
  /** It looks once more when it ends. */
  late: boolean
  /** It has loops: its fuel is held in a local, and is in the global while others run. */
  held: boolean
  /** Fuel of each segment, folded callees included; 0: charged with its parent. */
  weights: number[]
}

/** Whether a function has something to do at its exit. */
export const hasExit = ({ counted, held, late }: FunctionCharge): boolean => counted || held || late

export interface Charges {
  functions: FunctionCharge[]
  /** Stack that the longest chain of uncounted calls takes, in bytes. */
  chainBytes: number
  counted: number
}

export function planCharges(shape: ModuleShape, scans: FunctionScan[], limits: AdmissionLimits): Charges {
  const imported = importedFunctions(shape)
  const callees = calleesOf(shape, scans, imported)
  const components = bottomUp(callees)
  // Whatever can be entered other than by a call by name charges for itself.
  const entered = new Set<number>()
  for (const { functions } of shape.elements) for (const f of functions) entered.add(f - imported)
  for (const { kind, index } of shape.exports) if (kind === 'function') entered.add(index - imported)

  const plan = planWith(scans, callees, components, entered, false)
  return plan.chainBytes > limits.chainBytesMax ? planWith(scans, callees, components, entered, true) : plan
}

/** @param countAll counts every function that calls another, not just those that may recur */
function planWith(
  scans: FunctionScan[],
  callees: number[][],
  components: number[][],
  entered: Set<number>,
  countAll: boolean,
): Charges {
  const functions: FunctionCharge[] = new Array(scans.length)
  const chains = new Float64Array(callees.length)
  const unseen = new Float64Array(callees.length)
  let chainBytes = 0
  for (const component of components) {
    const recursive = component.length > 1 || callees[component[0]!]!.includes(component[0]!)
    // The chain goes on from any member of the component, and never comes back to it.
    let beyond = 0
    for (const node of component) for (const callee of callees[node]!) beyond = Math.max(beyond, chains[callee]!)
    for (const node of component) {
      chains[node] = beyond
      const scan = scans[node]
      if (!scan) continue
      const counted = recursive || (countAll && callees[node]!.length > 0)
      const charge = chargeOf(scan, functions, counted)
      charge.checked = counted || entered.has(node) || scan.indirectTypes.length > 0
      unseen[node] = unseenWeight(scan, charge, functions, unseen)
      charge.checked ||= unseen[node]! > UNSEEN_WEIGHT_MAX
      charge.late = unseen[node]! > REST_WEIGHT_MAX
      charge.folded = !counted && !entered.has(node) && isSmall(scan, charge, functions)
      functions[node] = charge
      if (!counted) chains[node] = beyond + scan.frameBytes
      chainBytes = Math.max(chainBytes, chains[node]!)
    }
  }
  return { functions, chainBytes, counted: functions.filter((f) => f.counted).length }
}

function chargeOf(scan: FunctionScan, functions: FunctionCharge[], counted: boolean): FunctionCharge {
  const { segments } = scan
  // A callee of the same component is not known yet, and never folded.
  const weights: number[] = []
  let held = false
  for (const { kind, weight, calls } of segments) {
    let sum = weight
    for (const callee of calls) if (functions[callee]?.folded) sum += functions[callee].weights[0]!
    weights.push(sum)
    if (kind === 'loop') held = true
  }
  const least = held ? ARM_WEIGHT_MIN : ARM_WEIGHT_MIN_UNHELD
  for (let i = segments.length - 1; i > 0; i--) {
    const { kind, parent } = segments[i]!
    if (kind !== 'arm' || weights[i]! >= least) continue
    weights[parent]! += weights[i]!
    weights[i] = 0
  }
  return { folded: false, counted, checked: true, late: false, held, weights }
}

/** What a function may use between two looks at its fuel, callees that do not look included. */
function unseenWeight(
  { segments }: FunctionScan,
  { weights }: FunctionCharge,
  functions: FunctionCharge[],
  unseen: Float64Array,
): number {
  let sum = 0
  for (const weight of weights) sum += weight
  // A callee of the same component is not known yet, and looks.
  for (const { calls } of segments) for (const f of calls) if (functions[f]?.checked === false) sum += unseen[f]!
  return sum
}

/** No loops, no arm of its own charge, nothing to charge by length, every callee folded. */
function isSmall(scan: FunctionScan, charge: FunctionCharge, functions: FunctionCharge[]): boolean {
  if (charge.held || charge.weights[0]! > FOLD_WEIGHT_MAX) return false
  for (const site of scan.sites) {
    if (site.kind === 'call' && functions[site.callee]?.folded) continue
    if (site.kind === 'import' && site.ends) continue
    if (site.kind === 'arm' && charge.weights[site.segment] === 0) continue
    if (site.kind !== 'return' && site.kind !== 'unreachable') return false
  }
  return true
}

/**
 * Whom each function may call, each once: by name, or through the table by type. Behind the functions stands one node per
 * type, which calls every function of that type in the table; edges from function to function would be their product.
 */
function calleesOf(shape: ModuleShape, scans: FunctionScan[], imported: number): number[][] {
  const nodes = new Map<string, number>()
  const nodeOf = shape.types.map(({ params, results }) => {
    const key = `${params.join()}>${results.join()}`
    const node = nodes.get(key) ?? scans.length + nodes.size
    nodes.set(key, node)
    return node
  })
  const callees = Array.from({ length: scans.length + nodes.size }, () => new Set<number>())
  for (const [index, scan] of scans.entries()) {
    for (const { calls } of scan.segments) for (const callee of calls) callees[index]!.add(callee)
    for (const type of scan.indirectTypes) callees[index]!.add(nodeOf[type]!)
  }
  for (const { functions } of shape.elements) {
    for (const f of functions) if (f >= imported) callees[nodeOf[shape.functions[f - imported]!]!]!.add(f - imported)
  }
  return callees.map((set) => [...set])
}

/** Tarjan's strongly connected components (1972), without recursion. @returns components, callees before callers */
function bottomUp(callees: number[][]): number[][] {
  const count = callees.length
  const index = new Int32Array(count).fill(-1)
  const low = new Int32Array(count)
  const onStack = new Uint8Array(count)
  const next = new Int32Array(count)
  const components: number[][] = []
  const stack: number[] = []
  const path: number[] = []
  let counter = 0
  for (let root = 0; root < count; root++) {
    if (index[root] !== -1) continue
    path.push(root)
    while (path.length > 0) {
      const v = path[path.length - 1]!
      if (index[v] === -1) {
        index[v] = low[v] = counter++
        stack.push(v)
        onStack[v] = 1
      }
      const w = callees[v]![next[v]!++]
      if (w !== undefined) {
        if (index[w] === -1) path.push(w)
        else if (onStack[w]) low[v] = Math.min(low[v]!, index[w]!)
        continue
      }
      path.pop()
      const caller = path[path.length - 1]
      if (caller !== undefined) low[caller] = Math.min(low[caller]!, low[v]!)
      if (low[v] !== index[v]) continue
      const component: number[] = []
      for (let w = -1; w !== v; ) {
        w = stack.pop()!
        onStack[w] = 0
        component.push(w)
      }
      components.push(component)
    }
  }
  return components
}
