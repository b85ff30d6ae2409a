import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, it } from 'vitest'
import { killProcess } from './kill.ts'
import { Proc } from './proc.ts'

const options = { limitMs: 5000, signal: new AbortController().signal }

async function startSleeper() {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  await once(child, 'spawn')
  const stat = await new Proc().stat(child.pid as number)
  if (!stat) throw new Error('no sleeper')
  return { child, identity: { pid: stat.pid, startTicks: stat.startTicks } }
}

it('ends exactly the process that was meant', async () => {
  const { child, identity } = await startSleeper()
  const exited = once(child, 'exit')
  await killProcess(identity, options)
  expect(await exited).toEqual([null, 'SIGKILL'])
  expect(await new Proc().runs(identity)).toBe(false)
})

it('leaves a later process with the same number alone', async () => {
  const { child, identity } = await startSleeper()
  await killProcess({ ...identity, startTicks: identity.startTicks - 1 }, options)
  expect(await new Proc().runs(identity)).toBe(true)
  child.kill('SIGKILL')
  await once(child, 'exit')
})

it('does nothing about a process that is gone', async () => {
  const { child, identity } = await startSleeper()
  child.kill('SIGKILL')
  await once(child, 'exit')
  await killProcess(identity, options)
})
