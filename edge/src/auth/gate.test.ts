import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { newAccountId, newRunnerId } from '@portico/shared/ids'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Env } from '../env.ts'
import type { KeyRecord, Objects } from '../ports.ts'
import { Gate } from './gate.ts'
import { formatToken, newKeySerial, type TokenKind } from './tokens.ts'

const secrets = ['a', 'b', 'c'].map((letter) => letter.repeat(32))
const [first = '', second = '', third = ''] = secrets

const environment = (current: string, previous?: string) =>
  ({
    PORTICO_SECRET: current,
    ...(previous === undefined ? {} : { PORTICO_SECRET_PREVIOUS: previous }),
    REGIONS_SERVED: 'local',
  }) as Env

const record: KeyRecord = { hash: '', revoked: false, scope: 'full', expiresAt: null, requestsPerSecond: null }

/** A gate, and how often it asked for a record. */
class Scene {
  readonly clock = new FakeClock(1_000_000)
  readonly gate = new Gate(this.clock)
  record: KeyRecord = record
  asked = 0

  get objects(): Objects {
    const load = async () => {
      this.asked += 1
      return this.record
    }
    return { account: () => ({ key: load }), region: () => ({ runner: load }) } as unknown as Objects
  }

  async issued(kind: TokenKind, env: Env): Promise<string> {
    const id = kind === 'key' ? `${newAccountId()}${newKeySerial()}` : newRunnerId()
    const { token, hash } = await this.gate.issue(kind, 'local', id, env)
    this.record = { ...this.record, hash }
    return formatToken(token)
  }

  /** The code that it is refused with, or `in`. */
  enter(kind: TokenKind, token: string, env: Env): Promise<string> {
    const request = new Request('http://portico.test/', { headers: { authorization: `Bearer ${token}` } })
    const entered = this.gate[kind](request, env, this.objects)
    return entered.then(
      () => 'in',
      (thrown: unknown) => AppError.from(thrown).code,
    )
  }
}

let scene: Scene
beforeEach(() => {
  scene = new Scene()
})

describe.each(['key', 'runner'] as const)('a new secret, to tokens of kind %s', (kind) => {
  test('lets in what the former one signed for as long as that is known, and signs by itself', async () => {
    const old = await scene.issued(kind, environment(first))
    const rotating = environment(second, first)
    expect(await scene.enter(kind, old, rotating)).toBe('in')
    const after = new Scene()
    after.record = scene.record
    expect(await after.enter(kind, old, environment(second))).toBe('unauthorized')
    expect(after.asked).toBe(0)
    const fresh = await after.issued(kind, rotating)
    expect(await after.enter(kind, fresh, environment(second))).toBe('in')
  })

  test('is no door for what neither of them signed, and that costs no question', async () => {
    const forged = await scene.issued(kind, environment(third))
    for (let turn = 0; turn < 3; turn++) {
      expect(await scene.enter(kind, forged, environment(second, first))).toBe('unauthorized')
    }
    const real = await scene.issued(kind, environment(second))
    for (const last of ['a', 'e', 'i', 'm', 'q']) {
      const wrong = real.replace(/.$/, last)
      if (wrong !== real) expect(await scene.enter(kind, wrong, environment(second, first))).toBe('unauthorized')
    }
    expect(scene.asked).toBe(0)
  })

  test('stands alone where the former one is empty, and a short one is a mistake of the deployment', async () => {
    const token = await scene.issued(kind, environment(second))
    expect(await scene.enter(kind, token, environment(second, ''))).toBe('in')
    const other = new Scene()
    expect(await other.enter(kind, token, environment(second, 'short'))).toBe('internal')
  })
})

describe('the admin key', () => {
  const enter = (key: string | undefined, given: string): string => {
    const request = new Request('http://portico.test/', { headers: { authorization: `Bearer ${given}` } })
    const env = { ...environment(first), ...(key === undefined ? {} : { ADMIN_KEY: key }) } as Env
    try {
      scene.gate.admin(request, env)
      return 'in'
    } catch (thrown) {
      const { code, message } = AppError.from(thrown)
      return code === 'internal' ? message : code
    }
  }

  test('has 32 characters or more: a shorter one is a mistake of the deployment, whoever comes', () => {
    expect([enter(second, second), enter(second, third)]).toEqual(['in', 'unauthorized'])
    const short = 'a'.repeat(31)
    for (const given of [short, second]) {
      expect(enter(short, given)).toBe('cannot check keys: ADMIN_KEY needs 32 characters or more')
    }
  })

  test('is none where the deployment has none', () => {
    for (const none of [undefined, '']) expect(enter(none, first)).toBe('unauthorized')
  })
})

describe('a key', () => {
  test('is asked for once in 10 s, however often it is used', async () => {
    const env = environment(first)
    const key = await scene.issued('key', env)
    for (let turn = 0; turn < 5; turn++) expect(await scene.enter('key', key, env)).toBe('in')
    expect(scene.asked).toBe(1)
    await scene.clock.advance(10_000)
    expect(await scene.enter('key', key, env)).toBe('in')
    expect(scene.asked).toBe(2)
  })

  test('that expires does so at its moment, also where its record was just read', async () => {
    const env = environment(first)
    scene.record = { ...record, expiresAt: scene.clock.now() + 5_000 }
    const key = await scene.issued('key', env)
    expect(await scene.enter('key', key, env)).toBe('in')
    await scene.clock.advance(4_999)
    expect(await scene.enter('key', key, env)).toBe('in')
    await scene.clock.advance(1)
    expect(await scene.enter('key', key, env)).toBe('unauthorized')
    expect(scene.asked).toBe(1)
  })
})
