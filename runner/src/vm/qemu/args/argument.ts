/** What every switch of QEMU's command line is made of. A value's commas are doubled, as QEMU splits its options at single ones. */

/** One switch and, if it takes one, its value. */
export type Argument = readonly [name: `-${string}`, value?: string]

/** A property's value; `true` and `false` print as `on` and `off`. */
export type Property = string | number | boolean

/** `kind,key=value,key=value`, or without `kind` where the switch has none. */
export function properties(kind: string | undefined, values: Readonly<Record<string, Property | undefined>>): string {
  const pairs = Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${print(value)}`],
  )
  return [...(kind === undefined ? [] : [kind]), ...pairs].join(',')
}

function print(value: Property): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off'
  return String(value).replaceAll(',', ',,')
}
