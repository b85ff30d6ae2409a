/** A port of a sandbox, asked by its public URL. The runner is the real one; its machines are in memory and a port in them is the same port of this host. */

import { join, resolve } from 'node:path'
import { openPlatform } from '@portico/deploy/local'
import { enrolRunner, newKey, newSandbox, region, runnerCommand } from '../front-door/portico.ts'
import { MeasuredProcess } from '../front-door/process.ts'
import { answers, download, targetOf, type Way } from './way.ts'

const runner = resolve(import.meta.dirname, '../../../runner/src/testing/fake-runner.ts')

/** Opens a platform of its own with one such runner and one sandbox. */
export async function openPort(server: number, stateDir: string): Promise<Way> {
  const platform = await openPlatform({ stateDir, runners: 0, region })
  let joined: MeasuredProcess | undefined
  const close = async () => {
    await joined?.[Symbol.asyncDispose]()
    await platform.close()
  }
  try {
    const { tunnel, token } = await enrolRunner(platform)
    joined = MeasuredProcess.launch([...runnerCommand, runner, tunnel, token, join(stateDir, 'fake-runner')], stateDir)
    const sandbox = await newSandbox(platform, await newKey(platform))
    const target = targetOf(platform.frontDoor.port, `${server}-${sandbox}.${platform.appDomain}`)
    await answers(target)
    const processes = { workerd: platform.frontDoor.child.pid ?? 0, runner: joined.pid }
    return { name: 'port', target, download, processes, [Symbol.asyncDispose]: close }
  } catch (error) {
    await close()
    throw error
  }
}
