/** What differs between runtimes (Node, Deno, Bun, Workers, browsers), found by looking and never by importing. */

interface Runtime {
  readonly process?: {
    readonly env?: Readonly<Record<string, string | undefined>>
    readonly versions?: { readonly undici?: string }
  }
}

/** An environment variable; undefined where it is unset or empty, or where there is no environment. */
export function environment(name: string): string | undefined {
  try {
    return (globalThis as Runtime).process?.env?.[name] || undefined
  } catch {
    // Deno throws for a variable that the program has no permission to read.
    return undefined
  }
}

interface Dispatcher {
  dispatch(options: object, handler: unknown): boolean
}

const globalDispatcher = Symbol.for('undici.globalDispatcher.1')

/**
 * Options that let `fetch` wait for as long as the call's own signal does. Node's fetch gives up after 300 s without headers or body bytes, which would
 * end a long command in the middle; each request may say otherwise, through whatever dispatcher (a proxy's, say) the program has set.
 * `reroute` may change where a request goes.
 */
export function patient(reroute: (options: object) => object = (options) => options): object {
  if ((globalThis as Runtime).process?.versions?.undici === undefined) return {}
  // Node 20 loads its HTTP client, and with it the dispatcher, when one of its names is first touched.
  if (globalThis.Headers === undefined || current() === undefined) return {}
  const dispatcher: Dispatcher = {
    dispatch: (options, handler) =>
      (current() as Dispatcher).dispatch({ ...reroute(options), headersTimeout: 0, bodyTimeout: 0 }, handler),
  }
  return { dispatcher }
}

function current(): Dispatcher | undefined {
  const found: unknown = Reflect.get(globalThis, globalDispatcher)
  return typeof found === 'object' && found !== null && 'dispatch' in found ? (found as Dispatcher) : undefined
}
