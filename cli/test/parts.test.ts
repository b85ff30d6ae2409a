/** `up`, `doctor` and `config check` start other parts of the checkout; here the checkout is a small one of the test's. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cli, Running } from './process.ts'

let root: string

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'cli-checkout-'))
  await file('deploy/setup/setup.sh', 'echo "set up" >&2')
})

afterEach(async () => {
  await rm(root, { recursive: true, force: true })
})

async function file(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true })
  await writeFile(join(root, path), text)
}

function start(name: 'up' | 'doctor' | 'config', ...args: string[]): Running {
  const fixture = join(import.meta.dirname, 'fixtures', 'part.ts')
  return new Running([process.execPath, '--conditions=portico-source', fixture, name, root, ...args], {})
}

const printsArguments =
  'const words: string[] = process.argv.slice(2)\nconsole.log(JSON.stringify(words))\nprocess.exitCode = 7\n'

/** Says that it is ready, then each signal; ends on SIGTERM, or on a second SIGINT as the platform does. */
const listens = `
let interrupts = 0
process.on('SIGINT', () => {
  console.log('SIGINT')
  if (++interrupts === 2) process.exit(130)
})
process.on('SIGTERM', () => {
  console.log('SIGTERM')
  process.exit(0)
})
setInterval(() => {}, 1e6)
console.log('ready')
`

describe('portico up', () => {
  it('sets up, then runs the platform with the same arguments and ends with its exit code', async () => {
    await file('deploy/local/up.ts', printsArguments)
    const args = ['--port', '0', '--json', 'x', '--state-dir=y']
    expect(await start('up', ...args).ended()).toEqual({
      code: 7,
      stdout: `${JSON.stringify(args)}\n`,
      stderr: 'set up\n',
    })
  })

  it('does not run the platform when the set-up fails', async () => {
    await file('deploy/setup/setup.sh', 'echo "apt-get install it" >&2; exit 3')
    await file('deploy/local/up.ts', printsArguments)
    expect(await start('up').ended()).toEqual({ code: 3, stdout: '', stderr: 'apt-get install it\n' })
  })

  it('sets nothing up for --help', async () => {
    await file('deploy/local/up.ts', printsArguments)
    expect(await start('up', '--help').ended()).toMatchObject({ stdout: '["--help"]\n', stderr: '' })
  })

  it('says when the platform is not there', async () => {
    const { code, stderr } = await start('up').ended()
    expect(code).toBe(125)
    expect(stderr).toBe(`portico: cannot start the local platform: ${root}/deploy/local/up.ts is not there\n`)
  })

  it('passes a signal on once, and ends as the platform ends', async () => {
    await file('deploy/local/up.ts', listens)
    const running = start('up')
    await running.printed('ready')
    running.kill('SIGINT')
    running.kill('SIGINT')
    await running.printed('SIGINT')
    running.kill('SIGTERM')
    expect(await running.ended()).toEqual({ code: 0, stdout: 'ready\nSIGINT\nSIGTERM\n', stderr: 'set up\n' })
  })

  it('does not leave the platform behind when it is killed', async () => {
    await file('deploy/local/up.ts', listens)
    const running = start('up')
    await running.printed('ready')
    running.kill('SIGKILL')
    expect((await running.ended()).stdout).toBe('ready\nSIGTERM\n')
  })
})

describe('portico doctor', () => {
  it('runs the check of the runner with the same arguments and ends with its exit code', async () => {
    await file('runner/src/main.ts', printsArguments)
    expect(await start('doctor', '--json').ended()).toEqual({ code: 7, stdout: '["doctor","--json"]\n', stderr: '' })
  })
})

describe('portico config check', () => {
  it('runs the check of the runner on the same file and ends with its exit code', async () => {
    await file('runner/src/main.ts', printsArguments)
    const stdout = '["config","check","my.yaml"]\n'
    expect(await start('config', 'my.yaml').ended()).toEqual({ code: 7, stdout, stderr: '' })
  })
})

describe('on the command line', () => {
  it('up leaves its arguments, --help too, to the platform', async () => {
    const { stdout, code } = await cli(['up', '--help'], {})
    expect(code).toBe(0)
    expect(stdout).toMatch(/--state-dir/)
  })
})
