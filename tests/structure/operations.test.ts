/** `docs/operations.md` against what it speaks of: the commands of the CLI, the variables of the Worker and of the runner, and the unit of a host. */

import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from '@portico/deploy/checkout'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { makeProgram } from '../../cli/src/program.ts'

const page = await readFile(join(root, 'docs', 'operations.md'), 'utf8')
const unit = await readFile(join(root, 'deploy', 'runner', 'portico-runner.service'), 'utf8')

/** Every `portico …` in a code span or block. */
const named = [...page.matchAll(/(?:`|^)(?:npx )?portico ([^`\n]+)/gm)].map(([, words = '']) =>
  words.trim().split(/\s+/),
)

/** With the modules of all commands that the page names. */
const { program } = await makeProgram(named.flat())

/** What is wrong with a command line, or nothing. */
function complaint(words: readonly string[]): string | undefined {
  let command: Command = program
  for (const word of words) {
    const next = command.commands.find((one) => one.name() === word)
    if (next !== undefined) command = next
    else if (command === program) return `there is no command ${word}`
    else if (/^[a-z]+$/.test(word) && command.commands.length > 0) return `${command.name()} has no command ${word}`
    const known = command.options.some((option) => option.long === word)
    if (word.startsWith('--') && !known) return `${command.name()} has no option ${word}`
  }
  return undefined
}

describe('the page', () => {
  it('names commands and options that exist', () => {
    expect(named.length).toBeGreaterThan(10)
    const wrong = named.map((words) => [words.join(' '), complaint(words)]).filter(([, why]) => why !== undefined)
    expect(wrong).toEqual([])
  })

  it('would notice one that does not', () => {
    expect(complaint(['runners', 'fire', 'RUNNER'])).toBe('runners has no command fire')
    expect(complaint(['runners', 'drain', 'RUNNER', '--now'])).toBe('drain has no option --now')
    expect(complaint(['explode'])).toBe('there is no command explode')
  })

  it('explains every variable and secret of the Worker, and every setting of a runner', async () => {
    const env = await readFile(join(root, 'edge', 'src', 'env.ts'), 'utf8')
    const config = await readFile(join(root, 'runner', 'src', 'config.ts'), 'utf8')
    const worker = [...env.matchAll(/^ {2}readonly (\w+)\??: string/gm)].map(([, name]) => name)
    const runner = [...config.matchAll(/^ {2}(PORTICO_\w+): \[/gm)].map(([, name]) => name)
    expect(worker).toContain('PORTICO_SECRET')
    expect(runner).toContain('PORTICO_RUNNER_TOKEN')
    expect([...worker, ...runner].filter((name) => !page.includes(`\`${name}\``))).toEqual([])
  })
})

describe('the unit of a host', () => {
  it('starts what is in the checkout', async () => {
    const [, node = '', main = ''] = /^ExecStart=\/opt\/portico\/(\S+) \/opt\/portico\/(\S+)/m.exec(unit) ?? []
    await access(join(root, node))
    await access(join(root, main))
  })

  it('leaves the machines alone when the process ends, and lets the runner write to its state alone', () => {
    expect(unit).toMatch(/^KillMode=process$/m)
    expect(unit).toMatch(/^ReadWritePaths=\/var\/lib\/portico$/m)
    expect(unit).toMatch(/^Environment=PORTICO_HOME=\/var\/lib\/portico$/m)
  })
})
