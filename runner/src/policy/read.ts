/**
 * The text of `portico.yaml` as a policy, or all that is wrong with it, each with its line. It is the fields themselves, or iii's whole form with a
 * worker named `iii-sandbox` whose `config` they are.
 */

import {
  type Document,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLMap,
} from 'yaml'
import type { z } from 'zod'
import { isReference } from '../image/reference.ts'
import { everything, isPattern } from './pattern.ts'
import { isPolicyField, type Policy, type PolicyField, policyFields, type Reserved } from './policy.ts'

export interface Problem {
  readonly line: number
  readonly message: string
}

export type ReadPolicy = (
  | { readonly policy: Policy; readonly problems: readonly [] }
  | { readonly problems: readonly Problem[] }
) & {
  /** Where it names the file with the credentials. */
  readonly auth?: { readonly path: string; readonly line: number }
}

/** The name of the worker in iii's form. */
const workerName = 'iii-sandbox'

export function readPolicy(text: string, reserved: Reserved): ReadPolicy {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const lineAt = (offset: number) => Math.max(1, lines.linePos(offset).line)
  if (document.errors.length > 0)
    return {
      problems: document.errors.map(({ pos, message }) => ({ line: lineAt(pos[0]), message: oneLine(message) })),
    }
  const reading = new Reading(document, lineAt, reserved)
  const policy = reading.whole(document.contents)
  const problems = reading.problems.toSorted((one, other) => one.line - other.line)
  const auth = reading.auth ? { auth: reading.auth } : {}
  return policy && problems.length === 0 ? { policy, problems: [], ...auth } : { problems, ...auth }
}

class Reading {
  readonly problems: Problem[] = []
  auth: ReadPolicy['auth'] | undefined
  readonly #lineAt: (offset: number) => number
  readonly #reserved: Reserved
  readonly #document: Document

  constructor(document: Document, lineAt: (offset: number) => number, reserved: Reserved) {
    this.#document = document
    this.#lineAt = lineAt
    this.#reserved = reserved
  }

  whole(root: Node | null): Policy | undefined {
    // An empty file is a policy, too: nothing is allowed.
    if (root === null || (isScalar(root) && root.value === null)) return this.#fields(undefined)
    if (!isMap(root)) return this.#say(root, 'it must be a map of fields')
    return root.has('workers') ? this.#ofWorkers(root) : this.#fields(root)
  }

  #ofWorkers(root: YAMLMap): Policy | undefined {
    for (const { key } of root.items) {
      if (!isScalar(key) || key.value !== 'workers') this.#say(key, `there is no field ${textOf(key)} beside workers`)
    }
    const workers = root.get('workers', true) as unknown
    if (!isSeq(workers)) return this.#say(workers, 'workers must be a list')
    const own = workers.items.filter((one) => isMap(one) && one.get('name') === workerName) as YAMLMap[]
    const [worker, second] = own
    if (!worker) return this.#say(workers, `no worker is named ${workerName}`)
    if (second) return this.#say(second, `another worker is named ${workerName} already`)
    for (const { key } of worker.items) {
      const text = textOf(key)
      if (text !== 'name' && text !== 'config') this.#say(key, `there is no field ${text}`)
    }
    const config = worker.get('config', true) as unknown
    if (config === undefined || (isScalar(config) && config.value === null)) return this.#fields(undefined)
    return isMap(config) ? this.#fields(config) : this.#say(config, 'config must be a map of fields')
  }

  #fields(map: YAMLMap | undefined): Policy | undefined {
    const values: Partial<Record<PolicyField, unknown>> = {}
    for (const { key } of map?.items ?? []) {
      const field = textOf(key)
      if (!isPolicyField(field)) this.#say(key, `there is no field ${field}${nearest(field)}`)
    }
    for (const field of Object.keys(policyFields) as PolicyField[]) {
      const node = map?.get(field, true) as Node | undefined
      const given =
        node === undefined || (isScalar(node) && node.value === null) ? undefined : node.toJS(this.#document)
      const result = policyFields[field].safeParse(given)
      if (result.success) values[field] = result.data
      else for (const issue of result.error.issues) this.#issue(map, field, issue)
    }
    const policy = values as Policy
    const { registry_auth: path } = policy
    if (path !== undefined) this.auth = { path, line: this.#lineOf(map?.get('registry_auth', true)) }
    this.#names(policy, map)
    return this.problems.length === 0 ? Object.freeze(policy) : undefined
  }

  /** What the names in it mean, as far as they could be read. */
  #names({ custom_images: custom = {}, image_allowlist: allowed = [], ...rest }: Partial<Policy>, map?: YAMLMap): void {
    const { presets, aliases } = this.#reserved
    for (const [name, reference] of Object.entries(custom)) {
      if (presets.includes(name))
        this.#at(map, ['custom_images', name], `custom_images may not shadow the preset ${name}`)
      else if (Object.hasOwn(aliases, name))
        this.#at(
          map,
          ['custom_images', name],
          `custom_images may not shadow ${name}, a name of the preset ${aliases[name]}`,
        )
      if (!isReference(reference))
        this.#at(map, ['custom_images', name], `${name}: ${JSON.stringify(reference)} is no image reference`)
    }
    const known = (name: string) =>
      presets.includes(name) || Object.hasOwn(aliases, name) || Object.hasOwn(custom, name) || name === everything
    for (const [index, entry] of allowed.entries()) {
      if (!known(entry) && !isPattern(entry))
        this.#at(
          map,
          ['image_allowlist', index],
          `${entry} is neither a preset (${presets.join(', ')}), nor a key of custom_images, nor a pattern such as docker.io/library/*`,
        )
    }
    for (const name of Object.keys(rest.per_image_caps ?? {})) {
      if (!known(name) && !isPattern(name))
        this.#at(
          map,
          ['per_image_caps', name],
          `${name} is neither a preset, nor a key of custom_images, nor a pattern`,
        )
    }
  }

  #issue(map: YAMLMap | undefined, field: PolicyField, { path, message, ...issue }: z.core.$ZodIssue): void {
    const full = [field, ...path]
    // The field that is too much, not the map that it is in.
    const extra = 'keys' in issue && Array.isArray(issue.keys) ? (issue.keys as string[]) : []
    if (extra.length === 0) this.#at(map, full, `${full.join('.')}: ${message}`)
    for (const key of extra) this.#at(map, [...full, key], `${full.join('.')}: there is no field ${key}`)
  }

  /** Tells it at the line of that part, or of the nearest around it. */
  #at(map: YAMLMap | undefined, path: readonly PropertyKey[], message: string): void {
    let node: unknown = map
    let found: unknown = map
    for (const step of path) {
      if (isMap(node)) {
        const pair = node.items.find(({ key }) => textOf(key) === String(step))
        if (!pair) break
        found = pair.key
        node = pair.value
      } else if (isSeq(node)) {
        node = node.items[Number(step)]
        found = node
      } else break
    }
    this.#say(found, message)
  }

  #say(where: unknown, message: string): undefined {
    this.problems.push({ line: this.#lineOf(isPair(where) ? where.key : where), message: oneLine(message) })
    return undefined
  }

  #lineOf(node: unknown): number {
    const range = typeof node === 'object' && node !== null && 'range' in node ? (node.range as number[] | null) : null
    return range?.[0] === undefined ? 1 : this.#lineAt(range[0])
  }
}

function textOf(key: unknown): string {
  return isScalar(key) ? String(key.value) : 'that is no word'
}

/** The field that was meant, where that is plain. */
function nearest(field: string): string {
  const bare = (text: string) => text.toLowerCase().replaceAll(/[^a-z]/g, '')
  const meant = Object.keys(policyFields).find((known) => bare(known) === bare(field))
  return meant === undefined ? '' : `; the field is ${meant}`
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ').trim()
}
