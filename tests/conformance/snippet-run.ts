/** Runs a printed program as it stands: what it imports, and what of the world it speaks of, is handed to it by name. */

export interface Ran {
  /** Its constants. */
  readonly values: Readonly<Record<string, unknown>>
  /** What it gave to `console`, call by call. */
  readonly printed: readonly (readonly unknown[])[]
}

const imported = /^import \{ ([\w, ]+) \} from '@iris\/sdk'\n+/gm
const declared = /^const (?:\{ ([\w, ]+) \}|(\w+))/
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
  const constants = constantsOf(program)
  const printed: unknown[][] = []
  const print = (...values: unknown[]) => printed.push(values)
  const scope: Record<string, unknown> = { console: { log: print, warn: print, error: print }, ...world }
  for (const name of names) scope[name] = sdk[name]
  for (const name of constants) delete scope[name]
  const body = `'use strict'\n${program.replaceAll(imported, '')}\nreturn { ${constants.join(', ')} }`
  const values = await new AsyncFunction(...Object.keys(scope), body)(...Object.values(scope))
  return { values, printed }
}

/** The constants of a program that are in no block of it; a saved page may have lost its indentation, so brackets tell. */
function constantsOf(program: string): string[] {
  let depth = 0
  return program.split('\n').flatMap((line) => {
    const [, list, name] = (depth === 0 && declared.exec(line)) || []
    depth += openedBy(line)
    return list?.split(', ') ?? (name === undefined ? [] : [name])
  })
}

/** How many brackets a line of a program opens and leaves open. */
export function openedBy(line: string): number {
  const [code = ''] = line.split(/(?:^| )\/\/ /)
  return (code.match(/[([{]/g)?.length ?? 0) - (code.match(/[)\]}]/g)?.length ?? 0)
}
