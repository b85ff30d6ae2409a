import { expect, test } from 'vitest'
import { Api, ApiFailure, ofRun, toFailure } from './api.ts'

function answering(response: () => Response, seen: Request[] = []) {
  return async (path: RequestInfo | URL, init?: RequestInit) => {
    seen.push(new Request(new URL(String(path), 'http://portico.test'), init))
    return response()
  }
}

test('a call carries the key, its query and its body', async () => {
  const seen: Request[] = []
  const api = new Api(
    'secret',
    undefined,
    answering(() => Response.json({ ok: 1 }), seen),
  )
  expect(await api.json('/v1/runs', { method: 'POST', json: { image: 'python' }, query: { path: '/a b' } })).toEqual({
    ok: 1,
  })
  expect(seen[0]?.headers.get('authorization')).toBe('Bearer secret')
  expect(seen[0]?.url).toBe('http://portico.test/v1/runs?path=%2Fa+b')
  expect(await seen[0]?.json()).toEqual({ image: 'python' })
})

test("a failure is the platform's own line, hint and code", async () => {
  const body = {
    error: 'cannot create: no room',
    code: 'capacity',
    hint: 'Destroy one.',
    retryable: true,
    request_id: 'req1',
  }
  const api = new Api(
    'k',
    undefined,
    answering(() => Response.json(body, { status: 429 })),
  )
  const thrown = await api.json('/v1/runs').catch(toFailure)
  expect(thrown).toMatchObject({
    status: 429,
    message: body.error,
    hint: 'Destroy one.',
    code: 'capacity',
    requestId: 'req1',
  })
})

test('an answer that is no error body is still one line', async () => {
  const api = new Api(
    'k',
    undefined,
    answering(() => new Response('<html>', { status: 502 })),
  )
  await expect(api.call('/x')).rejects.toThrow('cannot finish the request: the server answered 502')
})

test('a refused key is told to whoever holds it', async () => {
  let refused = 0
  const api = new Api(
    'k',
    () => refused++,
    answering(() => new Response('{}', { status: 401 })),
  )
  await expect(api.call('/x')).rejects.toBeInstanceOf(ApiFailure)
  expect(refused).toBe(1)
})

test('a call that its caller gave up stays what it is, a network that fails becomes a line', async () => {
  const failing = () => Promise.reject(new TypeError('Failed to fetch'))
  await expect(new Api('k', undefined, failing).call('/x')).rejects.toThrow('cannot reach the platform')
  await expect(new Api('k', undefined, failing).call('/x', { signal: AbortSignal.abort() })).rejects.toThrow(
    'Failed to fetch',
  )
})

test('names cannot leave their place in a path', () => {
  expect(ofRun('run1', 'ports', '../x')).toBe('/v1/runs/run1/ports/..%2Fx')
})
