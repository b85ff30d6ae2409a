/** A row of the route table. Its access rule and its body's rule are part of it: a row without one does not compile. */

import type { z } from 'zod'
import type { Access, Call } from '../call.ts'

/** `ALL` is every method that there is. */
export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'ALL'

/** JSON of a schema and a size, a stream that is passed on as it comes, or nothing that anybody would read. */
export type BodyRule =
  | { readonly kind: 'none' }
  | { readonly kind: 'stream' }
  | { readonly kind: 'json'; readonly schema: z.ZodType; readonly maxBytes: number; readonly mayBeEmpty: boolean }

type Parsed<Rule extends BodyRule> = Rule extends { kind: 'json'; schema: infer Schema extends z.ZodType }
  ? z.output<Schema>
  : undefined

/**
 * What a key's scope must allow: `read` looks, `use` works inside a sandbox that exists, `manage` makes, changes and ends things. Rows
 * of other access need nothing of a key.
 */
export type Need = 'read' | 'use' | 'manage'

export interface Row<Who extends Access = Access, Rule extends BodyRule = BodyRule> {
  /** GET serves HEAD, too. */
  readonly methods: readonly Method[]
  readonly path: `/${string}`
  readonly access: Who
  readonly needs: Who extends 'key' ? Need : null
  readonly body: Rule
  /**
   * Where no header has a key, `?token=` may: a browser's WebSocket sends no headers. `link` takes the token of a link in its place, too, and with `path` the key is a part
   * of the path that is called so: `:key`. URLs are never
   * logged, and the token goes no further than the gate.
   */
  readonly token?: 'key' | 'link' | 'path'
  /** Whose rules of requests and errors hold; those of the API unless told. */
  readonly protocol?: 'connect'
  /** Whether each of its calls is logged; of other rows only what fails on our side is. */
  readonly logged?: boolean
  handle(call: Call<NoInfer<Who>, Parsed<Rule>>): Response | Promise<Response>
}

export const none = { kind: 'none' } as const
export const stream = { kind: 'stream' } as const

const maxJson = 1_048_576

/** A JSON body of at most 1 MiB. */
export function json<Schema extends z.ZodType>(schema: Schema) {
  return { kind: 'json', schema, maxBytes: maxJson, mayBeEmpty: false } as const
}

/** The same, where no body stands for an empty object. */
export function jsonOrNothing<Schema extends z.ZodType>(schema: Schema) {
  return { ...json(schema), mayBeEmpty: true } as const
}

/** A row whose calls change something that is kept: each of them is logged. */
export function change<const Who extends Access, const Rule extends BodyRule>(given: Row<Who, Rule>): Row {
  return row({ ...given, logged: true })
}

/** Checks a row where it is written, and then forgets its particulars, so that rows fit into one table. */
export function row<const Who extends Access, const Rule extends BodyRule>(given: Row<Who, Rule>): Row {
  return given as unknown as Row
}
