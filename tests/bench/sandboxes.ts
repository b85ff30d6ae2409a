/** Sandboxes of an engine without a tunnel, for the rows that are measured at the runner. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { type Engine, openEngine } from '@portico/runner/engine'
import { newSandboxId } from '@portico/shared/ids'
import { giveTemplates, keepTemplates } from '../kit/templates.ts'
import { execute } from './guest-calls.ts'

/** What every sandbox of the benchmark is. */
export const spec = {
  image: 'python',
  vcpus: 1,
  mem_mib: 1024,
  disk_mib: 512,
  idle_timeout: 0,
  env: {},
  auto_resume: false,
  on_idle: 'destroy' as const,
}

/** An engine of its own, gone afterwards. It keeps no machines ready unless `poolSize` says so. */
export async function withEngine<Value>(
  run: (engine: Engine, stateDir: string) => Promise<Value>,
  poolSize = 0,
): Promise<Value> {
  await mkdir(paths.temporary, { recursive: true })
  const stateDir = await mkdtemp(join(paths.temporary, 'bench-'))
  try {
    await giveTemplates(stateDir)
    const engine = await openEngine({ stateDir, assets: paths.assets, logLevel: 'error', poolSize })
    try {
      return await run(engine, stateDir)
    } finally {
      await engine.close()
      await keepTemplates(stateDir)
    }
  } finally {
    await rm(stateDir, { recursive: true, force: true })
  }
}

/** The first command of a sandbox, which every row of a start waits for: it does nothing. */
export async function firstExec(engine: Engine, id: string): Promise<void> {
  await execute((asked) => engine.request(id, 1, asked), { argv: ['/bin/true'] })
}

/** Creates a sandbox and waits for its first command. */
export async function createAnswering(engine: Engine): Promise<string> {
  const id = newSandboxId()
  await engine.create(id, 1, spec)
  await firstExec(engine, id)
  return id
}

/** Runs with a sandbox that is gone afterwards. */
export async function withOne<Value>(engine: Engine, run: (id: string) => Promise<Value>): Promise<Value> {
  const id = await createAnswering(engine)
  try {
    return await run(id)
  } finally {
    await engine.destroy(id, 1)
  }
}

/** Lets a process in the sandbox hold so much memory that differs in every page from what the template had. It goes on holding it. */
export async function dirty(engine: Engine, id: string, mib: number): Promise<void> {
  const program = [
    'import os, time',
    'block = os.urandom(1 << 20)',
    `memory = bytearray(${mib} << 20)`,
    `for i in range(${mib}): memory[i << 20:(i + 1) << 20] = block`,
    'open("/tmp/held", "w").close()',
    'while True: time.sleep(3600)',
  ].join('\n')
  const start = `setsid python3 -c '${program}' </dev/null >/dev/null 2>&1 &`
  const shell = `${start}\nuntil [ -e /tmp/held ]; do sleep 0.1; done`
  await execute((asked) => engine.request(id, 1, asked), { shell })
}

export async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await run()
  return performance.now() - start
}
