import { describe as describeCode, type ErrorCode, errorCodes } from '@portico/shared/errors'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sendJson, WireServer } from '../test/wire-server.ts'
import * as sdk from './index.ts'

let wire: WireServer
let portico: sdk.Portico
let sandbox: sdk.Sandbox

beforeAll(async () => {
  wire = await WireServer.open()
  portico = new sdk.Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  sandbox = await portico.create({ image: 'python' })
})

afterAll(async () => {
  await portico.close()
  await wire.close()
})

const families: Record<string, readonly ErrorCode[]> = {
  ValidationError: [
    'invalid_request',
    'invalid_json',
    'invalid_path',
    'image_unknown',
    'image_not_allowed',
    'image_cap_exceeded',
    'unsupported',
    'method_not_allowed',
    'payload_too_large',
    'range_not_satisfiable',
  ],
  AuthenticationError: ['unauthorized', 'forbidden'],
  NotFoundError: [
    'not_found',
    'sandbox_not_found',
    'file_not_found',
    'service_not_found',
    'checkpoint_not_found',
    'snapshot_not_found',
    'image_not_found',
    'image_missing',
    'sandbox_lost',
  ],
  ImageError: ['image_denied', 'image_unsuitable', 'build_failed'],
  ConflictError: [
    'conflict',
    'image_not_installed',
    'sandbox_not_running',
    'sandbox_hibernated',
    'service_failed',
    'sandbox_busy',
    'snapshot_incompatible',
    'is_directory',
    'not_directory',
    'idempotency_pending',
    'idempotency_mismatch',
  ],
  CapacityError: ['capacity', 'no_space', 'image_no_space'],
  QuotaError: ['quota_exceeded'],
  RateLimitError: ['rate_limited'],
  UnavailableError: [
    'boot_failed',
    'no_runner',
    'image_pull_failed',
    'sandbox_unreachable',
    'runner_disconnected',
    'edge_disconnected',
    'guest_disconnected',
    'overloaded',
    'moved',
    'too_many_streams',
  ],
  TimeoutError: ['deadline'],
}

const classes = sdk as unknown as Record<string, typeof sdk.PorticoError>

async function failure(): Promise<sdk.PorticoError> {
  return await sandbox.exec('x').then(
    () => expect.unreachable(),
    (error: sdk.PorticoError) => error,
  )
}

describe('every code of the table', () => {
  it.each(errorCodes)('%s becomes an error of its family with all that the platform said', async (code) => {
    // fetch itself asks once more after a 421, as HTTP allows.
    // What was refused for its rate alone is asked four times.
    wire.fail('POST /v1/runs/*', code, { moved: 2, rate_limited: 4 }[code as string] ?? 1)
    const error = await failure()
    const name = Object.entries(families).find(([, codes]) => codes.includes(code))?.[0] ?? 'PorticoError'
    const { status, retryable, hint } = describeCode(code)
    expect(error).toBeInstanceOf(classes[name])
    expect(error).toBeInstanceOf(sdk.PorticoError)
    expect(error).toMatchObject({ name, code, status, retryable, hint, message: `cannot do it: ${code}` })
    expect(error.requestId).toMatch(/^req/)
  })
})

describe('a code of a newer platform', () => {
  it.each([
    [401, 'AuthenticationError'],
    [404, 'NotFoundError'],
    [409, 'ConflictError'],
    [410, 'NotFoundError'],
    [418, 'ValidationError'],
    [429, 'CapacityError'],
    [500, 'PorticoError'],
    [503, 'UnavailableError'],
    [504, 'TimeoutError'],
  ])('with status %d is kept in a %s', async (status, name) => {
    const body = { error: 'cannot do it: too new', code: 'brand_new', retryable: false, request_id: 'req1' }
    wire.intercept('POST /v1/runs/*', (_seen, response) => sendJson(response, status, body))
    expect(await failure()).toMatchObject({ name, code: 'brand_new', status, message: 'cannot do it: too new' })
  })
})

describe('an error that says when to come again', () => {
  it.each([
    ['7', 7000],
    ['0', 0],
    ['soon', undefined],
  ])('with Retry-After %s', async (text, retryAfterMs) => {
    const body = { error: 'cannot do it: no room', code: 'quota_exceeded', retryable: true, request_id: 'req1' }
    wire.intercept('POST /v1/runs/*', (_seen, response) => {
      response.setHeader('retry-after', text)
      sendJson(response, 429, body)
    })
    const error = await failure()
    expect(error).toMatchObject({ name: 'QuotaError', retryAfterMs })
    expect(error).toBeInstanceOf(sdk.CapacityError)
  })

  it('with a date', async () => {
    wire.intercept('POST /v1/runs/*', (_seen, response) => {
      response.setHeader('retry-after', new Date(Date.now() + 60_000).toUTCString())
      response.writeHead(429).end()
    })
    const { retryAfterMs = 0 } = await failure()
    expect(retryAfterMs).toBeGreaterThan(50_000)
    expect(retryAfterMs).toBeLessThanOrEqual(60_000)
  })
})
