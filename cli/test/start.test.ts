import { describe, expect, it } from 'vitest'
import { portico, Running } from './process.ts'

/** Prints what Node loads, a line for each, on standard error. */
const tell = `data:text/javascript,${encodeURIComponent(`
  import { writeSync } from 'node:fs'
  import { registerHooks } from 'node:module'
  registerHooks({ load(url, context, next) { writeSync(2, url + '\\n'); return next(url, context) } })
`)}`

async function loadedBy(...args: readonly string[]): Promise<readonly string[]> {
  const running = new Running([process.execPath, '--conditions=portico-source', '--import', tell, portico, ...args], {})
  running.child.stdin.end()
  const { code, stderr } = await running.ended()
  expect(code).toBe(0)
  return stderr.split('\n').filter((line) => line.startsWith('file:'))
}

function commandsAmong(urls: readonly string[]): readonly string[] {
  return urls.flatMap((url) => /\/cli\/src\/commands\/(.*)\.ts$/.exec(url)?.[1] ?? [])
}

describe('a start', () => {
  it('of the help of all loads no command and no client', async () => {
    const urls = await loadedBy('--help')
    expect(urls.some((url) => url.endsWith('/cli/src/commands.ts'))).toBe(true)
    expect(commandsAmong(urls)).toEqual([])
    expect(urls.filter((url) => /\/sdk\/src\/client\.ts$|\/zod\//.test(url))).toEqual([])
  })

  it('of a command’s help loads that command alone, and no client', async () => {
    const urls = await loadedBy('--url', 'http://127.0.0.1:9', 'mkdir', '--help')
    expect(commandsAmong(urls)).toEqual(['mkdir', 'find-sandbox'])
    expect(urls.filter((url) => /\/sdk\/src\/client\.ts$|\/zod\//.test(url))).toEqual([])
  })
})
