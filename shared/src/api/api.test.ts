import { describe, expect, test } from 'vitest'
import { createRequest, errorBody, execRequest, fileList, forkRequest, restoreRequest, updateRequest } from './index.ts'

const isFine = (value: unknown) => createRequest.safeParse(value).success

describe('create', () => {
  test('an empty request has the documented defaults', () => {
    expect(createRequest.parse({})).toEqual({
      image: 'node:22-slim',
      vcpus: 1,
      mem_mib: 1024,
      disk_mib: 4096,
      timeout: 300,
      labels: {},
      env: {},
      auto_resume: false,
      on_idle: 'destroy',
    })
  })

  test('what the documented client sends is taken, and what nobody knows is ignored', () => {
    const sent = { image: 'python:3.12-slim', vcpus: 2, mem_mib: 2048, disk_mib: 8192, timeout: 600, later: true }
    expect(createRequest.parse(sent)).toEqual({
      image: 'python:3.12-slim',
      vcpus: 2,
      mem_mib: 2048,
      disk_mib: 8192,
      timeout: 600,
      labels: {},
      env: {},
      auto_resume: false,
      on_idle: 'destroy',
    })
  })

  test('security settings are kept for whoever must refuse them', () => {
    const parsed = createRequest.parse({ network: { deny: ['0.0.0.0/0'] }, credentials: { openai: 'x' } })
    expect(parsed.network).toEqual({ allow: [], deny: ['0.0.0.0/0'] })
    expect(parsed.credentials).toEqual({ openai: 'x' })
    expect(createRequest.parse({ network_profile: 'locked-down' }).network_profile).toBe('locked-down')
  })

  test.each([
    ['vcpus', 1, 8],
    ['mem_mib', 128, 32_768],
    ['disk_mib', 64, 1_048_576],
    ['timeout', -1, 30 * 86_400],
  ])('%s is %i to %i', (field, least, most) => {
    for (const good of [least, most]) expect(isFine({ [field]: good })).toBe(true)
    for (const bad of [least - 1, most + 1, least + 0.5, String(least), null, Number.NaN])
      expect(isFine({ [field]: bad })).toBe(false)
  })

  test('an image is 1 to 512 characters', () => {
    expect([isFine({ image: 'x'.repeat(512) }), isFine({ image: 'x'.repeat(513) }), isFine({ image: '' })]).toEqual([
      true,
      false,
      false,
    ])
  })

  test('0 and -1 both switch the timeout off', () => {
    expect(createRequest.parse({ timeout: -1 }).timeout).toBe(0)
    expect(createRequest.parse({ timeout: 0 }).timeout).toBe(0)
    expect(updateRequest.parse({ timeout: -1 })).toEqual({ timeout: 0 })
    expect(updateRequest.safeParse({}).success).toBe(false)
  })

  test('the names of variables are those of a shell', () => {
    for (const name of ['A', '_', 'a1', 'PATH', '_X9']) expect(isFine({ env: { [name]: '' } }), name).toBe(true)
    for (const name of ['', '1A', 'A-B', 'A B', 'A=', 'Ä', 'A\n'])
      expect(isFine({ env: { [name]: '' } }), name).toBe(false)
  })

  test('a variable holds up to 32,768 characters and no NUL', () => {
    expect(isFine({ env: { A: 'x'.repeat(32_768) } })).toBe(true)
    expect(isFine({ env: { A: 'x'.repeat(32_769) } })).toBe(false)
    expect(isFine({ env: { A: 'a\0b' } })).toBe(false)
    expect(isFine({ env: { A: 1 } })).toBe(false)
  })

  test('there are up to 256 variables', () => {
    const env = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`V${index}`, 'x']))
    expect(isFine({ env: env(256) })).toBe(true)
    expect(isFine({ env: env(257) })).toBe(false)
  })

  test.each([[[]], [null], ['{}'], [7]])('%j is no request', (value) => {
    expect(isFine(value)).toBe(false)
  })
})

describe('sleep and copies', () => {
  test('a sandbox may wake by itself and sleep when it is idle, or says something that nobody understands', () => {
    expect(createRequest.parse({ auto_resume: true, on_idle: 'hibernate' })).toMatchObject({
      auto_resume: true,
      on_idle: 'hibernate',
    })
    for (const bad of [{ auto_resume: 'yes' }, { on_idle: 'sleep' }]) expect(isFine(bad)).toBe(false)
  })

  test('a fork is of 1 to 64, and of 1 if nothing is said', () => {
    expect(forkRequest.parse({})).toEqual({ count: 1 })
    for (const count of [1, 64]) expect(forkRequest.parse({ count })).toEqual({ count })
    for (const count of [0, 65, 1.5, '2', null]) expect(forkRequest.safeParse({ count }).success).toBe(false)
  })

  test('a restore names its snapshot, and what is not given is left to that', () => {
    expect(restoreRequest.parse({ snapshot_id: 'snapx', later: 1 })).toEqual({ snapshot_id: 'snapx' })
    expect(restoreRequest.parse({ snapshot_id: 'snapx', timeout: -1 })).toEqual({ snapshot_id: 'snapx', timeout: 0 })
    for (const bad of [{}, { snapshot_id: '' }, { snapshot_id: 'snapx', on_idle: 'sleep' }])
      expect(restoreRequest.safeParse(bad).success).toBe(false)
  })
})

describe('exec', () => {
  test('a command is a line for a shell or a list of arguments, with a default limit of 30 seconds', () => {
    expect(execRequest.parse({ command: 'echo hi' })).toEqual({ command: 'echo hi', timeout: 30 })
    expect(execRequest.parse({ command: ['echo', ''] }).command).toEqual(['echo', ''])
    expect(execRequest.parse({ command: 'x', timeout: 0.5 }).timeout).toBe(0.5)
  })

  test.each([
    {},
    { command: '' },
    { command: [] },
    { command: [1] },
    { command: 'x', timeout: 0 },
    { command: 'x', timeout: -1 },
    { command: 'x', timeout: 86_401 },
    { command: 'x', env: { A: 1 } },
    { command: 'x', stdin: 7 },
  ])('%j is refused', (value) => {
    expect(execRequest.safeParse(value).success).toBe(false)
  })

  test('a day is the longest', () => {
    expect(execRequest.parse({ command: 'x', timeout: 86_400 }).timeout).toBe(86_400)
  })
})

test('a list of files has names, and details of the types that there are', () => {
  const detail = { name: 'a', type: 'file', size: 1, mode: '0644', modified_at: '2026-01-01T00:00:00Z' }
  expect(fileList.safeParse({ path: '/', entries: ['a'], details: [detail] }).success).toBe(true)
  expect(fileList.safeParse({ path: '/', entries: ['a'], details: [{ ...detail, type: 'door' }] }).success).toBe(false)
})

test('an error body says what happened, whether to try again, and which request it was', () => {
  const body = { error: 'cannot create: full', code: 'capacity', retryable: true, request_id: 'req1' }
  expect(errorBody.parse(body)).toEqual(body)
  expect(errorBody.safeParse({ error: 'text' }).success).toBe(false)
})
