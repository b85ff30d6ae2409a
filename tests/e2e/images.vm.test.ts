/** Images of a registry and images of an account, from a reference or from steps, in real machines. */

import type { ImageEvent } from '@portico/sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ImagePlatform, imagePlatform } from '../kit/image-platform.ts'
import { alpineImage, largeImage } from '../kit/oci-images/index.ts'

/** One for all, those of iii among them: each shape of an image takes a boot before its first sandbox. */
const shape = { vcpus: 1, memMiB: 1024 }
const login = { user: 'reader', password: 'of the registry' }

describe('images', () => {
  let own: ImagePlatform
  let portico: ImagePlatform['test']['portico']
  let alpine: string
  let layers: readonly string[]

  beforeAll(async () => {
    own = await imagePlatform({ registry: { login } })
    portico = own.test.portico
    const settings = { env: ['FROM_IMAGE=yes'], workdir: '/srv', entrypoint: ['echo', 'said'], cmd: ['by', 'cmd'] }
    const image = await alpineImage(settings)
    layers = image.layers.map(({ digest }) => digest)
    alpine = await own.registry.push(image, 'library/alpine:3.20')
  }, 600_000)

  afterAll(async () => {
    await own?.[Symbol.asyncDispose]()
  })

  it('are pulled once for two creates at the same time, with the login that the runner has, and are what their config says', async () => {
    const both = await Promise.all([
      portico.create({ image: alpine, ...shape }),
      portico.create({ image: alpine, ...shape }),
    ])
    for (const sandbox of both) {
      const { stdout } = await sandbox.exec('echo $FROM_IMAGE; pwd; musl-program --version')
      expect(stdout).toBe('yes\n/srv\n1.105.0\n')
    }
    const record = (await (await own.test.call(`/v1/runs/${both[0].id}`)).json()) as Record<string, unknown>
    expect(record).toMatchObject({
      image: alpine,
      resolved_image: expect.stringMatching(/^127\.0\.0\.1:\d+\/library\/alpine@sha256:[0-9a-f]{64}$/),
    })
    const reads = own.registry.reads()
    expect(layers.map((layer) => reads.get(layer))).toEqual(layers.map(() => 1))
    await both[1].destroy()

    const [sandbox] = both
    expect(await entrypoint(sandbox.id)).toBe('said by cmd\n')
    expect(await entrypoint(sandbox.id, ['by', 'args'])).toBe('said by args\n')
    await sandbox.files.write('/srv/note', 'kept')
    const { children } = await sandbox.fork()
    await sandbox.hibernate()
    await sandbox.resume()
    for (const one of [sandbox, ...children]) {
      expect((await one.exec('cat note; echo $FROM_IMAGE')).stdout).toBe('keptyes\n')
      await one.destroy()
    }
  })

  async function entrypoint(id: string, args?: string[]): Promise<string> {
    const body = JSON.stringify({ entrypoint: true, args })
    const headers = { 'content-type': 'application/json' }
    const answer = await own.test.call(`/v1/runs/${id}/exec`, { method: 'POST', headers, body })
    return ((await answer.json()) as { stdout: string }).stdout
  }

  it('are refused where their tag moves, cannot be found, or are for nobody without a login', async () => {
    const refusal = (image: string) =>
      portico.create({ image, ...shape }).then(
        () => undefined,
        (error: { code: string }) => error.code,
      )
    const name = alpine.slice(0, alpine.lastIndexOf(':'))
    for (const tag of ['', ':latest', ':lts', ':stable']) expect(await refusal(name + tag)).toBe('invalid_request')
    expect(await refusal(`${name}:9`)).toBe('image_missing')
    expect(await refusal('No Image')).toBe('image_unknown')
    expect(await refusal('127.0.0.1:9/library/alpine:3')).toBe('image_pull_failed')
  })

  it('say how far a pull is, and forget one that is cancelled', async () => {
    const large = await own.registry.push(await largeImage(8 << 20), 'large:1')
    own.registry.throttle(1 << 20)
    const ending = new AbortController()
    const seen: number[] = []
    const pulled = portico.images.pull(large, {
      name: 'large',
      signal: ending.signal,
      onProgress: ({ phase, doneBytes = 0 }) => {
        if (phase === 'pull' && doneBytes > 0) seen.push(doneBytes)
        if (seen.length >= 2) ending.abort()
      },
    })
    await expect(pulled).rejects.toThrow()
    own.registry.throttle(undefined)
    expect(seen[1]).toBeGreaterThan(seen[0] ?? 0)
    await expect.poll(() => portico.images.list(), { timeout: 10_000 }).toEqual([])
    expect((await portico.images()).filter((name) => name.includes('large'))).toEqual([])
  })

  it('are built by steps and begin with the process that was started', async () => {
    const output: string[] = []
    const image = await portico.images.build({
      name: 'server:1',
      from: alpine,
      ...shape,
      env: { GREETING: 'built' },
      files: [{ path: '/srv/index.html', content: 'served\n' }],
      steps: ['echo "$GREETING" | tee /srv/greeting', { run: 'pwd', workdir: '/tmp' }],
      start: 'busybox httpd -f -p 8080 -h /srv',
      readyPort: 8080,
      onOutput: ({ text }) => output.push(text),
    })
    expect(image).toMatchObject({ kind: 'build', status: 'ready', name: 'server', tag: '1' })
    expect(output.join('')).toBe('built\n/tmp\n')
    await using sandbox = await portico.create({ image: 'server:1', ...shape, env: { GREETING: 'of the sandbox' } })
    expect(await (await own.test.call(`/v1/runs/${sandbox.id}/proxy/8080/index.html`)).text()).toBe('served\n')
    expect((await sandbox.exec('cat /srv/greeting; echo $GREETING')).stdout).toBe('built\nof the sandbox\n')
    await portico.images.delete('server:1')
    expect(await portico.images.list()).toEqual([])
  })

  it('fail with the step that failed, and leave nothing', async () => {
    const events: ImageEvent[] = []
    const steps = ['true', 'echo nothing works >&2; exit 3']
    const built = portico.images.build({
      name: 'broken',
      from: alpine,
      ...shape,
      steps,
      onProgress: (event) => events.push(event),
    })
    await expect(built).rejects.toMatchObject({
      code: 'build_failed',
      message: expect.stringMatching(/step 2.*nothing works/s),
    })
    expect(events).toContainEqual(expect.objectContaining({ phase: 'step', step: 2 }))
    await expect.poll(() => portico.list(), { timeout: 10_000 }).toEqual([])
  })
})
