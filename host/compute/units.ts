// Names of the instances of an operator that is split by key. Each is a unit of its own: it has a node, counters and, at a
// barrier, an image under its name. An operator that is not split is one unit, by the name of its component.
// Runs on: every thread. No component can have such a name: ids hold neither `#` nor `>`.

/** @param instance from 0 */
export function unitName(component: string, instance: number): string {
  return `${component}#${instance}`
}

/** The output from which an instance reads. */
export function laneName(component: string, instance: number): string {
  return `${component}>${instance}`
}

/** The component that a unit is an instance of. */
export function componentOf(unit: string): string {
  const mark = unit.indexOf('#')
  return mark < 0 ? unit : unit.slice(0, mark)
}

/** Which of them, from 0. */
export function instanceOf(unit: string): number {
  const mark = unit.indexOf('#')
  return mark < 0 ? 0 : Number(unit.slice(mark + 1))
}
