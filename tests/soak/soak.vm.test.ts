/** The short form of `npm run soak`. */

import { hibernateSteps } from '@portico/runner/engine'
import { expect, it } from 'vitest'
import { cycle } from './cycles.ts'
import { forkForks } from './generations.ts'
import { killAtEveryStep } from './kills.ts'
import { short } from './size.ts'

const quiet = () => undefined
/** Each takes some 30 s on two cores that do nothing else. */
const limitMs = 240_000

it(
  'keeps every hash in memory and on disk through hibernations',
  async () => {
    const { resumeMs, bytes } = await cycle(short, quiet)
    expect(resumeMs).toHaveLength(short.cycles)
    expect(bytes.at(-1)).toBeLessThan(2 * (bytes[0] ?? 0))
  },
  limitMs,
)

it(
  'keeps every hash through forks of forks, and a child away from its parent',
  async () => {
    expect(await forkForks(short, quiet)).toHaveLength(short.forks)
  },
  limitMs,
)

it(
  'keeps a sandbox whole when the runner is killed at any step of its hibernation',
  async () => {
    const survived = await killAtEveryStep(short, quiet)
    expect(survived.map(({ step }) => step)).toEqual(hibernateSteps)
    expect(survived.at(-1)?.state).toBe('hibernated')
  },
  limitMs,
)
