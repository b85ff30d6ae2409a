/** What the platform's own processes take of memory, looked at again and again. */

import { readFile } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'

const everyMs = 200

export interface Growth {
  readonly name: string
  readonly beforeMib: number
  readonly mostMib: number
}

/** Watches processes while `run` does something; answers what each held before and at most. */
export async function memoryDuring<Value>(
  processes: Readonly<Record<string, number>>,
  run: () => Promise<Value>,
): Promise<{ value: Value; growth: readonly Growth[] }> {
  const names = Object.keys(processes)
  const look = () => Promise.all(names.map((name) => residentMib(processes[name] as number)))
  const before = await look()
  const most = [...before]
  const over = new AbortController()
  const watching = (async () => {
    while (!over.signal.aborted) {
      for (const [index, mib] of (await look()).entries()) most[index] = Math.max(most[index] as number, mib)
      await wait(everyMs, undefined, { signal: over.signal }).catch(() => undefined)
    }
  })()
  try {
    const value = await run()
    return {
      value,
      growth: names.map((name, index) => ({
        name,
        beforeMib: before[index] as number,
        mostMib: most[index] as number,
      })),
    }
  } finally {
    over.abort()
    await watching
  }
}

async function residentMib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
}
