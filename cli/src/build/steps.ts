/**
 * A Dockerfile-like list as a build: FROM, RUN, ENV, WORKDIR, USER, COPY and, last, START. Anything else is refused. Two things differ from Docker: what COPY brings is there before the
 * first RUN, and variables of ENV are there from the first RUN on (one that is set twice has each value in its place).
 */

import { posix } from 'node:path'
import type { BuildStep } from '@portico/sdk'
import { BuildFileError, type Instruction, instructions, quoted, words } from './instructions.ts'

/** A file to take along: `source` is relative to the folder of the build file. */
export interface Copy {
  readonly line: number
  readonly source: string
  readonly path: string
  readonly mode: number | undefined
}

export interface StepList {
  readonly from: string
  readonly steps: readonly BuildStep[]
  readonly env: Readonly<Record<string, string>>
  readonly copies: readonly Copy[]
  readonly start: string | undefined
  readonly readyPort: number | undefined
}

export function stepList(file: string, text: string): StepList {
  const list = new List()
  for (const one of instructions(file, text)) {
    try {
      list.take(one)
    } catch (error) {
      if (error instanceof BuildFileError || !(error instanceof Error)) throw error
      throw new BuildFileError(file, one.line, error.message)
    }
  }
  const found = list.found()
  if (found === undefined) throw new BuildFileError(file, 1, 'it has no FROM')
  return found
}

/** The list as it is read. What is wrong is thrown as an Error; whoever knows the line adds it. */
class List {
  #from: string | undefined
  readonly #steps: BuildStep[] = []
  readonly #env: Record<string, string> = {}
  readonly #copies: Copy[] = []
  #workdir: string | undefined
  #user: string | undefined
  #start: string | undefined
  #readyPort: number | undefined

  found(): StepList | undefined {
    if (this.#from === undefined) return undefined
    const steps = this.#steps.map((step) => ({ ...step, env: differing(step.env, this.#env) }))
    const about = { env: this.#env, copies: this.#copies, start: this.#start, readyPort: this.#readyPort }
    return { from: this.#from, steps, ...about }
  }

  take({ line, name, rest }: Instruction): void {
    if (this.#start !== undefined) throw new Error(`${name} comes after START, which is the last`)
    if (rest === '') throw new Error(`${name} is followed by nothing`)
    if (this.#from === undefined && name !== 'FROM') throw new Error(`${name} comes before FROM, which is the first`)
    switch (name) {
      case 'FROM':
        this.#takeFrom(rest)
        break
      case 'RUN':
        this.#steps.push(this.#step(command(rest)))
        break
      case 'ENV':
        this.#takeEnv(rest)
        break
      case 'WORKDIR':
        this.#takeWorkdir(one(name, rest))
        break
      case 'USER':
        this.#user = one(name, rest)
        break
      case 'COPY':
        this.#takeCopy(line, rest)
        break
      case 'START':
        this.#takeStart(rest)
        break
      default:
        throw new Error(`there is no instruction ${name}; there are FROM, RUN, ENV, WORKDIR, USER, COPY and START`)
    }
  }

  #step(run: string): BuildStep {
    return { run, env: { ...this.#env }, workdir: this.#workdir, user: this.#user }
  }

  #takeFrom(rest: string): void {
    if (this.#from !== undefined) throw new Error('there is a second FROM; builds have one stage')
    if (/\s/.test(rest)) throw new Error('FROM takes an image and nothing else')
    this.#from = rest
  }

  #takeEnv(rest: string): void {
    for (const word of words(rest)) {
      const [, name, value] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(word) ?? []
      if (name === undefined || value === undefined) throw new Error(`ENV takes NAME=VALUE, and this is ${word}`)
      this.#env[name] = value
    }
  }

  #takeWorkdir(path: string): void {
    this.#workdir = posix.resolve(this.#workdir ?? '/', path)
    this.#steps.push({ run: `mkdir -p ${quoted(this.#workdir)}`, env: {} })
  }

  #takeCopy(line: number, rest: string): void {
    const all = rest.startsWith('[') ? list(rest) : words(rest)
    const flags = all.filter((word) => word.startsWith('--'))
    const modes = flags.map((flag) => /^--chmod=(0?[0-7]{3,4})$/.exec(flag)?.[1])
    const at = modes.indexOf(undefined)
    if (at >= 0) throw new Error(`COPY has no option ${flags[at]}; it has --chmod=755`)
    const sources = all.filter((word) => !word.startsWith('--'))
    const to = sources.pop()
    if (to === undefined || sources.length === 0) throw new Error('COPY takes one file or more, and where they go')
    const isFolder = to.endsWith('/')
    if (sources.length > 1 && !isFolder) throw new Error('COPY of several files takes a folder, which ends with /')
    const target = posix.resolve(this.#workdir ?? '/', to)
    const [mode] = modes
    for (const source of sources) {
      const path = isFolder ? posix.join(target, posix.basename(source)) : target
      if (this.#copies.some((copy) => copy.path === path)) throw new Error(`a second file goes to ${path}`)
      this.#copies.push({ line, source, path, mode: mode === undefined ? undefined : Number.parseInt(mode, 8) })
    }
  }

  #takeStart(rest: string): void {
    if (this.#user !== undefined && !/^(root|0)$/.test(this.#user))
      throw new Error(`START runs as root, and USER says ${this.#user}`)
    const [, port, line = rest] = /^--ready-port=(\d{1,5})\s+(.*)$/s.exec(rest) ?? []
    if (line.startsWith('--'))
      throw new Error(`START has no option ${line.split(/[\s=]/)[0]}; it has --ready-port=8000`)
    this.#readyPort = port === undefined ? undefined : Number(port)
    const run = command(line)
    this.#start = this.#workdir === undefined ? run : `cd ${quoted(this.#workdir)} && ${run}`
  }
}

/** A line for the shell; `["a", "b"]` is a program and its arguments. */
function command(rest: string): string {
  if (rest.startsWith('--')) throw new Error(`RUN has no option ${rest.split(/[\s=]/)[0]}`)
  return rest.startsWith('[') && rest.endsWith(']') ? list(rest).map(quoted).join(' ') : rest
}

function list(text: string): readonly string[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Error(`${text} is no list of strings in JSON`)
  }
  if (!Array.isArray(value) || value.length === 0 || !value.every((word) => typeof word === 'string'))
    throw new Error(`${text} is no list of strings in JSON`)
  return value
}

function one(name: string, rest: string): string {
  const [word, ...more] = words(rest)
  if (word === undefined || word === '' || more.length > 0) throw new Error(`${name} takes one word`)
  return word
}

/** Of a step's variables those that are another's at the end. */
function differing(env: BuildStep['env'] = {}, last: Readonly<Record<string, string>>): BuildStep['env'] {
  const found = Object.entries(env).filter(([name, value]) => last[name] !== value)
  return found.length === 0 ? undefined : Object.fromEntries(found)
}
