/** Runs a printed program as it stands: what it imports, and what of the world it speaks of, is handed to it by name. */

export interface Ran {
  /** Its constants. */
  readonly values: Readonly<Record<string, unknown>>
  /** What it gave to `console.log`, call by call. */
  readonly printed: readonly (readonly unknown[])[]
}

const imported = /^import \{ ([\w, ]+) \} from '@iris\/sdk'\n+/gm
const declared = /^const (?:\{ ([\w, ]+) \}|(\w+))/gm
const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor as new (
  ...parts: string[]
) => (...values: unknown[]) => Promise<Readonly<Record<string, unknown>>>

/** `sdk` stands for the module that the program imports; `world` has the names that it presumes. */
export async function runProgram(
  program: string,
  sdk: Readonly<Record<string, unknown>>,
  world: Readonly<Record<string, unknown>>,
): Promise<Ran> {
  const names = [...program.matchAll(imported)].flatMap(([, list = '']) => list.split(', '))
  const constants = [...program.matchAll(declared)].flatMap(([, list, name]) => list?.split(', ') ?? [name ?? ''])
  const printed: unknown[][] = []
  const scope: Record<string, unknown> = { console: { log: (...values: unknown[]) => printed.push(values) }, ...world }
  for (const name of names) scope[name] = sdk[name]
  for (const name of constants) delete scope[name]
  const body = `'use strict'\n${program.replaceAll(imported, '')}\nreturn { ${constants.join(', ')} }`
  const values = await new AsyncFunction(...Object.keys(scope), body)(...Object.values(scope))
  return { values, printed }
}
