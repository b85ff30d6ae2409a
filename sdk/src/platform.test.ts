import { afterEach, describe, expect, it, vi } from 'vitest'
import { WireServer } from '../test/wire-server.ts'
import { Portico } from './index.ts'
import { environment } from './platform.ts'

const key = Symbol.for('undici.globalDispatcher.1')

interface Dispatcher {
  dispatch(options: { path?: string; headersTimeout?: number; bodyTimeout?: number }, handler: unknown): boolean
}

describe('on Node', () => {
  const own: Dispatcher = Reflect.get(globalThis, key)

  afterEach(() => {
    Reflect.set(globalThis, key, own)
  })

  it('a call outlives the limits of the HTTP client, through the dispatcher that the program has set', async () => {
    const seen: unknown[] = []
    const proxy: Dispatcher = {
      dispatch: (options, handler) => {
        seen.push([options.path, options.headersTimeout, options.bodyTimeout])
        return own.dispatch(options, handler)
      },
    }
    const wire = await WireServer.open()
    await using portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
    Reflect.set(globalThis, key, proxy)
    await portico.list()
    expect(seen).toEqual([['/v1/runs', 0, 0]])
    await wire.close()
  })
})

describe('the environment', () => {
  afterEach(() => vi.unstubAllGlobals())

  it('is empty where there is no process', () => {
    vi.stubGlobal('process', undefined)
    expect(environment('PATH')).toBeUndefined()
  })

  it('is empty where reading it is forbidden', () => {
    const env = new Proxy(
      {},
      {
        get: () => {
          throw new Error('permission denied')
        },
      },
    )
    vi.stubGlobal('process', { env })
    expect(environment('PATH')).toBeUndefined()
  })
})
