/** What bodies are refused, and how a caller gets to know it. */

import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { newTenant, refusal } from './client.ts'
import { ScriptedRunner } from './scripted-runner.ts'

let key: string

beforeAll(async () => {
  key = (await newTenant()).key
})
afterEach(() => ScriptedRunner.cutAll())

const mebibyte = 1_048_576
/** JSON of exactly so many bytes. */
const sized = (bytes: number) => `{"image":"${'x'.repeat(bytes - 12)}"}`

/** The same text without a length in front. */
function chunked(text: string): ReadableStream {
  const bytes = new TextEncoder().encode(text)
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close()
      controller.enqueue(bytes.subarray(at, at + 65_536))
      at += 65_536
    },
  })
}

const create = (body: BodyInit) => refusal('/v1/runs', { key, body })

describe('the size of a JSON body', () => {
  test.each([
    ['told', (text: string) => text],
    ['not told', chunked],
  ])('is checked where it is %s: 1 MiB is read, one byte more is not', async (_how, send) => {
    expect(await create(send(sized(mebibyte)))).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(await create(send(sized(mebibyte + 1)))).toMatchObject({ status: 413, code: 'payload_too_large' })
    expect(await create(send(sized(10_000_000)))).toMatchObject({ status: 413, code: 'payload_too_large' })
  })
})

describe('a body that is not what it should be', () => {
  test.each([
    ['{"image": "python",', 'line 1, column 20: the text ends too early'],
    ['{\n  "image": python\n}', 'line 2, column 12: unexpected "p"'],
    ['', 'the body is empty'],
  ])('%j is not JSON, and the answer says where', async (body, where) => {
    const refused = await create(body)
    expect(refused).toMatchObject({ status: 400, code: 'invalid_json' })
    expect(refused.error).toContain(where)
  })

  test('that is not UTF-8 is refused', async () => {
    expect(await create(new Uint8Array([0x22, 0xff, 0x22]))).toMatchObject({ status: 400, code: 'invalid_json' })
  })

  test.each([
    [[1], 'the body'],
    [{ mem_mib: 'much' }, 'mem_mib'],
    [{ vcpus: 0 }, 'vcpus'],
    [{ vcpus: 1.5 }, 'vcpus'],
    [{ timeout: -2 }, 'timeout'],
    [{ env: { 'A B': 'x' } }, 'env.A B'],
    [{ env: { A: 'x\0y' } }, 'env.A'],
    [{ image: '' }, 'image'],
    [{ network: null }, 'network'],
  ])('%j is refused by the name of the field', async (json, field) => {
    const refused = await create(JSON.stringify(json))
    expect(refused).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(refused.error).toContain(`${field}: `)
  })

  test('is refused before anything is asked of a sandbox', async () => {
    const path = `/v1/runs/run${'a'.repeat(26)}/exec`
    for (const json of [{}, { command: [] }, { command: '' }, { command: 'x', timeout: 0 }]) {
      expect(await refusal(path, { key, json })).toMatchObject({ status: 400, code: 'invalid_request' })
    }
  })

  test('is refused only after the key', async () => {
    expect(await refusal('/v1/runs', { body: '{' })).toMatchObject({ status: 401 })
  })
})
